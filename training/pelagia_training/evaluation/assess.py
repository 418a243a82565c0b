"""How well a model's calibration, thresholds and out-of-distribution score work on labeled images.

`pelagia evaluate` and its report call these functions. Validation images give optimistic results, because the
temperatures and thresholds were fitted on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.model.decision import CoverageAndPrecision
from pelagia.model.held_out import images_are_called
from pelagia.model.metadata import ModelMetadata
from pelagia.survey.journal import Prediction
from pelagia_training.figures.calibrate import error_by_chance, uncalibrated
from pelagia_training.figures.metrics import reliability_diagram
from pelagia_training.figures.thresholds import coverage_and_precision


def no_temperatures(images: str) -> str:
    """Said of a model whose temperatures are all 1 (`pelagia_training.figures.calibrate.pays`).

    Args:
        images: what the images are called that they were fitted on: "validation" or "out-of-fold".
    """
    held_out = "held-out validation" if images == "validation" else images
    return f"without temperatures, because they did not help on {held_out} images"


@dataclass(frozen=True)
class Assessment:
    """Results of a model's calibration, decision rule and out-of-distribution score on a split.

    Attributes:
        error_before: expected calibration error with every temperature set to 1; None if no temperature was fitted.
        error: expected calibration error with the model's temperatures.
        fitted: whether the model has temperatures other than 1.
        fitted_on: what the images are called that the temperatures and thresholds were fitted on.
        error_by_chance: the error that a perfectly calibrated model would show on this number of images.
        target_precision: the precision for which the thresholds were chosen; None if the model has no thresholds.
        by_thresholds: share of accepted images and their precision, if only the class thresholds are used; None if the
            model has no thresholds.
        by_roll_up: the same with roll-up to taxa.
        known_flagged: share of images of the model's classes that are called unknown; None without a score.
        unknown_flagged: the same share for images of other classes; None without a score or without such images.
    """

    error_before: float | None
    error: float
    error_by_chance: float
    target_precision: float | None = None
    by_thresholds: CoverageAndPrecision | None = None
    by_roll_up: CoverageAndPrecision | None = None
    known_flagged: float | None = None
    unknown_flagged: float | None = None
    fitted: bool = True
    fitted_on: str = "validation"

    def lines(self) -> list[tuple[str, str]]:
        """Name and value of each result, as text for people."""
        before = "" if self.error_before is None else f"{self.error_before:.4f} before calibration, "
        how = "with the model's temperatures" if self.fitted else no_temperatures(self.fitted_on)
        chance = f"{self.error_by_chance:.4f} is expected by chance"
        rows = [("calibration error", f"{before}{self.error:.4f} {how}; {chance}")]
        for name, result in (("by thresholds", self.by_thresholds), ("with roll-up", self.by_roll_up)):
            if result is not None:
                precision = "-" if result.precision is None else f"{result.precision:.1%}"
                target = f"target {self.target_precision:.0%}"
                rows.append((name, f"{result.accepted:.1%} of images accepted, precision {precision} ({target})"))
        if self.known_flagged is not None:
            rows.append(("called unknown", f"{self.known_flagged:.1%} of images of the model's classes"))
        if self.unknown_flagged is not None:
            rows.append(("called unknown", f"{self.unknown_flagged:.1%} of images of other classes"))
        return rows

    def as_json(self) -> dict[str, object]:
        """The results as plain values."""
        return {
            name: value.model_dump() if isinstance(value, CoverageAndPrecision) else value
            for name, value in vars(self).items()
        }


def scores_of(predictions: Sequence[Prediction]) -> NDArray[np.float32] | None:
    """The out-of-distribution scores of the images that have one: float32, 1-D; None if no image has a score."""
    scores = [prediction.unknown for prediction in predictions if prediction.unknown is not None]
    return np.array(scores, np.float32) if scores else None


def assess(
    metadata: ModelMetadata,
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int64],
    scores: NDArray[np.float32] | None = None,
    scores_of_others: NDArray[np.float32] | None = None,
) -> Assessment:
    """Measures calibration, decision rule and out-of-distribution score against the labels.

    Args:
        metadata: the model's metadata.
        probabilities: float32, N x classes, as the runner returns them.
        targets: int64, N, the labels' class indices.
        scores: float32, N, out-of-distribution scores; None if the model computes no score.
        scores_of_others: float32, scores of images of classes that the model does not know; None without such images.
    """
    before, fitted = None, metadata.calibration is None or set(metadata.calibration.temperatures) != {1.0}
    if metadata.calibration is not None and fitted:
        before = reliability_diagram(uncalibrated(probabilities, metadata.calibration.temperatures), targets).error
    fitted_on = images_are_called(metadata.dataset)
    error = reliability_diagram(probabilities, targets).error
    calibration = Assessment(before, error, error_by_chance(probabilities), fitted=fitted, fitted_on=fitted_on)
    flagged: dict[str, float | None] = {}
    limit = None if metadata.unknown is None else metadata.unknown.threshold
    if scores is not None and limit is not None:
        flagged["known_flagged"] = float((scores > limit).mean())
        if scores_of_others is not None:
            flagged["unknown_flagged"] = float((scores_of_others > limit).mean())
    if not metadata.decider.decides:
        return Assessment(**{**vars(calibration), **flagged})
    rule = metadata.decision
    by_thresholds, by_roll_up = coverage_and_precision(probabilities, targets, metadata.taxonomy, rule, scores, limit)
    decided = {"target_precision": rule.target_precision, "by_thresholds": by_thresholds, "by_roll_up": by_roll_up}
    return Assessment(**{**vars(calibration), **decided, **flagged})
