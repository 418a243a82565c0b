"""Backbones, their weights, and the graph around them."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from pelagia.errors import ConfigError, InputError
from pelagia_training.network.backbone import Deployed, Normalized, build_network, require_fit
from pelagia_training.network.weights import load_weights

BACKBONE = "test_resnet"


def network(classes: int = 5, **options: object) -> torch.nn.Module:
    return build_network(BACKBONE, classes, pretrained=False, drop_rate=0.0, options=options)


def test_an_unknown_backbone_is_refused_with_a_near_name() -> None:
    with pytest.raises(ConfigError, match=r"has no 'resnet10tt' \(did you mean 'resnet10t'\?\)"):
        build_network("resnet10tt", 3, pretrained=False, drop_rate=0.0, options={})


def test_an_option_that_the_backbone_does_not_take_is_refused() -> None:
    with pytest.raises(ConfigError, match="model: timm cannot build test_resnet with {'nonsense': 1}: "):
        network(nonsense=1)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_with_a_head_of_another_size_are_taken_but_for_the_head(tmp_path: Path, suffix: str) -> None:
    source = network(7)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{name}": value for name, value in source.state_dict().items()}}, path)
    else:
        safetensors.torch.save_file(source.state_dict(), path)
    target = network(3)
    fresh = load_weights(target, path)
    assert fresh == ["fc.bias", "fc.weight"]
    taken = {
        name
        for name, value in target.state_dict().items()
        if name not in fresh and torch.equal(value, source.state_dict()[name])
    }
    assert taken == set(source.state_dict()) - set(fresh)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file(
        build_network("test_vit", 3, pretrained=False, drop_rate=0.0, options={}).state_dict(), path
    )
    with pytest.raises(InputError, match=r"do not fit test_resnet: .* is missing .*; set model.backbone"):
        load_weights(network(), path)


def test_a_backbone_weight_of_another_shape_is_refused(tmp_path: Path) -> None:
    state = network(3).state_dict()
    state["conv1.0.weight" if "conv1.0.weight" in state else next(iter(state))] = torch.zeros(1, 2, 3)
    path = tmp_path / "bent.safetensors"
    safetensors.torch.save_file(state, path)
    with pytest.raises(InputError, match=r"is \(1, 2, 3\), not"):
        load_weights(network(3), path)


def test_a_pickle_with_code_in_it_is_refused_unrun(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> object:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(
        InputError, match="read safely: it is damaged, or a pickle that holds more .* as a .safetensors"
    ) as said:
        load_weights(network(), tmp_path / "evil.pth")
    assert "weights_only" not in str(said.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("options", [{"num_classes": 7}, {"features_only": True}, {"global_pool": ""}])
def test_a_network_that_is_no_classifier_of_the_classes_is_one_line(options: dict[str, object]) -> None:
    def made() -> None:
        network = build_network("test_convnext", 3, pretrained=False, drop_rate=0.0, options=options)
        require_fit(Normalized(network, (0.5,) * 3, (0.5,) * 3), 32, "test_convnext")

    with pytest.raises(ConfigError, match="model.options: test_convnext .*: remove the option that changes the net"):
        made()


@pytest.mark.parametrize("content", [b"", b"not weights", b"\x00" * 100])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_garbage_is_refused_in_one_line(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"garbage{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="holds no weights that can be read safely") as caught:
        load_weights(network(), path)
    assert "\n" not in str(caught.value)


def test_normalisation_is_that_of_the_trainer() -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            seen.append(pixels)
            return pixels.mean(dim=(2, 3))

    image = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    probabilities = Deployed(Normalized(Spy(), mean, std), temperatures=2.0)(image)
    expected = (image.permute(0, 3, 1, 2) / 255 - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(
        1, 3, 1, 1
    )
    assert torch.allclose(seen[0], expected, atol=1e-6)
    assert torch.allclose(probabilities, torch.softmax(expected.mean(dim=(2, 3)) / 2, dim=1), atol=1e-6)
