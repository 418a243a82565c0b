"""How far people agree who counted the cells of the same images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean


@dataclass(frozen=True, slots=True)
class CellAgreement:
    """The agreement on the number of cells. All figures but ``images`` are of the images that several people counted.

    Attributes:
        images: images on which somebody counted the cells.
        shared: images that two or more people counted.
        same: images on which all of them counted the same number.
        difference: mean difference of two people's numbers for one image, in cells; None: no image is shared.
        relative: the same as a share of the mean of the two numbers.
    """

    images: int
    shared: int
    same: int
    difference: float | None
    relative: float | None

    def text(self) -> str:
        """The figures in one sentence."""
        if self.difference is None or self.relative is None:
            return f"cells: {self.images} images were counted, none of them by two people"
        return (
            f"cells: {self.images} images were counted, {self.shared} of them by two or more people; on {self.same} of "
            f"these all counted the same; two people differ by {self.difference:.2f} cells on average "
            f"({self.relative:.0%} of their mean)"
        )


def cell_agreement(counts: Iterable[Sequence[float]]) -> CellAgreement | None:
    """The agreement on the number of cells; None if nobody counted.

    Args:
        counts: for each image, the number of each person who counted it; each number is at least 1.
    """
    counted = [numbers for numbers in counts if numbers]
    if not counted:
        return None
    shared = [numbers for numbers in counted if len(numbers) > 1]
    same = sum(len(set(numbers)) == 1 for numbers in shared)
    apart = [fmean(abs(one - other) for one, other in combinations(numbers, 2)) for numbers in shared]
    relative = [
        fmean(abs(one - other) / ((one + other) / 2) for one, other in combinations(numbers, 2)) for numbers in shared
    ]
    return CellAgreement(
        len(counted), len(shared), same, fmean(apart) if apart else None, fmean(relative) if relative else None
    )
