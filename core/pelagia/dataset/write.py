"""Makes a dataset folder from candidates: checks every image, finds duplicates and contradictions, assigns splits.

`pelagia.dataset.assignment` decides groups and splits.

Invariant: the folder appears only when it is complete. Each image that is left out is counted in `dataset.yaml` and
listed with its reason in `dropped.csv`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Literal

from pelagia.dataset.assignment import Assignment, Labeled, assign
from pelagia.dataset.near_duplicates import NearDuplicates, signature_of
from pelagia.dataset.parents import assign_beside, keep_all, parent_meta
from pelagia.dataset.schema import (
    DROPPED_FILE,
    NEAR_DUPLICATES_FILE,
    Dataset,
    DatasetMeta,
    LabelAgreement,
    Record,
    SplitMeta,
    check_soft_labels,
    class_counts,
    fingerprint,
    write_tables,
)
from pelagia.errors import DatasetError, did_you_mean, first_few
from pelagia.images.preprocess import ImageError, decode_with_remark
from pelagia.images.remarks import RemarkCounts
from pelagia.sources.image import SourceImage
from pelagia.system.cores import thread_pool
from pelagia.system.files import new_folder, printable, sha256_of, slug
from pelagia.system.tables import write_table
from pelagia.system.version import __version__
from pelagia.taxonomy import Taxonomy, taxonomy_of_names


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that an importer offers, with its label.

    Attributes:
        file: the place of the encoded image: a file, or text such as ``export.zip!/a.png``.
        class_name: the class that it is labeled with.
        source: the origin of the image, such as its path in the imported folder.
        group: the name of its group; all images of a group stay in one split; empty: the image is its own group.
        annotators: the people who labeled it, separated by ``;``.
        agreement: share of the annotators who gave this label, 0..1, as text; empty if only one person labeled it.
        licence: the licence of the image.
        extra: the survey's other columns.
        split: the split that the image must stay in; used only if every candidate has a split.
        reader: a function that returns the bytes if ``file`` cannot be opened, as in `SourceImage`.
    """

    file: Path | str
    class_name: str
    source: str
    group: str = ""
    annotators: str = ""
    agreement: str = ""
    licence: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    split: str = ""
    reader: Callable[[], bytes] | None = field(default=None, repr=False, compare=False)

    def read(self) -> bytes:
        """The encoded image. Raises OSError or ImageError, as `SourceImage.read`."""
        return SourceImage(self.source, self.file, reader=self.reader).read()

    @property
    def suffix(self) -> str:
        """The ending of the image's name, in lower case, such as ``.png``."""
        return PurePosixPath(str(self.file)).suffix.lower()


@dataclass(frozen=True, slots=True)
class _Checked:
    """A candidate and what was read from its file; ``fault`` is ``reason: detail``, empty if the image is usable."""

    candidate: Candidate
    sha256: str = ""
    width: int = 0
    height: int = 0
    signature: bytes = b""
    fault: str = ""
    remark: str = ""

    @property
    def group(self) -> str:
        return self.candidate.group or self.sha256[:16]


_OTHER_SPLIT = ", which is in another split"
_DIGITS = (8, 16, 32, 64)
"""How many hex digits of the SHA-256 the name of an image has. Images of a dataset differ in their SHA-256."""

Dropped = tuple[str, str, str]
"""Source, reason and detail of an image that is left out."""


