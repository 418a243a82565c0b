"""An EcoTaxa export: ``ecotaxa*.tsv`` tables with the images beside them.

Invariant: the annotator's name is stored with the label; the annotator's e-mail address never enters a dataset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from pelagia.dataset.write import Candidate
from pelagia.errors import DatasetError
from pelagia.sources import ecotaxa
from pelagia.sources.manifest import opened
from pelagia.system.files import printable
from pelagia_labeling.importers.imported import Import, survey_columns

CLASS_COLUMN, STATUS_COLUMN = "object_annotation_category", "object_annotation_status"
GROUP_COLUMN = "sample_id"
"""The column that holds the group of an object, if the caller names no other column."""

DEFAULT_STATUSES = frozenset({"validated"})

_ANNOTATOR_COLUMN = "object_annotation_person_name"
_NOT_EXTRA = (ecotaxa.FILE_COLUMN, CLASS_COLUMN, _ANNOTATOR_COLUMN, "object_annotation_person_email")


def find_tables(src: Path) -> list[Path]:
    """The EcoTaxa tables of a folder, sorted by name; empty if the folder is not an EcoTaxa export."""
    return sorted(src.glob("ecotaxa*.tsv"))


def from_ecotaxa(src: Path, tables: Sequence[Path], group_column: str, statuses: Collection[str]) -> Import:
    """The objects of an export whose annotation status is in ``statuses``.

    Left out and counted: objects with another status (``status_predicted``, ...), objects without a category
    (``no_class``) and objects without a group (``no_group``).

    Raises:
        InputError: a table cannot be read, or lacks a column.
        DatasetError: no object can be used.
    """
    candidates = []
    left_out: Counter[str] = Counter()
    for table in tables:
        with opened(table, "EcoTaxa table") as file:
            for row in ecotaxa.read_table(file, table, (CLASS_COLUMN, STATUS_COLUMN, group_column)):
                found = _candidate(row, table, group_column, statuses)
                if isinstance(found, str):
                    left_out[found] += 1
                else:
                    candidates.append(found)
    if not candidates:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        wanted = " or ".join(sorted(statuses))
        raise DatasetError(
            f"no object of {src} can be used ({reasons or 'its tables have no rows'}): only the status {wanted} is "
            "taken; name other statuses with --status, and check the columns of the category and the group"
        )
    return Import(candidates, {"kind": "ecotaxa", "folder": printable(src.name)}, group_column, dict(left_out))


def _candidate(row: dict[str, str], table: Path, group_column: str, statuses: Collection[str]) -> Candidate | str:
    """A candidate with all of the object's columns except the annotator's e-mail address; or why there is none."""
    status, class_name = row[STATUS_COLUMN], row[CLASS_COLUMN].strip()
    if status not in statuses:
        return f"status_{status or 'none'}"
    if not class_name:
        return "no_class"
    group = row[group_column].strip()
    if not group:
        return "no_group"
    name, annotator = row[ecotaxa.FILE_COLUMN], row.get(_ANNOTATOR_COLUMN, "")
    extra = survey_columns({key: value for key, value in row.items() if key not in _NOT_EXTRA and value})
    return Candidate(table.parent / name, class_name, name, group, annotator, extra=extra)
