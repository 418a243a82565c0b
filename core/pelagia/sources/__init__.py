"""Where images come from: whatever field teams have, as one stream of `SourceImage`.

Invariant: every part lists images through `list_images`, so that the same input gives the same images under the same
names, in the same order, whoever asks. The name of an image is its POSIX path relative to its input, its name in an
archive, or its IFCB bin and target; it does not change when the folder or the drive moves.

Each kind of input is one module with one `Kind`; `KINDS` below is the list of them, and the only place to add one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pelagia.errors import InputError
from pelagia.sources import ecotaxa, folder, ifcb, manifest, parquet, pattern, single
from pelagia.sources.archives import tar_file, zip_file
from pelagia.sources.archives.names import archive_stem
from pelagia.sources.image import IMAGE_SUFFIXES, LEFT_OUT, Kind, SourceImage, Tally, base_name, known_suffixes
from pelagia.sources.manifest import PATH_COLUMN, read_manifest
from pelagia.sources.overlap import Place, is_unpacked, refuse_overlaps
from pelagia.system.files import printable

__all__ = [
    "IMAGE_SUFFIXES",
    "KINDS",
    "LEFT_OUT",
    "PATH_COLUMN",
    "Kind",
    "SourceImage",
    "Tally",
    "list_images",
    "read_manifest",
]

KINDS: tuple[Kind, ...] = (
    ecotaxa.FOLDER,
    ecotaxa.ZIP,
    folder.KIND,
    ifcb.KIND,
    zip_file.KIND,
    tar_file.KIND,
    manifest.KIND,
    parquet.KIND,
    single.KIND,
)
"""Asked in this order: an EcoTaxa export is a folder, but more than that."""


_TABLES = (manifest.KIND, parquet.KIND)


def list_images(inputs: Sequence[Path], tally: Tally | None = None) -> Iterator[SourceImage]:
    """Images of folders, image files, manifests, archives, IFCB bins, EcoTaxa exports, and patterns of all these.

    They come one by one, in an order that the inputs alone decide; reading them is up to the caller, in any thread.
    With several inputs every path starts with the input's own name, unless the image's name tells them apart (single
    files, IFCB bins); inputs of the same name, and those that share an image, are refused.

    Args:
        tally: gets what is left out on purpose, by a key of `LEFT_OUT`, as the images are taken.

    Raises:
        InputError: an input that does not exist, holds no image, or is no image; a manifest that is wrong.
    """
    tally = Tally() if tally is None else tally
    named = [_name(path) for path in _without_twins(inputs)]
    if len(named) > 1:
        refuse_overlaps([_place(one) for one in named])
        _refuse_twice([one.label for one in named])
    for one in named:
        prefix = "" if len(named) == 1 or one.self_named else f"{one.label}/"
        for image in _list_one(one.path, one.kind, tally):
            yield replace(image, path=prefix + image.path) if prefix else image


@dataclass(frozen=True, slots=True)
class _Input:
    path: Path
    kind: Kind | None
    label: str
    self_named: bool


def _name(path: Path) -> _Input:
    kind = next((kind for kind in KINDS if kind.claims(path)), None)
    if kind is not None:
        return _Input(path, kind, printable(kind.label(path)), kind.self_named)
    return _Input(path, None, base_name(pattern.root_of(path) if pattern.is_pattern(path) else path), False)


def _without_twins(inputs: Sequence[Path]) -> Iterator[Path]:
    """The inputs, an IFCB bin once: ``bin/*`` written out by a shell names each of its files."""
    bins: set[Path] = set()
    for path in inputs:
        base = ifcb.bin_of(path) if len(inputs) > 1 else None
        if base is None or base not in bins:
            yield path
        if base is not None:
            bins.add(base)


def _refuse_twice(labels: Sequence[str]) -> None:
    twice = sorted(label for label, count in Counter(labels).items() if count > 1)
    if twice:
        raise InputError(f"two inputs are called '{twice[0]}': classify them into surveys of their own")


def _place(one: _Input) -> Place:
    if one.kind is None:
        return Place(one.path, (), "pattern" if pattern.is_pattern(one.path) else "image")
    if one.kind is ifcb.KIND:
        return Place(one.path, tuple(ifcb.files_of(one.path)), "bin", one.kind)
    if one.path.is_dir():
        return Place(one.path, (), "folder", one.kind)
    role = "manifest" if one.kind in _TABLES else "image" if one.kind is single.KIND else "archive"
    return Place(one.path, (one.path,), role, one.kind)


def _list_one(path: Path, kind: Kind | None, tally: Tally) -> Iterator[SourceImage]:
    if kind is not None:
        yield from kind.images(path, tally)
    elif pattern.is_pattern(path):
        yield from _list_pattern(path, tally)
    elif not path.exists():
        raise InputError(f"there is no file or folder at {path}")
    else:
        raise InputError(
            f"{path} is no input: name a folder, an image ({known_suffixes()}), a .csv or .parquet manifest, a .zip or "
            ".tar archive, an IFCB bin, or an EcoTaxa export"
        )


def _list_pattern(path: Path, tally: Tally) -> Iterator[SourceImage]:
    """Images of whatever matches, named by their path below the pattern's fixed part; what is no input is passed."""
    root = pattern.root_of(path)
    found = False
    listed: set[str] = set()
    for match in pattern.matches(path):
        kind = next((kind for kind in KINDS if kind.claims(root / match)), None)
        if kind is None or any(parent.as_posix() in listed for parent in PurePosixPath(match).parents):
            continue
        if kind in _TABLES and path.suffix.lower() != (root / match).suffix.lower():
            continue  # ``cruise/*`` means the images, and not once more through their manifest
        if (root / match).is_dir():
            if (root / match).is_symlink():
                tally["folder_link"] += 1
                continue
            listed.add(match)
        elif (stem := archive_stem(match)) in listed and is_unpacked(root / match, kind, root / stem):
            tally["unpacked"] += 1
            continue
        below = match.rpartition("/")[0] if kind.self_named else match
        prefix = f"{printable(below)}/" if below else ""
        for image in kind.images(root / match, tally):
            found = True
            yield replace(image, path=prefix + image.path)
    if not found:
        raise InputError(f"nothing that matches '{path}' is an image or holds one")
