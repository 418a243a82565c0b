"""Images -> predictions, with every core busy and a bounded number of images in memory.

Invariant: predictions come in the order of the images, and the same list of images gives the same batches, so that a
run gives the same numbers to the last bit however often it was broken off. An image that cannot be used is a prediction
with a reason; it never ends the run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from itertools import islice

from pelagia.model import ModelFile
from pelagia.predictions import Prediction
from pelagia.sources import SourceImage
from pelagia_inference.crew import Crew
from pelagia_inference.frames import Answer
from pelagia_inference.setting import Setting, default_setting

_REQUEST = 64
"""Images that go to a worker in one message, about: enough that messages cost next to nothing."""
_AHEAD = 4
"""Messages in flight for each worker: enough that none waits while the journal is flushed to the disk."""


def predict(
    images: Iterable[SourceImage],
    model: ModelFile,
    *,
    setting: Setting | None = None,
    provider: str = "cpu",
) -> Iterator[list[Prediction]]:
    """Predictions of ``images``, some at a time, in order.

    Args:
        setting: by default that of `default_setting`: on the CPU, a worker with a session of its own for each core.

    Raises:
        ModelError, InputError: as `pelagia_inference.session.Session`.
        PelagiaError: a worker process does not start.
    """
    setting = setting or default_setting(provider)
    with Crew(model, provider, setting) as crew:
        crew.ready()
        yield from predict_with(crew, images, setting)


def predict_with(
    crew: Crew,
    images: Iterable[SourceImage],
    setting: Setting,
    skip: Callable[[Sequence[SourceImage]], Sequence[SourceImage]] = lambda batch: batch,
) -> Iterator[list[Prediction]]:
    """As `predict`, with workers that stand already.

    Args:
        setting: of the crew.
        skip: takes some images and gives those that are still to do; batches are cut before it is asked.
    """
    stream = iter(images)
    size = setting.batch * max(1, _REQUEST // setting.batch)
    pending: deque[tuple[Sequence[SourceImage], Future[Answer]]] = deque()
    for batch in iter(lambda: list(islice(stream, size)), []):
        if todo := skip(batch):
            pending.append((todo, crew.submit([image.reader or str(image.file) for image in todo])))
        if len(pending) >= setting.workers * _AHEAD:
            yield _predictions(*pending.popleft())
    while pending:
        yield _predictions(*pending.popleft())


def _predictions(batch: Sequence[SourceImage], future: Future[Answer]) -> list[Prediction]:
    answer = future.result()
    rows = iter(answer.probabilities)
    return [
        Prediction(
            image.path,
            str(image.file),
            outcome.sha256,
            outcome.reason,
            outcome.message,
            None if outcome.reason else next(rows),
            _columns(image.columns, outcome.columns),
        )
        for image, outcome in zip(batch, answer.outcomes, strict=True)
    ]


def _columns(given: Mapping[str, str], found: Mapping[str, str] | None) -> Mapping[str, str]:
    """What the input says of an image; where it says nothing, what the image itself does."""
    if found is None:
        return given
    return {**given, **found, **{name: value for name, value in given.items() if value}}
