"""First weights: the kinds of checkpoints that people have, each loaded whole or refused in one line."""

import argparse
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from pelagia.errors import InputError
from pelagia_training.network.backbone import build_network
from pelagia_training.network.weights import load_weights

State = dict[str, Tensor]
CLASSES = 7


def network(name: str = "test_resnet", classes: int = 3, **options: Any) -> nn.Module:
    return build_network(name, classes, pretrained=False, drop_rate=0.0, options=options)


def drawn(name: str = "test_resnet", **options: Any) -> State:
    """The weights of another network of the same kind, with random batch norm statistics."""
    state: State = network(name, CLASSES, **options).state_dict()
    return {key: torch.rand_like(value) if value.is_floating_point() else value for key, value in state.items()}


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def other(state: State) -> State:
    return {name: torch.zeros_like(value) for name, value in state.items()}


def without_counters(state: State) -> State:
    return {name: value for name, value in state.items() if "num_batches_tracked" not in name}


def timm_train(state: State) -> Any:
    args = argparse.Namespace(model="test_resnet", data_dir=Path("data"), lr=0.1)
    return {
        "epoch": 9,
        "arch": "test_resnet",
        "state_dict": other(state),
        "optimizer": {"state": {}, "param_groups": []},
        "args": args,
        "state_dict_ema": state,
        "metric": np.float64(71.2),
    }


def lightning(state: State) -> Any:
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": OrderedDict({**prefixed(state, "model."), "criterion.weight": torch.ones(3)}),
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9), "dirpath": Path("runs")}},
        "hyper_parameters": {"lr": 1e-3, "options": defaultdict(dict, {"a": {"b": 1}}), "when": date(2026, 1, 1)},
    }


