"""The learning curve and its continuation, on made embeddings and on a curve whose law is known."""

from dataclasses import replace

import numpy as np
import pytest

from pelagia.errors import InputError
from pelagia_labeling.progress.forecast import forecast
from pelagia_labeling.progress.power_law import fit
from pelagia_labeling.progress.probe import Labels, LearningCurve, learning_curve

CLASSES = 4


def made(images: int, spread: float, seed: int = 0) -> Labels:
    """Images of four classes from 30 stations: each class is a cloud around its own point, each station shifts it."""
    random = np.random.default_rng(seed)
    centers, shifts = random.normal(size=(CLASSES, 40)), random.normal(size=(30, 40)) * 0.5
    classes, groups = random.integers(0, CLASSES, images), random.integers(0, 30, images)
    vectors = centers[classes] + shifts[groups] + random.normal(size=(images, 40)) * spread
    return Labels(vectors.astype(np.float32), [f"class {one}" for one in classes], [f"S{one:02}" for one in groups])


@pytest.fixture(scope="module")
def curve() -> LearningCurve:
    return learning_curve(made(600, 2.5))


def test_a_power_law_is_found_again() -> None:
    labels = np.array([100, 200, 400, 800, 1600.0])
    law = fit(labels, 0.9 - 3 * labels**-0.5)
    assert law.at(6400) == pytest.approx(0.9 - 3 / 80, abs=0.003)
    assert law.error < 0.001


def test_a_fitted_curve_never_falls_and_never_exceeds_one() -> None:
    labels = np.array([100, 200, 400, 800.0])
    falling, steep = fit(labels, np.array([[0.9, 0.8, 0.7, 0.6], [0.5, 0.7, 0.9, 1.0]])).at(100000)
    assert falling == pytest.approx(0.7, abs=0.05)
    assert 0.95 < steep <= 1


def test_the_forecast_holds_the_macro_f1_that_more_labels_gave(curve: LearningCurve) -> None:
    found = forecast(curve, 600)
    truth = forecast(learning_curve(made(1200, 2.5)), 1).now.value
    assert found.now.low < found.now.value < found.now.high
    assert found.gain.value > 0.005  # the curve still rises
    assert found.then.low <= truth <= found.then.high
    assert found.summary == (
        f"600 more labels: expected macro-F1 {found.now.value:.2f} -> {found.then.value:.2f} "
        f"({found.then.low:.2f} to {found.then.high:.2f})"
    )


def test_an_image_is_predicted_without_the_images_of_its_group() -> None:
    """Each group has its own noise, which tells the class: only a classifier that saw the group could use it."""
    random = np.random.default_rng(1)
    groups, classes = np.repeat(np.arange(60), 10), np.tile(np.arange(10) % 2, 60)
    side = random.choice([-1.0, 1.0], 60)[groups] * (2 * classes - 1)
    vectors = np.eye(60)[groups] * side[:, None]
    labels = Labels(vectors.astype(np.float32), [str(one) for one in classes], [str(one) for one in groups])
    assert forecast(learning_curve(labels), 100).scores[-1] < 0.6


def test_rare_classes_are_left_out_and_named() -> None:
    labels = made(300, 1.0)
    rare = Labels(labels.vectors, ["worm", "worm", *labels.classes[2:]], labels.groups)
    found = forecast(learning_curve(rare), 500)
    assert found.left_out == {"worm": 2}
    assert any("worm (2)" in warning for warning in found.warnings)
    assert sum(one.labels for one in found.classes) == 298


def test_a_forecast_that_cannot_be_relied_on_is_warned_of(curve: LearningCurve) -> None:
    shuffled = replace(curve, predicted=np.roll(curve.predicted, 4, axis=1))  # the curve falls in the middle
    assert any("fits the curve poorly" in warning for warning in forecast(shuffled, 100).warnings)
    assert any("far to look" in warning for warning in forecast(curve, 5000).warnings)
    assert forecast(curve, 100).warnings == ()


def test_too_few_labels_are_refused_with_their_number() -> None:
    with pytest.raises(InputError, match="there are 40 labels of 4 classes"):
        learning_curve(made(40, 1.0))


def test_labels_of_new_groups_begin_with_few_groups_and_gain_more() -> None:
    labels = made(600, 1.5)
    same = forecast(learning_curve(labels), 300)
    new = forecast(learning_curve(replace(labels, new_groups=True)), 300)
    assert new.scores[0] < same.scores[0]
    assert new.scores[-1] == pytest.approx(same.scores[-1])  # all labels are the same labels
    assert new.gain.value > same.gain.value
