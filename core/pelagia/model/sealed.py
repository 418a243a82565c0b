"""The bytes of a model file: its weights are in it, and its last entry shows any later change.

Under `DIGEST_KEY`, last in the file, is the SHA-256 of all bytes before that entry. A file that was changed or damaged
after its export is refused, and so is a file whose weights are in a second file.
"""

from __future__ import annotations

from pathlib import Path

from pelagia.errors import ModelError
from pelagia.model.onnx_file import NotOnnxError, has_external_data, read_metadata, with_metadata
from pelagia.shell import command_line
from pelagia.system.files import sha256_of

METADATA_KEY = "pelagia"
DIGEST_KEY = "pelagia_sha256"
EMBEDDER_KEY = "pelagia_embedder"
"""The document of a file that computes embeddings but no classes: `pelagia.model.embedder`."""


def read_sealed(path: Path) -> tuple[bytes, dict[str, str]]:
    """The bytes of an .onnx file, and the entries of its metadata.

    Raises:
        ModelError: the file is missing, a folder, not ONNX, changed or damaged since Pelagia wrote it, or its weights
            are in another file.
    """
    try:
        if path.is_dir():
            raise ModelError(f"the model {path} is a folder: {_instead_of_folder(path)}")
        data = path.read_bytes()
    except FileNotFoundError:
        make = command_line("pelagia", "export", "RUN", "--out", path)
        raise ModelError(f"there is no model at {path}: make one with `{make}`") from None
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from None
    try:
        entries = read_metadata(data)
        external = has_external_data(data)
    except NotOnnxError as error:
        raise ModelError(f"{path} is not an ONNX file, or is damaged ({error}): copy it again") from None
    if not {METADATA_KEY, EMBEDDER_KEY} & entries.keys():
        return data, entries
    if external:
        raise ModelError(f"{path} keeps weights in a second file: export it again with `pelagia export`")
    digest = entries.get(DIGEST_KEY, "")
    if not data.endswith(tail := with_metadata(b"", DIGEST_KEY, digest)) or digest != sha256_of(data[: -len(tail)]):
        raise ModelError(f"{path} was changed or damaged after it was exported: copy or export it again")
    return data, entries


def _instead_of_folder(path: Path) -> str:
    if files := sorted(path.glob("*.onnx")):
        return f"name the file, such as {files[0]}"
    make = command_line("pelagia", "export", path, "--out", "MODEL.onnx")
    return f"name an .onnx file; if it is a training run, `{make}` makes one of it"


def sealed(content: bytes) -> bytes:
    """``content`` with its SHA-256 as the last entry, by which `read_sealed` notices any change."""
    return with_metadata(content, DIGEST_KEY, sha256_of(content))
