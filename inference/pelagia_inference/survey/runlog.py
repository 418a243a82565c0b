"""``pelagia.log`` in a survey folder: when it was worked on, with what, how far it came, and how each start ended.

Invariant: a start adds a handful of lines and one a minute, none an image; what failed and why is in the journal. A log
that cannot be written never ends a run, nor is it spoken of. A start without an end was killed.
"""

from __future__ import annotations

import logging
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pelagia import __version__
from pelagia.errors import PelagiaError
from pelagia.system.cores import usable_cores
from pelagia.system.files import printable

LOG_FILE = "pelagia.log"
_EVERY_SECONDS = 60.0


class _Silent(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """A full disk: the run itself will say so."""


class RunLog:
    """The log of one start."""

    def __init__(self, folder: Path) -> None:
        self._logger = logging.Logger("pelagia.run")  # of its own: other starts in this process have theirs
        self._last = time.monotonic()
        try:
            handler: logging.Handler = _Silent(folder / LOG_FILE, encoding="utf-8")
        except OSError:
            handler = logging.NullHandler()
        form = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        form.converter = time.gmtime
        handler.setFormatter(form)
        self._logger.addHandler(handler)

    def info(self, text: str) -> None:
        self._logger.info(_one_line(text))

    def warning(self, text: str) -> None:
        self._logger.warning(_one_line(text))

    def failure(self, error: BaseException) -> None:
        """How a start ended that did not come to its end; the traceback only of a fault of ours."""
        if isinstance(error, KeyboardInterrupt):
            self.info("interrupted")
        elif isinstance(error, SystemExit):
            self.info(f"interrupted, exit code {error.code}")
        elif isinstance(error, PelagiaError | OSError):
            self._logger.error(_one_line(str(error)))
        else:
            self._logger.error(_one_line(repr(error)), exc_info=error)

    def every_minute(self, text: Callable[[], str]) -> None:
        """Adds a line where the last such line is a minute old."""
        if time.monotonic() - self._last >= _EVERY_SECONDS:
            self._last = time.monotonic()
            self.info(text())

    def close(self) -> None:
        for handler in self._logger.handlers:
            with suppress(OSError):  # a full disk: closing writes what is left
                handler.close()


@contextmanager
def run_log(folder: Path, facts: Mapping[str, object], warnings: Iterable[str] = ()) -> Iterator[RunLog]:
    """The log of a start: begins with the command, ``facts`` and ``warnings``, and ends with what the block raised."""
    log = RunLog(folder)
    log.info(f"start: pelagia {__version__}, {shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}")
    machine = f"{usable_cores()} cores, {platform.platform(terse=True)}, {platform.machine()}"
    log.info(", ".join(f"{name} {value}" for name, value in {**facts, "machine": machine}.items()))
    for text in warnings:
        log.warning(text)
    try:
        yield log
    except BaseException as error:
        log.failure(error)
        raise
    finally:
        log.close()


def _one_line(text: str) -> str:
    """Whatever a path holds, a record is one line."""
    return printable(text).replace("\r", "\\r").replace("\n", "\\n")
