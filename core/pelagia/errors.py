"""The errors that Pelagia reports to a user, and their exit codes.

Invariant: a message says what was found, where, and what to do next, on one line if possible. `pelagia.cli` prints it
after ``error:`` and exits with the code below. So a traceback is always a bug in Pelagia.

    PelagiaError              1
    ├── InputError            2   a path, a file or an option that the caller gave
    │   ├── ConfigError       2   a YAML file or a ``--set``; lists all its faults
    │   └── MissingExtra      2   an optional part that is not installed
    ├── DatasetError          3   a dataset folder, or the data for one
    ├── ModelError            4   an .onnx file that is not a model of Pelagia, is damaged, or fails its self-test
    │   └── ParityError       4   the exported model and the trained network disagree
    ├── SurveyError           5   a survey folder: made with other settings, in use, or damaged
    ├── StudioError           6   Label Studio: not running, refuses the token, or sends an unexpected response
    ├── TrainingError         7   training cannot continue
    │   └── DiskFullError     7   the disk is full: no other run could continue either
    └── Interrupted         143   a run ended early because of a SIGTERM; its work is saved

Exit code 8: `classify --strict`, and images failed. 9: `doctor` or `taxonomy check` found a problem. 130: interrupted
(Ctrl-C). 143: SIGTERM. 1: anything else, such as a disk that cannot be written.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Any

from pelagia.shell import install_command


class PelagiaError(Exception):
    """An error that the user can fix. ``str(error)`` is the complete message for the user."""

    exit_code = 1


class InputError(PelagiaError):
    """A path, a file or an option that the caller gave is wrong."""

    exit_code = 2


class ConfigError(InputError):
    """A file that a person wrote is wrong. The message lists every fault, not only the first.

    Args:
        where: the file or the option with the faults.
        faults: one sentence each, beginning with the place in the file.
    """

    def __init__(self, where: str, faults: Iterable[str]) -> None:
        self.where = where
        self.faults = tuple(faults)
        if len(self.faults) == 1:
            text = f"{where}: {self.faults[0]}"
        else:
            text = f"{where}: {len(self.faults)} faults" + "".join(f"\n  - {fault}" for fault in self.faults)
        super().__init__(text)

    def __reduce__(self) -> tuple[Any, ...]:  # a worker process sends its errors as pickles
        return type(self), (self.where, self.faults)


class MissingExtra(InputError):  # noqa: N818 - its name says what is wrong
    """A package of an extra is not installed.

    Args:
        what: what needs the package.
        extra: the extra of Pelagia that installs it.
        module: the name of the package.
    """

    def __init__(self, what: str, extra: str, module: str) -> None:
        self._given = (what, extra, module)
        install = install_command(extra)
        super().__init__(f"{what} needs the package '{module}', which is not installed; install it with: {install}")

    def __reduce__(self) -> tuple[Any, ...]:  # as in `ConfigError`
        return type(self), self._given


class DatasetError(PelagiaError):
    """A dataset folder, or the data for one, is wrong."""

    exit_code = 3


class ModelError(PelagiaError):
    """An .onnx file is not a model of Pelagia, is damaged, or fails its self-test."""

    exit_code = 4


class ParityError(ModelError):
    """The exported model and the trained network give different predictions."""


class SurveyError(PelagiaError):
    """A survey folder was made with other settings, is in use, or is damaged."""

    exit_code = 5


class StudioError(PelagiaError):
    """Label Studio is not running, refuses the token, or sends an unexpected response.

    Attributes:
        status: the HTTP status of the server's response, such as 404; None if the server sent none.
    """

    exit_code = 6

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TrainingError(PelagiaError):
    """Training cannot continue."""

    exit_code = 7


class DiskFullError(TrainingError):
    """The disk of a run folder is full, so that another run on it would fail too."""


class Interrupted(PelagiaError):  # noqa: N818 - it is not a fault
    """A run ended early because a SIGTERM asked it to. Its work is saved, and the same command resumes it."""

    exit_code = 143


def newer_schema(found: object, known: Collection[int]) -> str:
    """What to say of a file whose schema is later than those that this Pelagia reads; empty if it is not later.

    Args:
        found: the file's ``schema_version``, of any type.
        known: the schemas that this Pelagia reads.
    """
    if not str(found).isdecimal() or int(str(found)) <= max(known):
        return ""
    reads = " and ".join(map(str, sorted(known)))
    return f"was made by a newer Pelagia: it has schema {found}, and this Pelagia reads {reads}; update Pelagia"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` with the most similar word of ``known``, or an empty string if none is similar."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def first_few(items: Iterable[str], limit: int = 5) -> str:
    """The first ``limit`` of ``items``, joined by commas, and how many more there are."""
    everything = list(items)
    more = f" and {len(everything) - limit} more" if len(everything) > limit else ""
    return ", ".join(everything[:limit]) + more


def first_line(error: Exception) -> str:
    """The first line of a library's error message, at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
