"""Metrics, compared with those of scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_recall_fscore_support

from pelagia_training.figures.metrics import confusion_matrix, metric_arrays, metrics_of, reliability_diagram


@pytest.mark.parametrize("seed", range(5))
def test_the_metrics_are_those_of_scikit_learn(seed: int) -> None:
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


def test_the_bins_of_the_calibration_error_have_equal_mass_and_its_value_is_that_of_its_definition() -> None:
    random = np.random.default_rng(3)
    probabilities = random.dirichlet((0.3, 0.3, 0.3), 100)
    targets = random.integers(0, 3, 100)
    found = reliability_diagram(probabilities, targets, bins=7)
    assert found.images.min() >= 14
    assert found.images.max() <= 15
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    error = 0.0
    for index in range(7):
        inside = found.bin_of == index
        assert confidence[inside].min() >= confidence[found.bin_of < index].max(initial=0)
        error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert found.error == pytest.approx(error)


def test_fewer_images_than_bins_are_a_bin_each() -> None:
    found = reliability_diagram(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]))
    assert found.images.tolist() == [1, 1]
    assert found.error == pytest.approx((0.1 + 0.8) / 2)


def test_metrics_of_many_matrices_are_those_of_each() -> None:
    matrices = np.random.default_rng(0).integers(0, 9, (20, 4, 4))
    matrices[3, 2] = 0
    together = metric_arrays(matrices)
    for index, one in enumerate(matrices):
        alone = metrics_of(one)
        assert together["macro_f1"][index] == pytest.approx(alone.macro_f1)
        assert together["f1"][index] == pytest.approx(alone.f1)
