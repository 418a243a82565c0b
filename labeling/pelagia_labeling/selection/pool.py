"""The images that can be chosen, and what is known of them.

Invariant: an image is in the pool once, recognized by its SHA-256, and only if it has no label yet. Each image that is
left out is counted with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.intp]

DIMENSIONS = 128
"""Vectors are reduced to so many dimensions: choosing is then ten times as fast, and the choice hardly changes."""
_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class Candidate:
    """One image.

    Attributes:
        path: its name in the survey, the dataset or the listing.
        sha256: SHA-256 of its bytes, 64 hex digits.
        file: the path of its file; for an image in an archive, text that names its place.
        predicted: the most likely class; for an image of a dataset its class; else empty.
        columns: the columns that it has, as text.
    """

    path: str
    sha256: str
    file: str
    predicted: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pool:
    """The images that can be chosen: N rows.

    Attributes:
        candidates: one for each row.
        probabilities: float32, N x classes, rows summing to 1; None without predictions.
        classes: the names of the classes.
        unknown: float32, N: out-of-distribution scores; None if the model has none.
        disagreement: float32, N, 0..1: how much a former model disagrees; None if none was given.
        vectors: float32, N x D, unit length, from `reduced`; None without embeddings.
        labeled: float32, M x D: those of images that have a label already, of the same reduction.
        labeled_counts: class -> number of images that have this label already.
        left_out: reason in words -> number of images that are not in the pool.
    """

    candidates: Sequence[Candidate]
    probabilities: Floats | None = None
    classes: tuple[str, ...] = ()
    unknown: Floats | None = None
    disagreement: Floats | None = None
    vectors: Floats | None = None
    labeled: Floats | None = None
    labeled_counts: Mapping[str, int] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.candidates)


def reduced(vectors: NDArray[np.floating], dimensions: int = DIMENSIONS) -> Floats:
    """Vectors of unit length in fewer dimensions, so that their distances change least (principal components).

    The means are not subtracted, so the scalar product of two rows stays close to their cosine similarity.

    Args:
        vectors: N x D, float16 or float32, of any length. It is read in chunks.
        dimensions: the number of dimensions to keep, if there are more.

    Returns:
        float32, N x ``dimensions``, rows of unit length; rows of zeros stay zeros.
    """
    length = vectors.shape[1]
    axes = np.eye(length, dtype=np.float32)
    if length > dimensions:
        products = np.zeros((length, length))
        for part in _unit_chunks(vectors):
            products += part.T @ part
        axes = np.linalg.eigh(products)[1][:, ::-1][:, :dimensions].astype(np.float32)
    return np.concatenate([_unit(part @ axes) for part in _unit_chunks(vectors)])


def _unit_chunks(vectors: NDArray[np.floating]) -> Iterator[Floats]:
    for start in range(0, len(vectors), _CHUNK):
        yield _unit(vectors[start : start + _CHUNK].astype(np.float32))


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit
