"""A CSV manifest: one row per image, with its path, its label and any other columns.

The manifest of a Pelagia dataset can be edited by hand and imported again: the columns that Pelagia wrote keep their
meaning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from pelagia.dataset.schema import MANIFEST_COLUMNS
from pelagia.dataset.write import Candidate
from pelagia.errors import InputError, did_you_mean
from pelagia.sources import PATH_COLUMN, SourceImage, read_manifest
from pelagia.system.files import printable
from pelagia_labeling.importers.imported import Import, survey_columns

CLASS_COLUMNS = ("class", "label", "category")
"""If the caller names no column of labels, it is the first of these columns that the manifest has."""

_KEPT_COLUMNS = ("annotators", "agreement", "licence")


def from_manifest(src: Path, manifest: Path, group_column: str | None, class_column: str | None) -> Import:
    """The images of a CSV whose paths are relative to ``src``. Other columns are kept as additional columns.

    Left out and counted: rows without a label (``no_class``) and rows without a group (``no_group``).

    Args:
        src: the folder of the images.
        manifest: the CSV file.
        group_column: the column of groups; by default the column ``group``, if the manifest has it.
        class_column: the column of labels; by default the first of `CLASS_COLUMNS` that the manifest has.

    Raises:
        InputError: the manifest cannot be read, or lacks a column.
    """
    images = list(read_manifest(manifest, root=src))
    columns = list(images[0].columns)
    class_column, group_column = _choose_columns(manifest, columns, class_column, group_column)
    of_dataset = set(MANIFEST_COLUMNS) <= {PATH_COLUMN, *columns}
    found = [_candidate(image, class_column, group_column, of_dataset) for image in images]
    candidates = [entry for entry in found if isinstance(entry, Candidate)]
    left_out = Counter(entry for entry in found if isinstance(entry, str))
    source = {"kind": "manifest", "folder": printable(src.name), "manifest": printable(manifest.name)}
    return Import(candidates, source, group_column, dict(left_out), split_name="split" if of_dataset else "")


def _choose_columns(
    manifest: Path, columns: Collection[str], class_column: str | None, group_column: str | None
) -> tuple[str, str | None]:
    """The columns of labels and of groups: the columns that the caller names, or else the default columns."""
    for name, option in ((class_column, "--class-column"), (group_column, "--group-column")):
        if name is not None and name not in columns:
            guess = did_you_mean(name, columns)
            raise InputError(f"{manifest} has no column '{name}'{guess} ({option}); it has: {', '.join(columns)}")
    class_column = class_column or next((name for name in CLASS_COLUMNS if name in columns), None)
    if class_column is None:
        usual = ", ".join(CLASS_COLUMNS)
        raise InputError(f"{manifest} has no column of labels ({usual}): name it with --class-column")
    return class_column, group_column or ("group" if "group" in columns else None)


def _candidate(image: SourceImage, class_column: str, group_column: str | None, of_dataset: bool) -> Candidate | str:
    """A candidate, or the reason why the image is left out.

    Args:
        image: the image and its row of the manifest.
        class_column: the column of labels.
        group_column: the column of groups; None if there is no such column.
        of_dataset: whether the manifest is that of a Pelagia dataset; the columns that a new dataset computes (size,
            ...) are then dropped.
    """
    extra = dict(image.columns)
    class_name = extra.pop(class_column).strip()
    group = image.columns[group_column].strip() if group_column else ""
    if not class_name:
        return "no_class"
    if group_column and not group:
        return "no_group"  # its real group may be in another split
    source = extra.pop("source") if of_dataset else image.path
    annotators, agreement, licence = (extra.pop(name, "") for name in _KEPT_COLUMNS)
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
        split=image.columns["split"] if of_dataset else "",
        reader=image.reader,
    )
