"""`pelagia dataset export`: a dataset as class folders, or in the format of another program.

To support another format, write a module with a function that takes an `Exporting`, writes below its folder, and
returns what a person should know; and add a line to `FORMATS`.

Invariant: an export has every image of the dataset with the bytes that the manifest promises, or there is no export.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pelagia.dataset.label_columns import ADJUDICATOR, CELLS_VOTES, VOTES
from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import DatasetError, InputError, did_you_mean
from pelagia.system.console import ProgressCallback
from pelagia.system.files import new_folder, printable, sha256_of
from pelagia.system.paths import StrPath
from pelagia_labeling.exports import coco, ecotaxa, folders, imagefolder, label_studio
from pelagia_labeling.exports.exporting import Exporting

FORMATS: dict[str, Callable[[Exporting], list[str]]] = {
    "folders": folders.write,
    "ecotaxa": ecotaxa.write,
    "label-studio": label_studio.write,
    "coco": coco.write,
    "imagefolder": imagefolder.write,
}
"""Name of a format -> the function that writes it and returns what a person should know, one sentence each."""


@dataclass(frozen=True)
class Export:
    """An export: its folder, the number of its images, and what a person should know."""

    out: Path
    images: int
    notes: tuple[str, ...] = field(default=())


def export_dataset(
    dataset: Dataset,
    out: StrPath,
    to: str,
    *,
    status: str = ecotaxa.VALIDATED,
    annotators: bool = False,
    part_bytes: int = ecotaxa.MOST_BYTES,
    progress: ProgressCallback = lambda done, total: None,
) -> Export:
    """Writes the folder ``out``.

    Args:
        dataset: the dataset to export.
        out: the folder to make.
        to: a format of `FORMATS`.
        status: EcoTaxa's status of the labels: ``validated`` or ``predicted``.
        annotators: whether the names or addresses of the people who labeled are exported.
        part_bytes: the largest size of a zip for EcoTaxa.
        progress: called with (images written, total images).

    Raises:
        InputError: ``out`` exists, or there is no such format or status.
        DatasetError: an image is missing or was changed.
    """
    _check_options(to, status)
    out = Path(out)
    records = dataset.records if annotators else tuple(map(_without_people, dataset.records))
    with new_folder(out, "export") as folder:
        work = Exporting(
            dataset,
            records,
            folder,
            printable(out.absolute().name),
            _reader(dataset, records, progress),
            status,
            part_bytes,
        )
        notes = FORMATS[to](work)
    if list(records) != list(dataset.records):
        notes = [*notes, "the people who labeled are not in the export; --annotators puts them in"]
    return Export(out, len(records), tuple(notes))


_PEOPLE = frozenset({"annotators", ADJUDICATOR, VOTES, CELLS_VOTES})


def _without_people(record: Record) -> Record:
    """The row without the names of people, also those of an older version of the dataset that was pushed."""
    extra = {name: value for name, value in record.extra.items() if name.removeprefix("survey_") not in _PEOPLE}
    return replace(record, annotators="", extra=extra)


def _check_options(to: str, status: str) -> None:
    if to not in FORMATS:
        raise InputError(
            f"--to {to}: there is no such format{did_you_mean(to, FORMATS)}; there are: {', '.join(FORMATS)}"
        )
    if status not in ecotaxa.STATUSES:
        raise InputError(f"--status {status} must be one of {', '.join(ecotaxa.STATUSES)}")


def _reader(dataset: Dataset, records: Sequence[Record], progress: ProgressCallback) -> Callable[[Record], bytes]:
    """A function that reads the image of a row, checks its bytes, and reports the progress."""
    done = 0

    def read(record: Record) -> bytes:
        nonlocal done
        try:
            data = dataset.file(record).read_bytes()
        except OSError as error:
            raise DatasetError(
                f"cannot read {dataset.file(record)}: {error.strerror}; `pelagia dataset check` lists all faults"
            ) from None
        if sha256_of(data) != record.sha256:
            raise DatasetError(
                f"the bytes of {dataset.file(record)} have changed: restore the image; `pelagia dataset check` lists "
                "all faults"
            )
        done += 1
        progress(done, len(records))
        return data

    return read