def write_dataset(
    out: Path,
    candidates: Sequence[Candidate],
    *,
    source: dict[str, Any],
    taxonomy: Taxonomy | None = None,
    split: SplitMeta | None = None,
    conflicts: Literal["refuse", "drop"] = "refuse",
    left_out: Mapping[str, int] = MappingProxyType({}),
    warnings: Sequence[str] = (),
    label_agreement: LabelAgreement | None = None,
    parents: Sequence[Dataset] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> Dataset:
    """Makes the dataset folder ``out``.

    Args:
        candidates: the images; images that cannot be decoded and copies of other images are left out and listed.
        source: the origin.
        taxonomy: its classes must include every candidate's class; None: it is made from the class names.
        split: fractions, seed and the name of the column that the groups come from.
        conflicts: what to do with one image that has two classes: refuse the import, or drop all its copies.
        left_out: counts of what the importer itself left out, reason -> images.
        warnings: what the importer assumed or what looked wrong, one sentence each.
        label_agreement: how far the people agree who labeled the images; None if that is not known.
        parents: the datasets that this one is made from. Unless every candidate has a split, the images keep the
            groups and splits of the first one (`pelagia.dataset.parents`), with its shares and its seed.
        progress: called with the number of images checked since the last call.

    Raises:
        InputError: ``out`` exists.
        DatasetError: no image is usable, the taxonomy lacks a class, an image has two classes, or a soft label is
            wrong.
    """
    taxonomy = _check_classes(candidates, taxonomy, name := printable(out.absolute().name))
    with new_folder(out, "dataset") as folder:
        kept, dropped = _remove_duplicates(_check_images(candidates, progress), conflicts)
        found = _assign(kept, split or SplitMeta(), parents)
        records = _records(kept, found.groups, found.splits)
        check_soft_labels(records, taxonomy, "the new manifest")
        _copy_images(folder, kept, records)
        counts = Counter(left_out) + Counter(reason for _, reason, _ in dropped)
        said = (*warnings, *_copies_warning(dropped), *found.warnings)
        meta = _meta(name, source, found.split, records, counts, _remarks(kept), said, taxonomy, label_agreement)
        meta = meta.model_copy(update={"parents": tuple(parent_meta(parent, out, records) for parent in parents)})
        write_tables(folder, meta, records)
        _write_lists(folder, kept, dropped, found.pairs)
    return Dataset.read(out)


def _assign(kept: Sequence[_Checked], split: SplitMeta, parents: Sequence[Dataset]) -> Assignment:
    images = [_labeled(image) for image in kept]
    if len(parents) > 1 and all(image.split for image in images):
        return keep_all(images, split)
    if not parents or all(image.split for image in images):
        return assign(images, split)
    wanted = parents[0].meta.split.model_copy(update={"join_near_duplicates": split.join_near_duplicates})
    return assign_beside(images, [image.sha256 for image in kept], parents[0], wanted)


def _write_lists(
    folder: Path, kept: Sequence[_Checked], dropped: Sequence[Dropped], pairs: Sequence[NearDuplicates]
) -> None:
    """Writes the list of what is left out, and that of near-duplicates, if there are any."""
    if dropped:
        write_table(folder / DROPPED_FILE, ("source", "reason", "detail"), dropped)
    if pairs:
        write_table(folder / NEAR_DUPLICATES_FILE, *_pairs_table(kept, pairs))


def _copies_warning(dropped: Sequence[Dropped]) -> list[str]:
    """A warning of exact copies in two splits of a published split."""
    found = [source for source, reason, detail in dropped if reason == "duplicate" and detail.endswith(_OTHER_SPLIT)]
    if not found:
        return []
    return [
        f"the published split has {len(found)} exact copies of an image in two splits, such as {found[0]}: the first "
        f"copy is kept, and {DROPPED_FILE} lists the others"
    ]


def _labeled(image: _Checked) -> Labeled:
    entry = image.candidate
    return Labeled(entry.class_name, image.group, entry.split, entry.source, image.signature)


def _meta(
    name: str,
    source: dict[str, Any],
    split: SplitMeta,
    records: Sequence[Record],
    left_out: Mapping[str, int],
    remarks: Mapping[str, int],
    warnings: Sequence[str],
    taxonomy: Taxonomy,
    label_agreement: LabelAgreement | None,
) -> DatasetMeta:
    return DatasetMeta(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        created_by=f"pelagia {__version__}",
        source=source,
        split=split,
        fingerprint=fingerprint(records),
        images=len(records),
        counts=class_counts(records, taxonomy.names),
        left_out=dict(sorted(left_out.items())),
        remarks=dict(remarks),
        warnings=tuple(dict.fromkeys(warnings)),
        label_agreement=label_agreement,
        taxonomy=taxonomy,
    )


def _remarks(kept: Sequence[_Checked]) -> Mapping[str, int]:
    found = RemarkCounts()
    for image in kept:
        found.add(image.remark)
    return found.counts


def _check_classes(candidates: Sequence[Candidate], taxonomy: Taxonomy | None, name: str) -> Taxonomy:
    found = Counter(candidate.class_name for candidate in candidates)
    if not found:
        raise DatasetError("there is no labeled image to import: check that the images have labels")
    if taxonomy is None:
        return taxonomy_of_names(name, found)
    unknown = sorted(set(found) - set(taxonomy.names))
    if unknown:
        listed = first_few(
            f"'{entry}' ({found[entry]} images){did_you_mean(entry, taxonomy.names)}" for entry in unknown
        )
        raise DatasetError(
            f"the taxonomy '{taxonomy.name}' has no class {listed}: add it there, or leave those images out"
        )
    return taxonomy


def _check_images(candidates: Sequence[Candidate], progress: Callable[[int], None]) -> list[_Checked]:
    checked = []
    with thread_pool() as pool:
        for image in pool.map(_check_image, candidates):
            checked.append(image)
            progress(1)
    return checked


def _check_image(candidate: Candidate) -> _Checked:
    try:
        data = candidate.read()
        decoded = decode_with_remark(data)
    except FileNotFoundError:
        return _Checked(candidate, fault="missing: there is no such file")
    except OSError as error:
        return _Checked(candidate, fault=f"unreadable: {error.strerror}")
    except ImageError as error:
        return _Checked(candidate, fault=f"{error.reason}: {error}")
    height, width = decoded.sides
    return _Checked(candidate, sha256_of(data), width, height, signature_of(decoded.pixels), remark=decoded.remark)


def _remove_duplicates(checked: Iterable[_Checked], conflicts: str) -> tuple[list[_Checked], list[Dropped]]:
    """The usable images in order, without copies; and the images that are left out, each with the reason."""
    by_content: dict[str, list[_Checked]] = defaultdict(list)
    dropped: list[Dropped] = []
    for image in checked:
        if image.fault:
            reason, _, detail = image.fault.partition(": ")
            dropped.append((image.candidate.source, reason, detail))
        else:
            by_content[image.sha256].append(image)
    kept: list[_Checked] = []
    contradictions: list[str] = []
    for copies in by_content.values():
        classes = sorted({image.candidate.class_name for image in copies})
        if len(classes) > 1:
            contradictions.append(
                " = ".join(f"{image.candidate.source} ({image.candidate.class_name})" for image in copies)
            )
            detail = f"the same image is under {', '.join(classes)}"
            dropped += [(image.candidate.source, "conflict", detail) for image in copies]
            continue
        kept.append(copies[0])
        dropped += [_duplicate(image, copies[0]) for image in copies[1:]]
    if contradictions and conflicts == "refuse":
        raise DatasetError(
            f"{len(contradictions)} image(s) have two classes: {first_few(contradictions, 3)}; "
            "correct the labels, or leave all copies out with --conflicts drop"
        )
    if not kept:
        raise DatasetError(f"none of the {len(dropped)} images can be used: {_reasons(dropped)}")
    return kept, dropped


def _duplicate(image: _Checked, first: _Checked) -> Dropped:
    other = _OTHER_SPLIT if image.candidate.split != first.candidate.split else ""
    return image.candidate.source, "duplicate", f"of {first.candidate.source}{other}"


def _records(kept: Sequence[_Checked], groups: Sequence[str], splits: Sequence[str]) -> list[Record]:
    """The rows of the manifest."""
    return [
        Record(
            path=path,
            sha256=image.sha256,
            width=image.width,
            height=image.height,
            class_name=image.candidate.class_name,
            group=group,
            split=split,
            annotators=image.candidate.annotators,
            agreement=image.candidate.agreement,
            source=image.candidate.source,
            licence=image.candidate.licence,
            extra=image.candidate.extra,
        )
        for image, path, group, split in zip(kept, _paths_of(kept), groups, splits, strict=True)
    ]


def _paths_of(kept: Sequence[_Checked]) -> list[str]:
    """A path for each image, made from its source, because Label Studio names files by a hash, which nobody recognizes.

    Two paths never differ only by capitals. Images with the same name and the same beginning of their SHA-256 get more
    of its digits.
    """
    paths: list[str] = []
    used: set[str] = set()
    for image in kept:
        path = next(path for digits in _DIGITS if (path := _path_of(image, digits)).lower() not in used)
        used.add(path.lower())
        paths.append(path)
    return paths


def _path_of(image: _Checked, digits: int) -> str:
    suffix = f".{slug(image.candidate.suffix)}" if image.candidate.suffix else ""
    stem = slug(PurePosixPath(image.candidate.source).stem)
    return f"images/{slug(image.candidate.class_name)}/{stem}-{image.sha256[:digits]}{suffix}"


def _copy_images(folder: Path, kept: Sequence[_Checked], records: Sequence[Record]) -> None:
    for image, record in zip(kept, records, strict=True):
        target = folder / record.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:  # never over another image
            file.write(image.candidate.read())


def _pairs_table(kept: Sequence[_Checked], pairs: Sequence[NearDuplicates]) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows: both images of each pair, with their classes and original groups."""
    columns = [f"{name}_{number}" for number in (1, 2) for name in ("source", "class", "group")]
    rows = [
        [
            text
            for image in (kept[pair.first], kept[pair.second])
            for text in (image.candidate.source, image.candidate.class_name, image.group)
        ]
        + [str(pair.bits), f"{pair.correlation:.3f}"]
        for pair in pairs
    ]
    return [*columns, "bits", "correlation"], rows


def _reasons(dropped: Sequence[Dropped]) -> str:
    counts = Counter(reason for _, reason, _ in dropped).most_common()
    source, _, detail = dropped[0]
    return ", ".join(f"{count} {reason}" for reason, count in counts) + f" (first: {source}: {detail})"
