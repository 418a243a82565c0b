"""What computing with a MODEL needs of it: its graph, and how images are made for it. `pelagia.model.metadata` defines the rest.

Light to import and to send: a worker process knows this and neither the metadata nor pydantic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pelagia.images.preprocess import PreprocessSpec

INPUT_NAME = "image"
SIZE_NAME = "size"
OUTPUT_NAME = "probabilities"
UNKNOWN_NAME = "unknown"


@dataclass(frozen=True, slots=True)
class Graph:
    """The serialised ModelProto ``data`` of the file ``path``, which takes images of ``preprocess``.

    ``scores_unknown``: it has the output `UNKNOWN_NAME`.
    """

    path: Path
    data: bytes = field(repr=False)
    preprocess: PreprocessSpec
    classes: tuple[str, ...]
    scores_unknown: bool = False
