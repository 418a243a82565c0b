"""Calibrated probabilities."""

import numpy as np
import pytest

from pelagia_training.figures.calibrate import (
    calibrate,
    calibrated,
    error_by_chance,
    fit_temperatures,
    negative_log_likelihood,
    pays,
    softmax,
    uncalibrated,
)
from pelagia_training.figures.metrics import reliability_diagram


def drawn(images: int, divisors: tuple[float, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax once each class's logit is divided."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (images, len(divisors)))
    chances = calibrated(logits, divisors).cumsum(axis=1)
    return logits.astype(np.float32), (random.random((images, 1)) > chances[:, :-1]).sum(axis=1)


def test_the_temperature_that_made_the_labels_is_found() -> None:
    logits, targets = drawn(20_000, (2.0,) * 5)
    found = fit_temperatures(logits, targets)
    assert found == pytest.approx(np.full(5, 2.0), rel=0.05)


def test_the_temperature_of_each_class_is_found() -> None:
    wanted = (0.7, 1.0, 1.5, 2.0)
    logits, targets = drawn(20_000, wanted)
    assert fit_temperatures(logits, targets, 1e-6) == pytest.approx(wanted, rel=0.1)
    alike = fit_temperatures(logits, targets)
    assert np.ptp(alike) == 0


def test_classes_get_different_temperatures_only_where_that_helps_held_out_groups() -> None:
    groups = [str(number % 20) for number in range(4000)]
    same, _ = calibrate(*drawn(4000, (1.5,) * 4), groups)
    assert np.ptp(same.temperatures) < 0.2
    different, _ = calibrate(*drawn(4000, (0.5, 1.0, 2.0, 3.0)), groups)
    assert np.all(np.diff(different.temperatures) > 0.1)


def test_the_error_falls_to_what_chance_would_show() -> None:
    logits, targets = drawn(3000, (3.0,) * 6)
    found, held_out = calibrate(logits, targets, [str(number % 30) for number in range(3000)])
    assert found.error_before > 0.2
    assert found.error < 2 * found.error_by_chance
    assert found.likelihood < found.likelihood_before
    assert found.error == reliability_diagram(held_out, targets).error
    assert (found.images, found.bins) == (3000, 15)


def test_an_untrained_network_keeps_the_order_of_its_classes() -> None:
    logits, _ = drawn(500, (1.0,) * 4)
    targets = np.random.default_rng(1).integers(0, 4, 500)
    assert fit_temperatures(logits, targets).max() <= 10
    assert np.array_equal(calibrated(logits, fit_temperatures(logits, targets)).argmax(1), logits.argmax(1))


def test_one_group_alone_is_enough_for_one_temperature() -> None:
    logits, targets = drawn(200, (2.0,) * 3)
    found, held_out = calibrate(logits, targets, ["one"] * 200)
    assert np.ptp(found.temperatures) == 0
    assert held_out.shape == (200, 3)


def test_the_calibration_error_by_chance_is_larger_for_fewer_images() -> None:
    few, many = (error_by_chance(softmax(drawn(count, (1.0,) * 4)[0])) for count in (150, 15_000))
    assert many < few / 3
    logits, targets = drawn(15_000, (1.0,) * 4)
    assert reliability_diagram(softmax(logits), targets).error < 2 * many


def test_the_uncalibrated_probabilities_follow_from_the_calibrated_ones() -> None:
    logits, _ = drawn(500, (1.0,) * 4)
    temperatures = (0.5, 0.8, 1.0, 2.0)
    again = uncalibrated(calibrated(logits, temperatures).astype(np.float32), temperatures)
    assert np.abs(again - softmax(logits)).max() < 1e-5


def test_a_constant_added_to_all_logits_changes_nothing() -> None:
    logits, _ = drawn(500, (1.0,) * 4)
    temperatures = (0.5, 0.8, 1.0, 2.0)
    assert calibrated(logits + 5, temperatures) == pytest.approx(calibrated(logits, temperatures), abs=1e-5)


def test_a_certain_mistake_has_a_finite_likelihood() -> None:
    assert np.isfinite(negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([1])))


def test_no_temperatures_are_fitted_where_they_do_not_pay_on_held_out_groups() -> None:
    """Few images of a network that is calibrated already: a fit follows chance."""
    for seed in range(5):
        logits, targets = drawn(60, (1.0,) * 6, seed)
        found, held_out = calibrate(logits, targets, [str(number % 12) for number in range(60)])
        assert set(found.temperatures) == {1.0}
        assert found.error == found.error_before
        assert found.likelihood == pytest.approx(found.likelihood_before)
        assert held_out == pytest.approx(softmax(logits))


def test_temperatures_pay_if_the_likelihood_clearly_rises() -> None:
    logits, targets = drawn(200, (3.0,) * 4)
    groups = [str(number % 20) for number in range(200)]
    assert pays(softmax(logits), calibrated(logits, (3.0,) * 4), targets, groups)
    assert not pays(softmax(logits), calibrated(logits, (0.8,) * 4), targets, groups)
    assert not pays(softmax(logits), calibrated(logits, (3.0,) * 4), targets, ["one"] * 200)
