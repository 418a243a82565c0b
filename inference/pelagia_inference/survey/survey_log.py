"""``pelagia.log`` in a survey folder: the time, settings, progress and end of each start of a run.

Invariant: a start adds a few lines, and one more each minute, but none for each image; the journal says which images
failed and why. If the log cannot be written, the run continues without a warning. A start without a last line was
killed.
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
_PROGRESS_SECONDS = 60.0


class _SilentFileHandler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Does nothing. If the disk is full, the run itself reports it."""


class SurveyLog:
    """The log of one start of a run."""

    def __init__(self, folder: Path) -> None:
        self._logger = logging.Logger("pelagia.survey")  # not shared with other runs in this process
        self._last_progress = time.monotonic()
        try:
            handler: logging.Handler = _SilentFileHandler(folder / LOG_FILE, encoding="utf-8")
        except OSError:
            handler = logging.NullHandler()
        form = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        form.converter = time.gmtime
        handler.setFormatter(form)
        self._logger.addHandler(handler)

    def info(self, text: str) -> None:
        self._logger.info(printable(text))

    def warning(self, text: str) -> None:
        self._logger.warning(printable(text))

    def failure(self, error: BaseException) -> None:
        """Writes why a run ended early; with a traceback only if the error is a bug in Pelagia."""
        if isinstance(error, KeyboardInterrupt):
            self.info("interrupted")
        elif isinstance(error, SystemExit):
            self.info(f"interrupted, exit code {error.code}")
        elif isinstance(error, PelagiaError | OSError):
            self._logger.error(printable(str(error)))
        else:
            self._logger.error(printable(repr(error)), exc_info=error)

    def every_minute(self, text: Callable[[], str]) -> None:
        """Writes a line, but at most one per minute."""
        if time.monotonic() - self._last_progress >= _PROGRESS_SECONDS:
            self._last_progress = time.monotonic()
            self.info(text())

    def close(self) -> None:
        for handler in self._logger.handlers:
            with suppress(OSError):  # closing writes the remaining text, and the disk may be full
                handler.close()


@contextmanager
def survey_log(folder: Path, facts: Mapping[str, object], warnings: Iterable[str] = ()) -> Iterator[SurveyLog]:
    """The log of one start: it begins with the command, ``facts`` and ``warnings``, and ends with any exception."""
    log = SurveyLog(folder)
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
