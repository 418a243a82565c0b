"""An EcoTaxa export: a folder or a zip with tables and images, as `pelagia.sources.ecotaxa` reads it.

Invariant: the annotator's name is stored with the label; other names and e-mail addresses never enter a dataset.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pelagia.dataset.schema import left_out_in_words
from pelagia.dataset.write import Candidate
from pelagia.errors import DatasetError
from pelagia.lineages import Lineage, commonest, parse_lineage
from pelagia.sources import ecotaxa
from pelagia.sources.listing import Listing
from pelagia.system.files import printable
from pelagia.tables.reader import is_missing
from pelagia_labeling.importers.imported import Import, survey_columns

CLASS_COLUMN, STATUS_COLUMN = "object_annotation_category", "object_annotation_status"
GROUP_COLUMN = "sample_id"
"""The column that holds the group of an object, if the caller names no other column."""

DEFAULT_STATUSES = frozenset({"validated"})

_ANNOTATOR_COLUMN, _LINEAGE_COLUMN = "object_annotation_person_name", "object_annotation_hierarchy"
_NOT_EXTRA = frozenset({CLASS_COLUMN, _LINEAGE_COLUMN})


def from_ecotaxa(src: Path, group_column: str, statuses: Collection[str], listing: Listing) -> Import:
    """The objects of an export whose annotation status is in ``statuses``.

    Left out and counted: objects with another status (``status_predicted``, ...), objects without a category
    (``no_class``) and objects without a group (``no_group``); and what the listing leaves out.

    Args:
        src: the folder or the zip.
        group_column: the column of groups: EcoTaxa's name or Pelagia's, in any case.
        statuses: the statuses to take, in any case, as EcoTaxa reads them.
        listing: the options; gets the counts and the warnings.

    Raises:
        InputError: a table cannot be read, or lacks a column.
        DatasetError: no object can be used.
    """
    group_column = _ecotaxas_name(group_column)
    wanted = {_status(status) for status in statuses}
    candidates = []
    left_out: Counter[str] = Counter()
    lineages: dict[str, Counter[Lineage]] = defaultdict(Counter)
    options = ecotaxa.Options((CLASS_COLUMN, STATUS_COLUMN), group_column, everything=True)
    for one in ecotaxa.read_objects(src, listing, options):
        found = _candidate(one, group_column, wanted)
        if isinstance(found, str):
            left_out[found] += 1
            continue
        candidates.append(found)
        if lineage := parse_lineage(one.row.get(_LINEAGE_COLUMN, "")):
            lineages[found.class_name][lineage] += 1
    left_out += listing.left_out
    _require_candidates(candidates, src, left_out, wanted, group_column)
    chosen, said = commonest(lineages)
    for text in said:
        listing.warn(text)
    return Import(candidates, _source(src), group_column, dict(left_out), listing.warning_texts(), lineages=chosen)


def _require_candidates(
    candidates: Sequence[Candidate], src: Path, left_out: Mapping[str, int], statuses: Collection[str], group: str
) -> None:
    if candidates:
        return
    reasons = ", ".join(left_out_in_words(left_out))
    named = " or ".join(sorted(statuses))
    raise DatasetError(
        f"no object of {src} can be used ({reasons or 'its tables have no rows'}): only the status {named} is "
        f"taken, with a value in {CLASS_COLUMN} and in {group}; name other statuses with --status, and another column "
        "of groups with --group-column"
    )


def _ecotaxas_name(column: str) -> str:
    column = column.strip()
    renamed = {new.lower(): name for name, new in ecotaxa.RENAMED.items()}
    return renamed.get(column.lower(), column.lower())


def _status(text: str) -> str:
    """A status as EcoTaxa reads it: without the spaces around it, in lower case; ``none`` if there is none."""
    return "none" if is_missing(text) else text.strip().lower()


def _source(src: Path) -> dict[str, object]:
    found: dict[str, object] = {"kind": "ecotaxa", "folder" if src.is_dir() else "archive": printable(src.name)}
    found["tables"] = list(ecotaxa.tables_of(src))
    return found


def _candidate(one: ecotaxa.Object, group_column: str, statuses: Collection[str]) -> Candidate | str:
    """A candidate with all of the object's columns except names and addresses of people; or why there is none."""
    row, image = one.row, one.image
    status, class_name = _status(row[STATUS_COLUMN]), row[CLASS_COLUMN]
    if status not in statuses:
        return f"status_{printable(status)}"
    if is_missing(class_name):
        return "no_class"
    group = row[group_column]
    if is_missing(group):
        return "no_group"  # its real group may be in another split
    annotator = row.get(_ANNOTATOR_COLUMN, "")
    extra = {name: value for name, value in image.columns.items() if name not in _NOT_EXTRA}
    return Candidate(
        image.file,
        class_name.strip(),
        image.path,
        group.strip(),
        "" if is_missing(annotator) else annotator.strip(),
        extra=survey_columns(extra),
        reader=image.reader,
    )
