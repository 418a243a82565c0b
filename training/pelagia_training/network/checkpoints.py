"""Reads tensors from weight files that other programs wrote, without running any code in them.

Invariant: a pickle is read only by torch's restricted reader, which calls no function of the file's choice. Objects of
a few packages that store settings beside the weights are replaced by `_Ignored`, which does nothing.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pelagia.errors import InputError, first_few, first_line

_AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict")
"""Keys under which timm and others store the moving average of the weights, which is better than the last weights."""
_WEIGHTS = ("state_dict", "model_state_dict", "model", "teacher", "module", "weights")
_NAMES_OF_NETWORK = ("arch", "model_name", "architecture")
_SETTINGS = frozenset(
    {
        *(
            "argparse",
            "pathlib",
            "datetime",
            "collections",
            "numpy",
            "typing",
            "omegaconf",
            "yacs",
            "easydict",
            "ml_collections",
        ),
        *("lightning", "lightning_fabric", "lightning_utilities", "pytorch_lightning", "mmengine", "mmcv", "fvcore"),
    }
)
"""Packages whose objects checkpoints hold beside the weights: options, paths, dates and states of callbacks."""
_TYPES = frozenset(f"builtins.{name}" for name in ("int", "float", "str", "bool", "dict", "list", "tuple", "object"))


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a weight file.

    Attributes:
        tensors: names with tensors.
        part: the key of the file that they were under; empty if they were not under a key.
        network: the name that the file gives to its network; empty if it gives none.
    """

    tensors: dict[str, Tensor]
    part: str = ""
    network: str = ""


class _Ignored:
    """Takes the place of an object that is not a tensor: it takes any arguments and stores nothing."""

    def __new__(cls, *arguments: object, **named: object) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *arguments: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _IgnoredDict:
    """Takes the place of a kind of dict, such as collections.defaultdict: the reader fills a dict that nobody reads."""

    def __new__(cls, *arguments: object, **named: object) -> dict[object, object]:  # type: ignore[misc]
        return {}


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads the tensors of a .safetensors file, or of a file that torch.save wrote.

    Raises:
        InputError: the file is missing or damaged, could run a program, or holds no tensors.
    """
    if not path.is_file():
        raise InputError(f"there is no weights file at {path}: correct model.weights")
    try:
        document: Any = safetensors.torch.load_file(path) if _is_safetensors(path) else _read_pickle(path)
    except pickle.UnpicklingError:  # torch's own message advises to run the code in the file
        raise InputError(
            f"{path} holds no weights that can be read safely: it is damaged, or a pickle that holds more than tensors "
            f"{_objects_in(path)}and could run a program; ask for the weights as a .safetensors file, or as the result "
            "of torch.save(model.state_dict(), FILE)"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} holds no weights that can be read safely: {first_line(error)}; give another file"
        ) from None
    part, tensors = _tensors_of(document)
    if not tensors:
        raise InputError(f"{path} is not a state_dict, that is, names with tensors: give a file with only the weights")
    return Checkpoint(tensors, part, _network_of(document))


def _is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors: by its name, or by its header, which is a length of 8 bytes and JSON."""
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _read_pickle(path: Path) -> Any:
    settings: list[Any] = [
        (_IgnoredDict if name.lower().endswith("dict") and name not in _TYPES else _Ignored, name)
        for name in _unknown_objects(path)
        if _is_setting(name)
    ]
    with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(settings):
        return torch.load(path, map_location="cpu", weights_only=True)


def _unknown_objects(path: Path) -> list[str]:
    """Full names of the classes and functions in a pickle that torch's restricted reader does not know."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # a format from before torch 1.6, or no file of torch
        return []


def _is_setting(name: str) -> bool:
    return name in _TYPES or name.partition(".")[0] in _SETTINGS


def _objects_in(path: Path) -> str:
    names = [name for name in _unknown_objects(path) if not _is_setting(name)]
    return f"({first_few(names, 2)}) " if names else ""


def _tensors_of(document: Any) -> tuple[str, dict[str, Tensor]]:
    """The key of the weights in a checkpoint, and the weights: the moving average if there is one."""
    if not isinstance(document, Mapping):
        return "", {}
    for key in (*_AVERAGES, *_WEIGHTS):
        inner = document.get(key)
        if isinstance(inner, Mapping):
            deeper, tensors = _tensors_of(inner)
            if tensors:
                return f"{key}.{deeper}" if deeper else key, tensors
    return "", {str(name): value for name, value in document.items() if isinstance(value, Tensor)}


def _network_of(document: Any) -> str:
    """The name of the network in a checkpoint of timm's train.py, or of a program with the same keys."""
    for key in _NAMES_OF_NETWORK:
        if isinstance(document, Mapping) and isinstance(document.get(key), str):
            return str(document[key])
    return ""
