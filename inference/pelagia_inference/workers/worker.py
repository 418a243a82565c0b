"""One worker process: reads, decodes and resizes images, runs its own session, and sends the results over its pipes.

Invariant: nothing that an image does to this process affects another process. `pelagia_inference.workers.protocol`
defines the messages. The process ends, after its current batch, when its stdin ends; so it ends with its parent.

Images are read, decoded and computed one batch at a time, while they are in the processor's cache. A request may hold
many batches, because each message costs the parent some work.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from queue import Empty, Queue
from typing import IO

import numpy as np

from pelagia.errors import PelagiaError
from pelagia.images.preprocess import Fitted, ImageError, load_sized
from pelagia.sources.image import read_encoded
from pelagia.system.files import sha256_of
from pelagia_inference.machine.session import Session, stacked
from pelagia_inference.workers.exif import exif_columns
from pelagia_inference.workers.protocol import Failure, Heartbeat, Item, Outcome, Ready, Request, Response, Setup

_HEARTBEAT_SECONDS = 1.0
_LONGEST_COMPUTATION = 1800
"""Number of heartbeats while one batch is computed. After that, and the timeout, the process is ended."""
_FAST_READ_SECONDS = 100e-6
"""Seconds per image. Reading a file that is already in memory takes a tenth of this; reading from a disk takes more."""
_READ_SECONDS_IGNORED = 0.5
"""Seconds in total. A shorter delay does not show that reading is slow: another process may have used the core."""
_BATCHES_READ_AHEAD = 4
_IMAGE_ERRORS = (OSError, MemoryError, ImageError)

_Batch = list[tuple[Outcome, bytes, float]]
"""For each image: the outcome of reading it, its encoded bytes, and the length of a pixel's side in micrometers."""


