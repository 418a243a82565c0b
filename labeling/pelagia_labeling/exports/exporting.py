"""What a format gets to write: the rows, the folder, and a function that reads an image and checks its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pelagia.dataset.schema import Dataset, Record


@dataclass(frozen=True)
class Exporting:
    """One export.

    Attributes:
        dataset: the dataset.
        records: its rows, without the annotators unless they are wanted.
        folder: the folder to write into; it gets its name when everything is written.
        name: the name that the folder will have.
        read: returns the bytes of the image of a row, or raises DatasetError if they have changed.
        status: EcoTaxa's status of the labels.
        part_bytes: the largest size of a zip for EcoTaxa.
    """

    dataset: Dataset
    records: Sequence[Record]
    folder: Path
    name: str
    read: Callable[[Record], bytes]
    status: str
    part_bytes: int

    def copy(self, record: Record, path: str) -> None:
        """Writes the image of a row to ``path`` below the folder."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:  # never over another image
            file.write(self.read(record))


def extra_columns(records: Iterable[Record]) -> list[str]:
    """The names of the survey's other columns, sorted; only those that have a value."""
    return sorted({name for record in records for name, value in record.extra.items() if value})
