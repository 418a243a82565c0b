"""Figures, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_recall_fscore_support

from pelagia_training.metrics import confusion_matrix, metrics_of


@pytest.mark.parametrize("seed", range(5))
def test_the_figures_are_those_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    targets = random.integers(0, 6, 300)
    predicted = np.where(random.random(300) < 0.7, targets, random.integers(0, 6, 300))
    metrics = metrics_of(confusion_matrix(targets, predicted, 6))
    assert metrics.accuracy == pytest.approx(accuracy_score(targets, predicted))
    assert metrics.macro_f1 == pytest.approx(f1_score(targets, predicted, average="macro"))
    assert metrics.balanced_accuracy == pytest.approx(balanced_accuracy_score(targets, predicted))
    precision, recall, f1, support = precision_recall_fscore_support(targets, predicted, zero_division=0)
    for ours, theirs in (
        (metrics.precision, precision),
        (metrics.recall, recall),
        (metrics.f1, f1),
        (metrics.support, support),
    ):
        assert ours == pytest.approx(theirs)


def test_a_class_without_images_does_not_enter_the_macro_average() -> None:
    metrics = metrics_of(confusion_matrix(np.array([0, 0, 1]), np.array([0, 0, 1]), 3))
    assert metrics.macro_f1 == 1.0
    assert metrics.f1.tolist() == [1, 1, 0]
