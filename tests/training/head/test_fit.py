"""`pelagia train --head-only`: a run whose network keeps its first weights, except for its last layer."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.numpy import load_file

from cli_fixtures import Pelagia
from model_fixtures import REPOSITORY, TINY
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import ConfigError, InputError
from pelagia_inference.machine.verify import verify
from pelagia_training.config import TrainConfig
from pelagia_training.evaluation.evaluate_torch import evaluate_run
from pelagia_training.export.finish import deliver
from pelagia_training.fit.context import Step
from pelagia_training.head import fit
from pelagia_training.runs.final import plan_final
from pelagia_training.runs.folder import read_run
from pelagia_training.studies.folds import cross_validate
from pelagia_training.train import train

HEAD = {"network.fc.weight", "network.fc.bias"}


@pytest.fixture(scope="module")
def config(dataset: Dataset, run: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("first")
    weights = shutil.copy(run / "best.safetensors", folder / "first.safetensors")  # outside the run: of no split
    return configured(dataset, f"model.weights={weights}", f"data.cache={folder}")


@pytest.fixture(scope="module")
def head_run(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with its model; tests must not change the folder."""
    out = tmp_path_factory.mktemp("runs") / "head"
    train(config, out)
    deliver(out)
    return out


def configured(dataset: Dataset, *changes: str) -> TrainConfig:
    tiny = REPOSITORY / "configs/training/tiny_cpu.yaml"
    return load_config(tiny, TrainConfig, [f"dataset={dataset.root}", *TINY, "train.head_only=true", *changes])


def test_only_the_last_layer_changes(head_run: Path, run: Path) -> None:
    before, after = load_file(run / "best.safetensors"), load_file(head_run / "best.safetensors")
    assert {name for name in after if not np.array_equal(before[name], after[name])} == HEAD
    assert (head_run / "last.safetensors").read_bytes() == (head_run / "best.safetensors").read_bytes()


def test_the_run_is_one_as_any_other(head_run: Path) -> None:
    _, state = read_run(head_run)
    assert (state.status, state.epoch, state.best_epoch) == ("finished", 1, 1)
    assert state.head is not None
    assert state.head.grouped
    assert evaluate_run(head_run, "val").metrics.macro_f1 == pytest.approx(state.metrics["macro_f1"])
    with (head_run / "metrics.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert float(row["val_macro_f1"]) == pytest.approx(state.metrics["macro_f1"], abs=1e-5)
    assert "lr" not in row


def test_the_head_knows_more_than_the_most_frequent_class(head_run: Path) -> None:
    found = evaluate_run(head_run, "test").metrics
    share = found.support.max() / found.support.sum()
    constant = 2 * share / (1 + share) / len(found.support)
    assert found.macro_f1 > 3 * constant


def test_its_model_has_all_that_other_models_have(head_run: Path) -> None:
    model = deliver(head_run)
    verify(model)
    assert model.metadata.training["train"]["head_only"] is True
    assert model.metadata.calibration is not None
    assert model.metadata.unknown is not None
    assert model.metadata.parity is not None
    assert model.counting is not None
    page = (head_run / "report.html").read_text(encoding="utf-8")
    assert "Learning curves" not in page


def test_features_are_computed_once_and_the_result_is_the_same(
    config: TrainConfig, head_run: Path, tmp_path: Path
) -> None:
    counted: list[str] = []
    said: list[str] = []

    def listen(event: str | Step) -> None:
        counted.append(event.what) if isinstance(event, Step) else said.append(event)

    train(config, tmp_path / "again", listen)
    assert "features" not in counted
    assert "folds" in counted
    assert any("were computed before" in text for text in said)
    assert (tmp_path / "again/best.safetensors").read_bytes() == (head_run / "best.safetensors").read_bytes()
    data = config.data.model_copy(update={"cache": tmp_path / "empty"})
    train(config.model_copy(update={"data": data}), tmp_path / "new", listen)
    assert "features" in counted
    assert (tmp_path / "new/best.safetensors").read_bytes() == (head_run / "best.safetensors").read_bytes()


def test_an_interrupted_run_starts_again(
    config: TrainConfig, head_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(fit, "write_metrics", interrupted)  # after the weights
        with pytest.raises(KeyboardInterrupt):
            train(config, out)
    assert read_run(out)[1].status == "running"
    train(config, out)
    assert read_run(out)[1].status == "finished"
    assert (out / "best.safetensors").read_bytes() == (head_run / "best.safetensors").read_bytes()


def test_a_finished_run_is_not_trained_longer(config: TrainConfig, head_run: Path) -> None:
    longer = config.model_copy(update={"train": config.train.model_copy(update={"epochs": 9})})
    with pytest.raises(InputError, match="is finished") as caught:
        train(longer, head_run)
    assert "train it longer" not in str(caught.value)


def test_folds_and_the_final_run(config: TrainConfig, tmp_path: Path) -> None:
    cross_validate(config, 2, tmp_path / "cv")
    final_config, final = plan_final(tmp_path / "cv")
    assert (final.epochs, final.reason) == (1, "only the last layer is fitted")
    state = train(final_config, tmp_path / "final", final=final)
    assert (state.metrics, state.epoch) == ({}, 1)
    verify(deliver(tmp_path / "final"))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ([], "there are none: set model.weights to a file or a run folder, or model.pretrained=true"),
        (["model.pretrained=true", "model.size=true"], "model.size is learned with the network"),
        (["model.pretrained=true", "train.distil.teachers=[a]"], "train.distil.teachers are learned from"),
        (["model.pretrained=true", "train.long_tail=sqrt_sampling"], "draws images, and no images are drawn"),
        (["model.pretrained=true", "devices=2"], "set devices=1 and nodes=1"),
    ],
)
def test_what_a_head_alone_cannot_do_is_refused(dataset: Dataset, changes: list[str], fault: str) -> None:
    with pytest.raises(ConfigError, match="--head-only") as caught:
        configured(dataset, *changes)
    assert fault in str(caught.value)


def test_a_network_without_one_last_layer_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    model = {"backbone": "levit_128s", "weights": tmp_path / "weights.pth"}
    torch.save(timm.create_model("levit_128s", num_classes=2).state_dict(), model["weights"])
    document = config.model_dump() | {"model": model, "preprocess": {"size": 224}}
    with pytest.raises(ConfigError, match="levit_128s does not end in one linear layer"):
        train(TrainConfig.model_validate(document), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_fits_and_exports(pelagia: Pelagia, dataset: Dataset, run: Path, tmp_path: Path) -> None:
    changes = [*TINY[:-1], f"dataset={dataset.root}", f"model={{backbone: test_resnet, weights: {run}}}"]
    typed = [word for change in changes for word in ("--set", change)]
    found = pelagia("train", "configs/training/tiny_cpu.yaml", *typed, "--head-only", "--out", tmp_path / "head")
    assert found.returncode == 0, found.stderr
    assert "validation macro-F1" in found.stdout
    assert "epoch" not in found.stdout
    assert (tmp_path / "head/model.onnx").is_file()
