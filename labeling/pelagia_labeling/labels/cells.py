"""The cells that people counted on an image while they labelled it, as one number for the dataset.

Invariant: an image that nobody counted has no number, never 0. These rules hold:

1. Only the votes that count for the label (`consensus.count_votes`) give numbers, and of these only the votes for the
   class that became the label: who saw another organism counted something else.
2. A number is whole, at least 1 and at most `MOST_CELLS`. Every other number is left out and named, also 0.
3. The number of the image is the median of what people counted: the middle one, or the mean of the two in the middle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from pelagia.dataset.label_columns import CELLS_COUNTED, CELLS_VOTES, MOST_CELLS
from pelagia_labeling.labels.consensus import CellVote, Consensus
from pelagia_labeling.tasks.cells_field import is_count

LISTED = 20
"""Number of images of each kind that are named on the terminal."""


@dataclass(frozen=True)
class ImageCells:
    """The cells of one image.

    Attributes:
        used: what people counted, by rules 1 and 2.
        refused: numbers that cannot be one of cells.
        of_other_class: numbers of people who named another class than the label.
    """

    used: tuple[CellVote, ...]
    refused: tuple[CellVote, ...]
    of_other_class: tuple[CellVote, ...]

    @property
    def cells(self) -> float | None:
        """The median; None if nobody counted."""
        return median(vote.cells for vote in self.used) if self.used else None

    @property
    def differ(self) -> bool:
        """Whether people counted different numbers."""
        return len({vote.cells for vote in self.used}) > 1

    @property
    def as_text(self) -> str:
        """Who counted what: ``anna: 4, ben: 6``."""
        return ", ".join(f"{vote.annotator}: {vote.cells:g}" for vote in self.used)

    def columns(self) -> dict[str, str]:
        """The columns of the manifest; none if nobody counted."""
        if self.cells is None:
            return {}
        votes = {CELLS_VOTES: self.as_text} if len(self.used) > 1 else {}
        return {CELLS_COUNTED: f"{self.cells:g}", **votes}


def cells_of(consensus: Consensus) -> ImageCells:
    """The cells of an image with a label."""
    good = [vote for vote in consensus.cells if is_count(vote.cells)]
    return ImageCells(
        used=tuple(vote for vote in good if vote.class_name == consensus.class_name),
        refused=tuple(vote for vote in consensus.cells if not is_count(vote.cells)),
        of_other_class=tuple(vote for vote in good if vote.class_name != consensus.class_name),
    )


@dataclass(frozen=True)
class CellReport:
    """What people counted in a project.

    Attributes:
        asked: whether the labeling page has a field for cells.
        labeled: number of images with a label.
        counted: number of them with a number of cells.
        differing: (path, who counted what, the number that is used) of images that people counted differently.
        refused: (path, person, number) that cannot be one of cells.
        of_other_class: (path, person, number) of people who named another class than the label.
    """

    asked: bool = False
    labeled: int = 0
    counted: int = 0
    differing: tuple[tuple[str, str, float], ...] = ()
    refused: tuple[tuple[str, str, float], ...] = ()
    of_other_class: tuple[tuple[str, str, float], ...] = ()

    def lines(self) -> Iterator[str]:
        """What a person must know of single images, one sentence each."""
        yield from _listed(
            [
                f"counted differently: {path} ({votes}): {cells:g} is used, the median"
                for path, votes, cells in self.differing
            ]
        )
        yield from _listed([_refused(*one) for one in self.refused])
        yield from _listed(
            [
                f"cells not used: {path} ({who}: {cells:g}): this person named another class"
                for path, who, cells in self.of_other_class
            ]
        )

    def summary(self) -> str:
        """How many images were counted; empty if the page does not ask for it."""
        if not self.asked and not self.counted:
            return ""
        differing = f"; {len(self.differing)} of them differently by several people" if self.differing else ""
        return (
            f"cells were counted on {self.counted} of {self.labeled} labeled images{differing}: column {CELLS_COUNTED} "
            "of the manifest"
        )


def _refused(path: str, person: str, cells: float) -> str:
    if cells == 0:
        why = "taken as not counted (Label Studio stores 0 when a number is removed)"
    else:
        why = f"a number of cells is whole, from 1 to {MOST_CELLS}; correct it in Label Studio"
    return f"cells not used: {path} ({person}: {cells:g}): {why}"


NOTHING_COUNTED = CellReport()


def _listed(texts: Sequence[str]) -> Iterator[str]:
    yield from texts[:LISTED]
    if len(texts) > LISTED:
        yield f"... and {len(texts) - LISTED} more images like these"


def cell_report(labeled: Iterable[tuple[str, Consensus]], *, asked: bool) -> CellReport:
    """What people counted.

    Args:
        labeled: path and consensus of each image with a label.
        asked: whether the labeling page has a field for cells.
    """
    found = [(path, cells_of(consensus)) for path, consensus in labeled]
    return CellReport(
        asked=asked,
        labeled=len(found),
        counted=sum(bool(one.used) for _, one in found),
        differing=tuple((path, one.as_text, float(one.cells or 0)) for path, one in found if one.differ),
        refused=tuple((path, vote.annotator, vote.cells) for path, one in found for vote in one.refused),
        of_other_class=tuple((path, vote.annotator, vote.cells) for path, one in found for vote in one.of_other_class),
    )
