"""How the next images to label are chosen.

A strategy gets a `Pool`, the rows that are still free, and the rows that are taken already, and returns some of the
free rows in the order in which they should be labelled. It never returns a row twice, and the same random numbers give
the same rows. Memory is bounded: distances are computed for a chunk of rows at a time.

Sources: margin and entropy: Settles 2009, "Active Learning Literature Survey". k-centre: the greedy method of Sener and
Savarese 2018, "Active Learning for Convolutional Neural Networks: A Core-Set Approach". margin-clusters: uncertain
images first, then one for each of their clusters, as in Citovsky et al. 2021, "Batch Active Learning at Scale", and
Zhdanov 2019, "Diverse mini-batch Active Learning".
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia_labeling.selection.pool import Floats, Pool, Rows

MORE = 5
"""margin-clusters looks at so many times as many uncertain images as are wanted."""
_CHUNK = 16384
_MINI_BATCH = 4096
_EXACT = 20_000
"""Up to so many images, k-means uses all of them in each step; above, mini-batches."""


@dataclass(frozen=True)
class Picks:
    """Chosen rows in order.

    Attributes:
        rows: the rows.
        scores: float32, one for each row: why it was chosen; higher comes first where the strategy ranks by it.
    """

    rows: Rows
    scores: Floats

    @classmethod
    def ranked(cls, rows: Rows, scores: NDArray[np.floating], count: int) -> Picks:
        """The ``count`` rows with the highest scores; of equal scores, the first row."""
        order = np.argsort(-scores, kind="stable")[:count]
        return cls(rows[order], scores[order].astype(np.float32))


Strategy = Callable[[Pool, Rows, Rows, int, np.random.Generator], Picks]
"""Pool, free rows, taken rows, how many to choose, random numbers -> rows."""


# ---- one number for each image


def margin_scores(probabilities: Floats) -> Floats:
    """1 minus the difference of the two highest probabilities: float32, N, 0..1; 1 is the least sure."""
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities), np.float32)
    highest = -np.partition(-probabilities, 1, axis=1)[:, :2]
    return np.asarray(1 - (highest[:, 0] - highest[:, 1]), np.float32)


def entropy_scores(probabilities: Floats) -> Floats:
    """The entropy as a share of the largest possible one: float32, N, 0..1."""
    logs = np.log(np.maximum(probabilities, np.float32(1e-12)))
    sums = -(probabilities * logs).sum(axis=1) / np.log(max(2, probabilities.shape[1]))
    return np.asarray(sums, np.float32)


def _by_margin(pool: Pool, free: Rows, taken: Rows, count: int, random: np.random.Generator) -> Picks:
    return Picks.ranked(free, margin_scores(_known(pool.probabilities)[free]), count)


def _by_entropy(pool: Pool, free: Rows, taken: Rows, count: int, random: np.random.Generator) -> Picks:
    return Picks.ranked(free, entropy_scores(_known(pool.probabilities)[free]), count)


def _by_unknown(pool: Pool, free: Rows, taken: Rows, count: int, random: np.random.Generator) -> Picks:
    return Picks.ranked(free, _known(pool.unknown)[free], count)


def _by_disagreement(pool: Pool, free: Rows, taken: Rows, count: int, random: np.random.Generator) -> Picks:
    return Picks.ranked(free, _known(pool.disagreement)[free], count)


def _by_chance(pool: Pool, free: Rows, taken: Rows, count: int, random: np.random.Generator) -> Picks:
    """Each free row with the same probability, which is the score: what is measured on them is unbiased."""
    rows = np.sort(random.choice(free, min(count, len(free)), replace=False))
    rows = random.permutation(rows)
    return Picks(rows, np.full(len(rows), len(rows) / len(free), np.float32))


# ---- images that differ


def _by_centers(pool: Pool, free: Rows, taken: Rows, count: int, random: np.random.Generator) -> Picks:
    """Greedy k-centre: each time the image that is farthest from all images that are labelled or chosen."""
    vectors = _known(pool.vectors)
    nearest: Floats = np.full(len(free), np.inf, np.float32)
    for known in (pool.labeled, vectors[taken] if len(taken) else None):
        if known is not None and len(known):
            nearest = np.minimum(nearest, _distance_to_nearest(vectors, free, known))
    if not np.isfinite(nearest).any():
        first = int(np.argmax(vectors[free] @ vectors[free].mean(axis=0)))  # the most typical image
    else:
        first = int(nearest.argmax())
    chosen, scores = [], []
    at = first
    own = vectors[free]
    for _ in range(min(count, len(free))):
        chosen.append(at)
        scores.append(nearest[at] if np.isfinite(nearest[at]) else 2.0)
        nearest = np.minimum(nearest, 1 - own @ own[at])
        nearest[at] = -1
        at = int(nearest.argmax())
    return Picks(free[chosen], np.array(scores, np.float32))


def _by_clusters(pool: Pool, free: Rows, taken: Rows, count: int, random: np.random.Generator) -> Picks:
    """k-means with as many clusters as images are wanted, and of each cluster the image nearest to its center.

    The largest cluster comes first, so that the first images stand for most of the others.
    """
    return _one_of_each_cluster(_known(pool.vectors), free, np.ones(len(free), np.float32), count, random)


def _by_margin_and_clusters(pool: Pool, free: Rows, taken: Rows, count: int, random: np.random.Generator) -> Picks:
    """The least sure images, several times as many as are wanted, and one for each cluster of them.

    k-means weighs the images by how unsure the model is, so the centers lie where it is least sure.
    """
    unsure = Picks.ranked(free, margin_scores(_known(pool.probabilities)[free]), MORE * count)
    weights = np.maximum(unsure.scores, np.float32(1e-3))
    return _one_of_each_cluster(_known(pool.vectors), unsure.rows, weights, count, random)


def _by_rarity(pool: Pool, free: Rows, taken: Rows, count: int, random: np.random.Generator) -> Picks:
    """Predicted classes in turn, those with the fewest labels first; within a class the least sure image."""
    probabilities = _known(pool.probabilities)[free]
    predicted, unsure = probabilities.argmax(axis=1), margin_scores(probabilities)
    have = Counter(dict(pool.labeled_counts))
    taken_classes = _known(pool.probabilities)[taken].argmax(axis=1)
    have.update(pool.classes[index] for index in taken_classes.tolist())
    waiting = {
        index: free[members[np.argsort(-unsure[members], kind="stable")]].tolist()[::-1]
        for index in range(len(pool.classes))
        if len(members := np.flatnonzero(predicted == index))
    }
    chosen: list[int] = []
    scores: list[float] = []
    while waiting and len(chosen) < count:
        rarest = min(waiting, key=lambda index: (have[pool.classes[index]], len(waiting[index]), index))
        chosen.append(waiting[rarest].pop())
        scores.append(1 / (1 + have[pool.classes[rarest]]))
        have[pool.classes[rarest]] += 1
        if not waiting[rarest]:
            del waiting[rarest]
    return Picks(np.array(chosen, np.intp), np.array(scores, np.float32))


# ---- distances


def _one_of_each_cluster(
    vectors: Floats, rows: Rows, weights: Floats, count: int, random: np.random.Generator
) -> Picks:
    """Of each of ``count`` clusters of some rows the row nearest to the center, the largest cluster first."""
    own = vectors[rows]
    number = min(count, len(rows))
    centers = cluster_centers(own, number, weights, random)
    labels, similarity = nearest_center(own, centers)
    order = np.lexsort((np.arange(len(rows)), -similarity, labels))
    _, firsts = np.unique(labels[order], return_index=True)
    heads = order[firsts]
    sizes = np.bincount(labels, minlength=number)
    by_size = heads[np.lexsort((labels[heads], -sizes[labels[heads]]))]
    more = np.setdiff1d(np.arange(len(rows)), by_size)  # k-means left clusters empty: the farthest images fill up
    more = more[np.argsort(similarity[more], kind="stable")][: number - len(by_size)]
    picked = np.concatenate([by_size, more])
    shares = (sizes[labels[picked]] / len(rows)).astype(np.float32)
    return Picks(rows[picked], shares)


def cluster_centers(vectors: Floats, number: int, weights: Floats, random: np.random.Generator) -> Floats:
    """The centers of ``number`` clusters: k-means of scikit-learn, in mini-batches if there are many rows."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    seed = int(random.integers(2**31))
    if number >= len(vectors):
        return vectors
    if len(vectors) <= _EXACT:
        model = KMeans(number, n_init=1, max_iter=50, random_state=seed)
    else:
        model = MiniBatchKMeans(number, n_init=1, batch_size=_MINI_BATCH, max_iter=30, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different vectors than clusters: some stay empty
        centers: Floats = model.fit(vectors, sample_weight=weights).cluster_centers_.astype(np.float32)
    return centers


def nearest_center(vectors: Floats, centers: Floats) -> tuple[NDArray[np.intp], Floats]:
    """The nearest center of each row, and minus half the squared distance to it plus a half: int N, float32 N."""
    labels, similarity = np.empty(len(vectors), np.intp), np.empty(len(vectors), np.float32)
    offsets = (centers**2).sum(axis=1) / 2
    for start in range(0, len(vectors), _CHUNK):
        part = vectors[start : start + _CHUNK] @ centers.T - offsets
        labels[start : start + _CHUNK] = part.argmax(axis=1)
        similarity[start : start + _CHUNK] = part.max(axis=1)
    return labels, similarity


def _distance_to_nearest(vectors: Floats, rows: Rows, known: Floats) -> Floats:
    """1 minus the highest cosine similarity of each row to a known vector: float32, one for each row."""
    nearest = np.full(len(rows), np.inf, np.float32)
    for start in range(0, len(rows), _CHUNK):
        part = vectors[rows[start : start + _CHUNK]]
        for first in range(0, len(known), _CHUNK // 4):
            distance = 1 - (part @ known[first : first + _CHUNK // 4].T).max(axis=1)
            nearest[start : start + _CHUNK] = np.minimum(nearest[start : start + _CHUNK], distance)
    return nearest


def _known(values: Floats | None) -> Floats:
    assert values is not None  # noqa: S101 - `require` of the selection checks what the strategy needs
    return values


@dataclass(frozen=True)
class Described:
    """A strategy, what it needs, and what it is for.

    Attributes:
        choose: the function.
        needs: attributes of `Pool` that must not be None.
        purpose: one line for people.
    """

    choose: Strategy
    needs: Sequence[str]
    purpose: str


DEFAULT = "margin-clusters"
RANDOM = "random"
STRATEGIES: dict[str, Described] = {
    DEFAULT: Described(_by_margin_and_clusters, ("probabilities", "vectors"), "unsure images that differ"),
    "clusters": Described(_by_clusters, ("vectors",), "one image for each cluster; needs no model"),
    "k-centre": Described(_by_centers, ("vectors",), "the images least like those labelled; finds odd ones"),
    "margin": Described(_by_margin, ("probabilities",), "the model hesitates between two classes"),
    "entropy": Described(_by_entropy, ("probabilities",), "the model hesitates between many classes"),
    "rare": Described(_by_rarity, ("probabilities",), "predicted classes with the fewest labels"),
    "unknown": Described(_by_unknown, ("unknown",), "the highest out-of-distribution score"),
    "disagreement": Described(_by_disagreement, ("disagreement",), "a former model said something else"),
    RANDOM: Described(_by_chance, (), "for an unbiased estimate"),
}
"""Name on the command line -> strategy."""
