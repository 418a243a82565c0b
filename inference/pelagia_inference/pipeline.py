"""Images -> predictions, with every core busy and a bounded number of images in memory.

Invariant: predictions come in the order of the images, and the same list of images gives the same batches, so that a
run gives the same numbers to the last bit however often it was broken off. An image that cannot be used is a prediction
with a reason; it never ends the run.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np

from pelagia.files import sha256_of
from pelagia.model import ModelFile
from pelagia.predictions import Prediction
from pelagia.preprocess import Image, ImageError, PreprocessSpec, load
from pelagia.sources import SourceImage
from pelagia_inference.session import Session
from pelagia_inference.setting import Setting, cores

_BATCHES_AHEAD = 4
"""Batches in flight for each worker: enough that no worker waits for the next."""


def predict(
    images: Iterable[SourceImage],
    model: ModelFile,
    *,
    setting: Setting | None = None,
    provider: str = "cpu",
    skip: Callable[[Sequence[SourceImage]], Sequence[SourceImage]] = lambda batch: batch,
) -> Iterator[list[Prediction]]:
    """Predictions of ``images``, a batch at a time, in order.

    Args:
        setting: by default a worker with a session of its own for each core.
        skip: takes a batch and gives what of it is still to do; batches are cut before it is asked.

    Raises:
        ModelError, InputError: as `Session`.
    """
    setting = setting or Setting(cores())
    stream = iter(images)
    batches = iter(lambda: list(islice(stream, setting.batch)), [])
    local = threading.local()

    def work(batch: Sequence[SourceImage]) -> list[Prediction]:
        if not hasattr(local, "session"):
            local.session = Session(model, provider, setting.threads)
        return _predict_batch(batch, local.session)

    pending: deque[Future[list[Prediction]]] = deque()
    pool = ThreadPoolExecutor(setting.workers, thread_name_prefix="pelagia")
    try:
        for batch in batches:
            todo = skip(batch)
            if todo:
                pending.append(pool.submit(work, todo))
            if len(pending) >= setting.workers * _BATCHES_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _predict_batch(batch: Sequence[SourceImage], session: Session) -> list[Prediction]:
    loaded = [_load(image, session.model.metadata.preprocess) for image in batch]
    pixels = [fitted for _, fitted in loaded if fitted is not None]
    rows = iter(session.probabilities(np.stack(pixels)) if pixels else ())
    return [one if fitted is None else replace(one, probabilities=next(rows)) for one, fitted in loaded]


def _load(image: SourceImage, spec: PreprocessSpec) -> tuple[Prediction, Image | None]:
    """What is known of an image before the network saw it, and its fitted pixels, or None where it failed."""
    digest = ""
    try:
        data = image.read()
        digest = sha256_of(data)
        return Prediction(image.path, str(image.file), digest, columns=image.columns), load(data, spec)
    except FileNotFoundError:
        reason, message = "missing", "there is no such file"
    except OSError as error:
        reason, message = "unreadable", error.strerror or str(error)
    except MemoryError:
        reason, message = "too_large", "it does not fit into the memory of this machine"
    except ImageError as error:
        reason, message = error.reason, str(error)
    return Prediction(image.path, str(image.file), digest, reason, message, columns=image.columns), None
