"""The classes and the taxa of a survey, and which classes belong to which taxon.

Invariant: a taxon counts all images of the classes below it. Counts of nested taxa overlap, and are never added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.taxonomy import Taxon, Taxonomy


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
