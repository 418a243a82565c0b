"""Several runs as one model: its answers are the mean of the networks, and it says of which runs it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cli_fixtures import Pelagia
from model_fixtures import REPOSITORY, TINY
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import ConfigError, InputError, ParityError
from pelagia.images.preprocess import Image, PreprocessSpec, load
from pelagia.model.held_out import out_of_fold_of
from pelagia.model.metadata import ModelFile
from pelagia_inference.machine.describe import model_facts
from pelagia_inference.machine.session import Answers, Session
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import load_fitted, targets_of
from pelagia_training.ensemble import measure
from pelagia_training.ensemble.export import export_ensemble
from pelagia_training.export.quantize import quantize
from pelagia_training.figures.calibrate import calibrate, calibrated, softmax
from pelagia_training.network.ensemble import pooled
from pelagia_training.network.predict import predict
from pelagia_training.runs.folder import read_run
from pelagia_training.runs.load import load_trained
from pelagia_training.studies.champion import config_of_challenger
from pelagia_training.train import train


@pytest.fixture(scope="module")
def other_run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with another seed, another normalization and another rate."""
    out = tmp_path_factory.mktemp("runs") / "other"
    changes = ["seed=1", "train.lr=2e-3", "model.mean=[0.4, 0.4, 0.4]", "train.epochs=4", "train.ema_decay=0"]
    settings = [f"dataset={dataset.root}", *TINY, *changes]
    train(load_config(REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, settings), out)
    return out


