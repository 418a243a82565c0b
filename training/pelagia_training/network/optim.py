"""AdamW with a learning rate for each depth, and a backbone that may wait.

Invariant: what is trained never changes while a run lasts. A backbone that waits has the rate 0 and keeps its gradients
and their averages, so it needs no warm-up of its own, and devices that share a run agree on what they exchange.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from pelagia_training.network.backbone import Normalized, is_head


def build_optimizer(
    model: Normalized, *, lr: float, weight_decay: float, layer_decay: float = 1.0, frozen_steps: int = 0
) -> torch.optim.AdamW:
    """AdamW; biases and normalisations do not decay, nor what timm says of the network, such as position embeddings and
    class tokens, nor what is made of the size.

    Each parameter group holds ``initial_lr``, ``layer_decay`` times that of the layer after it, and ``begin``, the step
    at which it starts to learn: 0 for the head, ``frozen_steps`` for the rest. The head's groups come first.
    """
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
        for one in layer["params"]:
            key = id(one) in heads, lr * layer["lr_scale"], layer["weight_decay"]
            groups.setdefault(key, []).append(one)
    ready = [
        {"params": ones, "lr": rate, "initial_lr": rate, "weight_decay": decay, "begin": 0 if head else frozen_steps}
        for (head, rate, decay), ones in sorted(groups.items(), key=lambda item: not item[0][0])
    ]
    return torch.optim.AdamW(ready, lr=lr, weight_decay=weight_decay)
