"""Features of a dataset's images by a network that does not change, computed once and kept.

They are the embeddings of the network: its features, in float16, in a file of `pelagia.embeddings` in the user's cache
folder. Its name holds the SHA-256 of the network's weights and the preprocessing. Images are known by their SHA-256,
whatever their dataset, split or fold, so only images that are new since the last fit are computed.

Invariant: the result is the same with and without the file. Any file can be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.embeddings import read_embeddings, writing_embeddings
from pelagia.errors import InputError, MissingExtra
from pelagia.images.preprocess import DECODER_VERSION, PreprocessSpec
from pelagia_training.data.crops import default_folder
from pelagia_training.network.backbone import Normalized, is_head
from pelagia_training.network.outputs import outputs

Floats = NDArray[np.float32]
Half = NDArray[np.float16]


def features_of_images(
    classifier: Normalized,
    dataset: Dataset,
    records: Sequence[Record],
    spec: PreprocessSpec,
    *,
    folder: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    report: Callable[[str], None] = lambda text: None,
) -> Floats:
    """The features of a dataset's images, float32, N x D, rounded to float16. The network must pass `shows_features`.

    Args:
        classifier: the network; its head does not matter.
        folder: the folder of the file; None: `default_folder`.
        progress: called with (images computed, images to compute).
        report: called with a line of text for people.

    Raises:
        DatasetError: an image is missing or cannot be decoded.
    """
    identity = _identity(classifier, spec)
    file = (folder or default_folder().parent / "features") / f"{identity}.parquet"
    known = _read(file, identity)
    wanted = {record.sha256: record for record in records}
    missing = [record for sha256, record in wanted.items() if sha256 not in known]
    if missing:
        _, features = outputs(classifier, dataset, missing, spec, progress)
        assert features is not None  # noqa: S101 - the caller has checked it
        known |= zip([record.sha256 for record in missing], features.astype(np.float16), strict=True)
        _write(file, identity, known, report)
    if len(wanted) > len(missing):
        report(f"the features of {len(wanted) - len(missing)} images were computed before: {file}")
    return np.stack([known[record.sha256] for record in records]).astype(np.float32)


def _identity(classifier: Normalized, spec: PreprocessSpec) -> str:
    """The SHA-256 of all that the features depend on, 64 hex digits."""
    digest = hashlib.sha256()
    for name, value in sorted(classifier.network.state_dict().items()):
        if not is_head(classifier.network, name):
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    about = [classifier.mean, classifier.std, classifier.orientations, repr(classifier.network)]
    digest.update(json.dumps([*about, asdict(spec), DECODER_VERSION], default=str).encode())
    return digest.hexdigest()


def _read(file: Path, identity: str) -> dict[str, Half]:
    """SHA-256 -> features, float16, D; empty if there is no usable file."""
    try:
        found = read_embeddings(file)
    except (InputError, MissingExtra):
        return {}
    if found.model_sha256 != identity:
        return {}
    return dict(zip(found.sha256, found.vectors, strict=True))


def _write(file: Path, identity: str, known: dict[str, Half], report: Callable[[str], None]) -> None:
    """Writes the file; features that another process has added since it was read are computed again one day."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with writing_embeddings(file, identity) as writer:
            writer.add([""] * len(known), [*known], np.stack([*known.values()]))
    except MissingExtra:
        report("the features are not kept for the next time: that needs the extra parquet")
    except OSError as error:
        with suppress(OSError):
            file.unlink(missing_ok=True)
        report(f"the features are not kept for the next time: {file.parent} cannot be written ({error.strerror})")