@pytest.fixture(scope="module")
def both(run: Path, other_run: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    return export_ensemble([run, other_run], tmp_path_factory.mktemp("both") / "both.onnx")


def logits_of(run: Path, images: np.ndarray) -> np.ndarray:
    config, state = read_run(run)
    return predict(load_trained(run, config, state), images)


def answers(model: ModelFile, dataset: Dataset) -> Answers:
    return Session(model).answers(load_fitted(dataset, dataset.split("test"), model.metadata.preprocess))


def changed(run: Path, to: Path, old: str, new: str, file: str = "config.yaml") -> Path:
    """A copy of a run in which a text of a file is another one."""
    copy = shutil.copytree(run, to)
    text = (copy / file).read_text()
    assert old in text
    (copy / file).write_text(text.replace(old, new))
    return copy


def test_two_equal_runs_give_the_answers_of_the_run(
    run: Path, model: ModelFile, dataset: Dataset, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    made = export_ensemble([run, copy], tmp_path / "twice.onnx")
    expected, found = answers(model, dataset), answers(made, dataset)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    assert made.metadata.metrics == pytest.approx(model.metadata.metrics)
    assert made.metadata.unknown is not None
    assert made.metadata.unknown.threshold == pytest.approx(model.metadata.unknown.threshold, abs=1e-4)
    assert made.metadata.decision.classes == pytest.approx(model.metadata.decision.classes, abs=1e-6)


@pytest.mark.parametrize("mean", ["probabilities", "logits"])
def test_two_runs_give_the_mean_that_torch_computes(
    run: Path, other_run: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mean: str
) -> None:
    monkeypatch.setattr(measure, "MEANS", (mean,))
    made = export_ensemble([run, other_run], tmp_path / "both.onnx")
    images = load_fitted(dataset, dataset.split("test"), made.metadata.preprocess)
    logits = [logits_of(one, images) for one in (run, other_run)]
    assert made.metadata.calibration is not None
    if mean == "logits":
        together = np.mean(logits, axis=0)
    else:
        together = np.log(np.mean([softmax(one) for one in logits], axis=0))
    expected = calibrated(together, made.metadata.calibration.temperatures)
    np.testing.assert_allclose(answers(made, dataset).probabilities, expected, atol=1e-5)
    alone = [calibrated(one, made.metadata.calibration.temperatures) for one in logits]
    assert min(np.abs(expected - one).max() for one in alone) > 0.01  # the runs do differ


def test_the_score_is_the_mean_of_the_scores(both: ModelFile, run: Path, other_run: Path, dataset: Dataset) -> None:
    from pelagia_training.export.export import export

    single = [answers(export(one, both.path.with_name(f"{one.name}.onnx")), dataset).scores for one in (run, other_run)]
    np.testing.assert_allclose(answers(both, dataset).scores, np.mean(single, axis=0), atol=1e-3)
    assert np.abs(single[0] - single[1]).max() > 0.01


def test_the_mean_with_the_lower_likelihood_on_held_out_images_is_exported(
    both: ModelFile, run: Path, other_run: Path, dataset: Dataset
) -> None:
    found, records = both.ensemble, dataset.split("val")
    assert found is not None
    images = load_fitted(dataset, records, both.metadata.preprocess)
    targets, groups = targets_of(records, both.metadata.classes), [one.group for one in records]
    logits = torch.from_numpy(np.stack([logits_of(one, images) for one in (run, other_run)]))
    for mean, value in found.likelihood.items():
        expected = calibrate(pooled(logits, mean).numpy(), targets, groups)[0].likelihood
        assert value == pytest.approx(expected, abs=1e-3)
    assert found.mean == min(found.likelihood, key=lambda mean: found.likelihood[mean])
    assert found.images == len(records)
    assert both.metadata.calibration is not None
    assert both.metadata.calibration.likelihood == pytest.approx(found.likelihood[found.mean])


def test_the_model_says_of_which_runs_it_is(both: ModelFile, run: Path, other_run: Path, pelagia: Pelagia) -> None:
    found = both.ensemble
    assert found is not None
    assert [one.run for one in found.members] == [run.name, other_run.name]
    assert [one.epoch for one in found.members] == [read_run(one)[1].best_epoch for one in (run, other_run)]
    assert found.members[1].normalisation["mean"] == (0.4, 0.4, 0.4)
    assert "best_epoch" not in both.metadata.training
    facts = dict(model_facts(both))
    assert facts["network"].startswith(f"the mean of {found.mean} of 2 networks (negative log-likelihood ")
    assert "test_resnet, run other, epoch" in facts["member 2"]
    assert "run other, epoch" in pelagia("model", "show", both.path).stdout


def test_a_model_of_one_run_has_no_members(model: ModelFile) -> None:
    assert model.ensemble is None
    assert dict(model_facts(model))["network"] == "test_resnet"


def test_a_network_that_takes_sizes_can_be_a_member(
    run: Path, sized_run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    made = export_ensemble([run, sized_run], tmp_path / "mixed.onnx")
    session = Session(made)
    assert session.takes_size
    images = load_fitted(dataset, dataset.split("test")[:4], made.metadata.preprocess)
    small, large = (session.probabilities(images, np.full((4, 3), side, np.float32)) for side in (20, 400))
    assert np.abs(small - large).max() > 1e-3


def test_orientations_hold_for_every_member(run: Path, other_run: Path, dataset: Dataset, tmp_path: Path) -> None:
    made = export_ensemble([run, other_run], tmp_path / "turned.onnx", orientations=4)
    assert made.ensemble is not None
    assert [one.orientations for one in made.ensemble.members] == [4, 4]
    images = load_fitted(dataset, dataset.split("test")[:6], made.metadata.preprocess)
    session = Session(made)
    mirrored = session.probabilities(np.ascontiguousarray(images[:, :, ::-1]))
    np.testing.assert_allclose(session.probabilities(images), mirrored, atol=1e-4)


def test_the_gate_fails_when_the_trainer_preprocessed_differently(run: Path, other_run: Path, tmp_path: Path) -> None:
    def swapped(data: bytes) -> Image:
        return np.ascontiguousarray(load(data, PreprocessSpec(size=32))[..., ::-1])

    with pytest.raises(ParityError, match="nothing was written"):
        export_ensemble([run, other_run], tmp_path / "both.onnx", load_for_training=swapped)
    assert list(tmp_path.iterdir()) == []


def test_runs_on_all_images_are_measured_out_of_fold(final_run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(final_run, tmp_path / "copy")
    single = ModelFile.read(final_run / "model.onnx")
    made = export_ensemble([final_run, copy], tmp_path / "finals.onnx")
    assert made.metadata.metrics == pytest.approx(single.metadata.metrics)
    assert out_of_fold_of(made.metadata.dataset) is not None
    assert made.ensemble is not None
    assert made.ensemble.images == 240
    assert made.counting is not None
    assert made.counting.source == "out of fold"
    assert made.metadata.unknown is not None
    assert single.metadata.unknown is not None
    assert made.metadata.unknown.threshold == pytest.approx(single.metadata.unknown.threshold, abs=1e-3)


def test_half_precision_keeps_the_members(both: ModelFile, dataset: Dataset, tmp_path: Path) -> None:
    small = quantize(both, dataset, tmp_path / "small.onnx", kind="fp16")
    assert small.ensemble == both.ensemble


def test_folds_of_a_cross_validation_are_refused(cross_validation: Path, tmp_path: Path) -> None:
    folds = [cross_validation / "fold-1", cross_validation / "fold-2"]
    with pytest.raises(InputError, match="they are different folds of a cross-validation, so each has learned images"):
        export_ensemble(folds, tmp_path / "folds.onnx")


def test_a_run_on_all_images_and_another_are_refused(run: Path, final_run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was trained on all images and the other run was not"):
        export_ensemble([run, final_run], tmp_path / "mixed.onnx")


def test_runs_that_see_other_pixels_are_refused(run: Path, tmp_path: Path) -> None:
    other = changed(run, tmp_path / "other", "size: 32", "size: 64")
    with pytest.raises(InputError, match=r"other cannot be one model: .*\(preprocess.size is 32 and 64\)"):
        export_ensemble([run, other], tmp_path / "both.onnx")


def test_runs_of_other_datasets_and_classes_are_refused(run: Path, tmp_path: Path) -> None:
    state = json.loads((run / "run.json").read_text())
    other = changed(run, tmp_path / "other", state["fingerprint"], "0" * 64, "run.json")
    with pytest.raises(InputError, match="they were trained on different datasets, 'drawn' "):
        export_ensemble([run, other], tmp_path / "both.onnx")
    fewer = shutil.copytree(run, tmp_path / "fewer")
    gone = state["taxonomy"]["classes"].pop()
    (fewer / "run.json").write_text(json.dumps(state))
    with pytest.raises(InputError, match=f"only one of them knows {gone['name']}"):
        export_ensemble([run, fewer], tmp_path / "both.onnx")


def test_a_run_that_is_named_twice_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is named twice: name each run once"):
        export_ensemble([run, run.parent / "." / run.name], tmp_path / "both.onnx")


def test_options_that_need_one_network_are_refused(run: Path, other_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="an ensemble gives no embedding"):
        export_ensemble([run, other_run], tmp_path / "both.onnx", embedding=True)
    with pytest.raises(InputError, match="--folds: the predictions of the cross-validation .* of single networks"):
        export_ensemble([run, other_run], tmp_path / "both.onnx", folds=tmp_path)


def test_the_command_compares_the_mean_with_each_run(
    pelagia: Pelagia, run: Path, other_run: Path, tmp_path: Path
) -> None:
    said = pelagia("export", run, other_run, "--out", tmp_path / "both.onnx")
    assert said.returncode == 0, said.stderr
    assert "2 runs in one model, on " in said.stdout
    assert "mean of logits" in said.stdout
    assert "mean of probabilities" in said.stdout
    assert len([line for line in said.stdout.splitlines() if " exported " in line]) == 2  # the other: not exported


def test_a_challenger_of_an_ensemble_needs_a_config(both: ModelFile, dataset: Dataset) -> None:
    with pytest.raises(InputError, match="is an ensemble of 2 runs, and a challenger is one network: give its recipe"):
        config_of_challenger(both, None, dataset)
