"""The document `Counting`: small, exact enough, and refused if it is damaged."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from pelagia.model.counting import MOST_CODES, Calibration, Counting, packed
from predictions.scores import CLASSES, counting, scores


def test_predictions_are_the_same_after_they_were_stored() -> None:
    calibration = scores()
    document = counting(calibration)
    read = Counting.model_validate_json(document.model_dump_json())
    assert read == document
    again = read.calibration
    assert np.array_equal(again.labels, calibration.labels)
    assert np.array_equal(again.groups, calibration.groups)
    assert np.abs(again.probabilities - calibration.probabilities).max() < 0.02
    assert len(document.model_dump_json()) < 4 * len(CLASSES) * 2000


def test_a_large_dataset_keeps_images_of_every_class_and_group() -> None:
    classes, images = 200, 20_000
    random = np.random.default_rng(0)
    labels = np.minimum(random.geometric(0.05, images) - 1, classes - 1)
    calibration = Calibration(
        labels, random.integers(10, size=images), random.dirichlet(np.ones(classes), images).astype(np.float32)
    )
    fields = packed(calibration)
    assert int(fields["kept"]) <= MOST_CODES / classes
    document = Counting.model_validate(
        {
            "classes": [str(number) for number in range(classes)],
            "source": "out of fold",
            "images": np.bincount(labels, minlength=classes).tolist(),
            "groups": 10,
            **fields,
        }
    )
    kept = document.calibration
    assert set(kept.labels) == set(labels)
    assert set(kept.groups[kept.labels == 0]) == set(range(10))


@pytest.mark.parametrize(
    ("field", "value"),
    [("codes", "AAAA"), ("labels", "no base64"), ("kept", 7), ("spread", [1.0]), ("images", [1, 2])],
)
def test_a_damaged_document_is_refused(field: str, value: object) -> None:
    document = json.loads(counting(scores(images=50)).model_dump_json())
    with pytest.raises(ValidationError):
        Counting.model_validate(document | {field: value})
