"""Camtrap DP packages: ``media.csv`` with the images and ``observations.csv`` with what is on them.

https://camtrap-dp.tdwg.org describes the format, which is the same for every camera: also for cameras under water.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pelagia.dataset.write import Candidate
from pelagia.errors import DatasetError, InputError
from pelagia.sources import Listing, SourceImage
from pelagia.sources.named import NamedFiles
from pelagia.system.files import printable
from pelagia.tables.reader import Table, is_missing, open_table
from pelagia.tables.values import find_column
from pelagia_labeling.importers.imported import Import, survey_columns

MEDIA, OBSERVATIONS = "media.csv", "observations.csv"
GROUP_COLUMN = "deploymentID"
_CLASS_COLUMN = "scientificName"
_TYPE = "observationType"
_LEVEL = "observationLevel"
_KEPT = ("deploymentID", "captureMethod", "lifeStage", "sex", "behavior", "classificationMethod")


def is_camtrap(path: Path) -> bool:
    """Whether a table is one of the two tables of a Camtrap DP package."""
    return path.name in (MEDIA, OBSERVATIONS) and all((path.parent / name).is_file() for name in (MEDIA, OBSERVATIONS))


def from_camtrap(
    src: Path, package: Path, group_column: str | None, class_column: str | None, listing: Listing
) -> Import:
    """The images of a package that have one class, looked for below ``src``.

    Left out and counted: `_why_not`, and observations of an event, which are not of one image (``of_an_event``);
    and images that only the observations name (``not_in_media_table``).

    Args:
        src: the folder that the paths of the images are relative to.
        package: the folder of the two tables.
        group_column: a column of either table; by default the deployment.
        class_column: the column of the observations that holds the class; by default the scientific name.
        listing: the options of the listing; gets warnings.

    Raises:
        InputError: a table cannot be read, lacks a column, or has two images with one media ID.
        DatasetError: no image has a class.
    """
    tables = [open_table(package / name, what="table", warn=listing.warn) for name in (MEDIA, OBSERVATIONS)]
    media, observations = tables
    path = _column(media, listing.options.path_column or "filePath", "--path-column")
    number = _column(media, "mediaID", "")
    classes, of_an_event = _classes(observations, class_column or _CLASS_COLUMN, listing)
    group, files = _group_column(tables, group_column or GROUP_COLUMN), NamedFiles(src, listing)
    left_out = Counter(of_an_event=of_an_event)
    candidates = []
    for medium, row in _media(media, number):
        seen = classes.pop(medium, [])
        columns = {**(seen[0][1] if seen else {}), **row}
        if reason := _why_not({name for name, _ in seen}, columns.get(group, "")):
            left_out[reason] += 1
        else:
            candidates.append(_candidate(files.image(row[path], {}), seen[0][0], columns[group].strip(), columns))
    left_out += Counter(not_in_media_table=len(classes))  # this also removes reasons without an image
    if not candidates:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise DatasetError(f"no image of {media.name} has a class in {OBSERVATIONS} ({reasons}): check --class-column")
    source = {"kind": "camtrap_dp", "folder": printable(src.name), "package": printable(package.name)}
    return Import(candidates, source, group, dict(left_out), listing.warning_texts())


def _media(media: Table, column: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Media ID and row of each image. Raises InputError if two images have one ID: it is not known which was seen."""
    lines: dict[str, int] = {}
    for line, row in media.rows():
        medium = row[column].strip()
        if not is_missing(medium) and (first := lines.setdefault(medium, line)) != line:
            raise InputError(
                f"{media.name}, line {line}: the {column} '{medium}' is on line {first} already: give each image its "
                "own, or remove one of the lines"
            )
        yield medium, row


def _group_column(tables: Sequence[Table], name: str) -> str:
    """``name``, if one of the tables has the column."""
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    if name not in columns:
        raise InputError(f"{tables[0].name} has no column '{name}' (--group-column); it has: {', '.join(columns)}")
    return name


def _why_not(classes: set[str], group: str) -> str:
    """Why an image is left out: no class, several classes or no group; empty if it has one class and a group."""
    if not classes:
        return "no_class"
    if len(classes) > 1:
        return "several_classes"
    return "no_group" if is_missing(group) else ""


def _candidate(image: SourceImage, class_name: str, group: str, columns: Mapping[str, str]) -> Candidate:
    extra = {name: columns[name] for name in _KEPT if columns.get(name)}
    extra |= {"eventDate": columns["timestamp"]} if columns.get("timestamp") else {}
    return Candidate(image.file, class_name, image.path, group=group, extra=survey_columns(extra), reader=image.reader)


def _column(table: Table, name: str, option: str) -> str:
    column = find_column(table.columns, (name,), table.name, option)
    if column is None:
        hint = f" ({option})" if option else ""
        raise InputError(f"{table.name} has no column '{name}'{hint}; it has: {', '.join(table.columns)}")
    return column


def _classes(
    observations: Table, class_column: str, listing: Listing
) -> tuple[dict[str, list[tuple[str, dict[str, str]]]], int]:
    """Media ID -> (class, row) of each observation with a class; and the number of observations of an event.

    An observation of the type ``blank`` says that nothing is on the image. If it names a species, it is not used, and a
    warning says so.
    """
    column = _column(observations, class_column, "--class-column")
    media = _column(observations, "mediaID", "")
    found: dict[str, list[tuple[str, dict[str, str]]]] = {}
    events = 0
    contradictory: list[str] = []
    for _, row in observations.rows():
        if is_missing(row[media]) or row.get(_LEVEL, "").strip().lower() == "event":
            events += 1
        elif is_missing(row[column]):
            continue
        elif column == _CLASS_COLUMN and row.get(_TYPE, "").strip().lower() == "blank":
            contradictory.append(f"'{row[column].strip()}' on {row[media].strip()}")
        else:
            found.setdefault(row[media].strip(), []).append((row[column].strip(), row))
    if contradictory:
        listing.warn(
            f"{observations.name}: {len(contradictory)} observations have the {_TYPE} 'blank' and a {_CLASS_COLUMN}, "
            f"such as {contradictory[0]}: they were not used; correct one of the two columns"
        )
    return found, events
