"""The model of a run on all labeled images: its figures are those of the folds, and what shows them says so."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pelagia.dataset.schema import Dataset, ParentMeta
from pelagia.errors import DatasetError, InputError
from pelagia.images.preprocess import load
from pelagia.model.card import card_of_model
from pelagia.model.held_out import out_of_fold_of
from pelagia.model.metadata import ModelFile
from pelagia_inference.decisions.policies import policy_of
from pelagia_inference.machine.describe import model_facts
from pelagia_training.data.resplit import resplit
from pelagia_training.evaluation.evaluate import evaluate
from pelagia_training.export.export import export
from pelagia_training.export.held_out import HeldOut, held_out_predictions
from pelagia_training.export.quantize import quantize
from pelagia_training.figures.calibrate import calibrate
from pelagia_training.figures.metrics import confusion_matrix, metrics_of
from pelagia_training.network.predict import predict
from pelagia_training.runs.folder import read_run
from pelagia_training.runs.load import load_trained
from pelagia_training.studies.champion import config_of_challenger, find_run, hold_out


@pytest.fixture(scope="module")
def final_model(final_run: Path) -> ModelFile:
    return ModelFile.read(final_run / "model.onnx")


@pytest.fixture(scope="module")
def held_out(final_run: Path, dataset: Dataset) -> HeldOut:
    """The predictions that the run folder keeps."""
    config, state = read_run(final_run)
    assert state.final is not None
    nowhere = final_run / "there is no cross-validation here"
    return held_out_predictions(final_run, state.final, resplit(dataset, config.data.resplit), config, nowhere, print)


def test_each_image_is_predicted_by_the_last_weights_of_the_fold_that_held_it_out(
    held_out: HeldOut, cross_validation: Path, dataset: Dataset
) -> None:
    assert sorted(one.path for one in held_out.records) == sorted(one.path for one in dataset.records)
    for number in (1, 2):
        run = cross_validation / f"fold-{number}"
        config, state = read_run(run)
        rows = np.flatnonzero(held_out.folds == number)
        assert {held_out.records[row].path for row in rows} == {
            one.path for one in resplit(dataset, config.data.resplit).split("test")
        }
        images = [load(dataset.file(held_out.records[row]).read_bytes(), config.preprocess) for row in rows]
        np.testing.assert_allclose(
            held_out.logits[rows], predict(load_trained(run, config, state, last=True), images), atol=1e-4
        )


def test_the_metadata_hold_the_figures_of_the_folds(
    final_model: ModelFile, held_out: HeldOut, model: ModelFile
) -> None:
    data, classes = final_model.metadata, final_model.metadata.classes
    targets = np.array([classes.index(one.class_name) for one in held_out.records])
    assert data.calibration is not None
    _, probabilities = calibrate(held_out.logits, targets, [one.group for one in held_out.records])
    confusion = confusion_matrix(targets, probabilities.argmax(1), len(classes))
    assert data.metrics == {f"out_of_fold_{name}": value for name, value in metrics_of(confusion).headline.items()}
    np.testing.assert_array_equal(data.validation_confusion, confusion)
    assert (data.calibration.images, data.decision.images) == (len(targets), len(targets))
    found = out_of_fold_of(data.dataset)
    assert found is not None
    assert (found.folds, found.images, found.groups) == (2, 240, len({one.group for one in held_out.records}))
    assert final_model.counting is not None
    assert (final_model.counting.source, final_model.counting.folds) == ("out of fold", 2)
    assert "best_epoch" not in data.training
    # older programs refuse keys that they do not know
    assert data.model_dump().keys() == model.metadata.model_dump().keys()
    assert out_of_fold_of(model.metadata.dataset) is None


def test_what_describes_the_model_says_what_was_measured(final_model: ModelFile) -> None:
    facts = dict(model_facts(final_model))
    assert "240 images of" in facts["measured on"]
    assert "it was measured on none of them" in facts["measured on"]
    assert not [name for name in facts if name.startswith("val_")]
    card = card_of_model(final_model)
    assert "240 out-of-fold images of the model" in policy_of(card, "everything").expectation


def test_the_report_is_of_the_out_of_fold_predictions(final_run: Path, final_model: ModelFile) -> None:
    page = (final_run / "report.html").read_text(encoding="utf-8")
    assert "split out of fold" in page
    assert "The model was trained on all these images, so it was measured on none of them." in page
    assert "Learning curves" in page
    assert not re.search("(?<!cross-)validation", page)
    assert f"{final_model.metadata.metrics['out_of_fold_macro_f1']:.3f}" in page


def test_no_split_of_its_dataset_measures_the_model(final_model: ModelFile, dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="was trained on all images of .*, so no image is left to measure it"):
        evaluate(final_model, dataset, "test")


def test_the_predictions_are_kept_and_others_need_the_cross_validation(
    final_run: Path, cross_validation: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(final_run, tmp_path / "run")
    text = (run / "run.json").read_text().replace(str(cross_validation), str(tmp_path / "gone"))
    (run / "run.json").write_text(text)
    assert out_of_fold_of(export(run, tmp_path / "one.onnx").metadata.dataset) is not None
    with pytest.raises(InputError, match=r"is no longer at .*gone.*name its new folder with --folds"):
        export(run, tmp_path / "four.onnx", orientations=4)
    model = export(run, tmp_path / "four.onnx", orientations=4, folds=cross_validation)
    assert model.metadata.training["model"]["orientations"] == 4
    assert (run / "out_of_fold-4.npz").is_file()


def test_damaged_predictions_are_made_again(
    final_run: Path, dataset: Dataset, held_out: HeldOut, tmp_path: Path
) -> None:
    config, state = read_run(final_run)
    assert state.final is not None
    (tmp_path / "out_of_fold-1.npz").write_bytes((final_run / "out_of_fold-1.npz").read_bytes()[:2000])
    again = held_out_predictions(tmp_path, state.final, dataset, config, None, lambda text: None)
    np.testing.assert_allclose(again.logits, held_out.logits, atol=1e-5)


def test_an_interrupted_run_is_not_exported(final_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(final_run, tmp_path / "run")
    text = (run / "run.json").read_text().replace('"status": "finished"', '"status": "running"')
    (run / "run.json").write_text(text)
    with pytest.raises(InputError, match="was interrupted after epoch 2 of 2, and the figures of its cross-validation"):
        export(run, tmp_path / "model.onnx")


def test_a_newer_version_of_its_dataset_is_warned_of(final_model: ModelFile, dataset: Dataset) -> None:
    parent = ParentMeta(
        path="../old",
        name="old",
        fingerprint=dataset.meta.fingerprint,
        images=240,
        added=0,
        removed=0,
        relabeled=0,
        moved=0,
    )
    newer = replace(dataset, meta=dataset.meta.model_copy(update={"fingerprint": "0" * 64, "parents": (parent,)}))
    assert (
        "trained on all 240 images of 'drawn', from which this dataset was made" in evaluate(final_model, newer).warning
    )


def test_another_cross_validation_is_refused(
    final_run: Path, cross_validation: Path, dataset: Dataset, tmp_path: Path
) -> None:
    config, state = read_run(final_run)
    assert state.final is not None
    other = state.final.model_copy(update={"weights": "0" * 64})
    with pytest.raises(InputError, match="is not the cross-validation of this run, or a fold was trained again"):
        held_out_predictions(tmp_path, other, dataset, config, cross_validation, print)


def test_a_retraining_compares_only_on_groups_that_it_has_not_learned(
    final_model: ModelFile, final_run: Path, dataset: Dataset
) -> None:
    with pytest.raises(DatasetError, match="was trained on all images of its dataset, and the groups of all"):
        hold_out(final_model, dataset, dataset)
    assert find_run(final_model) == final_run
    challenger = config_of_challenger(final_model, final_run, dataset)
    assert challenger.model.weights is None  # its weights know the images of the val split
    assert challenger.data.resplit is None


def test_half_precision_keeps_the_threshold_of_the_score(
    final_model: ModelFile, dataset: Dataset, tmp_path: Path
) -> None:
    said: list[str] = []
    small = quantize(final_model, dataset, tmp_path / "small.onnx", kind="fp16", report=said.append)
    assert any("their macro-F1 is too high for new images" in line for line in said)
    assert small.metadata.unknown is not None
    assert final_model.metadata.unknown is not None
    assert small.metadata.unknown.threshold == pytest.approx(final_model.metadata.unknown.threshold, abs=0.05)
    assert out_of_fold_of(small.metadata.dataset) is not None
