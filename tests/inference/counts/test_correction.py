"""Corrected counts: nearer to the truth than raw counts, and the same as QuaPy's where the method is the same."""

import numpy as np
import pytest

from pelagia.model.counting import Calibration, Recipe
from pelagia_inference.counts.correction import correct, summary
from pelagia_inference.counts.estimators import (
    adjusted,
    estimate,
    known_of,
    maximize,
    on_simplex,
    raw_shares,
)
from predictions.scores import CLASSES, counting, scores, survey_of

SKEWED = np.array([0.85, 0.1, 0.04, 0.01])
METHODS = ("acc", "pacc", "em")


def without_prior_shift() -> Calibration:
    return scores(shift=0.0, images=6000)


@pytest.mark.parametrize("method", METHODS)
def test_a_correction_is_nearer_to_a_skewed_composition(method: str) -> None:
    known = known_of(Recipe(method=method), without_prior_shift())
    survey, truth = survey_of(scores(shift=0.0, images=6000, seed=5), SKEWED, images=4000)
    raw = np.abs(raw_shares(survey.probabilities) - truth).mean()
    assert np.abs(estimate(known, survey.probabilities) - truth).mean() < 0.4 * raw


@pytest.mark.parametrize("method", ["raw", "mean", *METHODS])
def test_estimates_sum_to_the_number_of_images(method: str) -> None:
    calibration = scores()
    survey, _ = survey_of(calibration, SKEWED, images=37)
    found = correct(counting(calibration, Recipe(method=method)), survey.probabilities)
    assert found.estimate.sum() == pytest.approx(37)
    assert (found.estimate >= 0).all()
    assert (found.low <= found.estimate + 1e-9).all()
    assert (found.estimate <= found.high + 1e-9).all()
    assert (found.high <= 37).all()


def test_the_weight_of_the_raw_counts_draws_the_result_towards_them() -> None:
    calibration = scores()
    survey, _ = survey_of(calibration, SKEWED)
    raw = raw_shares(survey.probabilities)
    distances = [
        np.abs(
            estimate(known_of(Recipe(method="em", raw_weight=weight), calibration), survey.probabilities) - raw
        ).sum()
        for weight in (0, 0.5, 1)
    ]
    assert distances[0] > distances[1] > distances[2] == 0
    prior = known_of(Recipe(method="em", prior_images=1e9), calibration)
    assert estimate(prior, survey.probabilities) == pytest.approx(raw, abs=1e-4)


def test_a_sample_without_images_has_counts_of_zero() -> None:
    found = correct(counting(scores()), np.zeros((0, len(CLASSES)), np.float32))
    assert found.estimate.tolist() == found.high.tolist() == [0, 0, 0, 0]


def test_probabilities_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError, match="4 classes, but the images 3"):
        correct(counting(scores()), np.full((5, 3), 1 / 3, np.float32))


def test_the_nearest_composition() -> None:
    assert on_simplex(np.array([0.2, 0.3, 0.5])) == pytest.approx([0.2, 0.3, 0.5])
    assert on_simplex(np.array([2.0, 0.0, -1.0])).tolist() == [1, 0, 0]


def test_the_summary_says_why_nothing_is_corrected() -> None:
    text = summary(counting(scores(), Recipe(), reason="the labeled images are of 3 groups, and 8 are needed"))
    assert text.startswith("counts are not corrected, because the labeled images are of 3 groups, and 8 are needed;")


def test_quapy_finds_the_same_by_expectation_maximization() -> None:
    aggregative = pytest.importorskip("quapy.method.aggregative")
    calibration = scores()
    survey, _ = survey_of(calibration, SKEWED)
    prior = calibration.probabilities.mean(axis=0, dtype=np.float64)
    posterior = survey.probabilities.astype(np.float64)
    theirs, _ = aggregative.EMQ.EM(prior, posterior / posterior.sum(axis=1, keepdims=True), epsilon=1e-12)
    ours = maximize((survey.probabilities / prior).astype(np.float32), prior, tolerance=1e-12, iterations=5000)
    assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("method", ["ACC", "PACC"])
def test_quapy_finds_the_same_by_adjusted_counts(method: str) -> None:
    aggregative = pytest.importorskip("quapy.method.aggregative")
    calibration = scores(images=6000)
    survey, _ = survey_of(calibration, np.array([0.4, 0.3, 0.2, 0.1]), images=3000)
    likeliest, numbers = calibration.probabilities.argmax(axis=1), np.arange(len(CLASSES))
    known = known_of(Recipe(method="acc" if method == "ACC" else "pacc"), calibration)
    if method == "ACC":
        rates = aggregative.ACC.getPteCondEstim(numbers, calibration.labels, likeliest)
        observed = raw_shares(survey.probabilities)
    else:
        rates = aggregative.PACC.getPteCondEstim(
            numbers, calibration.labels, calibration.probabilities.astype(np.float64)
        )
        observed = survey.probabilities.mean(axis=0, dtype=np.float64)
    assert known.rates == pytest.approx(rates.T, abs=1e-6)
    theirs = np.linalg.solve(rates, observed)
    solved = aggregative.ACC.solve_adjustment(rates, observed, method="inversion", solver="exact-raise")
    assert solved == pytest.approx(theirs, abs=1e-9)
    assert (theirs > 0).all(), "the exact solution is a composition, so the nearest one is the same"
    assert adjusted(known.rates, observed) == pytest.approx(solved, abs=1e-6)
