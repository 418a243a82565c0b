"""Makes the document `Counting` of a new model, from a cross-validation or from its validation split.

Out-of-fold predictions are better: they cover all labeled images and groups. The validation split is small, and its
images chose the best epoch, so its predictions are a little too good.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import InputError
from pelagia.model.counting import Calibration, Counting, Drift, Recipe, packed
from pelagia.model.decision import ABSTAINED, Decider, Decision
from pelagia.taxonomy import Taxonomy
from pelagia_inference.counts.drift import LEAST_IMAGES as LEAST_IN_GROUP
from pelagia_inference.counts.drift import group_distances
from pelagia_inference.counts.estimators import known_of
from pelagia_training.counts.choose import Choice, choose, groups_of
from pelagia_training.counts.simulate import trials
from pelagia_training.data.batches import targets_of
from pelagia_training.figures.calibrate import calibrate
from pelagia_training.runs.out_of_fold import read_predictions

LEAST_GROUPS = 8
"""With fewer groups nothing is simulated, so nothing is corrected."""
LEAST_IMAGES = 200
"""The same for images."""
_LEAST_GROUPS_OF_CLASS = 2
_DRIFT_TRIALS = 8
_DRIFT_LEVEL = 0.975
_LEAST_DRIFT_GROUPS = 8

NOT_CORRECTED: Choice = (Recipe(), np.zeros(0), ())
Report = Callable[[str], None]


@dataclass(frozen=True)
class Labeled:
    """Images with labels, and predictions by networks that were not trained on them.

    Attributes:
        records: the images.
        probabilities: float, N x K, calibrated.
        folds: number of folds; 0: the validation split.
    """

    records: Sequence[Record]
    probabilities: NDArray[np.floating]
    folds: int


def out_of_fold(run: Path, dataset: Dataset, taxonomy: Taxonomy) -> Labeled:
    """The predictions of a cross-validation, calibrated as those of an exported model.

    Args:
        run: a folder that `pelagia train --folds` made.
        dataset: the dataset on which it was made.
        taxonomy: that of the model.

    Raises:
        InputError: ``run`` holds no out-of-fold predictions, or of other classes.
        DatasetError: the predictions were made on another dataset.
    """
    records, probabilities, classes = read_predictions(run, dataset)
    if classes != taxonomy.names:
        raise InputError(
            f"--folds: the cross-validation {run} knows the classes {', '.join(classes)}, but the run knows "
            f"{', '.join(taxonomy.names)}: make it with the config of the run"
        )
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-30))
    targets = targets_of(records, classes)
    _, held_out = calibrate(logits, targets, [record.group for record in records])
    return Labeled(records, held_out, len(list(run.glob("fold-*"))))


def counting_of(
    labeled: Labeled,
    taxonomy: Taxonomy,
    decision: Decision,
    report: Report = lambda text: None,
    unknown: tuple[float, float] | None = None,
) -> Counting:
    """The document of a model.

    Args:
        labeled: predictions of labeled images by networks that were not trained on them.
        taxonomy: that of the model.
        decision: the model's rule.
        report: called with a line of text for people.
        unknown: what `unknown_shares` gives.
    """
    calibration = calibration_of(labeled, taxonomy)
    recipe, spread, simulated = NOT_CORRECTED
    if reason := _too_small(calibration, taxonomy):
        report(f"warning: counts will not be corrected, because {reason}")
    else:
        recipe, spread, simulated = choose(calibration, progress=report)
        if recipe == Recipe():
            reason = "no correction was better than none in the simulated surveys"
    return Counting(
        classes=taxonomy.names,
        source="out of fold" if labeled.folds else "validation split",
        folds=labeled.folds,
        images=tuple(np.bincount(calibration.labels, minlength=len(taxonomy.names)).tolist()),
        groups=len(np.unique(calibration.groups)),
        recipe=recipe,
        reason=reason,
        simulated=simulated,
        spread=tuple(spread.tolist()),
        drift=drift_of(calibration, recipe),
        unknown_limit=unknown[0] if unknown else None,
        unknown_usual=unknown[1] if unknown else None,
        unsure_loss=unsure_loss(calibration, taxonomy, decision),
        **packed(calibration),
    )


def calibration_of(labeled: Labeled, taxonomy: Taxonomy) -> Calibration:
    """The predictions as arrays; groups become numbers."""
    names = [record.group for record in labeled.records]
    groups = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return Calibration(targets_of(labeled.records, taxonomy.names), groups, labeled.probabilities.astype(np.float32))


def _too_small(calibration: Calibration, taxonomy: Taxonomy) -> str:
    """Why nothing can be simulated; empty if it can."""
    images, groups = len(calibration.labels), len(np.unique(calibration.groups))
    if images < LEAST_IMAGES:
        return f"there are {images} labeled images to judge by, and {LEAST_IMAGES} are needed"
    if groups < LEAST_GROUPS:
        return f"the labeled images are of {groups} groups, and {LEAST_GROUPS} are needed"
    few = [name for name, count in zip(taxonomy.names, groups_of(calibration), strict=True) if count < 2]
    if len(few) > len(taxonomy.names) / 2:
        return f"{len(few)} of {len(taxonomy.names)} classes have images of fewer than {_LEAST_GROUPS_OF_CLASS} groups"
    return ""


def drift_of(calibration: Calibration, recipe: Recipe, seed: int = 2) -> Drift | None:
    """The limit that few left-out groups exceed, with the share of other left-out groups that exceed it.

    None: fewer than `_LEAST_DRIFT_GROUPS` groups are large enough to be compared.
    """
    chosen: list[float] = []
    checked: list[float] = []
    for trial in trials(calibration, _DRIFT_TRIALS, 0, seed=seed):
        known = known_of(recipe, trial.calibration)
        found = group_distances(known, trial.calibration, trial.left_out)
        (chosen if trial.number % 2 else checked).extend(found)
    if len(chosen) < _LEAST_DRIFT_GROUPS or len(checked) < _LEAST_DRIFT_GROUPS:
        return None
    limit = max(float(np.quantile(chosen, _DRIFT_LEVEL)), 0.0)
    return Drift(limit=limit, false_warnings=float((np.array(checked) > limit).mean()), groups=len(checked))


def unknown_shares(is_unknown: NDArray[np.bool_], groups: Sequence[str]) -> tuple[float, float] | None:
    """The share of unknown images that 97.5% of the groups do not exceed, and the share in all of their images.

    None: fewer than eight groups of 20 images.

    Args:
        is_unknown: bool, N: whether the out-of-distribution score of a validation image is above the threshold.
        groups: the group of each image.
    """
    names, numbers = np.unique(groups, return_inverse=True)
    images = np.bincount(numbers, minlength=len(names))
    shares = (np.bincount(numbers, is_unknown.astype(float), len(names)) / images)[images >= LEAST_IN_GROUP]
    if len(shares) < _LEAST_DRIFT_GROUPS:
        return None
    return float(np.quantile(shares, _DRIFT_LEVEL)), float(is_unknown.mean())


def unsure_loss(calibration: Calibration, taxonomy: Taxonomy, decision: Decision) -> tuple[float, ...]:
    """For each class, the share of its images that the model's rule leaves without a name; empty: it names all."""
    decider = Decider(taxonomy, decision)
    if not decider.decides:
        return ()
    verdicts = decider.verdict_indices(calibration.probabilities, None)
    unnamed = np.array([verdict.decision == ABSTAINED for verdict in decider.verdicts])[verdicts]
    labels, classes = calibration.labels, len(taxonomy.names)
    lost = np.bincount(labels, unnamed.astype(float), classes) / np.maximum(np.bincount(labels, minlength=classes), 1)
    return tuple(lost.tolist())
