"""A model on images that were made worse."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cli_fixtures import Pelagia
from pelagia.dataset.schema import Dataset
from pelagia.images.preprocess import decode
from pelagia.model.metadata import ModelFile
from pelagia_training.evaluation.evaluate import Evaluation, evaluate
from pelagia_training.evaluation.stress import DISTURBANCES, Disturbance, changed_image, changed_images, stress
from pelagia_training.evaluation.stress_page import stress_section, text_rows

BY_NAME = {one.name: one for one in DISTURBANCES}


@pytest.fixture(scope="module")
def evaluation(model: ModelFile, dataset: Dataset) -> Evaluation:
    return evaluate(model, dataset, "test")


def picture() -> bytes:
    """A PNG of noise, 60 x 40 pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


@pytest.mark.parametrize("disturbance", DISTURBANCES, ids=lambda one: one.name)
def test_a_stronger_level_changes_an_image_more(disturbance: Disturbance) -> None:
    data = picture()
    before = decode(data).astype(float)
    distances = []
    for level in disturbance.levels:
        after = decode(changed_image(data, disturbance, level)).astype(float)
        if disturbance.scales:
            assert after.shape == (round(40 * level), round(60 * level), 3)
        else:
            distances.append(np.abs(after - before).mean())
    if disturbance.name == "brightness":  # from dark to bright: the middle levels change least
        assert distances[0] > distances[1] > 0
        assert distances[3] > distances[2] > 0
    else:
        assert distances == sorted(distances)
        assert 0 not in distances


def test_unchanged_images_give_the_answers_of_the_evaluation(
    model: ModelFile, dataset: Dataset, evaluation: Evaluation
) -> None:
    nothing = Disturbance("nothing", (1.0,), "", "unchanged {:g}", lambda pixels, level: pixels)
    (found,) = stress(model, dataset, evaluation, disturbances=[nothing])
    assert found.macro_f1.value == 0
    assert found.accuracy.second == evaluation.metrics.accuracy
    assert evaluation.assessment is not None
    assert found.called_unknown == evaluation.assessment.known_flagged
    if evaluation.assessment.by_roll_up is not None:
        assert found.accepted == evaluation.assessment.by_roll_up.accepted


def test_a_blur_that_leaves_nothing_ruins_the_answers(
    model: ModelFile, dataset: Dataset, evaluation: Evaluation
) -> None:
    gray = Disturbance("gray", (1.0,), "", "gray", lambda pixels, level: np.full_like(pixels, 128))
    (found,) = stress(model, dataset, evaluation, disturbances=[gray])
    assert found.accuracy.second < evaluation.metrics.accuracy
    assert found.macro_f1.interval is not None
    section = stress_section([found], evaluation, dataset)
    assert section["stress"] is not None
    assert text_rows([found])[0][0] == "gray"


def test_the_recorded_pixel_size_follows_the_pixels(dataset: Dataset, evaluation: Evaluation) -> None:
    records = [replace(one, extra={**one.extra, "pixel_size_um": "4"}) for one in evaluation.records[:2]]
    (half, _), (as_before, _) = (
        list(changed_images(dataset, records, BY_NAME[name], 0.5)) for name in ("pixel size", "blur")
    )
    assert half.columns["pixel_size_um"] == "8.0"
    assert as_before.columns["pixel_size_um"] == "4"
    height, width = decode(half.read()).shape[:2]
    assert (height, width) == tuple(round(side / 2) for side in decode(as_before.read()).shape[:2])


def test_the_command_prints_the_table_and_writes_the_files(
    pelagia: Pelagia, model: ModelFile, dataset: Dataset, tmp_path: Path
) -> None:
    done = pelagia("evaluate", model.path, dataset.root, "--split", "val", "--stress", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "blurred by 2 px" in done.stdout
    assert "stress.csv" in done.stdout
    with (tmp_path / "out" / "stress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(one.levels) for one in DISTURBANCES)
    assert all(0 <= float(row["macro_f1"]) <= 1 for row in rows)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<h4>") == len(DISTURBANCES)
    assert 'href="#stress"' in page
