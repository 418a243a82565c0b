"""A model that is told sizes gives one answer for an EcoTaxa export, in the evaluation and in the field."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ecotaxa_exports import FORMS, object_row
from pelagia.model.metadata import ModelFile
from pelagia.sources import list_images
from pelagia.survey.journal import Survey
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.survey.runner import classify
from pelagia_labeling.importers.dataset import import_dataset

SIZES = {
    "mm": {"process_particle_pixel_size_mm": "{mm}"},
    "um": {"process_particle_pixel_size_mm": "99999", "acq_pixel": "{um}", "acq_instrument": "uvp6"},
}


@pytest.fixture(params=SIZES)
def export(request: pytest.FixtureRequest, survey: SimulatedSurvey, tmp_path: Path) -> Path:
    """The simulated survey as an EcoTaxa export whose pixel sizes differ by sample."""
    with survey.truth.open(newline="", encoding="utf-8") as file:
        truth = list(csv.DictReader(file))[:60]
    rows, images = [], {}
    for number, one in enumerate(truth):
        um = (0.6, 10.6, 73.0)[number % 3]
        sizes = {key: text.format(mm=um / 1000, um=um) for key, text in SIZES[request.param].items()}
        rows.append(object_row(number, f"s{number % 3}", object_annotation_category=one["class"], **sizes))
        rows[-1]["object_annotation_hierarchy"] = ""
        images[f"{number}.png"] = (survey.root / one["path"]).read_bytes()
    return FORMS["general export" if request.param == "um" else "zip"](tmp_path, rows, images)


def test_evaluation_and_survey_agree(sized: ModelFile, export: Path, tmp_path: Path) -> None:
    from pelagia_training.evaluation.evaluate import evaluate

    taxonomy = sized.metadata.taxonomy
    dataset = import_dataset(export, tmp_path / "ds", taxonomy=taxonomy, join_near_duplicates=False)
    confusion = evaluate(sized, dataset, "all").confusion
    classify(sized, [export], tmp_path / "survey")
    truth = {one.path: one.columns["object_annotation_category"] for one in list_images([export])}
    names = list(sized.metadata.classes)
    with Survey.open(tmp_path / "survey") as rows:
        answers = [(row.path, int(np.argmax(row.probabilities))) for row in rows if row.probabilities is not None]
    found = Counter((names.index(truth[path]), answer) for path, answer in answers)
    expected = {(i, j): int(n) for (i, j), n in np.ndenumerate(np.asarray(confusion)) if n}
    assert dict(found) == expected
    assert sum(expected.values()) == dataset.meta.images
