"""A survey of a model that makes every decision; it is made once for each test that changes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pelagia.model.metadata import ModelFile
from pelagia.survey.journal import Survey
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.survey.runner import classify


@pytest.fixture
def folder(sure: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> Path:
    """The survey folder: the simulated images with the columns of their table, so also a column station."""
    classify(sure, [survey.truth], tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def opened(folder: Path) -> Iterator[Survey]:
    with Survey.open(folder) as found:
        yield found
