"""How often each image is seen in an epoch, where classes are of very different sizes.

Invariant: an epoch's images follow from (weights, seed, epoch) alone. Each image is drawn the nearest whole number of
times to its share, so that a class gets exactly its share and no image of a large class is unlucky for long.

The paper: Kang et al. 2020 (arXiv 1910.09217); the square root is Mahajan et al. 2018 (arXiv 1805.00932).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pelagia_training.config import LongTail
from pelagia_training.data.batches import Order, shuffled

_POWERS = {"balanced_sampling": 1.0, "sqrt_sampling": 0.5}


def build_order(long_tail: LongTail, targets: NDArray[np.int64], seed: int) -> Order:
    """The order in which images of the classes ``targets`` (int64 N) are met, N of them in each epoch."""
    weights = image_weights(long_tail, targets)
    if weights is None:
        return shuffled(len(targets), seed)
    return lambda epoch: drawn(targets, weights, np.random.default_rng((seed, epoch)))


def image_weights(long_tail: LongTail, targets: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """How often each image (of class ``targets``, N) is to be seen, as float64 N; None: each once.

    With ``balanced_sampling`` all classes come equally often, with ``sqrt_sampling`` as the root of their sizes.
    """
    if long_tail not in _POWERS:
        return None
    counts = np.bincount(targets).astype(np.float64)
    return counts[targets] ** -_POWERS[long_tail]


def drawn(targets: NDArray[np.int64], weights: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.int64]:
    """As many indices as there are images, in random order; each image and each class as often as the weights say.

    Give or take one: marks at even distances are laid over the images, class after class.
    """
    order = np.lexsort((random.permutation(len(targets)), targets))
    edges = np.cumsum(weights[order])
    marks = (np.arange(len(weights)) + random.random()) * (edges[-1] / len(weights))
    chosen = order[np.searchsorted(edges, marks, side="right").clip(max=len(weights) - 1)]
    return random.permutation(chosen)
