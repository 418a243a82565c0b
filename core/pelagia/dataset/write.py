"""Candidates -> a dataset folder: every image checked, duplicates and contradictions found, splits assigned.

Groups that share near-duplicates (`pelagia.dataset.near_duplicates`) are joined first, so that a pair stands on one side.

Invariant: the folder appears when it is complete. Whatever is left out is counted in `dataset.yaml` and listed with its
reason in `dropped.csv`.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pelagia import __version__
from pelagia.dataset.near_duplicates import NearDuplicates, find_near_duplicates, join_groups, signature_of
from pelagia.dataset.schema import (
    DROPPED_FILE,
    NEAR_DUPLICATES_FILE,
    Dataset,
    DatasetMeta,
    Record,
    SplitMeta,
    class_counts,
    fingerprint,
    write_tables,
)
from pelagia.dataset.splits import SPLITS, assign_splits
from pelagia.errors import DatasetError, did_you_mean, first_few
from pelagia.images.preprocess import ImageError, decode
from pelagia.system.cores import thread_pool
from pelagia.system.files import new_folder, printable, sha256_of, slug
from pelagia.system.tables import write_table
from pelagia.taxonomy import Taxonomy, taxonomy_of_names


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that an importer offers, with the label that somebody gave it.

    Attributes:
        file: the encoded image.
        class_name: its label.
        source: where it came from, such as its path in the folder that was imported.
        group: what a split must not cut; empty: the image is a group of its own.
        annotators: who labelled it, separated by ``;``.
        agreement: share of the annotators who gave this label, 0..1, as text; empty where one person did.
        extra: the survey's own columns.
        split: the split that it is to stay in; taken where every candidate has one.
    """

    file: Path
    class_name: str
    source: str
    group: str = ""
    annotators: str = ""
    agreement: str = ""
    licence: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    split: str = ""


@dataclass(frozen=True, slots=True)
class _Checked:
    candidate: Candidate
    sha256: str = ""
    width: int = 0
    height: int = 0
    look: bytes = b""
    fault: str = ""

    @property
    def group(self) -> str:
        return self.candidate.group or self.sha256[:16]


Dropped = tuple[str, str, str]
"""Source, reason, detail."""


