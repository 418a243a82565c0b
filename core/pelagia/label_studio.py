"""The form of a prediction in Label Studio, for a project whose labeling page Pelagia can read.

Invariant: pre-labels that are pushed and predictions that are exported have one form. The controls of the labeling page
have the names `FROM_CLASS` and `TO_IMAGE`, by which Label Studio finds the control of a prediction. See
https://labelstud.io/guide/predictions.
"""

from __future__ import annotations

from typing import Any

FROM_CLASS, TO_IMAGE = "class", "image"
LOCAL_FILES = "/data/local-files/"
"""Path on the server under which it serves the files of the document root."""


def class_result(class_name: str) -> list[dict[str, Any]]:
    """The ``result`` of an annotation or a prediction that names one class."""
    return [region(FROM_CLASS, class_name)]


def region(control: str, choice: str) -> dict[str, Any]:
    """A choice that was made on the image."""
    return {"from_name": control, "to_name": TO_IMAGE, "type": "choices", "value": {"choices": [choice]}}


def prediction(class_name: str, probability: float, model_version: str) -> dict[str, Any]:
    """A prediction of a task.

    Args:
        class_name: the class; empty if the model did not accept one: then people see no choice, but the score.
        probability: of the likeliest class, 0..1.
        model_version: the text that Label Studio shows for the model.
    """
    return {
        "result": class_result(class_name) if class_name else [],
        "score": round(probability, 6),
        "model_version": model_version,
    }
