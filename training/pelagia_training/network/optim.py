"""AdamW with a learning rate for each depth, and a backbone that can be frozen at first.

Invariant: the set of trained parameters never changes during a run. A frozen backbone has the learning rate
0, but AdamW still averages its gradients. So it needs no warm-up later, and all devices exchange the same gradients.
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
    """Builds AdamW. Biases, normalization layers, the size head and the parameters that timm excludes, such as position
    embeddings and class tokens, have no weight decay.

    Each parameter group holds ``initial_lr``, which is ``layer_decay`` times that of the next layer, and ``begin``, the
    step at which its training starts: 0 for the head, ``frozen_steps`` for the backbone. The head's groups come first.
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
        for parameter in layer["params"]:
            key = id(parameter) in heads, lr * layer["lr_scale"], layer["weight_decay"]
            groups.setdefault(key, []).append(parameter)
    ready = [
        {
            "params": parameters,
            "lr": rate,
            "initial_lr": rate,
            "weight_decay": decay,
            "begin": 0 if head else frozen_steps,
        }
        for (head, rate, decay), parameters in sorted(groups.items(), key=lambda item: not item[0][0])
    ]
    return torch.optim.AdamW(ready, lr=lr, weight_decay=weight_decay)
