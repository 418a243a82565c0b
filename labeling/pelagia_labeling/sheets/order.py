"""Which crops stand together on a sheet, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pelagia.embeddings import Embeddings
from pelagia_labeling.tasks.prelabels import Prelabel

LARGEST_CHAIN = 2000
"""More images than this are first divided into clusters, because the time of a chain grows with the square."""

CLUSTER_SHEETS = 3
"""Without predictions, how many sheets a cluster has on average."""


def divide(
    sha256: Sequence[str],
    size: int,
    suggested: Mapping[str, Prelabel],
    classes: Sequence[str],
    embeddings: Embeddings | None,
) -> list[list[str]]:
    """Divides images into sheets. A sheet has images of one suggested class, or without suggestions of one cluster.

    With embeddings, the images of a class are in an order in which similar ones follow each other; otherwise the least
    sure are first. Images without a suggestion come last. The result depends only on the arguments.

    Args:
        sha256: SHA-256 of each image.
        size: most images of a sheet.
        suggested: SHA-256 -> what the model says. What it does not accept gets sheets of its own.
        classes: all classes, in the order in which their sheets come.
        embeddings: embeddings of the images, if there are any.
    """
    groups: dict[tuple[str, bool], list[str]] = {(name, sure): [] for name in classes for sure in (True, False)}
    groups["", False] = []
    for one in sha256:
        groups[(suggested[one].class_name, suggested[one].accepted) if one in suggested else ("", False)].append(one)
    rows = embeddings.index() if embeddings is not None else {}
    sheets: list[list[str]] = []
    for (name, _), group in groups.items():
        if name:
            group.sort(key=lambda one: suggested[one].probability)
        known = [one for one in group if one in rows]
        others = [one for one in group if one not in rows]
        parts = [known]
        if embeddings is not None and known:
            vectors = embeddings.vectors[[rows[one] for one in known]]
            clusters = 1 if name else -(-len(known) // (CLUSTER_SHEETS * size))
            parts = [[known[row] for row in part] for part in by_similarity(vectors, clusters)]
        parts = [*parts[:-1], parts[-1] + others] if name else [*parts, others]
        sheets += [part[start : start + size] for part in parts for start in range(0, len(part), size)]
    return sheets


def by_similarity(vectors: NDArray[np.floating], clusters: int = 1) -> list[list[int]]:
    """Rows of ``vectors`` in an order in which similar vectors follow each other, in ``clusters`` lists.

    Each list begins with its most typical vector, and goes on with the nearest one that is left (cosine).

    Args:
        vectors: N x D, of any length.
        clusters: number of lists, by k-means; some may be empty and are left out.
    """
    unit = np.asarray(vectors, np.float32)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    parts = _clusters(unit, clusters)
    chains = []
    for part in parts:
        inner = _clusters(unit[part], -(-len(part) // LARGEST_CHAIN))
        chains.append([int(part[row]) for rows in inner for row in rows[_chain(unit[part][rows])]])
    return chains


def _clusters(unit: NDArray[np.float32], clusters: int) -> list[NDArray[np.intp]]:
    if clusters <= 1 or len(unit) <= clusters:
        return [np.arange(len(unit))]
    from sklearn.cluster import MiniBatchKMeans

    found = MiniBatchKMeans(clusters, random_state=0, n_init=1).fit_predict(unit)
    return [rows for number in range(clusters) if len(rows := np.flatnonzero(found == number))]


def _chain(unit: NDArray[np.float32]) -> NDArray[np.intp]:
    """The greedy chain of nearest neighbors, from the vector that is nearest to the mean."""
    left = np.ones(len(unit), bool)
    at = int(np.argmax(unit @ unit.mean(axis=0)))
    order = [at]
    left[at] = False
    for _ in range(len(unit) - 1):
        at = int(np.argmax(np.where(left, unit @ unit[at], -np.inf)))
        order.append(at)
        left[at] = False
    return np.array(order, np.intp)
