"""Warnings of samples that differ from the labeled images."""

import numpy as np
import pytest

from pelagia.model.counting import Drift
from pelagia_inference.counts.correction import correct
from pelagia_inference.counts.drift import drift_warnings, many_unknown, unsure_bias
from pelagia_inference.counts.samples import Sample
from pelagia_inference.counts.words import about_drift
from predictions.scores import counting, scores, survey_of

DRIFT = Drift(limit=0.05, false_warnings=0.04, groups=50)
EVEN, SKEWED = np.full(4, 0.25), np.array([0.85, 0.1, 0.04, 0.01])


def warnings(survey_sharpness: float, composition: np.ndarray) -> list[str]:
    document = counting(scores(shift=0.0, images=5000), drift=DRIFT)
    survey, _ = survey_of(scores(shift=0.0, sharpness=survey_sharpness, seed=7), composition)
    return drift_warnings(document, survey.probabilities, correct(document, survey.probabilities))


@pytest.mark.parametrize("composition", [EVEN, SKEWED])
def test_another_composition_alone_is_no_drift(composition: np.ndarray) -> None:
    assert warnings(2.0, composition) == []


def test_less_sure_probabilities_are_drift() -> None:
    (text,) = warnings(1.0, EVEN)
    assert text.startswith("the probabilities are not like those of the labeled images (distance ")
    assert "4% of 50 labeled groups would be warned of, too" in text


def test_few_images_are_not_compared() -> None:
    document = counting(scores(), drift=DRIFT)
    few = scores(images=10, sharpness=0.5).probabilities
    assert drift_warnings(document, few, correct(document, few)) == []


def test_a_class_that_the_rule_often_leaves_unnamed_is_warned_of() -> None:
    document = counting(scores(), unsure_loss=(0.05, 0.05, 0.8, 0.05))
    assert "'detritus' would be 6.6% of the organisms instead of 25.0%" in unsure_bias(document, EVEN)
    assert unsure_bias(document, np.array([0.5, 0.495, 0.005, 0.0])) == ""
    assert unsure_bias(counting(scores()), EVEN) == ""


def test_more_unknown_images_than_usual_are_warned_of() -> None:
    document = counting(scores(), unknown_limit=0.08)
    assert many_unknown(document, 400, 0.3).startswith(
        "30% of the images are like none of the classes (usual: up to 8%)"
    )
    assert many_unknown(document, 400, 0.09) == ""
    assert many_unknown(document, 20, 0.15) == "", "three of twenty images may be chance"
    assert many_unknown(counting(scores()), 400, 0.3) == ""


def test_chance_is_not_added_to_a_limit_that_holds_it() -> None:
    document = counting(scores(), unknown_limit=0.15, unknown_usual=0.05)
    assert many_unknown(document, 30, 0.2) != ""
    assert many_unknown(document, 30, 0.15) == ""
    assert many_unknown(document.model_copy(update={"unknown_usual": None}), 30, 0.2) == "", "as in older models"
    few = counting(scores(), unknown_limit=0.08, unknown_usual=0.05)
    assert many_unknown(few, 20, 0.1) == "", "two of twenty images may be chance"
    assert many_unknown(few, 400, 0.1) != ""


def test_one_warning_names_all_samples_with_the_same_fault() -> None:
    document = counting(scores(), unsure_loss=(0.05, 0.05, 0.8, 0.05))
    texts = [unsure_bias(document, shares) for shares in (EVEN, np.array([0.1, 0.1, 0.7, 0.1]))]
    others = counting(scores(), unsure_loss=(0.9, 0.05, 0.05, 0.05))
    samples = [Sample(name, (name,), {}) for name in ("A", "B", "C", "D")]
    drift = [("A", texts[0]), ("B", texts[1]), ("C", unsure_bias(others, EVEN))]
    (text,) = about_drift(samples, drift)
    assert text.startswith(
        "3 of 4 samples (A, B, C): in the first, if you counted only the images that the model named"
    )
    assert "6.6% of the organisms instead of 25.0%" in text
    (alone,) = about_drift(samples, drift[:1])
    assert alone.startswith("1 of 4 samples (A): if you counted only")
