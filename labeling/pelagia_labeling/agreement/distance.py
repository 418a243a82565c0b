"""How far two classes are apart in the taxonomy: the weight of a disagreement in the weighted alpha."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pelagia.taxonomy import Taxonomy
from pelagia_labeling.agreement.table import Real


def taxonomic_distance(taxonomy: Taxonomy, classes: Sequence[str]) -> Real | None:
    """The length of the path between two classes in the tree of taxa, divided by that of the path over the root: 0..1.

    Each class is a leaf below its taxon. A root stands above the highest taxa; a class without a taxon, such as
    detritus, hangs directly below this root, as does a class that the taxonomy lacks. So two classes without a common
    taxon have the distance 1, whatever the number of ranks above them, and calling a calanoid a cyclopoid is a smaller
    disagreement than calling it detritus. This is one minus the similarity of Wu and Palmer 1994.

    Returns:
        float64, classes x classes; None if all distances are equal, because then the weighted alpha is the nominal one.
    """
    paths = [_path(taxonomy, name) for name in classes]
    longest = max(map(len, paths), default=0)
    numbers: dict[tuple[str, ...], int] = {}
    steps = np.full((len(paths), longest), -1, np.int64)  # each node of the tree is numbered; -1 is below a class
    for row, path in enumerate(paths):
        for depth in range(len(path)):
            steps[row, depth] = numbers.setdefault(path[: depth + 1], len(numbers))
    depths = np.array([len(path) for path in paths])
    shared = ((steps[:, None] == steps[None]) & (steps[:, None] >= 0)).sum(axis=2)
    distance: Real = 1 - 2 * shared / (depths[:, None] + depths[None])
    different = distance[~np.eye(len(paths), dtype=bool)]
    return None if not different.size or different.min() == different.max() else distance


def _path(taxonomy: Taxonomy, name: str) -> tuple[str, ...]:
    """The nodes from below the root down to the class itself."""
    taxa = taxonomy.lineage(name) if name in taxonomy.names else ()
    return (*(f"taxon {taxon.name}" for taxon in taxa), f"class {name}")
