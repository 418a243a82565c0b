"""The threshold of the out-of-distribution score for a network that was trained on all images.

The threshold must be exceeded by few new images of known classes, and such images are not left. A network has lower
scores for images that it was trained on, so a quantile of these scores would be too low. Each fold has both kinds. So
the threshold of a fold, which its held-out images give, is measured in the scores of the fold's own training images:
its distance from their median, in units of their spread between the 10th and the 90th percentile. The mean distance of
the folds gives the threshold of the final network.

A distance, unlike a quantile of the folds' scores, does not depend on the scale of the scores, and unlike a rank it can
lie beyond the highest score of the training images. docs/decisions/last-epoch-of-a-final-run.md compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia_training.network.unknown import threshold_for

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FoldScores:
    """The out-of-distribution scores of one fold's network: float32, 1-D, of images it was trained on, and others."""

    trained: Floats
    held_out: Floats

    def distance(self, share: float) -> float:
        """The distance of the threshold that a ``share`` of the held-out images do not exceed."""
        middle, width = _place(self.trained)
        return (threshold_for(self.held_out, share) - middle) / width


def threshold_at(trained: Floats, distance: float) -> float:
    """The threshold at this distance from the scores of a network's training images."""
    middle, width = _place(trained)
    return middle + distance * width


def mean_distance(folds: Sequence[FoldScores], share: float) -> float:
    """The mean distance of the folds."""
    return float(np.mean([fold.distance(share) for fold in folds]))


def accepted_shares(folds: Sequence[FoldScores], share: float) -> list[float]:
    """For each fold, the share of its held-out images below the threshold that the other folds give it.

    This is what the final network's threshold can be expected to do: no image of the fold had a part in it.
    """
    shares = []
    for index, fold in enumerate(folds):
        others = [other for place, other in enumerate(folds) if place != index]
        limit = threshold_at(fold.trained, mean_distance(others, share))
        shares.append(float((fold.held_out <= limit).mean()))
    return shares


def _place(scores: Floats) -> tuple[float, float]:
    """The median, and the width between the 10th and the 90th percentile."""
    low, middle, high = np.percentile(scores.astype(np.float64), (10, 50, 90))
    return float(middle), max(float(high - low), 1e-9)
