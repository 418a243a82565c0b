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
from pelagia_training.evaluation.by_value import by_column, require_column, values_of
from pelagia_training.evaluation.evaluate import evaluate, evaluation_of
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
    alone = "all 1 images are of classes that the model does not know, 'kraken'; it knows .*The model calls 0|100.0% of"
    with pytest.raises(DatasetError, match=alone):
        evaluate(model, replace(dataset, records=(replace(record, class_name="kraken"),)), "all")
    name = model.metadata.classes[0]
    with pytest.raises(
        DatasetError, match=rf"spelled differently \('{name.upper()}' is '{name}' in the model\): rename"
    ):
        evaluate(model, replace(dataset, records=(replace(record, class_name=name.upper()),)), "all")


def test_only_the_images_of_named_groups_are_compared(model: ModelFile, dataset: Dataset) -> None:
    groups = sorted({record.group for record in dataset.split("test")})[:2]
    result = evaluate(model, dataset, "test", test_groups=groups)
    assert {record.group for record in result.records} == set(groups)
    with pytest.raises(InputError, match=r"the split 'test' has no group 'SEED5_ST99'.*: its groups are SEED5_"):
        evaluate(model, dataset, "test", test_groups=["SEED5_ST99"])


def test_metrics_are_reported_by_a_column(model: ModelFile, dataset: Dataset, tmp_path: Path) -> None:
    result = evaluate(model, dataset, "all")
    write_evaluation(result, dataset, tmp_path / "out", by=by_column(result, "station"))
    with (tmp_path / "out" / "by_station.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        inside = [index for index, one in enumerate(result.records) if one.extra["station"] == row["value"]]
        right = result.predicted[inside] == result.targets[inside]
        assert (int(row["images"]), int(row["wrong"])) == (len(inside), int((~right).sum()))
        assert float(row["accuracy"]) == pytest.approx(right.mean(), abs=1e-4)
    assert sum(int(row["images"]) for row in rows) == result.images
    assert "Metrics by station" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    with pytest.raises(
        InputError, match=r"the dataset has no column 'statoin' \(did you mean 'station'\?\): choose one"
    ):
        require_column(result.records, "statoin")


def test_the_metrics_of_a_value_are_those_of_an_evaluation_of_its_images_alone(
    model: ModelFile, dataset: Dataset
) -> None:
    result = evaluate(model, dataset, "all")
    for found in by_column(result, "station").values:
        inside = [index for index, one in enumerate(result.records) if one.extra["station"] == found.value]
        records, probabilities = [result.records[index] for index in inside], result.probabilities[inside]
        alone = evaluation_of(records, probabilities, result.classes, dataset, "all", model=("m", ""))
        assert (found.images, found.groups) == (alone.images, alone.groups)
        assert found.classes == (alone.metrics.support > 0).sum()
        assert (found.accuracy, found.macro_f1) == pytest.approx((alone.metrics.accuracy, alone.metrics.macro_f1))


def test_only_the_values_with_the_most_images_get_intervals(
    model: ModelFile, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A column such as the path has a value for each image: resampling each would take hours on a large dataset."""
    monkeypatch.setattr("pelagia_training.evaluation.by_value.MOST_INTERVALS", 2)
    monkeypatch.setattr("pelagia_training.evaluation.report._MOST_GROUPS", 2)
    result = evaluate(model, dataset, "all")
    by = by_column(result, "class")
    assert len(by.values) > 2
    assert [one.intervals["accuracy"] is not None for one in by.values] == [True, True, *[False] * (len(by.values) - 2)]
    write_evaluation(result, dataset, tmp_path / "out", by=by)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"The table shows the 2 values with the most images of {len(by.values)}." in page


def test_an_empty_cell_is_a_value_of_its_own(dataset: Dataset) -> None:
    records = [replace(dataset.records[0], extra={"camera": "a"}), replace(dataset.records[1], extra={})]
    assert values_of(records, "camera") == ["a", "(empty)"]


def test_an_unknown_split_is_refused(model: ModelFile, dataset: Dataset) -> None:
    with pytest.raises(InputError, match="there is no split 'tets': choose train, val, test or all"):
        evaluate(model, dataset, "tets")
