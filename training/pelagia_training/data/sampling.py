"""Sampling for classes of very different sizes: how often each image appears in an epoch.

Invariant: the images of an epoch are computed only from (weights, seed, epoch). Sampling is systematic: each image
appears its expected number of times, rounded up or down, and so does each class.

The papers: Kang et al. 2020 (arXiv 1910.09217); for the square root, Mahajan et al. 2018 (arXiv 1805.00932).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pelagia_training.config import LongTail
from pelagia_training.data.batches import Order, shuffled

_POWERS = {"balanced_sampling": 1.0, "sqrt_sampling": 0.5}


def build_order(long_tail: LongTail, targets: NDArray[np.int64], seed: int) -> Order:
    """Builds the order of the N training images of each epoch. ``targets`` are their class indices, int64 N."""
    weights = image_weights(long_tail, targets)
    if weights is None:
        return shuffled(len(targets), seed)
    return lambda epoch: drawn(targets, weights, np.random.default_rng((seed, epoch)))


def image_weights(long_tail: LongTail, targets: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """How often each image should appear: float64 N, relative; None: once each. ``targets`` are class indices, int64 N.

    With ``balanced_sampling`` all classes appear equally often, with ``sqrt_sampling`` in proportion to the
    square root of their sizes.
    """
    if long_tail not in _POWERS:
        return None
    counts = np.bincount(targets).astype(np.float64)
    return counts[targets] ** -_POWERS[long_tail]


def drawn(targets: NDArray[np.int64], weights: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """N indices in random order. Each image and each class appears in proportion to its weight, plus or minus one.

    Systematic sampling: equally spaced marks on the cumulative weights, with the images sorted by class.
    """
    order = np.lexsort((random.permutation(len(targets)), targets))
    edges = np.cumsum(weights[order])
    marks = (np.arange(len(weights)) + random.random()) * (edges[-1] / len(weights))
    chosen = order[np.searchsorted(edges, marks, side="right").clip(max=len(weights) - 1)]
    return random.permutation(chosen)
