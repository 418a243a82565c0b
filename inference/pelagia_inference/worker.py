"""One worker process: reads, decodes and fits images, runs a session of its own, and answers over its pipes.

Invariant: nothing that an image does to this process reaches another one. `pelagia_inference.frames` says what goes
over the pipes. It ends when its input does, so it never outlives its parent.

A thread reads the bytes of the next batch while this one is computed: a slow drive and the network overlap.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO

import numpy as np

from pelagia.errors import PelagiaError
from pelagia.files import sha256_of
from pelagia.preprocess import Image, ImageError, load
from pelagia.sources.image import read_file
from pelagia_inference.frames import Answer, Hello, Outcome, Reader, Ready, Refusal, Tick
from pelagia_inference.session import Session

_TICK_SECONDS = 1.0
_FAULTS = (OSError, MemoryError, ImageError)

_Batch = list[tuple[Outcome, bytes]]


def main() -> None:
    """Serves the parent on stdin and stdout until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the pipe
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    _silence(sys.stdout)  # a library that prints would break a frame
    with suppress(EOFError, BrokenPipeError):
        _serve(sys.stdin.buffer, sink)
    os._exit(0)  # the reading thread may sit on a drive that does not answer


def _serve(source: IO[bytes], sink: IO[bytes]) -> None:
    def send(frame: object) -> None:
        pickle.dump(frame, sink, protocol=5)
        sink.flush()

    def tick() -> None:
        send(Tick())

    hello: Hello = pickle.load(source)  # noqa: S301 - from the parent
    try:
        session = Session(hello.model, hello.provider, hello.threads)
        size = hello.model.metadata.preprocess.size
        session.probabilities(np.zeros((1, size, size, 3), np.uint8))
        send(Ready())
        _silence(sys.stderr)  # what a decoder says of an image stands in its row
        ahead = _Ahead(source)
        ahead.start()
        while (batch := ahead.next(tick)) is not None:
            send(_answer(batch, session, tick))
    except BrokenPipeError:
        raise
    except PelagiaError as error:
        send(Refusal(error))
    except Exception as error:  # whatever ONNX Runtime raises: the parent tells it
        send(Refusal(RuntimeError(f"{type(error).__name__}: {error}")))


def _silence(stream: IO[str]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Ahead(threading.Thread):
    """Reads the bytes of batches before they are needed. The parent bounds how many are on their way."""

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._source = source
        self._batches: SimpleQueue[_Batch | None] = SimpleQueue()
        self._read = 0

    def run(self) -> None:
        try:
            while True:
                batch = []
                for reader in pickle.load(self._source):  # noqa: S301 - from the parent
                    batch.append(_read(reader))
                    self._read += 1
                self._batches.put(batch)
        except EOFError:
            self._batches.put(None)

    def next(self, tick: Callable[[], None]) -> _Batch | None:
        """The next batch, or None where none will come; calls ``tick`` while reading is slow and goes on."""
        while True:
            before = self._read
            try:
                return self._batches.get(timeout=_TICK_SECONDS)
            except Empty:
                if self._read > before:
                    tick()


def _read(reader: Reader) -> tuple[Outcome, bytes]:
    try:
        data = read_file(reader) if isinstance(reader, str) else reader()
    except _FAULTS as error:
        return Outcome("", *_why(error)), b""
    return Outcome(sha256_of(data)), data


def _answer(batch: _Batch, session: Session, tick: Callable[[], None]) -> Answer:
    outcomes: list[Outcome] = []
    fitted: list[Image] = []
    last = time.monotonic()
    for outcome, data in batch:
        if time.monotonic() - last > _TICK_SECONDS:
            tick()
            last = time.monotonic()
        if not outcome.reason:
            try:
                fitted.append(load(data, session.model.metadata.preprocess))
            except _FAULTS as error:
                outcome = Outcome(outcome.sha256, *_why(error))
        outcomes.append(outcome)
    if not fitted:
        return Answer(outcomes, np.empty((0, len(session.model.metadata.classes)), np.float32))
    return Answer(outcomes, session.probabilities(np.stack(fitted)))


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