def main() -> None:
    """Answers the parent's requests on stdin and stdout until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets Ctrl-C as well, and then closes the pipe
    responses = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    _silence(sys.stdout)  # text that a library prints would damage the messages
    with suppress(EOFError, BrokenPipeError):
        _serve(sys.stdin.buffer, responses)
    os._exit(0)  # the reading thread may be waiting for a drive that does not answer


def _silence(stream: IO[str]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _serve(requests: IO[bytes], responses: IO[bytes]) -> None:
    one_at_a_time = threading.Lock()

    def send(message: object) -> None:
        with one_at_a_time:
            pickle.dump(message, responses, protocol=5)
            responses.flush()

    setup: Setup = pickle.load(requests)  # noqa: S301 - from the parent
    try:
        _answer_requests(setup, requests, send)
    except (EOFError, BrokenPipeError):
        raise
    except PelagiaError as error:
        send(Failure(error))
    except Exception as error:  # whatever ONNX Runtime raises: the parent reports it
        send(Failure(RuntimeError(f"{type(error).__name__}: {error}")))


def _answer_requests(setup: Setup, requests: IO[bytes], send: Callable[[object], None]) -> None:
    computing = _ComputingThread(lambda: send(Heartbeat()))
    computing.start()
    with computing:
        session = Session(setup.graph, setup.provider, setup.threads, embedding=setup.embedding)
        size = setup.graph.preprocess.size
        session.probabilities(*stacked([Fitted(np.zeros((size, size, 3), np.uint8), size, size)]))
    send(Ready())
    _silence(sys.stderr)  # what a decoder prints about an image is in the image's row
    heartbeat = _HeartbeatSender(lambda: send(Heartbeat()))
    parts: list[Response] = []
    for batch, is_last in _batches(requests, heartbeat):
        parts.append(_response(batch, session, setup, heartbeat, computing))
        if is_last:
            send(Response.joined(parts))
            parts = []


class _HeartbeatSender:
    """Called after each image; sends the parent a heartbeat, at most once per second."""

    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self._last = time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last > _HEARTBEAT_SECONDS:
            self._last = now
            self._send()


class _ComputingThread(threading.Thread):
    """Sends a heartbeat each second inside a ``with`` block, in which the network is computed.

    A slow network may take minutes for a batch, which is not the fault of an image. A decoder that hangs is outside
    the block, so it is still found. A network that never ends is given up after `_LONGEST_COMPUTATION`.
    """

    def __init__(self, send: Callable[[], None]) -> None:
        super().__init__(name="pelagia-computing", daemon=True)
        self._send = send
        self._computing = threading.Event()
        self._beats = 0

    def __enter__(self) -> None:
        self._beats = 0
        self._computing.set()

    def __exit__(self, *_: object) -> None:
        self._computing.clear()

    def run(self) -> None:
        with suppress(OSError, ValueError):  # the parent has ended, so does this process
            while self._computing.wait():
                time.sleep(_HEARTBEAT_SECONDS)
                if self._computing.is_set() and self._beats < _LONGEST_COMPUTATION:
                    self._beats += 1
                    self._send()


def _batches(requests: IO[bytes], heartbeat: _HeartbeatSender) -> Iterator[tuple[_Batch, bool]]:
    """Reads the batches of all requests. Yields each, and whether it is the last of its request.

    At first each batch is read when it is needed, which is fastest while the files are in memory. If reading turns out
    to be slow, a thread reads ahead from then on, so that the drive and the network work at the same time.
    """
    seconds, images = 0.0, 0
    while seconds <= max(_READ_SECONDS_IGNORED, _FAST_READ_SECONDS * images):
        for items, is_last in _batches_to_read(requests):
            start = time.perf_counter()
            batch = []
            for item in items:
                batch.append(_read(item))
                heartbeat()
            seconds, images = seconds + time.perf_counter() - start, images + len(batch)
            yield batch, is_last
            if is_last:
                break
    reader = _ReadAhead(requests)
    reader.start()
    while True:
        yield reader.next(heartbeat)


def _batches_to_read(requests: IO[bytes]) -> Iterator[tuple[Sequence[Item], bool]]:
    while True:
        request: Request = pickle.load(requests)  # noqa: S301 - from the parent
        for number, items in enumerate(request, start=1):
            yield items, number == len(request)


class _ReadAhead(threading.Thread):
    """Reads a few batches before they are needed."""

    def __init__(self, requests: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._requests = requests
        self._batches: Queue[tuple[_Batch, bool] | None] = Queue(_BATCHES_READ_AHEAD)
        self._images_read = 0

    def run(self) -> None:
        try:
            for items, is_last in _batches_to_read(self._requests):
                batch = []
                for item in items:
                    batch.append(_read(item))
                    self._images_read += 1
                self._batches.put((batch, is_last))
        finally:  # stdin ended; or a reader raised an unexpected error: this process ends, and a new one reports it
            self._batches.put(None)

    def next(self, heartbeat: _HeartbeatSender) -> tuple[_Batch, bool]:
        """The next batch, and whether it is the last of its request. Raises EOFError if there are no more."""
        while True:
            before = self._images_read
            try:
                found = self._batches.get(timeout=_HEARTBEAT_SECONDS)
            except Empty:
                if self._images_read > before:
                    heartbeat()
                continue
            if found is None:
                raise EOFError
            return found


def _read(item: Item) -> tuple[Outcome, bytes, float]:
    reader, pixel_size = item
    try:
        data = read_encoded(reader)
    except _IMAGE_ERRORS as error:
        return Outcome("", *_reason_and_message(error)), b"", 0.0
    return Outcome(sha256_of(data), columns=exif_columns(data) or None), data, pixel_size


def _response(
    batch: _Batch, session: Session, setup: Setup, heartbeat: _HeartbeatSender, computing: _ComputingThread
) -> Response:
    outcomes: list[Outcome] = []
    fitted: list[Fitted] = []
    pixel_sizes: list[float] = []
    for outcome, data, pixel_size in batch:
        if not outcome.reason:
            try:
                image = load_sized(data, session.graph.preprocess)
                fitted.append(image)
                pixel_sizes.append(pixel_size)
                if image.remark:
                    outcome = replace(outcome, message=image.remark)
            except _IMAGE_ERRORS as error:
                reason, message = _reason_and_message(error)
                outcome = replace(outcome, reason=reason, message=message)
        outcomes.append(outcome)
        heartbeat()
    if not fitted:
        return Response.failed(outcomes, setup)
    with computing:
        found = session.answers(*stacked(fitted, pixel_sizes))
    embedding = None if found.embedding is None else found.embedding.astype(np.float16)
    return Response(outcomes, found.probabilities, found.unknown, embedding)


def _reason_and_message(error: BaseException) -> tuple[str, str]:
    if isinstance(error, ImageError):
        return error.reason, str(error)
    if isinstance(error, FileNotFoundError):
        return "missing", "there is no such file"
    if isinstance(error, OSError):
        return "unreadable", error.strerror or str(error)
    return "too_large", "it does not fit into the memory of this machine"


if __name__ == "__main__":
    main()