KINDS: dict[str, Callable[[State], Any]] = {
    "a bare state_dict": lambda state: state,
    "a checkpoint of timm's train.py with a moving average": timm_train,
    "a checkpoint of Lightning": lightning,
    "DataParallel": lambda state: {"state_dict": prefixed(state, "module.")},
    "torch.compile": lambda state: prefixed(state, "_orig_mod."),
    "torch.compile in DataParallel": lambda state: prefixed(state, "module._orig_mod."),
    "a backbone in a larger model": lambda state: {
        "model": {**prefixed(state, "encoder.backbone."), "projector.0.weight": torch.ones(4, 4)}
    },
    "without num_batches_tracked": without_counters,
    "the average of torch.optim.swa_utils": lambda state: {
        "n_averaged": torch.tensor(5),
        **prefixed(state, "module."),
    },
    "half precision": lambda state: {name: value.half() for name, value in state.items()},
    "a module of Pelagia": lambda state: prefixed(state, "network."),
    "an auxiliary head beside": lambda state: {**state, "aux_head.weight": torch.ones(3, 3)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_people_have_is_loaded_whole(tmp_path: Path, kind: str) -> None:
    state = drawn()
    torch.save(KINDS[kind](state), tmp_path / "weights.pth")
    target = network()
    said: list[str] = []
    assert load_weights(target, tmp_path / "weights.pth", report=said.append) == ["fc.bias", "fc.weight"]
    for name, value in target.state_dict().items():
        if not name.startswith("fc.") and "num_batches" not in name:
            assert torch.allclose(value, state[name], atol=1e-3), name
    assert f"left out the head of the file, which has {CLASSES} classes" in said


def test_a_moving_average_is_said(tmp_path: Path) -> None:
    torch.save(timm_train(drawn()), tmp_path / "last.pth.tar")
    said: list[str] = []
    load_weights(network(), tmp_path / "last.pth.tar", report=said.append)
    assert said[0] == "last.pth.tar holds the last weights and their moving average: the moving average is used"


def test_what_the_network_lacks_is_left_out_and_said(tmp_path: Path) -> None:
    torch.save({**drawn(), "decoder.0.weight": torch.ones(2), "mask_token": torch.ones(2)}, tmp_path / "w.pth")
    said: list[str] = []
    load_weights(network(), tmp_path / "w.pth", report=said.append)
    assert "left out 2 weights of the file that the network does not have: decoder.0.weight, mask_token" in said


@pytest.mark.parametrize("old", [False, True])
def test_files_of_other_names_and_of_old_torch_are_read(tmp_path: Path, old: bool) -> None:
    state, path = drawn(), tmp_path / "pytorch_model.bin"
    if old:
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        safetensors.torch.save_file(state, path)
    load_weights(network(), path)


@pytest.mark.parametrize("channels", [1, 4])
def test_a_first_layer_of_other_channels_is_converted_by_timms_rule(tmp_path: Path, channels: int) -> None:
    source = timm.create_model("test_resnet", num_classes=CLASSES, in_chans=channels)
    torch.save(source.state_dict(), tmp_path / "gray.pth")
    target, said = network(), list[str]()
    load_weights(target, tmp_path / "gray.pth", report=said.append)
    name = target.pretrained_cfg["first_conv"] + ".weight"  # type: ignore[index, operator]
    expected = timm.models.adapt_input_conv(3, source.state_dict()[name], base_chans=channels)
    assert torch.allclose(target.state_dict()[name], expected)
    assert f"{name} takes {channels} channels in the file: converted to 3 by timm's rule" in said


def test_position_embeddings_of_another_size_are_resampled(tmp_path: Path) -> None:
    source = timm.create_model("test_vit", num_classes=CLASSES, img_size=160)
    torch.save({"model": source.state_dict()}, tmp_path / "vit.pth")
    target = network("test_vit", img_size=96)
    assert load_weights(target, tmp_path / "vit.pth") == ["head.bias", "head.weight"]
    assert target.state_dict()["pos_embed"].shape[1] == 6 * 6 + 1
    assert torch.allclose(target.state_dict()["pos_embed"][:, :1], source.state_dict()["pos_embed"][:, :1])


def authors_names(name: str) -> str:
    """The names of ConvNeXt's authors for timm's names."""
    name = re.sub(r"stages\.(\d)\.blocks\.(\d)", r"stages.\1.\2", name)
    name = re.sub(r"stages\.(\d)\.downsample\.(\d)", r"downsample_layers.\1.\2", name)
    name = re.sub(r"^stem\.", "downsample_layers.0.", name)
    name = name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
    return name.replace("head.norm.", "norm.").replace("head.fc.", "head.")


def test_the_authors_names_are_known_where_timm_knows_them(tmp_path: Path) -> None:
    state = drawn("test_convnext")
    torch.save({"model": {authors_names(name): value for name, value in state.items()}}, tmp_path / "convnext.pth")
    target = network("test_convnext")
    assert load_weights(target, tmp_path / "convnext.pth") == ["head.fc.bias", "head.fc.weight"]
    assert torch.equal(target.state_dict()["stem.0.weight"], state["stem.0.weight"])


# ---- what is refused


def refusal(target: nn.Module, path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_weights(target, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_of_another_network_name_the_network_that_they_fit(tmp_path: Path) -> None:
    torch.save(prefixed(drawn("resnet26"), "module."), tmp_path / "best.pth")
    said = refusal(network("resnet18"), tmp_path / "best.pth")
    assert re.search(r"do not fit resnet18: \d+ have another shape, the file holds \d+ more \(", said)
    assert said.endswith("they fit resnet26: set model.backbone=resnet26")


def test_a_deeper_network_is_not_loaded_in_part(tmp_path: Path) -> None:
    torch.save(drawn("resnet34"), tmp_path / "best.pth")
    said = refusal(network("resnet18"), tmp_path / "best.pth")
    assert "do not fit resnet18: the file holds 96 more (layer1.2.conv1.weight is not in this network" in said
    assert "set model.backbone=resnet34" in said


def test_the_name_in_the_file_helps(tmp_path: Path) -> None:
    torch.save({"arch": "our_own_net", "state_dict": {"stem.weight": torch.ones(3)}}, tmp_path / "best.pth")
    said = refusal(network(), tmp_path / "best.pth")
    assert said.endswith("the file calls its network 'our_own_net': set model.backbone and model.options to it")


def test_a_whole_network_in_a_pickle_is_refused_with_how_to_save_its_weights(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "model.pt")
    said = refusal(network(), tmp_path / "model.pt")
    assert "a pickle that holds more than tensors (timm." in said
    assert "or as the result of torch.save(model.state_dict(), FILE)" in said


class Evil:
    """Runs a function of its choice when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_code_beside_good_weights_is_never_run(tmp_path: Path) -> None:
    torch.save({"state_dict": drawn(), "args": Evil(tmp_path / "ran")}, tmp_path / "evil.pth")
    assert "could run a program" in refusal(network(), tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {"state_dict": {"a": 1}}, torch.ones(3)])
def test_a_file_without_weights_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "none.pth")
    assert "is not a state_dict, that is, names with tensors" in refusal(network(), tmp_path / "none.pth")


# ---- files from the web


@pytest.mark.parametrize("name", ["mobilenetv2_100", "tf_efficientnet_lite0", "tf_efficientnet_lite2"])
def test_imagenet_weights_are_loaded_but_for_the_head(data_root: Path, name: str) -> None:
    path = data_root / "weights" / f"{name}_imagenet.safetensors"
    assert load_weights(network(name), path) == ["classifier.bias", "classifier.weight"]


def test_imagenet_weights_of_another_network_name_theirs(data_root: Path) -> None:
    said = refusal(network("tf_efficientnet_lite0"), data_root / "weights/tf_efficientnet_lite2_imagenet.safetensors")
    assert "they fit tf_efficientnet_lite2" in said
    assert "set model.backbone=tf_efficientnet_lite2" in said
