"""The classes and the taxa of a survey, and which classes belong to which taxon.

Invariant: a taxon counts all images of the classes below it. Counts of nested taxa overlap, and are never added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.taxonomy import Taxon, Taxonomy

Values = NDArray[np.float64]
CLASS, TAXON, APART = "class", "taxon", "not_named"
_LEAST = 0.5  # a class with fewer images does not make the sum of its taxon unknown


@dataclass(frozen=True)
class Names:
    """What a survey counts.

    Attributes:
        classes: the classes of the model, then other names that people gave, sorted.
        taxa: the taxa with a class below, those with more classes first.
        members: float64, taxa x classes: 1 if the class belongs to the taxon.
    """

    classes: tuple[str, ...]
    taxa: tuple[Taxon, ...]
    members: NDArray[np.float64]


def names_of(classes: Sequence[str], given: Iterable[str], taxonomy: Taxonomy | None) -> Names:
    """The classes and taxa of a survey.

    Args:
        classes: the classes of the model.
        given: the names that people gave. One that is no class but the name of a taxon belongs to the taxon.
        taxonomy: the taxonomy of the model; None: not known, and there are no taxa.
    """
    everything = (*classes, *sorted(set(given) - set(classes)))
    if taxonomy is None:
        return Names(everything, (), np.zeros((0, len(everything))))
    above = [lineage_of(taxonomy, name) for name in everything]
    below = {taxon.name: sum(taxon.name in names for names in above) for taxon in taxonomy.taxa}
    depth = {taxon.name: len(lineage_of(taxonomy, taxon.name)) for taxon in taxonomy.taxa}
    taxa = sorted(
        (taxon for taxon in taxonomy.taxa if below[taxon.name]),
        key=lambda taxon: (-below[taxon.name], depth[taxon.name], taxon.name),
    )
    members = np.array([[taxon.name in names for names in above] for taxon in taxa], np.float64)
    return Names(everything, tuple(taxa), members.reshape(len(taxa), len(everything)))


def lineage_of(taxonomy: Taxonomy, name: str) -> tuple[str, ...]:
    """The names of the taxa above a class, or of a taxon and those above it; empty for a name of neither."""
    parents = {taxon.name: taxon.parent for taxon in taxonomy.taxa}
    classes = {entry.name: entry.taxon for entry in taxonomy.classes}
    node = classes.get(name, name if name in parents else None)
    found: list[str] = []
    while node is not None:
        found.append(node)
        node = parents[node]
    return tuple(found)


class Rows:
    """The rows of a sample's counts.

    Args:
        names: the classes and taxa.
        taxonomy: the taxonomy of the model; None: there are no taxa.
        apart: verdicts that count apart.

    Attributes:
        labels: kind, name and rank of each row.
    """

    def __init__(self, names: Names, taxonomy: Taxonomy | None, apart: Sequence[str]) -> None:
        self.names, self._apart = names, tuple(apart)
        self.labels = [
            *((CLASS, name, "") for name in names.classes),
            *((TAXON, taxon.name, taxon.rank) for taxon in names.taxa),
            *((APART, name, "") for name in self._apart),
        ]
        order = [taxon.name for taxon in names.taxa]
        above = {name: lineage_of(taxonomy, name) for name in order} if taxonomy else {}
        self._above = {name: [order.index(one) for one in lineage] for name, lineage in above.items()}

    def of_classes(self, classes: Values) -> Values:
        """Values of classes, and their sums for the taxa; nothing counts apart."""
        return np.concatenate([classes, self.names.members @ classes, np.zeros(len(self._apart))])

    def of_counts(self, counts: Mapping[str, int], rolled: Mapping[str, int], apart: Mapping[str, int]) -> Values:
        """Counts by class, by taxon alone, and by verdict."""
        found = self.of_classes(np.array([counts.get(name, 0) for name in self.names.classes], np.float64))
        for name, images in rolled.items():
            for index in self._above.get(name, ()):
                found[len(self.names.classes) + index] += images
        if self._apart:
            found[-len(self._apart) :] = [apart.get(name, 0) for name in self._apart]
        return found

    def sums(self, classes: Values, images: Values) -> Values:
        """Values of classes that may be unknown, and their sums: unknown if one of the classes is and has images."""
        empty = np.isnan(classes) & (images[: len(classes)] < _LEAST)
        filled = np.where(empty, 0.0, classes)
        unknown = self.names.members @ np.isnan(filled) > 0
        taxa = np.where(unknown, np.nan, self.names.members @ np.nan_to_num(filled))
        return np.concatenate([classes, taxa, np.full(len(self._apart), np.nan)])

    def largest(self, classes: Values) -> Values:
        """Values of classes that may be unknown, above 0, and the largest known one of each taxon."""
        taxa = (self.names.members * np.nan_to_num(classes)).max(axis=1, initial=0.0)
        return np.concatenate([classes, np.where(taxa > 0, taxa, np.nan), np.full(len(self._apart), np.nan)])
