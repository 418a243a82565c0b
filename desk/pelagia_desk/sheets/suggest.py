"""Which class each crop is suggested as: its pre-label, what the most similar crops have, or the next likely class.

Invariant: a suggestion changes no label. It decides under which class a crop is shown, and the person decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from pelagia_desk.sheets import similar
from pelagia_desk.sheets.crops import Crop
from pelagia_desk.sheets.vectors import Vectors

MOST_LIKELY = 9

Reference = tuple[similar.Vectors, list[str], list[float]]
"""Vectors of crops by whose classes others are judged, their classes, and how much each counts."""

MOST_JUDGES = 4000


class Suggestions:
    """The suggestions of all crops of a project.

    Args:
        crops: the crops.
        names: the classes to choose from.
        vectors: the vectors of the crops.
    """

    def __init__(self, crops: Sequence[Crop], names: Sequence[str], vectors: Vectors) -> None:
        self._crops, self._names, self._vectors = crops, names, vectors

    def follow_neighbors(self) -> None:
        """Shows a crop first under the class of the most similar crops, if they contradict its pre-label."""
        crops = [crop for crop in self._crops if crop.guess and crop.label is None and self._vectors.known[crop.row]]
        judges = [crop for crop in self._crops if self._vectors.known[crop.row] and said_of(crop)]
        if len(judges) > MOST_JUDGES:
            judges = [judges[place] for place in np.linspace(0, len(judges) - 1, MOST_JUDGES).astype(int)]
        place = {crop.row: number for number, crop in enumerate(judges)}
        found = similar.contradicted(
            self._vectors.matrix[[crop.row for crop in crops]],
            [crop.guess for crop in crops],
            [0.9 if crop.score is None else crop.score for crop in crops],
            self._vectors.matrix[[crop.row for crop in judges]],
            [said_of(crop) for crop in judges],
            np.array([place.get(crop.row, -1) for crop in crops], np.intp),
        )
        for row, class_name in found.items():
            crops[row].home = crops[row].suggestion = class_name

    def choose(self, crops: Iterable[Crop]) -> None:
        """Chooses the class under which each crop is shown: its first one, or the likeliest that was not rejected."""
        reference = None
        for crop in crops:
            crop.suggestion = crop.home
            if crop.home in crop.rejected or (crop.rejected and crop.home not in self._names):
                reference = self.reference() if reference is None else reference
                crop.suggestion = next(iter(self.likely(crop, reference)), "")

    def likely(self, crop: Crop, reference: Reference) -> list[str]:
        """The likeliest classes of a crop without the rejected ones, the best first, at most MOST_LIKELY."""
        vectors, names, weights = reference
        common = [name for name, _ in Counter(names).most_common()]
        vector = self._vectors.matrix[crop.row] if self._vectors.known[crop.row] else None
        guess = [name for name in (crop.home, crop.guess) if name in self._names]
        found = similar.likely(vector, vectors, names, weights, guess + common)
        return [name for name in found if name not in crop.rejected][:MOST_LIKELY]

    def reference(self) -> Reference:
        """The crops by whose classes others are judged: labeled ones, and with less weight those with a pre-label.

        Of more than MOST_JUDGES, evenly spaced ones.
        """
        found: list[tuple[int, str, float]] = []
        for crop in self._crops:
            if not self._vectors.known[crop.row]:
                continue
            if crop.label is not None and crop.label[0] == "named":
                found.append((crop.row, crop.label[1], 1.0))
            elif crop.label is None and crop.guess and not crop.rejected:
                found.append((crop.row, crop.guess, 0.3 * (crop.score or 0.5)))
        if len(found) > MOST_JUDGES:
            found = [found[place] for place in np.linspace(0, len(found) - 1, MOST_JUDGES).astype(int)]
        matrix = self._vectors.matrix[np.array([row for row, _, _ in found], np.intp)]
        return matrix, [name for _, name, _ in found], [weight for _, _, weight in found]


def said_of(crop: Crop) -> str:
    """The class of a crop: its label if it has one, otherwise its pre-label; empty if it has neither."""
    return crop.guess if crop.label is None else crop.label[1]
