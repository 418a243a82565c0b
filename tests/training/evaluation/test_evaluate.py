"""Metrics of a model on a dataset."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pelagia.dataset.schema import Dataset
from pelagia.errors import DatasetError, InputError
from pelagia.images.preprocess import load
from pelagia.model.metadata import ModelFile
from pelagia_inference.machine.session import Session
from pelagia_training.data.batches import targets_of
from pelagia_training.evaluation.evaluate import evaluate
from pelagia_training.evaluation.folder import write_evaluation
from pelagia_training.figures.metrics import confusion_matrix


def test_the_metrics_are_those_of_the_runner_image_by_image(model: ModelFile, dataset: Dataset) -> None:
    result = evaluate(model, dataset, "test")
    records = dataset.split("test")
    session = Session(model)
    answers = [
        session.probabilities(load(dataset.file(record).read_bytes(), model.metadata.preprocess)[None]).argmax()
        for record in records
    ]
    expected = confusion_matrix(targets_of(records, dataset.class_names), np.array(answers), len(dataset.class_names))
    assert np.array_equal(result.confusion, expected)
    assert result.groups == len({record.group for record in records})


def test_everything_is_written_and_agrees(model: ModelFile, dataset: Dataset, tmp_path: Path) -> None:
    result = evaluate(model, dataset, "all")
    write_evaluation(result, dataset, tmp_path / "out")
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert figures["images"] == len(dataset.records)
    assert figures["macro_f1"] == result.metrics.macro_f1
    for name in ("accuracy", "macro_f1", "balanced_accuracy", "ece"):
        low, high = figures["intervals"][name]
        assert 0 <= low < high <= 1
    assert (tmp_path / "out" / "report.html").stat().st_size > 20_000
    with (tmp_path / "out" / "per_class.csv").open(newline="") as file:
        assert sum(int(row["support"]) for row in csv.DictReader(file)) == len(dataset.records)
    picture = cv2.imread(str(tmp_path / "out" / "confusion.png"))
    assert picture.std() > 10
    with pytest.raises(InputError, match="exists already"):
        write_evaluation(result, dataset, tmp_path / "out")


def test_classes_that_the_model_does_not_know_are_left_out_and_counted(model: ModelFile, dataset: Dataset) -> None:
    record = dataset.records[0]
    strange = replace(dataset, records=(*dataset.records, replace(record, class_name="kraken")))
    assert evaluate(model, strange, "all").unknown == {"kraken": 1}
    with pytest.raises(DatasetError, match="1 are of classes that the model does not know \\(kraken\\)"):
        evaluate(model, replace(dataset, records=(replace(record, class_name="kraken"),)), "all")


def test_an_unknown_split_is_refused(model: ModelFile, dataset: Dataset) -> None:
    with pytest.raises(InputError, match="there is no split 'tets': choose train, val, test or all"):
        evaluate(model, dataset, "tets")
