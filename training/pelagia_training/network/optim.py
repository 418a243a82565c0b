"""The optimizer by its name in timm, with a learning rate for each depth, and a backbone that can be frozen at first.

Invariant: the set of trained parameters never changes during a run. A frozen backbone has the learning rate
0, but the optimizer still averages its gradients. So it needs no warm-up later, and all devices exchange the same
gradients.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from timm.optim import create_optimizer_v2, list_optimizers, param_groups_layer_decay
from torch import nn

from pelagia.errors import ConfigError, did_you_mean, first_line
from pelagia_training.network.backbone import Normalized, is_head


def build_optimizer(
    model: Normalized,
    *,
    lr: float,
    weight_decay: float,
    layer_decay: float = 1.0,
    frozen_steps: int = 0,
    name: str = "adamw",
    options: Mapping[str, Any] | None = None,
) -> torch.optim.Optimizer:
    """Builds the optimizer. Biases, normalization layers, the size head and the parameters that timm excludes, such as
    position embeddings and class tokens, have no weight decay.

    Each parameter group holds ``initial_lr``, which is ``layer_decay`` times that of the next layer, and ``begin``, the
    step at which its training starts: 0 for the head, ``frozen_steps`` for the backbone. The head's groups come first.

    Args:
        name: a name of `timm.optim.list_optimizers`.
        options: other arguments of `timm.optim.create_optimizer_v2`.
    """
    ready = [
        {
            "params": parameters,
            "lr": rate,
            "initial_lr": rate,
            "weight_decay": decay,
            "begin": 0 if head else frozen_steps,
        }
        for head, rate, decay, parameters in _groups(model, lr, weight_decay, layer_decay)
    ]
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        ready, name, lr=lr, weight_decay=weight_decay, **(options or {})
    )
    return optimizer


def _groups(
    model: Normalized, lr: float, weight_decay: float, layer_decay: float
) -> list[tuple[bool, float, float, list[nn.Parameter]]]:
    """Groups of parameters: whether they are of the head, their rate, their decay, and they; the head comes first."""
    heads = {id(value) for name, value in model.network.named_parameters() if is_head(model.network, name)}
    groups: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
    if model.size_head is not None:
        groups[True, lr, 0.0] = list(model.size_head.parameters())
    network: Any = model.network
    layers: list[dict[str, Any]] = param_groups_layer_decay(
        network,
        weight_decay=weight_decay,
        no_weight_decay_list=network.no_weight_decay() if hasattr(network, "no_weight_decay") else (),
        layer_decay=layer_decay,
    )
    for layer in layers:
        for parameter in layer["params"]:
            key = id(parameter) in heads, lr * layer["lr_scale"], layer["weight_decay"]
            groups.setdefault(key, []).append(parameter)
    return [(*key, parameters) for key, parameters in sorted(groups.items(), key=lambda item: not item[0][0])]


def require_optimizer(name: str, options: Mapping[str, Any]) -> None:
    """Tries an optimizer on a few numbers, so that it is refused before any image is decoded.

    Some optimizers, such as kron, compile their step with `torch.compile`. This takes half a minute, and whether it
    works depends on the C++ compiler and on what the process has compiled before. So nothing is compiled here.

    Raises:
        ConfigError: timm has no such optimizer, it does not take the options, it cannot train here, or a checkpoint
            cannot hold its state.
    """
    known = list_optimizers()
    if name not in known:
        fault = f"timm has no optimizer '{name}'{did_you_mean(name, known)}; timm.optim.list_optimizers() lists them"
        raise ConfigError("train.optimizer", [fault])
    values = [nn.Parameter(torch.ones(shape)) for shape in ((4, 3, 3, 3), (4, 4), (4,))]
    try:
        optimizer = create_optimizer_v2([{"params": values}], name, lr=1e-3, weight_decay=0.0, **options)
        with torch.compiler.set_stance("force_eager"):
            for _ in range(2):
                for value in values:
                    value.grad = torch.full_like(value, 0.01)
                optimizer.step()
    except Exception as error:  # each optimizer has its own
        given = f" with {dict(options)}" if options else ""
        raise ConfigError("train.optimizer", [f"'{name}'{given} cannot be used here: {first_line(error)}"]) from None
    try:
        json.dumps(
            [
                [value for value in state.values() if not isinstance(value, torch.Tensor)]
                for state in optimizer.state_dict()["state"].values()
            ]
        )
    except TypeError:
        fault = f"'{name}' keeps a state that a checkpoint cannot hold, so the run could not be resumed: choose another"
        raise ConfigError("train.optimizer", [fault]) from None
