"""Which image sizes a timm network takes.

Invariant: a network that takes images of a size as timm builds it by default is built by default. Only if it does not,
it is built with timm's option ``img_size``, so weights and configs of older runs keep their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import nn

_NEAR = (*range(32, 385, 32), 448, 512)
_FEW = 5
"""The number of sizes to name in a message."""


def takes_size(network: nn.Module, size: int) -> bool:
    """Whether ``network`` computes outputs for images of ``size`` x ``size`` pixels; it is left in the same mode."""
    training = network.training
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            network.eval()(torch.zeros((2, 3, size, size), device=device))
    except Exception:  # timm's networks raise different errors for a wrong size
        return False
    finally:
        network.train(training)
    return True


def patch_of(network: nn.Module) -> int | None:
    """The side in pixels of the patches that a transformer of timm cuts an image into; None if it has none."""
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    side = patch[0] if isinstance(patch, (tuple, list)) and patch else patch
    return side if isinstance(side, int) and side > 1 else None


def sizes_that_fit(backbone: str, wanted: Mapping[str, Any], size: int) -> list[int]:
    """The image sizes nearest to ``size`` that the network takes, in ascending order; at most five.

    Args:
        backbone: a name of timm.
        wanted: the options for timm.create_model, without ``img_size``.
        size: the side in pixels that the network does not take.
    """
    config = timm.get_pretrained_cfg(backbone)
    own = {} if config is None else {config.input_size[1], *(config.test_input_size or (0, 0))[1:2]}
    found: list[int] = []
    for candidate in sorted(
        {*_NEAR, *_multiples(backbone, wanted, size), *own}, key=lambda side: (abs(side - size), side)
    ):
        if candidate != size and _fits(backbone, wanted, candidate):
            found.append(candidate)
        if len(found) == _FEW:
            break
    return sorted(found)


def _multiples(backbone: str, wanted: Mapping[str, Any], size: int) -> set[int]:
    """The multiples of the network's patch that are nearest to ``size``; none if it has no patches."""
    network = _outline(backbone, wanted)
    patch = None if network is None else patch_of(network)
    return set() if patch is None else {patch * max(1, size // patch + step) for step in range(-2, 4)}


def _fits(backbone: str, wanted: Mapping[str, Any], size: int) -> bool:
    """Whether the network takes images of ``size``, found without memory for its weights and without arithmetic."""
    networks = filter(None, (_outline(backbone, options) for options in (wanted, {**wanted, "img_size": size})))
    network = next((one for one in networks if takes_size(one, size)), None)
    if network is None:
        return False
    patch = patch_of(network)
    return patch is None or size % patch == 0


def _outline(backbone: str, options: Mapping[str, Any]) -> nn.Module | None:
    """The network without memory for its weights; None if timm cannot build it with these options."""
    try:
        with torch.device("meta"):
            network: nn.Module = timm.create_model(backbone, pretrained=False, **options)
    except Exception:  # as in `takes_size`
        return None
    return network
