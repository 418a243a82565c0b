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

from pelagia.images.pixel_size import pixel_size_um
from pelagia.model.decision import NO_VERDICT, Decider
from pelagia.model.metadata import ModelFile
from pelagia.sources import SourceImage
from pelagia.sources.image import Held
from pelagia.survey.journal import Prediction
from pelagia_inference.machine.providers import CPU
from pelagia_inference.machine.setting import Setting, default_setting
from pelagia_inference.workers.pool import WorkerPool
from pelagia_inference.workers.protocol import Answer, Item

_POSITION = {"decimalLatitude", "decimalLongitude"}
_REQUEST = 64
"""Images that go to a worker in one message, about: enough that messages cost next to nothing."""
_REQUEST_BYTES = 1 << 22
"""A message is closed when it carries so much; only images of compressed tars travel in it."""
_AHEAD = 4
"""Messages in flight for each worker: enough that none waits while the journal is flushed to the disk."""
_AHEAD_BYTES = 48 << 20
"""What the messages in flight carry for each worker, about."""


def predict(
    images: Iterable[SourceImage],
    model: ModelFile,
    *,
    setting: Setting | None = None,
    provider: str = CPU,
) -> Iterator[list[Prediction]]:
    """Predictions of ``images``, some at a time, in order.

    Args:
        setting: by default that of `default_setting`: on the CPU, a worker with a session of its own for each core.

    Raises:
        ModelError, InputError: as `pelagia_inference.machine.session.Session`.
        PelagiaError: a worker process does not start.
    """
    setting = setting or default_setting(provider)
    with WorkerPool(model, provider, setting) as crew:
        crew.ready()
        yield from predict_with(crew, images, setting, decider=model.metadata.decider)


def predict_with(
    crew: WorkerPool,
    images: Iterable[SourceImage],
    setting: Setting,
    skip: Callable[[Sequence[SourceImage]], Sequence[SourceImage]] = lambda batch: batch,
    *,
    decider: Decider,
) -> Iterator[list[Prediction]]:
    """As `predict`, with workers that stand already.

    Args:
        setting: of the crew.
        skip: takes some images and gives those that are still to do; batches are cut before it is asked.
        decider: of the crew's model.
    """
    pending: deque[_InFlight] = deque()
    for request in _requests(images, setting.batch):
        kept = {id(image) for image in skip([image for batch in request for image in batch])}
        todo = [[image for image in batch if id(image) in kept] for batch in request]
        if kept:
            items = [[_item(image) for image in batch] for batch in todo if batch]
            pending.append(_InFlight([image for batch in todo for image in batch], crew.submit(items)))
        while len(pending) >= setting.workers * _AHEAD or (
            len(pending) > 1 and sum(one.bytes for one in pending) > setting.workers * _AHEAD_BYTES
        ):
            yield _predictions(pending.popleft(), decider)
    while pending:
        yield _predictions(pending.popleft(), decider)


class _InFlight:
    """A request, and the answer to come."""

    def __init__(self, images: Sequence[SourceImage], answer: Future[Answer]) -> None:
        self.images = images
        self.answer = answer
        self.bytes = _bytes_of(images)


def _requests(images: Iterable[SourceImage], size: int) -> Iterator[list[list[SourceImage]]]:
    """Batches of ``size``, some at a time; where they are cut depends on nothing but their place."""
    stream = iter(images)
    request: list[list[SourceImage]] = []
    held = 0
    for batch in iter(lambda: list(islice(stream, size)), []):
        request.append(batch)
        held += _bytes_of(batch)
        if len(request) * size >= _REQUEST or held > _REQUEST_BYTES:
            yield request
            request, held = [], 0
    if request:
        yield request


def _item(image: SourceImage) -> Item:
    return image.reader or str(image.file), pixel_size_um(image.columns)


def _bytes_of(images: Sequence[SourceImage]) -> int:
    """What images weigh that travel with their bytes."""
    return sum(len(image.reader.data) for image in images if isinstance(image.reader, Held))


def _predictions(request: _InFlight, decider: Decider) -> list[Prediction]:
    answer = request.answer.result()
    scores = [None] * len(answer.probabilities) if answer.unknown is None else answer.unknown.tolist()
    said = zip(answer.probabilities, scores, decider(answer.probabilities, answer.unknown), strict=True)
    found = []
    for image, outcome in zip(request.images, answer.outcomes, strict=True):
        probabilities, unknown, verdict = (None, None, NO_VERDICT) if outcome.reason else next(said)
        columns = _columns(image.columns, outcome.columns)
        found.append(
            Prediction(
                image.path,
                str(image.file),
                outcome.sha256,
                outcome.reason,
                outcome.message,
                probabilities,
                unknown,
                verdict,
                columns,
            )
        )
    return found


def _columns(given: Mapping[str, str], found: Mapping[str, str] | None) -> Mapping[str, str]:
    """What the input says of an image; where it says nothing, what the image itself does."""
    if found is None:
        return given
    said = {name: value for name, value in given.items() if value}
    if said.keys() & _POSITION:  # half a position of each would be a third one
        found = {name: value for name, value in found.items() if name not in _POSITION}
    return {**given, **found, **said}
