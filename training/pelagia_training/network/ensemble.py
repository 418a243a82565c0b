"""Several trained networks in one graph: the mean of their probabilities or of their logits.

Each network normalizes the image itself, and averages its own number of orientations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pelagia.model.ensemble import Mean
from pelagia.model.graph import OUTPUT_NAME, UNKNOWN_NAME
from pelagia_training.network.backbone import Deployed, Normalized, softened

_LEAST = 1e-30
"""Least probability whose logarithm is taken: float32 holds it, and no decision depends on a smaller one."""


class DeployedEnsemble(nn.Module):
    """The exported graph of an ensemble. Its input and its outputs are those of `Deployed`.

    The out-of-distribution score is the mean of the members' scores. It exists if every member has one.

    Args:
        members: the networks, without embeddings and with every temperature 1; they know the same classes.
        temperatures: as in `Deployed`; they are applied to the result of `pooled`.
        mean: what is averaged.

    Attributes:
        outputs: the names of the outputs, in order.
    """

    divisors: Tensor

    def __init__(self, members: Sequence[Deployed], temperatures: float | Sequence[float], mean: Mean) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.mean: Mean = mean
        self.scored = all(member.unknown is not None for member in members)
        self.outputs = [OUTPUT_NAME, *[UNKNOWN_NAME] * self.scored]
        self.register_buffer("divisors", torch.tensor(temperatures, dtype=torch.float32))

    @property
    def classifier(self) -> Normalized:
        """The member whose inputs are those of the graph: one that takes sizes, if there is one."""
        networks: list[Normalized] = [member.classifier for member in self.members]  # type: ignore[misc]
        return next((one for one in networks if one.size_head is not None), networks[0])

    def forward(self, image: Tensor, size: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        given = [member.parts(image, size) for member in self.members]  # type: ignore[operator]
        logits = pooled(torch.stack([parts[0] for parts in given]), self.mean)
        probabilities = softened(logits, self.divisors)
        if not self.scored:
            return probabilities
        return probabilities, torch.stack([parts[1] for parts in given]).mean(0)


Exportable = Deployed | DeployedEnsemble
"""What can be exported as a model."""


def pooled(logits: Tensor, mean: Mean) -> Tensor:
    """The logits of an ensemble: float, members x N x classes -> N x classes.

    For "probabilities" they are the logarithms of the mean probabilities, whose softmax gives these probabilities.
    """
    if mean == "logits":
        return logits.mean(0)
    return torch.softmax(logits, 2).mean(0).clamp(min=_LEAST).log()


def pooled_arrays(logits: Sequence[NDArray[np.float32]], mean: Mean) -> NDArray[np.float32]:
    """`pooled` for arrays: each float32, N x classes."""
    return np.asarray(pooled(torch.from_numpy(np.stack(logits)), mean).numpy(), np.float32)
