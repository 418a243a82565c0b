"""The list of networks: what an entry takes from the config, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_fixtures import REPOSITORY
from pelagia.errors import ConfigError, InputError
from pelagia_training.config import NetworkConfig
from pelagia_training.frontier.networks import read_networks

BASE = NetworkConfig(
    backbone="resnet10t", options={"channels": [32, 64, 128, 256]}, drop_rate=0.1, mean=(0.1, 0.2, 0.3)
)


def listed(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "networks.yaml").write_text(text)
    return [str(tmp_path / "networks.yaml")]


def test_without_the_option_the_network_is_that_of_the_config() -> None:
    (network,) = read_networks([], BASE)
    assert (network.name, network.model) == ("resnet10t", BASE)


def test_another_backbone_does_not_get_the_weights_options_and_normalization_of_the_config() -> None:
    (network,) = read_networks(["resnet18"], BASE)
    assert (network.model.options, network.model.mean, network.model.drop_rate) == ({}, None, 0.1)


def test_an_entry_replaces_keys_of_the_model_section(tmp_path: Path) -> None:
    text = "- {backbone: resnet10t, weights: w.pth, name: small}\n- resnet18\n"
    base = BASE.model_copy(update={"pretrained": True})
    first, second = read_networks(listed(tmp_path, text), base)
    assert (first.name, first.model.weights, first.model.pretrained) == ("small", Path("w.pth"), False)
    assert first.model.options == BASE.options
    assert (second.name, second.model.pretrained) == ("resnet18", True)


def test_the_name_of_a_backbone_of_another_hub_becomes_the_name_of_a_folder() -> None:
    assert read_networks(["hf-hub:timm/resnet18"], BASE)[0].name == "hf-hub-timm-resnet18"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "it lists no network: write one for each line, such as `- backbone: resnet10t`"),
        ("", "the file is empty: write one network for each line, such as `- backbone: resnet10t`"),
        ("a: b", "it is no list of networks: begin each network with a dash, such as `- backbone: resnet10t`"),
        ("- [1", "line 1, column 5: expected ',' or ']', but got '<stream end>'"),
        ("- {weights: a}", "network 1: the key 'backbone' is missing: name a network of timm, such as `- backbone: "),
        ("- resnet18\n- {backbone: a, weigths: b}", "network 2: unknown key 'weigths' (did you mean 'weights'?)"),
        (
            "- 3",
            "network 1: expected the name of a backbone, or keys and values, such as `- backbone: resnet10t`; found",
        ),
        ("- {backbone: a, name: ../b}", "network 1: '../b' cannot be the name of a folder on every computer: use"),
        (
            "- {backbone: a, name: CON}",
            "network 1: 'CON' cannot be the name of a folder on every computer: use up to",
        ),
        (
            "- ",
            "network 1: expected the name of a backbone, or keys and values, such as `- backbone: resnet10t`; found n",
        ),
        ("- {backbone: a, orientations: 8}", "network 1: leave out `orientations`: the option --orientations gives"),
    ],
)
def test_a_list_that_is_wrong_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_networks(listed(tmp_path, text), BASE)
    assert str(caught.value).startswith(f"{tmp_path}/networks.yaml: {message}")


def test_all_faults_of_a_list_are_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 faults"):
        read_networks(listed(tmp_path, "- 3\n- {backbone: a, b: c}\n"), BASE)


def test_two_networks_of_one_name_are_refused() -> None:
    message = (
        "--networks: 2 networks are called 'resnet18', if capital letters do not count: give each entry of the list a "
        "`name` of its own"
    )
    with pytest.raises(InputError) as caught:
        read_networks(["resnet18", "ResNet18"], BASE)
    assert str(caught.value) == message


def test_a_folder_is_no_network() -> None:
    with pytest.raises(InputError, match=r"--networks .*training: this is a folder: name a backbone of timm"):
        read_networks([str(REPOSITORY / "configs/training")], BASE)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no list of networks at .*none\.yaml"):
        read_networks([str(tmp_path / "none.yaml")], BASE)
