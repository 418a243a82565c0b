"""What is labelled elsewhere -> candidates for a dataset: class folders, a CSV manifest, an EcoTaxa export.

Each importer is one function that returns its candidates and what it left out; `import_dataset` chooses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pelagia.config import validate
from pelagia.dataset.schema import MANIFEST_COLUMNS, Dataset, SplitMeta
from pelagia.dataset.write import Candidate, write_dataset
from pelagia.errors import DatasetError, InputError, did_you_mean
from pelagia.sources import PATH_COLUMN, SourceImage, ecotaxa, list_images, read_manifest
from pelagia.sources.manifest import opened
from pelagia.system.files import printable
from pelagia.taxonomy import Taxonomy

CLASS_COLUMNS = ("class", "label", "category")
_CARRIED = ("annotators", "agreement", "licence")
ECOTAXA_CLASS, ECOTAXA_STATUS = "object_annotation_category", "object_annotation_status"
ECOTAXA_GROUP = "sample_id"
_ECOTAXA_ANNOTATOR = "object_annotation_person_name"
_ECOTAXA_OWN = (ecotaxa.FILE_COLUMN, ECOTAXA_CLASS, _ECOTAXA_ANNOTATOR, "object_annotation_person_email")


@dataclass(frozen=True)
class Import:
    """What an importer found. ``group_column`` is the column that groups came from, if any."""

    candidates: list[Candidate]
    source: dict[str, Any]
    group_column: str | None = None
    left_out: dict[str, int] = field(default_factory=dict)


def import_dataset(
    src: Path,
    out: Path,
    *,
    manifest: Path | None = None,
    group_column: str | None = None,
    class_column: str | None = None,
    taxonomy: Taxonomy | None = None,
    statuses: frozenset[str] = frozenset({"validated"}),
    licence: str = "",
    conflicts: Literal["refuse", "drop"] = "refuse",
    fractions: tuple[float, float, float] | None = None,
    seed: int = 0,
    join_near_duplicates: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Dataset:
    """Makes the dataset ``out`` from ``src``.

    Args:
        src: a folder of class folders, the folder of a manifest's images, or an EcoTaxa export (TSV beside images).
        manifest: CSV with a column ``path`` relative to ``src`` and a class column.
        group_column: the column whose values a split must not cut, such as station.
        class_column: the manifest's column of labels; ``class``, ``label`` or ``category`` by default.
        statuses: EcoTaxa annotation statuses to take.
        progress: called with (images checked, all images).

    Raises:
        InputError, DatasetError: as `write_dataset`, and where ``src`` or ``manifest`` is wrong.
    """
    if not src.is_dir():
        fault = "not a folder" if src.exists() else "not there"
        raise InputError(f"{src} is {fault}: name the folder that holds the images")
    tables = sorted(src.glob("ecotaxa*.tsv"))
    if class_column and manifest is None:
        raise InputError(f"--class-column {class_column} needs --manifest: only a manifest has columns")
    if manifest is not None:
        found = from_manifest(src, manifest, group_column, class_column)
    elif tables:
        found = from_ecotaxa(src, tables, group_column or ECOTAXA_GROUP, statuses)
    else:
        if group_column:
            raise InputError(f"--group-column {group_column} needs --manifest: folders of classes have no columns")
        found = from_class_folders(src)
    candidates = [replace(one, licence=licence) for one in found.candidates] if licence else found.candidates
    shares = {"fractions": fractions} if fractions else {}
    wishes = {"group_column": found.group_column, "seed": seed, "join_near_duplicates": join_near_duplicates}
    split = validate({**wishes, **shares}, SplitMeta, "the split")
    done, total = 0, len(candidates)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return write_dataset(
        out,
        candidates,
        source=found.source,
        taxonomy=taxonomy,
        split=split,
        conflicts=conflicts,
        left_out=found.left_out,
        progress=advance,
    )


def from_class_folders(src: Path) -> Import:
    """One folder a class; deeper folders belong to their first."""
    candidates = []
    loose = inside = 0
    for image in list_images([src]):
        class_name, slash, _ = image.path.partition("/")
        if not isinstance(image.file, Path):
            inside += 1
        elif not slash:
            loose += 1
        else:
            candidates.append(Candidate(image.file, class_name, image.path))
    if not candidates:
        raise DatasetError(
            f"{src} has {loose} images and no folder of a class: put the images of a class into a folder of its name, "
            "or give their labels with --manifest"
        )
    source = {"kind": "class_folders", "folder": printable(src.name)}
    left_out = {"no_class": loose, "inside_a_bin": inside}
    return Import(candidates, source, left_out={reason: count for reason, count in left_out.items() if count})


def from_manifest(src: Path, manifest: Path, group_column: str | None, class_column: str | None) -> Import:
    """A CSV of paths relative to ``src``, labels, and any other columns, which are carried along."""
    images = list(read_manifest(manifest, root=src))
    columns = list(images[0].columns)
    class_column = class_column or next((name for name in CLASS_COLUMNS if name in columns), None)
    for column, option in ((class_column, "--class-column"), (group_column, "--group-column")):
        if column is not None and column not in columns:
            meant, known = did_you_mean(column, columns), ", ".join(columns)
            raise InputError(f"{manifest} has no column '{column}'{meant} ({option}); it has: {known}")
    if class_column is None:
        known = ", ".join(CLASS_COLUMNS)
        raise InputError(f"{manifest} has no column of labels ({known}): name it with --class-column")
    if group_column is None and "group" in columns:
        group_column = "group"
    ours = set(MANIFEST_COLUMNS) <= {PATH_COLUMN, *columns}  # the manifest of a dataset, which somebody edited
    found = [_from_row(image, class_column, group_column, ours) for image in images]
    lost = Counter(one for one in found if isinstance(one, str))
    candidates = [one for one in found if isinstance(one, Candidate)]
    source = {"kind": "manifest", "folder": printable(src.name), "manifest": printable(manifest.name)}
    return Import(candidates, source, group_column, dict(lost))


def _from_row(image: SourceImage, class_column: str, group_column: str | None, ours: bool) -> Candidate | str:
    """A candidate, or why there is none. Of a dataset's own manifest the columns that are found anew are dropped."""
    extra = dict(image.columns)
    class_name = extra.pop(class_column).strip()
    group = image.columns[group_column].strip() if group_column else ""
    if not class_name:
        return "no_class"
    if group_column and not group:
        return "no_group"  # it may be of a station that stands on the other side of the split
    source = extra.pop("source") if ours else image.path
    known = {name: extra.pop(name) for name in _CARRIED if name in extra}
    if ours:
        extra = {name: value for name, value in extra.items() if name not in MANIFEST_COLUMNS}
    return Candidate(Path(image.file), class_name, source, group=group, extra=_own_columns(extra), **known)


