"""Figures from a confusion matrix: int64, classes x classes, rows labelled as, columns predicted as.

Definitions are those of scikit-learn, which the tests compare with: precision of a class that was never predicted, and
recall of one without images, are 0; macro averages are over the classes that have images. One function computes them,
for one matrix and for the thousands of a bootstrap alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]
Real = NDArray[np.float64]

BINS = 15


@dataclass(frozen=True)
class Metrics:
    """Figures of one evaluation. The arrays are float64, one value a class; ``support`` is int64."""

    accuracy: float
    macro_f1: float
    balanced_accuracy: float
    precision: Real
    recall: Real
    f1: Real
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
    figures = figures_of(confusion)
    return Metrics(
        accuracy=float(figures["accuracy"]),
        macro_f1=float(figures["macro_f1"]),
        balanced_accuracy=float(figures["balanced_accuracy"]),
        precision=figures["precision"],
        recall=figures["recall"],
        f1=figures["f1"],
        support=confusion.sum(axis=1),
    )


def figures_of(confusion: Matrix) -> dict[str, Real]:
    """Figures of many confusion matrices at once, each with at least one image.

    Args:
        confusion: int64, ... x classes x classes.

    Returns:
        float64. Shape ...: ``accuracy``, ``macro_f1``, ``balanced_accuracy``. Shape ... x classes: ``precision``,
        ``recall``, ``f1``.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    support, called = confusion.sum(axis=-1), confusion.sum(axis=-2)
    present = support > 0
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + called, 1)
    classes = present.sum(axis=-1)
    return {
        "accuracy": hits.sum(axis=-1) / support.sum(axis=-1),
        "macro_f1": (f1 * present).sum(axis=-1) / classes,
        "balanced_accuracy": (recall * present).sum(axis=-1) / classes,
        "precision": hits / np.maximum(called, 1),
        "recall": recall,
        "f1": f1,
    }


@dataclass(frozen=True)
class Reliability:
    """How often the model is right where it says that it is so sure.

    Bins of equal mass: images in the order of their confidence (the largest probability), cut into parts of equal
    number, so that each bin rests on as many images as the next. The arrays hold one value a bin, the least sure first.

    Attributes:
        bin_of: int64, one value an image: its bin.
        images: int64.
        confidence: float64, mean over the bin's images.
        accuracy: float64, share of them whose most probable class is their label.
    """

    bin_of: Matrix
    images: Matrix
    confidence: Real
    accuracy: Real

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of confidence and accuracy, bins weighted by their images."""
        return float((self.images * np.abs(self.confidence - self.accuracy)).sum() / self.images.sum())


def reliability_of(probabilities: NDArray[np.floating], targets: NDArray[np.int64], bins: int = BINS) -> Reliability:
    """Probabilities (N x classes, rows sum to 1) against the labels (int64, N), in ``bins`` of equal mass."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == targets).astype(np.float64)
    bins = min(bins, len(targets))
    order = np.argsort(confidence, kind="stable")
    bin_of = np.empty(len(targets), np.int64)
    bin_of[order] = np.arange(len(targets)) * bins // len(targets)
    images = np.bincount(bin_of, minlength=bins)
    means = (np.bincount(bin_of, values, minlength=bins) / images for values in (confidence, right))
    return Reliability(bin_of, images.astype(np.int64), *means)
