"""A survey of a model that calls all images of a folder one class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from pelagia.sources import list_images
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia.taxonomy import Taxonomy

SurveyOf = Callable[..., Path]


@pytest.fixture
def survey_of(tmp_path: Path, taxonomy: Taxonomy) -> SurveyOf:
    """``survey_of(images)``: the model calls each image a copepod; ``names`` gives the class of some paths."""

    def make(images: Path, names: Mapping[str, str] = {}, folder: str = "survey") -> Path:
        paths = list(list_images([images]))
        with Survey.open_for_writing(
            tmp_path / folder, model_sha256="ab" * 32, classes=taxonomy.names, settings={}
        ) as survey:
            survey.add(
                Prediction(
                    image.path,
                    str(image.file),
                    sha256_of(image.read()),
                    probabilities=_probabilities(taxonomy, names.get(image.path, "copepod"), place / len(paths)),
                )
                for place, image in enumerate(paths)
            )
        return tmp_path / folder

    return make


def _probabilities(taxonomy: Taxonomy, name: str, sure: float) -> np.ndarray:
    others = len(taxonomy.names) - 1
    first = 0.5 + 0.4 * sure
    return np.array([first if one == name else (1 - first) / others for one in taxonomy.names], np.float32)
