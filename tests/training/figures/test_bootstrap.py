"""Intervals by resampling groups, compared with a simple implementation and with the true value."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pelagia_training.figures.bootstrap import BINS, intervals_of
from pelagia_training.figures.metrics import confusion_matrix, metrics_of, reliability_diagram

Answers = tuple[NDArray[np.float64], NDArray[np.int64], list[str]]


def survey(seed: int, groups: int = 12, each: int = 30, scatter: float = 0.25) -> Answers:
    """Answers of a model that is better at some stations than at others, 3 classes; right 0.7 of the time overall."""
    random = np.random.default_rng(seed)
    skill = np.repeat(random.choice([0.7 - scatter, 0.7 + scatter], groups), each)
    targets = random.integers(0, 3, len(skill))
    right = random.random(len(skill)) < skill
    answers = np.where(right, targets, (targets + 1) % 3)
    probabilities = np.full((len(skill), 3), 0.1)
    probabilities[np.arange(len(skill)), answers] = random.uniform(0.4, 0.9, len(skill))
    names = [f"station {index}" for index in np.repeat(np.arange(groups), each)]
    return probabilities / probabilities.sum(axis=1, keepdims=True), targets, names


def test_a_draw_has_the_metrics_of_the_images_of_the_drawn_groups() -> None:
    probabilities, targets, names = survey(1)
    random = np.random.default_rng(0)
    bin_of = reliability_diagram(probabilities, targets).bin_of
    gap = probabilities.max(axis=1) - (probabilities.argmax(axis=1) == targets)
    groups = sorted(set(names))
    found = []
    for _ in range(40):
        drawn = random.integers(0, len(groups), len(groups))
        images = np.concatenate([np.flatnonzero(np.array(names) == groups[index]) for index in drawn])
        metrics = metrics_of(confusion_matrix(targets[images], probabilities[images].argmax(axis=1), 3))
        error = np.abs(np.bincount(bin_of[images], gap[images], minlength=BINS)).sum() / len(images)
        found.append((metrics.accuracy, metrics.macro_f1, metrics.balanced_accuracy, error, metrics.f1[2]))
    draws = np.array(found)
    draws[:, 3] -= draws[:, 3].mean() - reliability_diagram(probabilities, targets).error  # the bias of its draws
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    intervals = intervals_of(probabilities, targets, names, draws=40, seed=0)
    ours = [*intervals.headline.values(), intervals.per_class["f1"][2]]
    assert [one.low for one in ours if one] == pytest.approx(low)
    assert [one.high for one in ours if one] == pytest.approx(high)


def test_nine_in_ten_intervals_hold_the_truth_and_those_by_image_do_not() -> None:
    by_group, by_image = 0, 0
    for seed in range(100):
        probabilities, targets, names = survey(seed, groups=20)
        for one, groups in (("group", names), ("image", [str(index) for index in range(len(names))])):
            accuracy = intervals_of(probabilities, targets, groups, draws=200).headline["accuracy"]
            assert accuracy is not None
            holds = accuracy.low <= 0.7 <= accuracy.high
            by_group += holds and one == "group"
            by_image += holds and one == "image"
    assert by_group >= 88
    assert by_image <= 75


def test_the_interval_of_the_calibration_error_holds_the_error() -> None:
    """A calibrated model on few images: in nearly every draw, the error is larger than in the survey."""
    for seed in range(20):
        random = np.random.default_rng(seed)
        confidence = random.uniform(0.4, 1.0, 120)
        probabilities = np.stack((confidence, 1 - confidence), axis=1)
        targets = (random.random(120) > confidence).astype(np.int64)
        error = reliability_diagram(probabilities, targets).error
        interval = intervals_of(probabilities, targets, [str(index % 40) for index in range(120)]).headline["ece"]
        assert interval is not None
        assert 0 <= interval.low < error < interval.high


def test_one_group_gives_no_interval_and_nor_does_a_class_of_one_group() -> None:
    probabilities, targets, names = survey(0)
    alone = intervals_of(probabilities, targets, ["here"] * len(names))
    assert set(alone.headline.values()) == {None}
    assert set(alone.per_class["f1"]) == {None}
    targets[targets == 2] = 0
    targets[np.array(names) == "station 3"] = 2
    some = intervals_of(probabilities, targets, names)
    assert some.per_class["recall"][0] is not None
    assert some.per_class["recall"][2] is None


def test_the_same_answers_give_the_same_intervals() -> None:
    assert intervals_of(*survey(4)) == intervals_of(*survey(4))
