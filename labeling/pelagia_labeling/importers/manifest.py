"""A manifest: a table with one row per image, with its path, its label and any other columns.

The manifest of a Pelagia dataset can be edited by hand and imported again: the columns that Pelagia wrote keep their
meaning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pelagia.dataset.schema import MANIFEST_COLUMNS
from pelagia.dataset.write import Candidate
from pelagia.errors import InputError, did_you_mean, first_few
from pelagia.sources import PATH_COLUMN, Listing, SourceImage, read_manifest
from pelagia.system.files import printable
from pelagia.tables.reader import is_missing
from pelagia.tables.values import find_column, plain_name
from pelagia_labeling.importers.imported import Import, survey_columns

CLASS_COLUMNS = (
    "class",
    "label",
    "category",
    "class_name",
    "taxon",
    "taxon_name",
    "scientific_name",
    "species",
    "annotation",
    "object_annotation_category",
)
"""If the caller names no column of labels, it is the first of these columns that the manifest has (`find_column`)."""

_KEPT_COLUMNS = ("annotators", "agreement", "licence")
_SILENTLY_MISSING = frozenset({"", "na", "n/a", "nan", "#n/a"})


def from_manifest(
    src: Path, manifest: Path, group_column: str | None, class_column: str | None, listing: Listing
) -> Import:
    """The images of a table whose paths are relative to ``src``. Other columns are kept as additional columns.

    Left out and counted: rows without a label (``no_class``) and rows without a group (``no_group``). What counts as no
    value is in `pelagia.tables.values.MISSING`.

    Args:
        src: the folder of the images.
        manifest: the table.
        group_column: the column of groups; by default the column ``group``, if the manifest has it.
        class_column: the column of labels; by default the first of `CLASS_COLUMNS` that the manifest has.
        listing: the options of the listing; gets warnings.

    Raises:
        InputError: the manifest cannot be read, or lacks a column.
    """
    images = list(read_manifest(manifest, root=src, listing=listing))
    columns = list(images[0].columns)
    label, group = _choose_columns(manifest, columns, class_column, group_column, listing)
    of_dataset = set(MANIFEST_COLUMNS) <= {PATH_COLUMN, *columns}
    found = [_candidate(image, label, group, of_dataset) for image in images]
    candidates = [entry for entry in found if isinstance(entry, Candidate)]
    left_out = Counter(entry for entry in found if isinstance(entry, str))
    warn_of_missing(Counter(image.columns[label].strip() for image in images), label, listing)
    source = {"kind": "manifest", "folder": printable(src.name), "manifest": printable(manifest.name)}
    split_name = "split" if of_dataset else ""
    return Import(candidates, source, group, dict(left_out), listing.warning_texts(), split_name)


def warn_of_missing(labels: Counter[str], column: str, listing: Listing) -> None:
    """Warns of labels that count as missing though they may be a class, such as ``None``."""
    for text, count in labels.items():
        if is_missing(text) and text.lower() not in _SILENTLY_MISSING:
            listing.warn(f"{count} images have '{text}' in the column '{column}', which counts as no class")


def _choose_columns(
    manifest: Path, columns: Sequence[str], class_column: str | None, group_column: str | None, listing: Listing
) -> tuple[str, str | None]:
    """The columns of labels and of groups: the columns that the caller names, or else the default columns."""
    label = _named(manifest, columns, class_column, "--class-column")
    group = _named(manifest, columns, group_column, "--group-column")
    if label is None:
        label = find_column(columns, CLASS_COLUMNS, str(manifest), "--class-column")
        if label is None:
            usual = ", ".join(CLASS_COLUMNS)
            known = first_few(columns, 30)
            raise InputError(
                f"{manifest} has no column of labels ({usual}): name it with --class-column; it has: {known}"
            )
        _warn_of_others(manifest, columns, label, listing)
    return label, group or find_column(columns, ("group",), str(manifest), "--group-column")


def _named(manifest: Path, columns: Sequence[str], name: str | None, option: str) -> str | None:
    if name is None:
        return None
    column = find_column(columns, (name,), str(manifest), option)
    if column is None:
        guess = did_you_mean(name, columns)
        raise InputError(f"{manifest} has no column '{name}'{guess} ({option}); it has: {', '.join(columns)}")
    return column


def _warn_of_others(manifest: Path, columns: Iterable[str], label: str, listing: Listing) -> None:
    usual = {plain_name(name) for name in CLASS_COLUMNS}
    others = [f"'{name}'" for name in columns if name != label and plain_name(name) in usual]
    if others:
        listing.warn(
            f"{manifest}: the labels were read from the column '{label}', not from {' or '.join(others)}; "
            "--class-column names another one"
        )


def _candidate(image: SourceImage, class_column: str, group_column: str | None, of_dataset: bool) -> Candidate | str:
    """A candidate, or the reason why the image is left out.

    Args:
        image: the image and its row of the manifest.
        class_column: the column of labels.
        group_column: the column of groups; None if there is no such column.
        of_dataset: whether the manifest is that of a Pelagia dataset; the columns that a new dataset computes (size,
            split, ...) are then dropped.
    """
    extra = dict(image.columns)
    class_name = extra.pop(class_column).strip()
    group = image.columns[group_column].strip() if group_column else ""
    if not class_name or (is_missing(class_name) and not of_dataset):
        return "no_class"
    if group_column and is_missing(group):
        return "no_group"  # its real group may be in another split
    source = extra.pop("source") if of_dataset else image.path
    annotators, agreement, licence = (extra.pop(name, "") for name in _KEPT_COLUMNS)
    split = image.columns["split"] if of_dataset else ""
    if of_dataset:
        extra = {name: value for name, value in extra.items() if name not in MANIFEST_COLUMNS}
    return Candidate(
        image.file,
        class_name,
        source,
        group=group,
        annotators=annotators,
        agreement=agreement,
        licence=licence,
        extra=survey_columns(extra),
        reader=image.reader,
        split=split,
    )
