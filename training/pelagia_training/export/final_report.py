"""The report of a run on all labeled images: the out-of-fold predictions, with the rule of the exported model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.model.metadata import ModelMetadata
from pelagia_training.data.batches import targets_of
from pelagia_training.evaluation.assess import Assessment
from pelagia_training.evaluation.evaluate import evaluation_of
from pelagia_training.evaluation.report import REPORT_FILE, write_report
from pelagia_training.figures.thresholds import coverage_and_precision
from pelagia_training.runs.folder import FinalFit
from pelagia_training.runs.logs import read_curves
from pelagia_training.runs.out_of_fold import OUT_OF_FOLD

if TYPE_CHECKING:
    from pelagia_training.export.export import Exported


def report_final(run: Path, exported: Exported, dataset: Dataset, final: FinalFit) -> None:
    """Writes the page `report.html` of the run folder ``run``."""
    model, records, probabilities = exported.model, exported.held_out, exported.calibrated.held_out
    float32 = probabilities.astype(np.float32)
    assessment = _assessment(model.metadata, float32, records, exported.calibrated.above)
    name = f"{model.path.name} (measured by {final.folds} folds)"
    evaluation = evaluation_of(
        records,
        float32,
        model.metadata.classes,
        dataset,
        OUT_OF_FOLD,
        model=(name, model.sha256),
        assessment=assessment,
    )
    notes = [
        f"The model was trained on all these images, so it was measured on none of them. The metrics are those of "
        f"{final.folds} networks of the same recipe, each on the groups that it had not seen "
        f"({final.cross_validation.name}). Each of them was trained on fewer images than the model. The thresholds "
        "were chosen on these images too, so the shares that they accept are slightly optimistic.",
    ]
    if final.last_weights:
        notes.append(
            "The networks predict with the weights of their last epoch, as the model does. The report of the "
            f"cross-validation has their best epochs, and a macro-F1 of {final.macro_f1:.3f}."
        )
    write_report(run / REPORT_FILE, evaluation, dataset, read_curves(run), notes=notes)


def _assessment(
    metadata: ModelMetadata,
    probabilities: NDArray[np.float32],
    records: Sequence[Record],
    above: NDArray[np.bool_] | None,
) -> Assessment:
    """The results of the model's rule on the out-of-fold predictions.

    Args:
        metadata: that of the model.
        probabilities: float32, N x classes, out of fold.
        records: the N images.
        above: bool, N: whether the fold's network calls the image unknown; None without a score.
    """
    fit, rule, targets = metadata.calibration, metadata.decision, targets_of(records, metadata.classes)
    assert fit is not None  # noqa: S101 - this version exports no model without it
    scores = None if above is None else above.astype(np.float32)
    limit = None if above is None else 0.5
    by_thresholds, by_roll_up = coverage_and_precision(probabilities, targets, metadata.taxonomy, rule, scores, limit)
    fitted = set(fit.temperatures) != {1.0}
    return Assessment(
        error_before=fit.error_before if fitted else None,
        error=fit.error,
        error_by_chance=fit.error_by_chance,
        target_precision=rule.target_precision,
        by_thresholds=by_thresholds,
        by_roll_up=by_roll_up,
        known_flagged=None if above is None else float(above.mean()),
        fitted=fitted,
        fitted_on="out-of-fold",
    )
