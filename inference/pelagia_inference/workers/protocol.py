"""What a run and its worker processes send each other over their pipes, pickled.

Invariant: the parent sends `Setup` once, which the worker answers with `Ready` or `Failure`. Then the parent sends
`Request`s. The worker answers each with one `Response`, in order, or with a `Failure`, after which it sends nothing
more. A `Heartbeat` may come at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.model.graph import Graph

Reader = Callable[[], bytes] | str
"""How to get the encoded bytes of an image: a function, or the path of its file."""
Item = tuple[Reader, float]
"""An image, and the length of a pixel's side in micrometers; 0.0 if it is not known."""
Request = Sequence[Sequence[Item]]
"""Batches. The session computes one batch at a time."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker needs before its first request: the model, the provider and the threads of its session.

    ``embedding``: whether it sends the embeddings as well.
    """

    graph: Graph
    provider: str
    threads: int
    embedding: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """The session is loaded and has computed one image."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that ends the run. The parent raises it."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The worker has reached its next image, or computes the network. Sent about once per second."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of reading and decoding one image.

    Attributes:
        sha256: the SHA-256 of the encoded bytes; empty if they could not be read.
        reason: the reason why the image failed, a key of `pelagia.images.preprocess.REASONS`; empty if it did not fail.
        message: the reason in words; if it did not fail, the remarks on it (`pelagia.images.remarks`), mostly empty.
        columns: the EXIF values that the camera wrote into the image; None if it wrote none.
    """

    sha256: str = ""
    reason: str = ""
    message: str = ""
    columns: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """The results of a request.

    Attributes:
        outcomes: one for each image of the request.
        probabilities: float32, N x classes, for the N images that have not failed, in their order.
        unknown: out-of-distribution scores of the same images, float32, N; None if the model has no such score.
        embedding: embeddings of the same images, float16, N x D; None if they were not asked for.
    """

    outcomes: list[Outcome]
    probabilities: NDArray[np.float32]
    unknown: NDArray[np.float32] | None = None
    embedding: NDArray[np.float16] | None = None

    @classmethod
    def failed(cls, outcomes: list[Outcome], setup: Setup) -> Response:
        """A response for images that all failed; ``setup`` is that of the worker."""
        graph = setup.graph
        no_scores = np.empty(0, np.float32) if graph.scores_unknown else None
        no_embedding = np.empty((0, graph.embedding), np.float16) if setup.embedding else None
        return cls(outcomes, np.empty((0, len(graph.classes)), np.float32), no_scores, no_embedding)

    @classmethod
    def joined(cls, parts: Sequence[Response]) -> Response:
        """One response from the responses of several batches."""
        scores = [part.unknown for part in parts if part.unknown is not None]
        embeddings = [part.embedding for part in parts if part.embedding is not None]
        return cls(
            [outcome for part in parts for outcome in part.outcomes],
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate(scores) if scores else None,
            np.concatenate(embeddings) if embeddings else None,
        )
