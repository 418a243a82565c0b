"""`pelagia embed`: the embeddings of images, without a survey.

Invariant: the images come in the order of the listing, one row for each image that can be read; the others are counted
and named. The file is complete or absent: an interrupted run leaves nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pelagia.embeddings import (
    EMBEDDING_TOLERANCE,
    EMBEDDINGS_FILE,
    EmbeddingsWriter,
    relative_distance,
    writing_embeddings,
)
from pelagia.errors import InputError, ModelError
from pelagia.model.embedder import EmbeddingModel
from pelagia.sources import Listing, ListingOptions, SourceImage, list_images
from pelagia.system.files import refuse_existing_file
from pelagia.system.paths import StrPath, paths_of
from pelagia_inference.machine.providers import AUTO, CPU, choose_provider
from pelagia_inference.machine.session import Session
from pelagia_inference.machine.setting import Setting, complete_setting
from pelagia_inference.survey.pipeline import responses_of
from pelagia_inference.workers.pool import WorkerPool
from pelagia_inference.workers.protocol import Response

_NAMED_FAILURES = 20
_COMPARED = 4
"""The number of images on which a provider is compared with the CPU."""


@dataclass
class EmbedResult:
    """What `embed` did.

    Attributes:
        images: number of images in the file.
        dimensions: the length of a vector.
        failures: number of images that could not be read, by reason.
        failed: path and reason in words of the first of them.
        left_out: number of things in the inputs that are not listed as images, by a key of `Listing.left_out`.
        warnings: what was assumed while the inputs were listed, one sentence each.
    """

    images: int
    dimensions: int
    failures: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    warnings: Sequence[str] = ()

    def add(self, file: EmbeddingsWriter, taken: Sequence[SourceImage], response: Response) -> None:
        """Writes the embeddings of some images, and counts the images that failed."""
        paths, hashes = [], []
        for image, outcome in zip(taken, response.outcomes, strict=True):
            if not outcome.reason:
                paths.append(image.path)
                hashes.append(outcome.sha256)
                continue
            self.failures[outcome.reason] += 1
            if len(self.failed) < _NAMED_FAILURES:
                self.failed.append((image.path, outcome.message))
        if paths and response.embedding is not None:
            file.add(paths, hashes, response.embedding)
            self.images += len(paths)


def embed(
    model: EmbeddingModel,
    inputs: StrPath | Sequence[StrPath],
    out: StrPath,
    *,
    setting: Setting | None = None,
    provider: str = AUTO,
    listing: ListingOptions = ListingOptions(),
    progress: Callable[[int], None] = lambda done: None,
    note: Callable[[str], None] = lambda text: None,
) -> EmbedResult:
    """Writes the embeddings of the images of ``inputs`` as the Parquet file ``out`` (`pelagia.embeddings`).

    Args:
        inputs: what `list_images` takes, such as a folder, a dataset or an archive.
        setting: None, or a 0 in it: the default of the provider.
        provider: a key of `PROVIDERS`, or `AUTO`, as in `classify`.
        listing: what decides how images are listed.
        progress: called with the number of images so far.
        note: called with each warning before the images are computed.

    Raises:
        InputError: ``out`` exists or is a folder; an input is wrong; no image can be read; the provider does not start.
        ModelError: the provider's embeddings differ from those of the CPU.
        MissingExtra: pyarrow is not installed.
    """
    refuse_existing_file(out := Path(out), "file of embeddings", EMBEDDINGS_FILE)
    used = choose_provider(provider, lambda name: _require_same(model, name), note)
    setting = complete_setting(setting or Setting(0, 0, 0), used, [])
    found = Listing(listing)
    result = EmbedResult(0, model.embedding.dimensions, left_out=found.left_out)
    images = list_images(paths_of(inputs), found)
    with (
        writing_embeddings(out, model.sha256) as file,
        WorkerPool(model, used, setting, embedding=True) as pool,
    ):
        pool.ready()
        done = 0
        for taken, response in responses_of(pool, images, setting):
            result.add(file, taken, response)
            done += len(taken)
            progress(done)
        if not result.images:
            cause = f"; the first is {result.failed[0][0]}: {result.failed[0][1]}" if result.failed else ""
            raise InputError(f"none of the {done} images can be read{cause}")
    result.warnings = found.warning_texts()
    return result


def _require_same(model: EmbeddingModel, provider: str) -> None:
    """Compares the embeddings of noise with those of the CPU: an embedder has no reference images.

    Raises:
        InputError: the provider does not start.
        ModelError: the embeddings differ.
    """
    if provider == CPU:
        return
    side = model.graph.preprocess.size
    noise = np.random.default_rng(0).integers(0, 256, (_COMPARED, side, side, 3), np.uint8)
    found, expected = (
        Session(model.graph, name, embedding=True).answers(noise, np.zeros((_COMPARED, 3), np.float32))
        for name in (provider, CPU)
    )
    if found.embedding is None or expected.embedding is None:
        return
    difference = relative_distance(found.embedding, expected.embedding)
    if not difference <= EMBEDDING_TOLERANCE:
        raise ModelError(
            f"{model.graph.path}: the provider {provider}'s embeddings differ by {difference:.2g} of a vector's length "
            f"from those of the CPU (allowed: {EMBEDDING_TOLERANCE:g}): use --provider cpu"
        )
