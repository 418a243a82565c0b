"""First weights of a network: from the names and shapes that people's files have to those of a timm network.

Invariant: every weight of the network except its head comes from the file, or the file is refused. What the file holds
besides is left out and reported.

timm's own rules convert what they can: `checkpoint_filter_fn` of each network's module knows the names of its authors
and resamples position embeddings; `adapt_input_conv` converts a first layer for another number of channels.
"""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from pelagia.errors import InputError, first_few
from pelagia_training.network.backbone import is_head
from pelagia_training.network.checkpoints import Checkpoint, read_checkpoint

_WRAPPERS = ("module.", "_orig_mod.", "network.", "model.", "backbone.", "net.", "encoder.")
_FILTERS = ("checkpoint_filter_fn", "pretrained_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")
"""Names of the conversion functions in timm's modules."""
_COUNTER = "num_batches_tracked"
"""A number that batch normalization counts but does not use; torch before 0.4.1 did not save it."""
_SIZE_HEAD = "size_head."
_FIRST_CLASSES = 1000
_TRIED = 40
"""The number of timm's networks that are compared with a file that does not fit."""


def load_weights(
    network: nn.Module, path: Path, *, keep_head: bool = True, report: Callable[[str], None] = lambda text: None
) -> list[str]:
    """Loads the weights of ``network`` from a local file. A head that does not fit or is not kept is random.

    Args:
        network: a network of timm.
        path: a .safetensors file, or a file of torch.save with a state_dict, bare or in a checkpoint.
        keep_head: whether a head of the right shape is loaded.
        report: called with a line of text about each conversion, and about what was left out.

    Returns:
        The names of the randomly initialized parameters.

    Raises:
        InputError: the file is missing or unreadable, or weights other than the head's do not fit.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.part.startswith(("state_dict_ema", "model_ema", "ema_")):
        report(f"{path.name} holds the last weights and their moving average: the moving average is used")
    own = network.state_dict()
    state = _converted(network, own, checkpoint.tensors, report)
    head = {name for name in {*own, *state} if is_head(network, name)}
    fits = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    if not keep_head:
        fits = {name: value for name, value in fits.items() if name not in head}
    _require_fit(network, path, checkpoint, state, head)
    _report_left_out(own, state, fits, head, report)
    network.load_state_dict(fits, strict=False)
    fresh = sorted(name for name in set(own) - set(fits) if not name.endswith(_COUNTER))
    with torch.no_grad():
        for name in fresh:  # timm's own initial weights are so large that the first losses damage the features
            own[name].normal_(std=0.01) if own[name].ndim > 1 else own[name].zero_()
    return fresh


# ---- names and shapes


def _converted(
    network: nn.Module, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], report: Callable[[str], None]
) -> dict[str, Tensor]:
    """The tensors of a file under the names of the network, as far as they are known."""
    state = _without_prefix(own, tensors, report)
    if not _is_complete(network, own, state):
        state = _filtered_by_timm(network, state)
    for layer in _first_layers(network):
        name = f"{layer}.weight"
        if name in own and name in state and own[name].ndim == state[name].ndim == 4:
            state[name] = _three_channels(name, state[name], own[name], report)
    return state


def _without_prefix(
    own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], report: Callable[[str], None]
) -> dict[str, Tensor]:
    """The tensors without the prefixes that DataParallel, torch.compile, Lightning and other wrappers put before names.

    First all known prefixes are removed. If the names of the network then still have another prefix, only the tensors
    with this prefix are kept.
    """
    state = {name: value for name, value in tensors.items() if not name.startswith(_SIZE_HEAD) and name != "n_averaged"}
    while prefix := next(
        (one for one in _WRAPPERS if state and _all_start(state, one) and not _any_start(own, one)), ""
    ):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    state = {name: value for name, value in state.items() if not name.startswith(_SIZE_HEAD)}
    found = Counter(
        name[: len(name) - len(suffix)] for name in state for suffix in _suffixes(name) if suffix in own
    ).most_common(2)
    if not found or found[0][0] == "" or found[0][1] < len(own) // 2:
        return state
    prefix, count = found[0]
    if len(found) > 1 and found[1][1] == count:
        report(f"the file holds the network more than once ('{prefix}' and '{found[1][0]}'): '{prefix}' is used")
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _all_start(names: Iterable[str], prefix: str) -> bool:
    return all(name.startswith(prefix) for name in names)


def _any_start(names: Iterable[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)


def _suffixes(name: str) -> list[str]:
    """``a.b.c``: ``a.b.c``, ``b.c`` and ``c``."""
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]


def _is_complete(network: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    """Whether every weight of the network but the head and a first layer's channels is in ``state``."""
    ready = {f"{layer}.weight" for layer in _first_layers(network)}
    return all(
        name in state and (state[name].shape == value.shape or name in ready)
        for name, value in own.items()
        if not is_head(network, name) and not name.endswith(_COUNTER)
    )


