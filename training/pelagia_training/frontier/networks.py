"""The networks of a frontier: backbones by name, and entries of a YAML list.

    - backbone: tf_efficientnet_lite0
      weights: weights/tf_efficientnet_lite0.safetensors
    - backbone: mobilenetv2_100
      weights: weights/mobilenetv2_100.safetensors
      options: {pad_type: same}
      name: mobilenet
    - resnet10t

An entry replaces keys of the `model` section of the config. What belongs to one backbone alone, such as its weights, is
not taken over from the config for another backbone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pelagia.config import Strict, read_text, validate
from pelagia.errors import ConfigError, InputError
from pelagia.system.names import safe_name
from pelagia.system.yaml_text import parse_yaml
from pelagia_training.config import NetworkConfig

_OF_ONE_BACKBONE = ("weights", "mean", "std", "options")
_YAML = (".yaml", ".yml")
_EXAMPLE = "such as `- backbone: resnet10t`"


class Network(Strict):
    """A network to train: the name of its runs, and the `model` section of their configs."""

    name: str
    model: NetworkConfig


def read_networks(given: Sequence[str], base: NetworkConfig) -> tuple[Network, ...]:
    """The networks that the option ``--networks`` names; without the option, that of the config.

    Args:
        given: names of backbones, and YAML files that list networks.
        base: the `model` section of the config.

    Raises:
        InputError: a file cannot be read, or two networks have the same name.
        ConfigError: a file lists no network, or has an entry that is wrong; the message lists all faults.
    """
    found: list[Network] = []
    for word in given or [base.backbone]:
        path = Path(word)
        if path.suffix.lower() in _YAML:
            found += _of_file(path, base)
        elif path.is_dir() and path.name != word:  # a folder may be called as a backbone is
            raise InputError(f"--networks {word}: this is a folder: name a backbone of timm, or a YAML list")
        elif "," in word:
            raise InputError(f"--networks {word}: a name has no comma: repeat --networks for each network")
        else:
            found.append(_network({"backbone": word}, base, "--networks"))
    twice = [name for name, count in Counter(network.name.lower() for network in found).items() if count > 1]
    if twice:
        raise InputError(
            f"--networks: {Counter(network.name.lower() for network in found)[twice[0]]} networks are called "
            f"'{twice[0]}', if capital letters do not count: give each entry of the list a `name` of its own"
        )
    return tuple(found)


def _of_file(path: Path, base: NetworkConfig) -> list[Network]:
    document = parse_yaml(read_text(path, "list of networks"), str(path))
    if document is None:
        raise ConfigError(str(path), [f"the file is empty: write one network for each line, {_EXAMPLE}"])
    if not isinstance(document, list):
        raise ConfigError(str(path), [f"it is no list of networks: begin each network with a dash, {_EXAMPLE}"])
    if not document:
        raise ConfigError(str(path), [f"it lists no network: write one for each line, {_EXAMPLE}"])
    found, faults = [], []
    for number, entry in enumerate(document, 1):
        try:
            found.append(_network(entry, base, f"network {number}"))
        except ConfigError as error:
            faults += [f"{error.where}: {fault}" for fault in error.faults]
    if faults:
        raise ConfigError(str(path), faults)
    return found


def _network(entry: Any, base: NetworkConfig, where: str) -> Network:
    """A network of an entry: a name of a backbone, or keys of the `model` section, and optionally ``name``."""
    keys = {"backbone": entry} if isinstance(entry, str) else entry
    if not isinstance(keys, dict):
        found = "nothing" if entry is None else entry
        raise ConfigError(where, [f"expected the name of a backbone, or keys and values, {_EXAMPLE}; found {found}"])
    keys = dict(keys)
    name = keys.pop("name", None)
    if "orientations" in keys:
        raise ConfigError(where, ["leave out `orientations`: the option --orientations gives them for all networks"])
    if "backbone" not in keys:
        raise ConfigError(where, [f"the key 'backbone' is missing: name a network of timm, {_EXAMPLE}"])
    start = base.model_dump()
    if keys["backbone"] != base.backbone:
        start |= {key: NetworkConfig.model_fields[key].default for key in _OF_ONE_BACKBONE}
    if keys.get("weights") is not None:
        start["pretrained"] = False
    model = validate(start | keys | {"orientations": 1}, NetworkConfig, where)
    return Network(name=_checked_name(model.backbone if name is None else str(name), name is None, where), model=model)


def _checked_name(name: str, is_backbone: bool, where: str) -> str:
    """``name``, which becomes the name of a folder. A backbone of another hub has signs that a folder may not have."""
    if is_backbone:
        name = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII)
    if not re.fullmatch(r"\w[\w.-]{0,99}", name, re.ASCII) or safe_name(name) != name:
        fault = (
            f"'{name}' cannot be the name of a folder on every computer: use up to 100 letters, digits, and the signs "
            ". _ -"
        )
        raise ConfigError(where, [fault])
    return name
