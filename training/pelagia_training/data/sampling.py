"""How often each image appears in an epoch, for classes of very different sizes.

Invariant: the images of an epoch follow from (weights, seed, epoch) alone. The draw is systematic: each image appears
its expected number of times, rounded up or down, and so does each class.

The paper: Kang et al. 2020 (arXiv 1910.09217); the square root is Mahajan et al. 2018 (arXiv 1805.00932).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pelagia_training.config import LongTail
from pelagia_training.data.batches import Order, shuffled

_POWERS = {"balanced_sampling": 1.0, "sqrt_sampling": 0.5}


def build_order(long_tail: LongTail, targets: NDArray[np.int64], seed: int) -> Order:
    """The order of the training images, N in each epoch; ``targets``, int64 N, are their classes."""
    weights = image_weights(long_tail, targets)
    if weights is None:
        return shuffled(len(targets), seed)
    return lambda epoch: drawn(targets, weights, np.random.default_rng((seed, epoch)))


def image_weights(long_tail: LongTail, targets: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """How often each image (of class ``targets``, N) should appear: float64 N; None: once.

    With ``balanced_sampling`` all classes appear equally often, with ``sqrt_sampling`` in proportion to the
    square root of their sizes.
    """
    if long_tail not in _POWERS:
        return None
    counts = np.bincount(targets).astype(np.float64)
    return counts[targets] ** -_POWERS[long_tail]


def drawn(targets: NDArray[np.int64], weights: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """N indices in random order; each image and each class appears as often as its weight says, plus or minus one.

    Systematic sampling: equally spaced marks over the cumulated weights, with the images sorted by class.
    """
    order = np.lexsort((random.permutation(len(targets)), targets))
    edges = np.cumsum(weights[order])
    marks = (np.arange(len(weights)) + random.random()) * (edges[-1] / len(weights))
    chosen = order[np.searchsorted(edges, marks, side="right").clip(max=len(weights) - 1)]
    return random.permutation(chosen)