def write_dataset(
    out: Path,
    candidates: Sequence[Candidate],
    *,
    source: dict[str, Any],
    taxonomy: Taxonomy | None = None,
    split: SplitMeta | None = None,
    conflicts: Literal["refuse", "drop"] = "refuse",
    left_out: dict[str, int] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Dataset:
    """Makes the dataset folder ``out``.

    Args:
        candidates: what to put in; undecodable and repeated images are left out and listed.
        source: what `dataset.yaml` says of the origin.
        taxonomy: its classes must include every candidate's; made from the class names where None.
        split: fractions, seed and the name of the column that groups came from.
        conflicts: what to do with one image under two classes: refuse the import, or drop all its copies.
        left_out: counts of what the importer itself left out, reason -> images.
        progress: called with the number of images checked since the last call.

    Raises:
        InputError: ``out`` exists.
        DatasetError: no usable image, a class that the taxonomy lacks, or an image under two classes.
    """
    name = printable(out.absolute().name)
    taxonomy = _check_classes(candidates, taxonomy, name)
    split = split or SplitMeta()
    with new_folder(out, "dataset") as folder:
        checked = _check_images(candidates, progress)
        kept, dropped = _sift(checked, conflicts)
        if not kept:
            raise DatasetError(f"none of the {len(candidates)} images can be used: {_reasons(dropped)}")
        placed = all(one.candidate.split for one in kept)
        twins = [] if placed or not split.join_near_duplicates else _twins(kept)
        records = _records(kept, twins, None if placed else split)
        _copy_images(folder, kept, records)
        counts = Counter(left_out or {}) + Counter(reason for _, reason, _ in dropped)
        meta = DatasetMeta(
            name=name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            created_by=f"pelagia {__version__}",
            source=source,
            split=split if placed else split.model_copy(update={"near_duplicates": len(twins)}),
            fingerprint=fingerprint(records),
            images=len(records),
            counts=class_counts(records, taxonomy.names),
            left_out=dict(sorted(counts.items())),
            taxonomy=taxonomy,
        )
        write_tables(folder, meta, records)
        if dropped:
            write_table(folder / DROPPED_FILE, ("source", "reason", "detail"), dropped)
        if twins:
            write_table(folder / NEAR_DUPLICATES_FILE, *_twins_table(kept, twins))
    return Dataset.read(out)


def _twins(kept: Sequence[_Checked]) -> list[NearDuplicates]:
    """Near-duplicates of different groups. Raises DatasetError where joining them would leave nothing to split."""
    groups = [one.group for one in kept]
    twins = find_near_duplicates([one.look for one in kept], groups)
    before, after = len(set(groups)), len(set(join_groups(groups, twins)))
    if before >= len(SPLITS) > after:
        example = " and ".join(str(kept[index].candidate.source) for index in (twins[0].first, twins[0].second))
        raise DatasetError(
            f"{len(twins)} pairs of images look the same, such as {example}, and would join {before} groups into "
            f"{after}, which cannot be split. Frames of a fixed camera and plain round objects look so without being "
            "copies: if these are none, import with --no-near-duplicates"
        )
    return twins


def _check_classes(candidates: Sequence[Candidate], taxonomy: Taxonomy | None, name: str) -> Taxonomy:
    found = Counter(candidate.class_name for candidate in candidates)
    if not found:
        raise DatasetError("there is no labelled image to import")
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
        for one in pool.map(_check_image, candidates):
            checked.append(one)
            progress(1)
    return checked


def _check_image(candidate: Candidate) -> _Checked:
    try:
        data = candidate.file.read_bytes()
        pixels = decode(data)
    except FileNotFoundError:
        return _Checked(candidate, fault="missing: there is no such file")
    except OSError as error:
        return _Checked(candidate, fault=f"unreadable: {error.strerror}")
    except ImageError as error:
        return _Checked(candidate, fault=f"{error.reason}: {error}")
    height, width = pixels.shape[:2]
    return _Checked(candidate, sha256_of(data), width, height, signature_of(pixels))


def _sift(checked: Iterable[_Checked], conflicts: str) -> tuple[list[_Checked], list[Dropped]]:
    """What is kept, in order, and what is not and why. The first of several equal images is kept."""
    by_content: dict[str, list[_Checked]] = defaultdict(list)
    dropped: list[Dropped] = []
    for one in checked:
        if one.fault:
            reason, _, detail = one.fault.partition(": ")
            dropped.append((one.candidate.source, reason, detail))
        else:
            by_content[one.sha256].append(one)
    kept: list[_Checked] = []
    contradictions: list[str] = []
    for copies in by_content.values():
        classes = sorted({one.candidate.class_name for one in copies})
        if len(classes) > 1:
            contradictions.append(" = ".join(f"{one.candidate.source} ({one.candidate.class_name})" for one in copies))
            detail = f"the same image is under {', '.join(classes)}"
            dropped += [(one.candidate.source, "conflict", detail) for one in copies]
            continue
        kept.append(copies[0])
        dropped += [(one.candidate.source, "duplicate", f"of {copies[0].candidate.source}") for one in copies[1:]]
    if contradictions and conflicts == "refuse":
        raise DatasetError(
            f"{len(contradictions)} image(s) are filed under two classes: {first_few(contradictions, 3)}; "
            "correct the labels, or leave all copies out with --conflicts drop"
        )
    return kept, dropped


def _records(kept: Sequence[_Checked], twins: Sequence[NearDuplicates], split: SplitMeta | None) -> list[Record]:
    """Rows of the manifest; ``split`` None: each image stays where its candidate says."""
    classes = [one.candidate.class_name for one in kept]
    groups = join_groups([one.group for one in kept], twins)
    splits = (
        assign_splits(classes, groups, split.fractions, split.seed) if split else [one.candidate.split for one in kept]
    )
    return [
        Record(
            path=_path_of(one),
            sha256=one.sha256,
            width=one.width,
            height=one.height,
            class_name=one.candidate.class_name,
            group=group,
            split=side,
            annotators=one.candidate.annotators,
            agreement=one.candidate.agreement,
            source=one.candidate.source,
            licence=one.candidate.licence,
            extra=one.candidate.extra,
        )
        for one, group, side in zip(kept, groups, splits, strict=True)
    ]


def _path_of(one: _Checked) -> str:
    """Named after where it came from: Label Studio names its copies by their hash, which tells nobody anything."""
    suffix = f".{slug(one.candidate.file.suffix.lower())}" if one.candidate.file.suffix else ""
    stem = slug(PurePosixPath(one.candidate.source).stem)
    return f"images/{slug(one.candidate.class_name)}/{stem}-{one.sha256[:8]}{suffix}"


def _copy_images(folder: Path, kept: Sequence[_Checked], records: Sequence[Record]) -> None:
    for one, record in zip(kept, records, strict=True):
        target = folder / record.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one.candidate.file, target)


def _twins_table(kept: Sequence[_Checked], twins: Sequence[NearDuplicates]) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows: both images of each pair with their classes and the groups that they came with."""
    columns = [f"{name}_{number}" for number in (1, 2) for name in ("source", "class", "group")]
    rows = [
        [
            text
            for one in (kept[pair.first], kept[pair.second])
            for text in (one.candidate.source, one.candidate.class_name, one.group)
        ]
        + [str(pair.bits), f"{pair.correlation:.3f}"]
        for pair in twins
    ]
    return [*columns, "bits", "correlation"], rows


def _reasons(dropped: Sequence[Dropped]) -> str:
    counts = Counter(reason for _, reason, _ in dropped).most_common()
    source, _, detail = dropped[0]
    return ", ".join(f"{count} {reason}" for reason, count in counts) + f" (first: {source}: {detail})"
