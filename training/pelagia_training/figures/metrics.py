"""Metrics computed from a confusion matrix: int64, classes x classes; rows are labels, columns are predictions.

The definitions are the same as in scikit-learn, and the tests compare both. The precision of a class that was never
predicted is 0, and so is the recall of a class without images. Macro averages use only the classes that have images.
The function `metric_arrays` computes the metrics of one matrix, and of the thousands of matrices of a bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]
Real = NDArray[np.float64]

BINS = 15
"""Number of bins of the reliability diagram and of the expected calibration error."""


@dataclass(frozen=True)
class Metrics:
    """The metrics of one evaluation.

    Attributes:
        accuracy: share of images whose prediction is their label, 0..1.
        macro_f1: mean F1 of the classes that have images, 0..1.
        balanced_accuracy: mean recall of the classes that have images, 0..1.
        precision: float64, one value per class, 0..1.
        recall: float64, one value per class, 0..1.
        f1: float64, one value per class, 0..1.
        support: int64, the number of images of each class.
    """

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
    """The counts of the pairs (label, prediction): int64, classes x classes."""
    flat = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def metrics_of(confusion: Matrix) -> Metrics:
    """Computes all metrics of a confusion matrix that holds at least one image."""
    arrays = metric_arrays(confusion)
    return Metrics(
        accuracy=float(arrays["accuracy"]),
        macro_f1=float(arrays["macro_f1"]),
        balanced_accuracy=float(arrays["balanced_accuracy"]),
        precision=arrays["precision"],
        recall=arrays["recall"],
        f1=arrays["f1"],
        support=confusion.sum(axis=1),
    )


def metric_arrays(confusion: Matrix) -> dict[str, Real]:
    """Computes the metrics of many confusion matrices at once; each matrix must hold at least one image.

    Args:
        confusion: int64, ... x classes x classes.

    Returns:
        Name of a metric -> float64 array. ``accuracy``, ``macro_f1`` and ``balanced_accuracy`` have the shape ``...``;
        ``precision``, ``recall`` and ``f1`` have the shape ``... x classes``.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    support, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    present = support > 0
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + predicted, 1)
    classes = present.sum(axis=-1)
    return {
        "accuracy": hits.sum(axis=-1) / support.sum(axis=-1),
        "macro_f1": (f1 * present).sum(axis=-1) / classes,
        "balanced_accuracy": (recall * present).sum(axis=-1) / classes,
        "precision": hits / np.maximum(predicted, 1),
        "recall": recall,
        "f1": f1,
    }


@dataclass(frozen=True)
class ReliabilityDiagram:
    """How often the model is correct at each level of confidence (an image's largest probability).

    The bins have equal mass: the images are sorted by confidence and divided into parts of equal size. The arrays hold
    one value per bin, the least confident bin first.

    Attributes:
        bin_of: int64, N, the bin of each image.
        images: int64, number of images in the bin.
        confidence: float64, 0..1, mean confidence of the bin's images.
        accuracy: float64, 0..1, share of the bin's images whose most probable class is their label.
    """

    bin_of: Matrix
    images: Matrix
    confidence: Real
    accuracy: Real

    @property
    def error(self) -> float:
        """Expected calibration error: mean of abs(confidence - accuracy), weighted by the number of images in a bin."""
        return float((self.images * np.abs(self.confidence - self.accuracy)).sum() / self.images.sum())


def reliability_diagram(
    probabilities: NDArray[np.floating], targets: NDArray[np.int64], bins: int = BINS
) -> ReliabilityDiagram:
    """Computes the reliability diagram.

    Args:
        probabilities: float, N x classes, rows sum to 1.
        targets: int64, N, the labels' class indices.
        bins: number of bins of equal mass.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == targets).astype(np.float64)
    bins = min(bins, len(targets))
    order = np.argsort(confidence, kind="stable")
    bin_of = np.empty(len(targets), np.int64)
    bin_of[order] = np.arange(len(targets)) * bins // len(targets)
    images = np.bincount(bin_of, minlength=bins)
    means = (np.bincount(bin_of, values, minlength=bins) / images for values in (confidence, right))
    return ReliabilityDiagram(bin_of, images.astype(np.int64), *means)
