"""Which crops are similar: the order on a sheet, neighbors, clusters, and likely classes. Pure functions of vectors.

All vectors are float32, N x D, each of length 1, so the product of two is the cosine of their angle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Rows = NDArray[np.intp]
MOST_SEEDS = 256
NEIGHBORS = 25
CONTRADICTION = 3.0
"""How many times the share of a class among the neighbors must exceed that of the suggestion; see `contradicted`."""


def normalized(vectors: NDArray[np.floating]) -> Vectors:
    """The vectors with length 1; a vector of zeros stays. float, N x D."""
    found = vectors.astype(np.float32)
    found[~np.isfinite(found)] = 0
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.where(length > 0, length, 1), np.float32)


def next_sheet(vectors: Vectors, size: int) -> Rows:
    """The rows of the next sheet: the crop nearest to the middle of all, and those most similar to it, in a chain.

    So the first sheets of a class hold its most typical crops, and each sheet holds crops that look alike.
    """
    if not len(vectors):
        return np.zeros(0, np.intp)
    middle = int(np.argmax(vectors @ vectors.mean(axis=0)))
    near = np.argsort(-(vectors @ vectors[middle]), kind="stable")[:size]
    return np.asarray(near[chain(vectors[near])], np.intp)


def chain(vectors: Vectors) -> Rows:
    """An order in which each crop is followed by the most similar one of those that are left, from the first row."""
    count = len(vectors)
    if count < 2:
        return np.arange(count, dtype=np.intp)
    near = vectors @ vectors.T
    order, left = [0], np.ones(count, bool)
    left[0] = False
    for _ in range(count - 1):
        following = int(np.argmax(np.where(left, near[order[-1]], -np.inf)))
        order.append(following)
        left[following] = False
    return np.array(order, np.intp)


def nearest(matrix: Vectors, rows: Rows, seeds: Vectors) -> Rows:
    """Some rows of a matrix, the nearest to any of the seeds first. The memory that it needs does not grow with them.

    Args:
        matrix: N x D.
        rows: the rows to order.
        seeds: M x D; of more than MOST_SEEDS, evenly spaced ones are used.
    """
    if len(seeds) > MOST_SEEDS:
        seeds = seeds[np.linspace(0, len(seeds) - 1, MOST_SEEDS).astype(int)]
    parts = np.array_split(rows, len(rows) // 10_000 + 1)
    best = np.concatenate([(matrix[part] @ seeds.T).max(axis=1) for part in parts])
    return np.asarray(rows[np.argsort(-best, kind="stable")], np.intp)


def clusters(vectors: Vectors, seed: int = 0) -> NDArray[np.intp]:
    """The cluster of each row: k-means with about 60 crops a cluster, at most 200 clusters."""
    if not len(vectors):
        return np.zeros(0, np.intp)
    from sklearn.cluster import MiniBatchKMeans

    count = int(np.clip(len(vectors) // 60, 1, 200))
    found = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=2048).fit_predict(vectors)
    return np.asarray(found, np.intp)


def contradicted(
    vectors: Vectors, names: Sequence[str], scores: Sequence[float], judges: Vectors, said: Sequence[str], own: Rows
) -> dict[int, str]:
    """Rows whose suggestion the most similar crops contradict -> the class that these have.

    A row moves to the class with the largest share of its neighbors' votes if that share is much larger than the share
    of its own class, and the more so the surer the suggestion is.

    Args:
        vectors: N x D, crops with a suggestion.
        names: their suggestions.
        scores: probabilities of the suggestions, 0..1.
        judges: M x D, crops by whose classes others are judged.
        said: their classes.
        own: for each row the row of the same crop among the judges; -1 if it is not there.
    """
    classes = sorted({*names, *said})
    column = {name: place for place, name in enumerate(classes)}
    columns = np.array([column[name] for name in said], np.intp)
    found: dict[int, str] = {}
    count = min(NEIGHBORS, len(judges) - 1)
    if count < 1:
        return found
    for start in range(0, len(vectors), 2000):
        near = vectors[start : start + 2000] @ judges.T
        rows = np.arange(len(near))
        present = own[start : start + 2000] >= 0
        near[rows[present], own[start : start + 2000][present]] = -1  # no crop is a neighbor of its own
        nearest_rows = np.argpartition(-near, count - 1, axis=1)[:, :count]
        weights = np.maximum(np.take_along_axis(near, nearest_rows, axis=1), 0) ** 4
        votes = np.zeros((len(near), len(classes)), np.float32)
        np.add.at(votes, (rows[:, None], columns[nearest_rows]), weights)
        votes /= np.maximum(votes.sum(axis=1, keepdims=True), 1e-9)
        for row, share in enumerate(votes):
            name, sure = names[start + row], scores[start + row]
            best = int(np.argmax(share))
            limit = CONTRADICTION * (share[column[name]] + 0.1) * sure / (1.3 - sure)
            if classes[best] != name and share[best] > limit:
                found[start + row] = classes[best]
    return found


def likely(
    vector: Vectors | None, vectors: Vectors, names: Sequence[str], weights: Sequence[float], common: Sequence[str]
) -> list[str]:
    """Classes, the likeliest first: those of the nearest neighbors by their similarity and weight, then common ones.

    Args:
        vector: D, the crop in question; None if it has no vector.
        vectors: N x D, crops with a label or a suggestion.
        names: the class of each of these.
        weights: how much each counts.
        common: classes that follow, in order.
    """
    votes: Counter[str] = Counter()
    if vector is not None and len(vectors):
        near = vectors @ vector
        for row in np.argsort(-near, kind="stable")[:NEIGHBORS]:
            votes[names[row]] += max(float(near[row]), 0.0) ** 4 * weights[row]
    return list(dict.fromkeys([name for name, _ in votes.most_common()] + list(common)))