def from_ecotaxa(src: Path, tables: list[Path], group_column: str, statuses: frozenset[str]) -> Import:
    """EcoTaxa's TSV export: the second line may hold the types; `img_file_name` names the images beside it."""
    candidates = []
    left_out: Counter[str] = Counter()
    for table in tables:
        with opened(table, "EcoTaxa table") as file:
            for row in ecotaxa.read_table(file, table, (ECOTAXA_CLASS, ECOTAXA_STATUS, group_column)):
                found = _from_object(row, table, group_column, statuses)
                if isinstance(found, str):
                    left_out[found] += 1
                else:
                    candidates.append(found)
    if not candidates:
        others = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise DatasetError(
            f"no object of {src} has the status {' or '.join(sorted(statuses))} ({others}): see --status"
        )
    return Import(candidates, {"kind": "ecotaxa", "folder": printable(src.name)}, group_column, dict(left_out))


def _from_object(row: dict[str, str], table: Path, group_column: str, statuses: frozenset[str]) -> Candidate | str:
    """A candidate with all of the object's columns but the annotator's address, or why there is none."""
    status, class_name = row[ECOTAXA_STATUS], row[ECOTAXA_CLASS].strip()
    if status not in statuses:
        return f"status_{status or 'none'}"
    if not class_name:
        return "no_class"
    group = row[group_column].strip()
    if not group:
        return "no_group"
    name, annotator = row[ecotaxa.FILE_COLUMN], row.get(_ECOTAXA_ANNOTATOR, "")
    extra = _own_columns({key: value for key, value in row.items() if key not in _ECOTAXA_OWN and value})
    return Candidate(table.parent / name, class_name, name, group, annotator, extra=extra)


def _own_columns(columns: dict[str, str]) -> dict[str, str]:
    """The survey's columns under names that do not collide with the dataset's own."""
    return {f"survey_{name}" if name in MANIFEST_COLUMNS else name: value for name, value in columns.items() if name}
