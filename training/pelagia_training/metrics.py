"""Figures from a confusion matrix: int64, classes x classes, rows labelled as, columns predicted as.

Definitions are those of scikit-learn, which the tests compare with: precision of a class that was never predicted, and
recall of one without images, are 0; macro averages are over the classes that have images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]


@dataclass(frozen=True)
class Metrics:
    """Figures of one evaluation. The arrays are float64, one value a class; ``support`` is int64."""

    accuracy: float
    macro_f1: float
    balanced_accuracy: float
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: Matrix

    @property
    def headline(self) -> dict[str, float]:
        return {"accuracy": self.accuracy, "macro_f1": self.macro_f1, "balanced_accuracy": self.balanced_accuracy}


def confusion_matrix(targets: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> Matrix:
    """Counts of (labelled as, predicted as) pairs: int64, classes x classes."""
    flat = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def metrics_of(confusion: Matrix) -> Metrics:
    """All figures of a confusion matrix with at least one image."""
    hits = np.diag(confusion).astype(np.float64)
    support, called = confusion.sum(axis=1), confusion.sum(axis=0)
    precision = hits / np.maximum(called, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + called, 1)
    present = support > 0
    return Metrics(
        accuracy=float(hits.sum() / confusion.sum()),
        macro_f1=float(f1[present].mean()),
        balanced_accuracy=float(recall[present].mean()),
        precision=precision,
        recall=recall,
        f1=f1,
        support=support,
    )
