"""One worker process as its parent sees it: its pipes, how it ended, and how long it has not answered.

Invariant: however the process ends, `WorkerProcess.receive` returns or raises; it never waits forever. `send` does not
wait at all: a thread writes to the pipe, so the caller can read responses even while the pipe is full.
"""

from __future__ import annotations

import pickle
import signal
import threading
from contextlib import suppress
from queue import SimpleQueue
from subprocess import TimeoutExpired

from pelagia_inference.workers.launch import take
from pelagia_inference.workers.protocol import Failure, Heartbeat, Setup

_EXIT_SECONDS = 5.0


class WorkerDied(Exception):  # noqa: N818 - not always an error: it becomes a row
    """A process ended, or was killed because it did not answer.

    Attributes:
        reason: ``crashed`` or ``timed_out``, keys of `pelagia.images.preprocess.REASONS`, for the image that caused it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class WorkerProcess:
    """A process that runs `pelagia_inference.workers.worker`.

    Args:
        setup: the first message that the process gets.
        timeout: seconds that it may take for one image, or to start.
    """

    def __init__(self, setup: Setup, timeout: float) -> None:
        self._setup = setup
        self._timeout = timeout
        self._seconds_waited: float | None = None
        self._timed_out = False
        self._child = take()
        self._process = self._child.process
        self._ready = False
        self._outbox: SimpleQueue[object] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="pelagia-writer", daemon=True)
        self._writer.start()

    def start(self) -> None:
        """Sends the setup and waits until the worker is ready.

        Raises:
            WorkerDied: the process ended or did not answer.
            ModelError, InputError: as `pelagia_inference.machine.session.Session`.
        """
        self.send(self._setup)
        self.receive()
        self._ready = True

    def send(self, message: object) -> None:
        """Sends a message. If the process has ended, the next `receive` raises."""
        self._outbox.put(message)

    def _write(self) -> None:
        with suppress(OSError, ValueError):
            while (message := self._outbox.get()) is not None:
                pickle.dump(message, self._child.stdin, protocol=5)
                self._child.stdin.flush()

    def receive(self) -> object:
        """Returns the next message that is not a heartbeat.

        Raises:
            WorkerDied: the process ended or did not answer.
            Exception: the error of a `Failure`.
        """
        while True:
            self._seconds_waited = 0.0
            try:
                message = pickle.load(self._child.stdout)  # noqa: S301 - from our own process
            except (EOFError, OSError, ValueError, pickle.UnpicklingError):
                raise self._end() from None
            finally:
                self._seconds_waited = None
            if isinstance(message, Failure):
                raise message.error
            if not isinstance(message, Heartbeat):
                return message

    def second_passed(self) -> None:
        """Ends the process if it has not answered within the timeout. Called every second, from any thread."""
        if self._seconds_waited is None:
            return
        self._seconds_waited += 1.0
        if self._seconds_waited > self._timeout:
            self._timed_out = True
            self.kill()

    def kill(self) -> None:
        """Ends the process. May be called from any thread."""
        self._process.kill()

    def close(self) -> None:
        """Ends the process and closes its pipes."""
        self._process.kill()
        self._process.wait()
        self._outbox.put(None)
        self._writer.join()
        for file in (self._child.stdin, self._child.stdout, self._child.stderr):
            with suppress(OSError):
                file.close()

    def _end(self) -> WorkerDied:
        with suppress(TimeoutExpired):
            self._process.wait(_EXIT_SECONDS)  # a pipe closes a moment before its process has ended
        code = self._process.poll()
        error_line = [] if self._ready else self._last_error_line()
        self.close()
        if self._timed_out:
            return WorkerDied("timed_out", f"no answer within {self._timeout:.0f} s")
        return WorkerDied("crashed", f"the worker process ended ({': '.join([_how_it_ended(code), *error_line])})")

    def _last_error_line(self) -> list[str]:
        """The last line that it wrote to stderr before it was ready; after that it writes none."""
        with suppress(OSError, ValueError):
            self._child.stderr.seek(0)
            return self._child.stderr.read().decode(errors="replace").strip().splitlines()[-1:]
        return []


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "it closed its pipe"
    if code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"
