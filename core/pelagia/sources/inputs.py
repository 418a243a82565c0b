"""Lists the images of any input that a field team has, as one stream of `SourceImage`.

Invariant: every part lists images with `list_images`. So the same input always gives the same images, with the same
names, in the same order. The name of an image is its POSIX path relative to its input, its name in an archive, or its
IFCB bin and target number; it does not change if the folder or the drive moves.

Each kind of input is one module with one `Kind`. To add a kind, add it to `KINDS` below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pelagia.errors import InputError, MissingExtra
from pelagia.sources import ecotaxa, flowcam, folder, ifcb, manifest, pattern, single
from pelagia.sources.archives import flowcam_run, tar_file, uvp6_sample, zip_file
from pelagia.sources.archives.names import archive_stem
from pelagia.sources.flowcam.in_folders import is_part_of_run
from pelagia.sources.image import Kind, NoImageError, SourceImage, base_name, failed, known_suffixes
from pelagia.sources.listing import (
    Listing,
    archive_ending,
)
from pelagia.sources.overlap import Place, is_unpacked, refuse_overlaps
from pelagia.system.files import printable
from pelagia.system.paths import StrPath, paths_of

KINDS: tuple[Kind, ...] = (
    uvp6_sample.warned_of(ecotaxa.FOLDER),
    uvp6_sample.warned_of(ecotaxa.ZIP),
    folder.KIND,
    ifcb.KIND,
    flowcam.KIND,
    flowcam_run.ZIP,
    zip_file.KIND,
    tar_file.KIND,
    manifest.KIND,
    single.KIND,
)
"""They are tried in this order: an EcoTaxa export comes before a folder, because it is a folder too."""

_TABLES = (manifest.KIND,)


def list_images(
    inputs: StrPath | Sequence[StrPath], listing: Listing | None = None, *, pass_over: bool = False
) -> Iterator[SourceImage]:
    """The images of folders, image files, manifests, archives, IFCB bins, EcoTaxa exports, and patterns for all these.

    They come one by one, in an order that depends only on the inputs. Any thread may read them. With several
    inputs, each path starts with the name of its input, except for single files and IFCB bins, whose names are unique
    already. Inputs with the same name and inputs that share an image are refused.

    Args:
        inputs: paths; one path may stand alone.
        listing: holds the options; counts what is left out and collects warnings while the images are listed.
        pass_over: an input that is gone or wrong is passed over, and the others are listed: for images of a former run.

    Raises:
        InputError: an input does not exist, has no image, or is not of a known kind; or a manifest is wrong.
    """
    listing = Listing() if listing is None else listing
    named = [_name(path) for path in _each_bin_once(paths_of(inputs))]
    if len(named) > 1:
        refuse_overlaps([_place(entry) for entry in named])
        _refuse_same_names([entry.label for entry in named])
    for entry in named:
        prefix = "" if len(named) == 1 or entry.self_named else f"{entry.label}/"
        with suppress(InputError) if pass_over else nullcontext():
            for image in _list_one(entry.path, entry.kind, listing):
                yield replace(image, path=prefix + image.path) if prefix else image


@dataclass(frozen=True, slots=True)
class _Input:
    path: Path
    kind: Kind | None
    label: str
    self_named: bool


def _name(path: Path) -> _Input:
    try:
        kind = next((kind for kind in KINDS if kind.claims(path)), None)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check that your account may read it") from None
    if kind is not None:
        return _Input(path, kind, printable(kind.label(path)), kind.self_named)
    return _Input(path, None, base_name(pattern.root_of(path) if pattern.is_pattern(path) else path), False)


def _each_bin_once(inputs: Sequence[Path]) -> Iterator[Path]:
    """The inputs, each IFCB bin once: a shell replaces ``bin/*`` by all three files of a bin."""
    bins: set[Path] = set()
    for path in inputs:
        base = ifcb.bin_of(path) if len(inputs) > 1 else None
        if base is None or base not in bins:
            yield path
        if base is not None:
            bins.add(base)


def _refuse_same_names(labels: Sequence[str]) -> None:
    twice = sorted(label for label, count in Counter(labels).items() if count > 1)
    if twice:
        raise InputError(f"two inputs are called '{twice[0]}': classify each into its own survey")


def _place(entry: _Input) -> Place:
    if entry.kind is None:
        return Place(entry.path, (), "pattern" if pattern.is_pattern(entry.path) else "image")
    if entry.kind is ifcb.KIND:
        return Place(entry.path, tuple(ifcb.files_of(entry.path)), "bin", entry.kind)
    if entry.path.is_dir():
        return Place(entry.path, (), "folder", entry.kind)
    role = "manifest" if entry.kind in _TABLES else "image" if entry.kind is single.KIND else "archive"
    return Place(entry.path, (entry.path,), role, entry.kind)


def _list_one(path: Path, kind: Kind | None, listing: Listing) -> Iterator[SourceImage]:
    if kind is not None:
        yield from kind.listed(path, listing)
    elif pattern.is_pattern(path):
        yield from _list_pattern(path, listing)
    elif not path.exists():
        raise InputError(f"there is no file or folder at {path}")
    elif archive_ending(path.name):
        raise InputError(f"{path} is an archive that Pelagia cannot open: unpack it, and name its folder")
    else:
        raise InputError(
            f"{path} is not an input: name a folder, an image ({known_suffixes()}), a manifest "
            "(.csv .tsv .txt .xlsx .parquet), a .zip or .tar archive, an IFCB bin, the .lst of a FlowCam run, or an "
            "EcoTaxa export"
        )


def _list_pattern(path: Path, listing: Listing) -> Iterator[SourceImage]:
    """Images of each match, named by their path below the fixed part. Matches of other kinds are skipped."""
    root = pattern.root_of(path)
    found = False
    listed: set[str] = set()
    links: list[Path] = []
    for match, error in pattern.matches(path, listing):
        if any(parent.as_posix() in listed for parent in PurePosixPath(match).parents):
            continue
        try:
            if error is not None:
                raise error
            kind = _kind_of_match(path, root, match, listed, links, listing)
        except OSError as problem:  # the other matches are still listed
            found = True
            yield failed(printable(match), root / match, "unreadable", f"it cannot be listed: {problem.strerror}")
            continue
        if kind is None:
            continue
        for image in _list_match(root / match, match, kind, listing):
            found = True
            yield image
    if not found:
        runs = "; it matches images of FlowCam runs: name the .lst files" if listing.left_out["flowcam_image"] else ""
        raise InputError(f"nothing that matches '{path}' is an image or contains one: check the pattern{runs}")


def _list_match(path: Path, match: str, kind: Kind, listing: Listing) -> Iterator[SourceImage]:
    """The images of one match. If it cannot be used, it is a failed image; if it has no image, it is counted."""
    below = match.rpartition("/")[0] if kind.self_named else match
    prefix = f"{printable(below)}/" if below else ""
    try:
        for image in kind.listed(path, listing):
            yield replace(image, path=prefix + image.path)
    except NoImageError:
        listing.left_out["match_without_image"] += 1
    except MissingExtra:
        raise
    except InputError as error:
        if kind in _TABLES:  # a person wrote it, and must decide
            raise
        reason = "unreadable" if isinstance(error.__context__, OSError) else "damaged"
        yield failed(printable(match), path, reason, str(error))


def _kind_of_match(
    path: Path, root: Path, match: str, listed: set[str], links: list[Path], listing: Listing
) -> Kind | None:
    """The kind of a match; None if it is not listed. Raises OSError if it cannot be looked at.

    ``listed`` gets a match that is a folder, and ``links`` the folder that a followed link leads to.
    """
    kind = next((kind for kind in KINDS if kind.claims(root / match)), None)
    if kind is None or (kind in _TABLES and path.suffix.lower() != (root / match).suffix.lower()):
        return None  # ``cruise/*`` means the images, not the images of its manifest again
    if kind is single.KIND and is_part_of_run(root / match):
        listing.left_out["flowcam_image"] += 1
        return None
    if (root / match).is_dir():
        if (root / match).is_symlink() and not folder.follows(root / match, root, links, listing):
            return None
        listed.add(match)
    elif (stem := archive_stem(match)) in listed and is_unpacked(root / match, kind, root / stem):
        listing.left_out["unpacked"] += 1
        return None
    return kind
