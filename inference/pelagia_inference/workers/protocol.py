"""What goes over the pipes between a run and its worker processes, pickled.

Invariant: the parent sends `Hello` once, answered by `Ready` or `Refusal`; then `Request`s, each answered by one
`Answer`, in order, or by a `Refusal`, after which nothing comes. A `Tick` may come at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.model.graph import Graph

Reader = Callable[[], bytes] | str
"""What gives the encoded bytes of an image: a call, or the path of its file."""
Item = tuple[Reader, float]
"""An image, and the micrometres along the side of its pixels, 0.0 where nobody knows."""
Request = Sequence[Sequence[Item]]
"""Batches: each is what the session takes at once."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What a worker needs to know, once."""

    graph: Graph
    provider: str
    threads: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The session stands, and has run once."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A fault that ends the run, to be raised in the parent."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Tick:
    """The next image was reached, and the last frame is a while ago."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of an image but its probabilities: the SHA-256 of its bytes, and why it failed, if it did.

    ``reason`` is a key of `pelagia.images.preprocess.REASONS`, or empty. ``columns`` is what a camera wrote into the image.
    """

    sha256: str = ""
    reason: str = ""
    message: str = ""
    columns: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An outcome for each image of a request, and what the model says of each that has not failed.

    ``probabilities`` is float32, images x classes; ``unknown`` float32, images, or None where the model does not say.
    """

    outcomes: list[Outcome]
    probabilities: NDArray[np.float32]
    unknown: NDArray[np.float32] | None = None

    @classmethod
    def failed(cls, outcomes: list[Outcome], classes: int, *, scored: bool) -> Answer:
        """Where nothing was classified."""
        none = np.empty(0, np.float32) if scored else None
        return cls(outcomes, np.empty((0, classes), np.float32), none)

    @classmethod
    def joined(cls, parts: Sequence[Answer]) -> Answer:
        """One answer of those of several batches."""
        scores = [part.unknown for part in parts if part.unknown is not None]
        return cls(
            [outcome for part in parts for outcome in part.outcomes],
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate(scores) if scores else None,
        )
