"""The dry export: whether a network can be exported is known before it is trained."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import ConfigError, ModelError
from pelagia.images.preprocess import PreprocessSpec
from pelagia_training.config import TrainConfig
from pelagia_training.export.dry import IMAGES, require_export
from pelagia_training.network import onnx_graph
from pelagia_training.network.backbone import Deployed, Normalized, SizeHead, build_network
from pelagia_training.network.onnx_graph import to_onnx
from pelagia_training.train import train

REPOSITORY = Path(__file__).resolve().parents[3]
PIXELS = np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3), np.uint8)
SIZES = np.full((IMAGES, 3), 40, np.float32)
HALF = (0.5, 0.5, 0.5)


def classifier(network: nn.Module | None = None, **more: object) -> Normalized:
    torch.manual_seed(0)
    given = network or build_network("test_resnet", 3, pretrained=False, drop_rate=0.0, options={})
    return Normalized(given, HALF, HALF, **more)  # type: ignore[arg-type]


class Small(nn.Module):
    """A network that is not from timm."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        given: Tensor = self.layer(images.mean((2, 3)))
        return given


class ChoosesByValue(Small):
    """A network whose operations depend on the values: no exporter converts it rightly."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits.sort(1).values if float(images.sum()) > 0 else logits


class OnlyTraced(Small):
    """A network that torch's newer exporter cannot convert."""

    def forward(self, images: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            raise ValueError("not with this exporter")
        return super().forward(images)


def test_a_network_that_exports_passes_and_stays_as_it_is() -> None:
    network, said = classifier(), list[str]()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    require_export(network, "test_resnet", PreprocessSpec(size=32), [PIXELS], report=said.append)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert said[0] == "checking that test_resnet can be exported (skip it with --no-export)"
    assert said[1].startswith("test_resnet can be exported: checked in ")


def test_a_network_that_takes_sizes_passes() -> None:
    require_export(
        classifier(size_head=SizeHead(3)), "test_resnet", PreprocessSpec(size=32), [PIXELS, SIZES], scored=False
    )


def test_a_single_validation_image_is_enough_for_batch_normalization() -> None:
    network = classifier(nn.Sequential(Small(), nn.BatchNorm1d(3)))
    require_export(network, "normalized", PreprocessSpec(size=32), [PIXELS[:1]], scored=False)


def test_a_network_that_no_exporter_converts_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        require_export(classifier(ChoosesByValue()), "chooser", PreprocessSpec(size=32), [PIXELS])
    said = str(caught.value)
    assert said.startswith("model.backbone: chooser cannot be exported: ")
    assert said.endswith("choose another model.backbone, or train without a model file with --no-export")
    assert "\n" not in said


def test_the_older_exporter_is_used_where_the_newer_one_fails() -> None:
    require_export(classifier(OnlyTraced()), "traced", PreprocessSpec(size=32), [PIXELS])


def test_if_both_exporters_fail_the_causes_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        try:
            raise ValueError("the \x1b[96mcause\x1b[0m\nwith more lines")
        except ValueError as error:
            raise RuntimeError("a long report") from error

    monkeypatch.setattr(onnx_graph, "_by_dynamo", fails)
    monkeypatch.setattr(onnx_graph, "_by_tracing", fails)
    with pytest.raises(ModelError, match=r"neither of the exporters of torch .* converts this network \(the cause\)$"):
        to_onnx(Deployed(classifier(Small())), 32)


def test_a_run_is_refused_before_its_first_batch(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_graph, "_by_dynamo", lambda *given: 1 / 0)
    monkeypatch.setattr(onnx_graph, "_by_tracing", lambda *given: 1 / 0)
    changes = [f"dataset={dataset.root}", "preprocess.size=32", "train.epochs=1", "model={backbone: test_resnet}"]
    config = load_config(
        REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, [*changes, "train.warmup_epochs=0"]
    )
    with pytest.raises(ConfigError, match="test_resnet cannot be exported: .*: choose another model.backbone"):
        train(config, tmp_path / "run", dry_export=True)
    assert not (tmp_path / "run").exists()
    assert train(config, tmp_path / "run").status == "finished"
