"""Intervals of corrected counts."""

import numpy as np

from pelagia.model.counting import Calibration, Recipe
from pelagia_inference.counts.correction import correct
from pelagia_inference.counts.intervals import Pool
from predictions.scores import counting, scores, survey_of


def widths(shift: float, images: int, places: int = 10, **changes: object) -> float:
    calibration = scores(shift=shift)
    survey, _ = survey_of(calibration, np.array([0.4, 0.3, 0.2, 0.1]), images=images)
    found = correct(counting(calibration, Recipe(method="em"), **changes), survey.probabilities, places)
    return float((found.high - found.low).mean() / images)


def test_an_interval_is_the_same_each_time() -> None:
    assert widths(0.3, 200) == widths(0.3, 200)


def test_an_interval_is_wider_if_groups_differ_more_or_the_sample_is_smaller() -> None:
    assert widths(1.0, 400) > 1.3 * widths(0.0, 400)
    assert widths(0.0, 50) > 1.5 * widths(0.0, 400)


def test_the_factor_of_a_class_widens_its_interval() -> None:
    assert widths(0.3, 400, spread=(2.0,) * 4) > 1.8 * widths(0.3, 400, spread=(1.0,) * 4)


def test_the_interval_of_one_station_is_wider_than_that_of_several() -> None:
    assert widths(1.0, 400, places=1) > 1.5 * widths(1.0, 400, places=10)


def test_about_nine_of_ten_intervals_cover_the_truth_of_surveys_of_other_groups() -> None:
    calibration, others = scores(groups=30, seed=2), scores(groups=30, seed=3)
    document = counting(calibration, Recipe(method="em"), spread=(1.3,) * 4)
    random = np.random.default_rng(0)
    covered = []
    for number in range(25):
        survey, truth = survey_of(others, random.dirichlet(np.ones(4)), images=300, seed=number)
        found = correct(document, survey.probabilities, 30)
        covered.append((found.low <= 300 * truth) & (300 * truth <= found.high))
    assert 0.75 < np.mean(covered) <= 1


def test_a_simulated_survey_of_one_station_has_each_class_from_one_group_by_its_images() -> None:
    labels, groups = np.zeros(100, np.int64), np.repeat([0, 1, 2], [80, 19, 1])
    pool = Pool(Calibration(labels, groups, np.ones((100, 1), np.float32)), 1)
    random = np.random.default_rng(0)
    chosen = []
    for _ in range(200):
        rows, _ = pool.draw(np.ones(1), 20, 1 / 3, random)
        [group] = np.unique(groups[rows])
        chosen.append(group)
    assert np.allclose(np.bincount(chosen, minlength=3) / 200, (0.8, 0.19, 0.01), atol=0.08)
    assert len(np.unique(groups[pool.draw(np.ones(1), 200, 1.0, random)[0]])) == 3


def test_a_simulated_survey_leaves_out_classes_without_images() -> None:
    calibration = scores()
    some = calibration.part(calibration.labels != 2)
    rows, truth = Pool(some, 4).draw(np.full(4, 0.25), 100, 0.5, np.random.default_rng(0))
    assert truth[2] == 0
    assert len(rows) == 100
    assert isinstance(some, Calibration)
