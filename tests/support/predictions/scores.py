"""Predictions of a simulated classifier, whose errors differ between groups as they do between stations."""

from __future__ import annotations

import numpy as np

from pelagia.model.counting import Calibration, Counting, Recipe, packed
from pelagia_inference.counts.estimators import Real

CLASSES = ("copepod", "diatom", "detritus", "ciliate")
EM = Recipe(method="em")


def scores(
    images: int = 2000, groups: int = 40, shift: float = 0.3, sharpness: float = 2.0, seed: int = 0
) -> Calibration:
    """Labeled images of `CLASSES`; ``shift``: how far the scores of a group are moved, as a whole."""
    random = np.random.default_rng(seed)
    classes = len(CLASSES)
    labels = random.integers(classes, size=images)
    numbers = random.integers(groups, size=images)
    moved = random.normal(0, shift, (groups, classes))
    logits = sharpness * np.eye(classes)[labels] + random.normal(0, 1, (images, classes)) + moved[numbers]
    powers = np.exp(sharpness * logits)
    return Calibration(labels, numbers, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32))


def survey_of(
    calibration: Calibration, composition: Real, images: int = 1000, seed: int = 1
) -> tuple[Calibration, Real]:
    """Images drawn with this composition, and their true composition."""
    random = np.random.default_rng(seed)
    counts = random.multinomial(images, composition)
    rows = np.concatenate(
        [random.choice(np.flatnonzero(calibration.labels == number), count) for number, count in enumerate(counts)]
    )
    return calibration.part(rows), counts / images


def counting(calibration: Calibration, recipe: Recipe = EM, **changes: object) -> Counting:
    """The document of a model with these predictions."""
    fields = {
        "classes": CLASSES,
        "source": "out of fold",
        "folds": 5,
        "images": tuple(np.bincount(calibration.labels, minlength=len(CLASSES)).tolist()),
        "groups": len(np.unique(calibration.groups)),
        "recipe": recipe,
        **packed(calibration),
    }
    return Counting.model_validate(fields | changes)
