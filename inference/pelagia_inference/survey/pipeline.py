"""Images in, predictions out, with every core busy and a limited number of images in memory.

Invariant: predictions come in the order of the images. The same list of images always gives the same batches, so a run
gives exactly the same numbers however often it was interrupted. An image that cannot be used is a prediction with a
reason; it never ends the run.
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
from pelagia_inference.workers.protocol import Item, Response

_POSITION = {"decimalLatitude", "decimalLongitude"}
_REQUEST_IMAGES = 64
"""Approximate number of images in a request. With so many images, the time for the messages is negligible."""
_REQUEST_BYTES = 1 << 22
"""A request is closed when its images have this many bytes. Only images from compressed tars travel in a request."""
_REQUESTS_IN_FLIGHT = 4
"""Number of requests in progress per worker: enough to keep it busy while the journal is written to the disk."""
_NOTHING = (None, None, NO_VERDICT, None)
_BYTES_IN_FLIGHT = 48 << 20
"""Approximate number of bytes of images in the requests in progress, per worker."""


def predict(
    images: Iterable[SourceImage],
    model: ModelFile,
    *,
    setting: Setting | None = None,
    provider: str = CPU,
) -> Iterator[list[Prediction]]:
    """Yields predictions for ``images``, in their order, in lists of several images.

    Args:
        setting: by default that of `default_setting`: on the CPU, a worker with its own session for each core.
        provider: a key of `pelagia_inference.machine.providers.PROVIDERS`.

    Raises:
        ModelError, InputError: as `pelagia_inference.machine.session.Session`.
        PelagiaError: a worker process does not start.
    """
    setting = setting or default_setting(provider)
    with WorkerPool(model, provider, setting) as pool:
        pool.ready()
        yield from predict_with(pool, images, setting, decider=model.metadata.decider)


def predict_with(
    pool: WorkerPool,
    images: Iterable[SourceImage],
    setting: Setting,
    skip: Callable[[Sequence[SourceImage]], Sequence[SourceImage]] = lambda images: images,
    *,
    decider: Decider,
) -> Iterator[list[Prediction]]:
    """As `predict`, with workers that are already running.

    Args:
        pool: the workers.
        setting: the setting of the pool.
        skip: a function that returns the images of a list that are not done. Batches are formed before it is called.
        decider: the rule of the pool's model.
    """
    for taken, response in responses_of(pool, images, setting, skip):
        yield _predictions(taken, response, decider)


def responses_of(
    pool: WorkerPool,
    images: Iterable[SourceImage],
    setting: Setting,
    skip: Callable[[Sequence[SourceImage]], Sequence[SourceImage]] = lambda images: images,
) -> Iterator[tuple[Sequence[SourceImage], Response]]:
    """Yields the images in their order, some at a time, with the workers' response. As `predict_with`."""
    pending: deque[_InFlight] = deque()
    for request in _requests(images, setting.batch):
        kept = {id(image) for image in skip([image for batch in request for image in batch])}
        todo = [[image for image in batch if id(image) in kept] for batch in request]
        if kept:
            items = [[_item(image) for image in batch] for batch in todo if batch]
            pending.append(_InFlight([image for batch in todo for image in batch], pool.submit(items)))
        while len(pending) >= setting.workers * _REQUESTS_IN_FLIGHT or (
            len(pending) > 1 and sum(request.bytes for request in pending) > setting.workers * _BYTES_IN_FLIGHT
        ):
            yield pending.popleft().answered()
    while pending:
        yield pending.popleft().answered()


class _InFlight:
    """The images of a request, and the future of its response."""

    def __init__(self, images: Sequence[SourceImage], response: Future[Response]) -> None:
        self.images = images
        self.response = response
        self.bytes = _held_bytes(images)

    def answered(self) -> tuple[Sequence[SourceImage], Response]:
        """The images and the response, as soon as it is there."""
        return self.images, self.response.result()


def _requests(images: Iterable[SourceImage], batch_size: int) -> Iterator[list[list[SourceImage]]]:
    """Yields requests of several batches. The start of a batch depends only on the position in ``images``."""
    stream = iter(images)
    request: list[list[SourceImage]] = []
    held = 0
    for batch in iter(lambda: list(islice(stream, batch_size)), []):
        request.append(batch)
        held += _held_bytes(batch)
        if len(request) * batch_size >= _REQUEST_IMAGES or held > _REQUEST_BYTES:
            yield request
            request, held = [], 0
    if request:
        yield request


def _item(image: SourceImage) -> Item:
    return image.reader or str(image.file), pixel_size_um(image.columns)


def _held_bytes(images: Sequence[SourceImage]) -> int:
    """The bytes of those images that travel with their content."""
    return sum(len(image.reader.data) for image in images if isinstance(image.reader, Held))


def _predictions(images: Sequence[SourceImage], response: Response, decider: Decider) -> list[Prediction]:
    scores = [None] * len(response.probabilities) if response.unknown is None else response.unknown.tolist()
    verdicts = decider(response.probabilities, response.unknown)
    vectors = [None] * len(response.probabilities) if response.embedding is None else response.embedding
    classified = zip(response.probabilities, scores, verdicts, vectors, strict=True)
    predictions = []
    for image, outcome in zip(images, response.outcomes, strict=True):
        probabilities, unknown, verdict, vector = _NOTHING if outcome.reason else next(classified)
        predictions.append(
            Prediction(
                image.path,
                str(image.file),
                outcome.sha256,
                outcome.reason,
                outcome.message,
                probabilities,
                unknown,
                verdict,
                _columns(image.columns, outcome.columns),
                vector,
            )
        )
    return predictions


def _columns(from_input: Mapping[str, str], from_image: Mapping[str, str] | None) -> Mapping[str, str]:
    """The columns of the input, such as a manifest; the camera's values fill those that are empty or missing."""
    if from_image is None:
        return from_input
    filled = {name: value for name, value in from_input.items() if value}
    if filled.keys() & _POSITION:  # latitude and longitude must be from one source
        from_image = {name: value for name, value in from_image.items() if name not in _POSITION}
    return {**from_input, **from_image, **filled}
