"""One worker process: reads, decodes and fits images, runs a session of its own, and answers over its pipes.

Invariant: nothing that an image does to this process reaches another one. `pelagia_inference.workers.protocol` says what goes
over the pipes. It ends when its input does, which is when its parent ends, after the batch at hand.

Images are read, decoded and computed a batch at a time, while they are in the processor's cache; a request may hold
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
from pelagia.sources.image import read_file
from pelagia.system.files import sha256_of
from pelagia_inference.machine.session import Session, stacked
from pelagia_inference.workers.exif import exif_columns
from pelagia_inference.workers.protocol import Answer, Hello, Item, Outcome, Ready, Refusal, Request, Tick

_TICK_SECONDS = 1.0
_QUICK_READ = 100e-6
"""Seconds an image: a file in memory takes a tenth of it, a disk more."""
_NOTHING = 0.5
"""Seconds in all that prove nothing: another process may have had the core."""
_READ_AHEAD = 4
_FAULTS = (OSError, MemoryError, ImageError)

_Batch = list[tuple[Outcome, bytes, float]]
"""What is known of each image, its bytes, and its pixels' size."""


def main() -> None:
    """Serves the parent on stdin and stdout until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the pipe
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    _silence(sys.stdout)  # a library that prints would break a frame
    with suppress(EOFError, BrokenPipeError):
        _serve(sys.stdin.buffer, sink)
    os._exit(0)  # the reading thread may sit on a drive that does not answer


def _silence(stream: IO[str]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _serve(source: IO[bytes], sink: IO[bytes]) -> None:
    def send(frame: object) -> None:
        pickle.dump(frame, sink, protocol=5)
        sink.flush()

    pulse = _Pulse(lambda: send(Tick()))
    hello: Hello = pickle.load(source)  # noqa: S301 - from the parent
    try:
        session = Session(hello.graph, hello.provider, hello.threads)
        size = hello.graph.preprocess.size
        session.probabilities(*stacked([Fitted(np.zeros((size, size, 3), np.uint8), size, size)]))
        send(Ready())
        _silence(sys.stderr)  # what a decoder says of an image stands in its row
        parts: list[Answer] = []
        for batch, last in _batches(source, pulse):
            parts.append(_answer(batch, session, pulse))
            if last:
                send(Answer.joined(parts))
                parts = []
    except (EOFError, BrokenPipeError):
        raise
    except PelagiaError as error:
        send(Refusal(error))
    except Exception as error:  # whatever ONNX Runtime raises: the parent tells it
        send(Refusal(RuntimeError(f"{type(error).__name__}: {error}")))


class _Pulse:
    """Tells the parent, after each image, that work goes on; once a second at most."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._last = time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last > _TICK_SECONDS:
            self._last = now
            self._tick()


def _batches(source: IO[bytes], pulse: _Pulse) -> Iterator[tuple[_Batch, bool]]:
    """The batches of the requests, and whether each is the last of its request.

    They are read when they are needed, which costs nothing more while the files lie in memory. Where reading turns out
    to take its time, a thread reads ahead from then on, so that the drive and the network work side by side.
    """
    spent, images = 0.0, 0
    while spent <= max(_NOTHING, _QUICK_READ * images):
        for items, last in _requests(source):
            began = time.perf_counter()
            batch = []
            for item in items:
                batch.append(_read(item))
                pulse()
            spent, images = spent + time.perf_counter() - began, images + len(batch)
            yield batch, last
            if last:
                break
    ahead = _Ahead(source)
    ahead.start()
    while True:
        yield ahead.next(pulse)


def _requests(source: IO[bytes]) -> Iterator[tuple[Sequence[Item], bool]]:
    while True:
        request: Request = pickle.load(source)  # noqa: S301 - from the parent
        for number, items in enumerate(request, start=1):
            yield items, number == len(request)


class _Ahead(threading.Thread):
    """Reads a few batches before they are needed."""

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._source = source
        self._done: Queue[tuple[_Batch, bool] | None] = Queue(_READ_AHEAD)
        self._read = 0

    def run(self) -> None:
        try:
            for items, last in _requests(self._source):
                batch = []
                for item in items:
                    batch.append(_read(item))
                    self._read += 1
                self._done.put((batch, last))
        finally:  # the input ended, or a reader broke its word: then this process ends, and a new one says why
            self._done.put(None)

    def next(self, pulse: _Pulse) -> tuple[_Batch, bool]:
        """Raises EOFError where nothing more will come."""
        while True:
            before = self._read
            try:
                found = self._done.get(timeout=_TICK_SECONDS)
            except Empty:
                if self._read > before:
                    pulse()
                continue
            if found is None:
                raise EOFError
            return found


def _read(item: Item) -> tuple[Outcome, bytes, float]:
    reader, pixel_size = item
    try:
        data = read_file(reader) if isinstance(reader, str) else reader()
    except _FAULTS as error:
        return Outcome("", *_why(error)), b"", 0.0
    return Outcome(sha256_of(data), columns=exif_columns(data) or None), data, pixel_size


def _answer(batch: _Batch, session: Session, pulse: _Pulse) -> Answer:
    outcomes: list[Outcome] = []
    fitted: list[Fitted] = []
    pixel_sizes: list[float] = []
    for outcome, data, pixel_size in batch:
        if not outcome.reason:
            try:
                fitted.append(load_sized(data, session.graph.preprocess))
                pixel_sizes.append(pixel_size)
            except _FAULTS as error:
                reason, message = _why(error)
                outcome = replace(outcome, reason=reason, message=message)
        outcomes.append(outcome)
        pulse()
    if not fitted:
        graph = session.graph
        return Answer.failed(outcomes, len(graph.classes), scored=graph.scores_unknown)
    found = session.answers(*stacked(fitted, pixel_sizes))
    return Answer(outcomes, found.probabilities, found.unknown)


def _why(error: BaseException) -> tuple[str, str]:
    """A reason and a message."""
    if isinstance(error, ImageError):
        return error.reason, str(error)
    if isinstance(error, FileNotFoundError):
        return "missing", "there is no such file"
    if isinstance(error, OSError):
        return "unreadable", error.strerror or str(error)
    return "too_large", "it does not fit into the memory of this machine"


if __name__ == "__main__":
    main()
