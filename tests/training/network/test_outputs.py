"""The features of many images are those of PyTorch, whatever computes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pelagia.dataset.schema import Dataset
from pelagia.errors import ModelError
from pelagia_training.data.batches import load_fitted, sizes_of
from pelagia_training.network import outputs as module
from pelagia_training.network.backbone import Normalized, features_of, logits_of
from pelagia_training.network.outputs import outputs
from pelagia_training.runs.folder import read_run
from pelagia_training.runs.load import load_trained


@pytest.fixture(scope="module")
def network(sized_run: Path) -> Normalized:
    """A network that takes sizes, with two orientations."""
    config, state = read_run(sized_run)
    network = load_trained(sized_run, config, state)
    network.orientations = 2
    return network


@pytest.mark.parametrize(("least", "other"), [(0, "_by_torch"), (10**9, "_by_runner")], ids=["runner", "torch"])
def test_the_outputs_are_those_of_the_network(
    network: Normalized, sized_run: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, least: int, other: str
) -> None:
    monkeypatch.setattr(module, "LEAST_VIEWS", least)
    monkeypatch.setattr(module, other, None)  # only one of the two ways is taken
    records, spec = dataset.records[:37], read_run(sized_run)[0].preprocess
    shown: list[tuple[int, int]] = []
    logits, features = outputs(network, dataset, records, spec, lambda done, total: shown.append((done, total)))
    with torch.no_grad():
        pixels, sizes = torch.from_numpy(load_fitted(dataset, records, spec)), torch.from_numpy(sizes_of(records))
        expected = features_of(network, pixels)
        np.testing.assert_allclose(features, expected.numpy(), atol=1e-4)
        np.testing.assert_allclose(logits, logits_of(network, expected, sizes).numpy(), atol=1e-4)
    assert shown[-1] == (37, 37)
    assert shown == sorted(shown)


def test_a_network_that_cannot_be_converted_is_computed_by_torch(
    network: Normalized, sized_run: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object) -> bytes:
        raise ModelError("no exporter converts it")

    monkeypatch.setattr(module, "LEAST_VIEWS", 0)
    monkeypatch.setattr(module, "to_onnx", fails)
    logits, features = outputs(network, dataset, dataset.records[:3], read_run(sized_run)[0].preprocess)
    assert features is not None
    assert len(logits) == len(features) == 3
