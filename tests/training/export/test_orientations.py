"""A model that averages over orientations gives one answer for an image and its turned and mirrored copies."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import ConfigError
from pelagia.model.metadata import ModelFile
from pelagia_inference.machine.session import Session
from pelagia_inference.machine.verify import verify
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import load_fitted
from pelagia_training.export.export import export
from pelagia_training.network.backbone import oriented

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def turned(run: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    return export(run, tmp_path_factory.mktemp("turned") / "turned.onnx", orientations=8)


def orientations(images: np.ndarray) -> list[np.ndarray]:
    quarters = [np.rot90(images, turns, (1, 2)) for turns in range(4)]
    return [np.ascontiguousarray(view) for one in quarters for view in (one, one[:, :, ::-1])]


def test_the_eight_orientations_are_the_turns_and_mirror_images_of_a_square() -> None:
    image = torch.arange(16).reshape(1, 1, 4, 4)
    views = {tuple(view.flatten().tolist()) for view in oriented(image, 8)}
    expected = orientations(image.numpy().transpose(0, 2, 3, 1))
    assert views == {tuple(view.flatten().tolist()) for view in expected}
    assert len(views) == 8
    assert torch.equal(oriented(image, 2)[1], image[0].flip(2))
    assert torch.equal(oriented(image, 1), image)


def test_a_model_of_eight_orientations_gives_one_answer_for_all_of_them(turned: ModelFile, dataset: Dataset) -> None:
    images = load_fitted(dataset, dataset.split("test")[:12], turned.metadata.preprocess)
    session = Session(turned)
    straight = session.probabilities(images)
    for view in orientations(images):
        assert session.probabilities(view) == pytest.approx(straight, abs=1e-4)


def test_a_model_of_one_orientation_does_not(model: ModelFile, dataset: Dataset) -> None:
    images = load_fitted(dataset, dataset.split("test")[:12], model.metadata.preprocess)
    session = Session(model)
    straight = session.probabilities(images)
    assert max(float(np.abs(session.probabilities(view) - straight).max()) for view in orientations(images)) > 1e-3


def test_it_is_a_model_like_any_other(turned: ModelFile) -> None:
    verify(turned)
    assert turned.metadata.parity.images
    assert turned.metadata.unknown is not None
    assert turned.metadata.training["model"]["orientations"] == 8


@pytest.mark.parametrize(("flips", "most"), [("horizontal", 2), ("none", 1)])
def test_orientations_that_training_does_not_show_are_refused(flips: str, most: int) -> None:
    config = REPOSITORY / "configs/training/tiny_cpu.yaml"
    with pytest.raises(ConfigError, match=f"augment.flips={flips} shows the network at most {most} of these views"):
        load_config(config, TrainConfig, [f"augment.flips={flips}", "model.orientations=4"])


def test_the_number_of_orientations_is_asked_for_when_exporting(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--orientations: model.orientations: input should be 1, 2, 4 or 8"):
        export(run, tmp_path / "model.onnx", orientations=3)
