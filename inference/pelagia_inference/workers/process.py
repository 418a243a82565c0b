"""The parent's end of one worker process: its pipes, its death, its silence.

Invariant: however the process ends, `WorkerProcess.receive` returns or raises; it never waits for ever. `send` never
waits at all: a thread writes, so that whoever sends can take what comes back, however full the pipes are.
"""

from __future__ import annotations

import pickle
import signal
import threading
from contextlib import suppress
from queue import SimpleQueue
from subprocess import TimeoutExpired

from pelagia_inference.workers.launch import take
from pelagia_inference.workers.protocol import Hello, Refusal, Tick

_GRACE = 5.0


class WorkerDied(Exception):  # noqa: N818 - not always a fault: it becomes a row
    """A process ended, or was ended because it hung.

    Attributes:
        reason: ``crashed`` or ``timed_out``, of `pelagia.images.preprocess.REASONS`, for the image that did it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class WorkerProcess:
    """A process that runs `pelagia_inference.workers.worker`.

    Args:
        patience: seconds that it may take over one image, or to start.
    """

    def __init__(self, hello: Hello, patience: float) -> None:
        self._hello = hello
        self._patience = patience
        self._silent: float | None = None
        self._hung = False
        child = take()
        self._child, self._words, self._to, self._from = child.process, child.words, child.stdin, child.stdout
        self._ready = False
        self._outbox: SimpleQueue[object] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="pelagia-writer", daemon=True)
        self._writer.start()

    def start(self) -> None:
        """Waits until the session stands. Raises WorkerDied, and what `Session` raises."""
        self.send(self._hello)
        self.receive()
        self._ready = True

    def send(self, frame: object) -> None:
        """Where the process is gone, the next `receive` says so."""
        self._outbox.put(frame)

    def _write(self) -> None:
        with suppress(OSError, ValueError):
            while (frame := self._outbox.get()) is not None:
                pickle.dump(frame, self._to, protocol=5)
                self._to.flush()

    def receive(self) -> object:
        """The next frame but ticks.

        Raises:
            WorkerDied: there is none, and never will be; and what the worker refused with.
        """
        while True:
            self._silent = 0.0
            try:
                frame = pickle.load(self._from)  # noqa: S301 - from our own process
            except (EOFError, OSError, ValueError, pickle.UnpicklingError):
                raise self._end() from None
            finally:
                self._silent = None
            if isinstance(frame, Refusal):
                raise frame.error
            if not isinstance(frame, Tick):
                return frame

    def second_passed(self) -> None:
        """Ends the process where it has been waited for too long. To be called every second, from any thread."""
        if self._silent is None:
            return
        self._silent += 1.0
        if self._silent > self._patience:
            self._hung = True
            self.kill()

    def kill(self) -> None:
        """Ends the process; may be called from any thread."""
        self._child.kill()

    def close(self) -> None:
        """Ends the process and lets go of what it held."""
        self._child.kill()
        self._child.wait()
        self._outbox.put(None)
        self._writer.join()
        for file in (self._to, self._from, self._words):
            with suppress(OSError):
                file.close()

    def _end(self) -> WorkerDied:
        with suppress(TimeoutExpired):
            self._child.wait(_GRACE)  # a pipe closes a moment before its process is gone
        code = self._child.poll()
        last = [] if self._ready else self._last_words()
        self.close()
        if self._hung:
            return WorkerDied("timed_out", f"no answer within {self._patience:.0f} s")
        return WorkerDied("crashed", f"the worker process ended ({': '.join([_cause(code), *last])})")

    def _last_words(self) -> list[str]:
        """The last line that it wrote before it stood; later it is silent."""
        with suppress(OSError, ValueError):
            self._words.seek(0)
            return self._words.read().decode(errors="replace").strip().splitlines()[-1:]
        return []


def _cause(code: int | None) -> str:
    if code is None:
        return "it closed its pipe"
    if code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"
