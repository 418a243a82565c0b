"""Thresholds that keep a target precision, and accept nothing on weak evidence."""

import numpy as np
import pytest

from pelagia.taxonomy import Taxonomy, taxonomy_of_names
from pelagia_training.figures.thresholds import choose_thresholds, coverage_and_precision, lowest_threshold
from taxonomy_fixtures import TREE


def drawn(images: int, classes: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are true, and labels drawn from them."""
    random = np.random.default_rng(seed)
    rows = random.dirichlet(np.full(classes, spread), images).astype(np.float32)
    return rows, (random.random((images, 1)) > rows.cumsum(axis=1)[:, :-1]).sum(axis=1)


def test_the_lowest_threshold_that_keeps_the_target_is_taken() -> None:
    sure = np.linspace(1.0, 0.5, 1001)
    right = np.ones(1001, bool)
    right[500:] = False
    found = lowest_threshold(sure, right, 0.9)
    assert found is not None
    kept = right[sure >= found].mean()
    assert kept == pytest.approx(0.9, abs=0.01)


def test_five_correct_images_of_five_do_not_prove_a_precision() -> None:
    assert lowest_threshold(np.full(5, 0.6), np.ones(5, bool), 0.95) is None
    assert lowest_threshold(np.full(5, 0.99), np.ones(5, bool), 0.95) == pytest.approx(0.99)
    assert lowest_threshold(np.full(2000, 0.6), np.ones(2000, bool), 0.95) == pytest.approx(0.6)


def test_without_images_the_probability_itself_must_reach_the_target() -> None:
    assert lowest_threshold(np.empty(0), np.empty(0, bool), 0.95) == 0.95


def test_images_of_the_same_probability_are_taken_together() -> None:
    sure, right = np.full(100, 0.9), np.array([True] * 95 + [False] * 5)
    for order in (right, right[::-1]):
        assert lowest_threshold(sure, order, 0.94) is None or lowest_threshold(sure, order, 0.94) == pytest.approx(0.9)
        assert lowest_threshold(sure, order, 0.96) is None


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95])
def test_new_images_of_the_same_distribution_keep_the_target(target: float) -> None:
    decision = choose_thresholds(*drawn(3000, 4, 0.3, seed=1), TREE, target)
    by_thresholds, by_roll_up = coverage_and_precision(*drawn(20_000, 4, 0.3, seed=2), TREE, decision)
    for found in (by_thresholds, by_roll_up):
        assert found.precision is not None
        assert found.precision > target - 0.02  # a few hundred accepted images decide a threshold
    assert by_roll_up.accepted > by_thresholds.accepted + 0.02
    assert decision.target_precision == target
    assert decision.by_roll_up is not None
    assert decision.by_roll_up.accepted == pytest.approx(by_roll_up.accepted, abs=0.03)


def test_a_class_that_is_mostly_wrong_is_hardly_accepted_and_rolls_up_where_its_taxon_is_right() -> None:
    rows, targets = drawn(3000, 4, 0.3, seed=3)
    fooled = rows.argmax(axis=1) == 0
    targets = np.where(fooled, 1, targets)  # what looks like calanus is another copepod
    decision = choose_thresholds(rows, targets, TREE, 0.95)
    threshold = decision.classes["calanus"]
    assert threshold is None or (rows[:, 0] >= threshold).mean() < 0.01
    assert decision.taxa["Copepoda"] is not None
    by_thresholds, by_roll_up = coverage_and_precision(rows, targets, TREE, decision)
    assert by_roll_up.accepted > by_thresholds.accepted


def test_an_image_that_is_called_unknown_is_not_accepted() -> None:
    rows, targets = drawn(1000, 4, 0.1, seed=4)
    decision = choose_thresholds(rows, targets, TREE, 0.9)
    scores = np.arange(1000, dtype=np.float32)
    _, without = coverage_and_precision(rows, targets, TREE, decision)
    _, half = coverage_and_precision(rows, targets, TREE, decision, scores, 499.0)
    _, nothing = coverage_and_precision(rows, targets, TREE, decision, scores, -1.0)
    assert half.accepted == pytest.approx(without.accepted / 2, abs=0.05)
    assert (nothing.accepted, nothing.precision) == (0.0, None)


def test_classes_without_taxa_have_thresholds_and_nothing_to_roll_up_to() -> None:
    flat: Taxonomy = taxonomy_of_names("flat", "abcd")
    decision = choose_thresholds(*drawn(2000, 4, 0.3, seed=5), flat, 0.9)
    assert decision.taxa == {}
    assert decision.by_roll_up == decision.by_thresholds