def _filtered_by_timm(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors after timm's own conversion for this network; unchanged if timm has none for them."""
    module = sys.modules[timm.model_entrypoint(_architecture(network)).__module__]
    convert = next((getattr(module, name) for name in _FILTERS if hasattr(module, name)), None)
    if convert is None:
        return state
    options = {"adapt_layer_scale": True} if "adapt_layer_scale" in inspect.signature(convert).parameters else {}
    try:
        takes_network = len(inspect.signature(convert).parameters) > 1
        arguments = (dict(state), network) if takes_network else (dict(state),)
        converted: Any = convert(*arguments, **options)
    except Exception:  # it expects other names, so it does not know this file
        return state
    return {name: value for name, value in converted.items() if isinstance(value, Tensor)}


def _first_layers(network: nn.Module) -> tuple[str, ...]:
    config: Any = network.pretrained_cfg
    layers = config.get("first_conv") or ()
    return (layers,) if isinstance(layers, str) else tuple(layers)


def _three_channels(name: str, theirs: Tensor, own: Tensor, report: Callable[[str], None]) -> Tensor:
    """The first layer's weights for the channels of the network, by timm's rule; unchanged if they fit."""
    channels = theirs.shape[1]
    if channels == own.shape[1] or theirs.shape[2:] != own.shape[2:] or own.shape[1] != 3:
        return theirs
    report(f"{name} takes {channels} channels in the file: converted to 3 by timm's rule")
    adapted: Tensor = adapt_input_conv(3, theirs, base_chans=channels)
    return adapted


# ---- what does not fit


def _require_fit(
    network: nn.Module, path: Path, checkpoint: Checkpoint, state: Mapping[str, Tensor], head: set[str]
) -> None:
    """Raises InputError if a weight is missing or has another shape, or if the network of the file is deeper."""
    own = network.state_dict()
    missing = [name for name in own if name not in state and name not in head and not name.endswith(_COUNTER)]
    bent = [name for name in own if name in state and name not in head and own[name].shape != state[name].shape]
    more = [name for name in _unused(own, state, head) if _is_of_network(own, head, name)]
    if not (missing or bent or more):
        return
    rows = [f"{name} is missing" for name in missing] + [f"{name} is not in this network" for name in more]
    rows = [f"{name} is {tuple(state[name].shape)}, not {tuple(own[name].shape)}" for name in bent] + rows
    body = [name for name in own if name not in head and not name.endswith(_COUNTER)]
    counts = [f"{len(missing)} of its {len(body)} weights are missing"] if missing else []
    counts += [f"{len(bent)} have another shape"] if bent else []
    counts += [f"the file holds {len(more)} more"] if more else []
    raise InputError(
        f"the weights {path} do not fit {_architecture(network)}: {', '.join(counts)} ({first_few(rows, 3)}); "
        + _remedy(network, path, checkpoint, bent, missing or more)
    )


def _remedy(network: nn.Module, path: Path, checkpoint: Checkpoint, bent: list[str], others: list[str]) -> str:
    """What to do about weights that do not fit."""
    if bent and not others and all("pos" in name or "bias" in name for name in bent):
        return (
            "these weights depend on the size of the images, and timm does not convert them for this network: set "
            "preprocess.size to the size that they were trained with"
        )
    names = _networks_that_fit(checkpoint, path, _architecture(network))
    if names:
        return f"they fit {first_few(names)}: set model.backbone={names[0]}"
    if checkpoint.network and checkpoint.network != _architecture(network):
        return f"the file calls its network '{checkpoint.network}': set model.backbone and model.options to it"
    return "set model.backbone and model.options to the network of these weights, or give other weights"


def _networks_that_fit(checkpoint: Checkpoint, path: Path, architecture: str) -> list[str]:
    """Names of timm whose weights have the names and shapes in the file, the most similar name first; at most three.

    Only networks with a similar name are compared: those of the configured network's module, and those like the file's
    name. They are built without memory for their weights.
    """
    known = timm.list_models(module=timm.model_entrypoint(architecture).__module__.rpartition(".")[2])
    stem = path.stem.lower().replace("-", "_")
    named = [name for name in timm.list_models() if name in stem or name == checkpoint.network]
    others = sorted(set(known) - set(named), key=lambda name: -SequenceMatcher(None, name, architecture).ratio())
    candidates = [*sorted(named, key=len, reverse=True), *others]
    found = []
    for name in candidates[:_TRIED]:
        if name != architecture and _has_shapes(name, checkpoint.tensors):
            found.append(name)
        if len(found) == 3:
            break
    return found


def _has_shapes(backbone: str, tensors: Mapping[str, Tensor]) -> bool:
    try:
        with torch.device("meta"):
            network = timm.create_model(backbone, pretrained=False, num_classes=_FIRST_CLASSES)
    except Exception:  # a network that needs other options
        return False
    own = network.state_dict()
    state = _without_prefix(own, tensors, lambda text: None)
    head = {name for name in {*own, *state} if is_head(network, name)}
    return _is_complete(network, own, state) and not any(
        _is_of_network(own, head, name) for name in _unused(own, state, head)
    )


def _unused(own: Mapping[str, Tensor], state: Mapping[str, Tensor], head: set[str]) -> list[str]:
    return [name for name in state if name not in own and name not in head]


def _is_of_network(own: Mapping[str, Tensor], head: set[str], name: str) -> bool:
    """Whether a name that the network lacks belongs to a part that it has, such as one more block of a stage."""
    parts = {own_name.partition(".")[0] for own_name in own if own_name not in head and "." in own_name}
    return "." in name and name.partition(".")[0] in parts


def _report_left_out(
    own: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    fits: Mapping[str, Tensor],
    head: set[str],
    report: Callable[[str], None],
) -> None:
    """Reports the tensors of the file that are not used."""
    classes = {
        name: value.shape[0] for name, value in state.items() if name in head and name not in fits and value.ndim
    }
    if classes:
        report(f"left out the head of the file, which has {max(classes.values())} classes")
    others = [name for name in state if name not in fits and name not in head]
    if others:
        report(f"left out {len(others)} weights of the file that the network does not have: {first_few(others, 3)}")


def _architecture(network: nn.Module) -> str:
    config: Any = network.pretrained_cfg
    return str(config["architecture"])
