"""How a correction is chosen: by simulated surveys of groups that were left out."""

import numpy as np
import pytest

from predictions.scores import counting, scores

pytest.importorskip("torch")

from pelagia.model.card import card_of
from pelagia.model.counting import Recipe
from pelagia.model.metadata import ModelFile
from pelagia_inference.counts.correction import correct
from pelagia_training.counts.choose import best_recipe, choose, factors
from pelagia_training.counts.document import drift_of, unknown_shares
from pelagia_training.counts.simulate import trials


def test_no_group_is_in_the_survey_and_in_the_calibration() -> None:
    calibration = scores()
    seen = set()
    for trial in trials(calibration, 4, 1):
        assert not set(trial.calibration.groups) & set(trial.left_out.groups)
        seen |= set(trial.left_out.groups.tolist())
    assert seen == set(range(40)), "four trials leave out every group once"


def test_a_survey_of_one_group_has_the_images_of_a_class_from_one_group() -> None:
    calibration = scores(shift=3.0)
    for trial in trials(calibration, 4, 2):
        assert {survey.groups for survey in trial.surveys} == {10}
        assert [survey.kind for survey in trial.of_one] == ["even"] * 2 + ["skewed"] * 2 + ["as it is"] * 4
        assert {survey.groups for survey in trial.of_one} == {1}
        for survey in trial.of_one:
            at = {row.tobytes(): number for number, row in enumerate(calibration.probabilities)}
            rows = np.array([at[row.tobytes()] for row in survey.probabilities])
            for number in range(4):
                assert len(np.unique(calibration.groups[rows[calibration.labels[rows] == number]])) <= 1


def test_a_correction_that_helps_is_chosen_and_its_error_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pelagia_training.counts.choose.TRIALS", 4)
    monkeypatch.setattr("pelagia_training.counts.choose.SURVEYS", 3)
    recipe, spread, simulated = choose(scores(images=1000))
    assert recipe.method in ("em", "acc", "pacc")
    assert [one.composition for one in simulated] == ["even", "skewed"]
    assert simulated[1].corrected_error < 0.7 * simulated[1].raw_error
    assert all(0.8 <= one.coverage <= 1 for one in simulated)
    assert (spread > 0.3).all()


def test_the_intervals_of_single_stations_cover_about_nine_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pelagia_training.counts.choose.TRIALS", 4)
    monkeypatch.setattr("pelagia_training.counts.choose.SURVEYS", 2)
    monkeypatch.setattr("pelagia_training.counts.choose.RECIPES", (Recipe(), Recipe(method="em")))
    calibration, others = scores(groups=30, shift=0.8, seed=2), scores(groups=30, shift=0.8, seed=3)
    recipe, spread, _ = choose(calibration)
    document = counting(calibration, recipe, spread=tuple(spread))
    covered: dict[int, list[bool]] = {1: [], 30: []}
    for number in range(30):
        station = others.part(others.groups == number)
        truth = np.bincount(station.labels, minlength=4)
        for places, found in covered.items():
            interval = correct(document, station.probabilities, places)
            found.extend((interval.low <= truth) & (truth <= interval.high))
    assert 0.85 <= np.mean(covered[1]) <= 0.98
    assert np.mean(covered[30]) < np.mean(covered[1]) - 0.05, "they are taken for a survey of 30 stations"


def test_nothing_is_corrected_where_no_correction_helps() -> None:
    errors = {"even": np.array([[0.01, 0.02]]), "skewed": np.array([[0.02, 0.001]])}
    assert best_recipe(errors, (Recipe(), Recipe(method="em"))) == Recipe()


def test_the_factor_of_a_class_with_few_groups_is_near_the_common_one() -> None:
    residuals = np.column_stack((np.full(50, 1.0), np.full(50, 1.0), np.full(50, 9.0), np.full(50, 9.0)))
    found = factors(residuals, np.array([2, 500, 2, 500]))
    assert found[1] == pytest.approx(1, abs=0.1)
    assert found[0] > 3


def test_the_factor_of_a_class_with_few_groups_allows_for_groups_that_were_not_seen() -> None:
    residuals = np.repeat(np.linspace(0, 1, 101)[:, None], 3, axis=1)
    found = factors(residuals, np.array([7, 18, 10_000]))
    assert found[2] == pytest.approx(0.9, abs=0.01)
    assert found[1] > 1.05 * found[2]
    assert found[0] > 1.15 * found[2]


def test_one_odd_survey_does_not_make_the_intervals_of_a_class_useless() -> None:
    residuals = np.ones((100, 2))
    residuals[0, 0] = 1000
    assert (factors(residuals, np.array([7, 7])) < 1.3).all()


def test_left_out_groups_are_rarely_called_different() -> None:
    drift = drift_of(scores(images=4000, shift=0.5), Recipe(method="em"))
    assert drift is not None
    assert drift.false_warnings < 0.15
    assert drift_of(scores(images=100), Recipe()) is None


def test_an_exported_model_says_how_its_counts_are_corrected(model: ModelFile) -> None:
    counting = model.counting
    assert counting is not None
    assert counting.source == "validation split"
    assert counting.classes == model.metadata.classes
    assert card_of(model.metadata, counting=counting).counting == counting


def test_the_usual_share_of_unknown_images_is_that_of_the_groups() -> None:
    groups = [str(number) for number in range(10) for _ in range(50)]
    above = np.array([number % 10 == 0 for number in range(500)])
    assert unknown_shares(above, groups) == pytest.approx((0.1, 0.1))
    above[:10] = True  # one group has more, and the limit is between its share and that of the others
    limit, usual = unknown_shares(above, groups) or (0, 0)
    assert usual == pytest.approx(0.118)
    assert 0.1 < limit < 0.28
    assert unknown_shares(above[:100], groups[:100]) is None
