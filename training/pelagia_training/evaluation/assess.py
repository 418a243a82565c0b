"""How far a model's probabilities, thresholds and score of the unknown can be trusted, on labelled images.

The functions that `pelagia evaluate` and its report call. No validation image may be among the images: the thresholds
were chosen on those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.model.decision import CoverageAndPrecision
from pelagia.model.metadata import ModelMetadata
from pelagia.survey.journal import Prediction
from pelagia_training.figures.calibrate import error_by_chance, uncalibrated
from pelagia_training.figures.metrics import reliability_of
from pelagia_training.figures.thresholds import reached


@dataclass(frozen=True)
class Assessment:
    """What was found on a split.

    Attributes:
        error: expected calibration error; ``error_before`` with every temperature 1, None where none was fitted.
        error_by_chance: what as many images would show of a model without any error.
        by_thresholds, by_roll_up: None where the model does not decide.
        known_flagged: share of images of the model's classes that are called unknown; None where there is no score.
        unknown_flagged: the same of images of other classes; None also where there are none.
    """

    error_before: float | None
    error: float
    error_by_chance: float
    target_precision: float | None = None
    by_thresholds: CoverageAndPrecision | None = None
    by_roll_up: CoverageAndPrecision | None = None
    known_flagged: float | None = None
    unknown_flagged: float | None = None

    def lines(self) -> list[tuple[str, str]]:
        """Name and value of each figure, for people."""
        before = "" if self.error_before is None else f"{self.error_before:.4f} before, "
        chance = f"{self.error_by_chance:.4f} would be chance"
        rows = [("calibration error", f"{before}{self.error:.4f} with the model's temperatures; {chance}")]
        for name, found in (("by thresholds", self.by_thresholds), ("with roll-up", self.by_roll_up)):
            if found is not None:
                right = "-" if found.precision is None else f"{found.precision:.1%}"
                target = f"target {self.target_precision:.0%}"
                rows.append((name, f"{found.accepted:.1%} accepted, precision {right} ({target})"))
        if self.known_flagged is not None:
            rows.append(("called unknown", f"{self.known_flagged:.1%} of the known"))
        if self.unknown_flagged is not None:
            rows.append(("of other classes", f"{self.unknown_flagged:.1%} called unknown"))
        return rows

    def as_json(self) -> dict[str, object]:
        """The figures as plain values."""
        return {
            name: value.model_dump() if isinstance(value, CoverageAndPrecision) else value
            for name, value in vars(self).items()
        }


def scores_of(predictions: Sequence[Prediction]) -> NDArray[np.float32] | None:
    """The scores of the unknown of those that have not failed: float32; None where no image has one."""
    scores = [one.unknown for one in predictions if one.unknown is not None]
    return np.array(scores, np.float32) if scores else None


def assess(
    metadata: ModelMetadata,
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int64],
    scores: NDArray[np.float32] | None = None,
    scores_of_others: NDArray[np.float32] | None = None,
) -> Assessment:
    """Compares a model's answers with the labels.

    Args:
        probabilities: float32, N x classes, as the runner gives them.
        targets: int64, N.
        scores: of the unknown, float32, N; None where the model gives none.
        scores_of_others: of images of classes that the model does not know; None where there are none.
    """
    before = None
    if metadata.calibration is not None:
        before = reliability_of(uncalibrated(probabilities, metadata.calibration.temperatures), targets).error
    found = Assessment(before, reliability_of(probabilities, targets).error, error_by_chance(probabilities))
    flagged: dict[str, float | None] = {}
    limit = None if metadata.unknown is None else metadata.unknown.threshold
    if scores is not None and limit is not None:
        flagged["known_flagged"] = float((scores > limit).mean())
        if scores_of_others is not None:
            flagged["unknown_flagged"] = float((scores_of_others > limit).mean())
    if not metadata.decider.decides:
        return Assessment(**{**vars(found), **flagged})
    rule = metadata.decision
    by_thresholds, by_roll_up = reached(probabilities, targets, metadata.taxonomy, rule, scores, limit)
    decided = {"target_precision": rule.target_precision, "by_thresholds": by_thresholds, "by_roll_up": by_roll_up}
    return Assessment(**{**vars(found), **decided, **flagged})
