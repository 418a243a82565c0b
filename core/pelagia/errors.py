"""Every fault that Pelagia reports to a person, and the exit code that goes with it.

Invariant: a message says what was found, where, and what to do next, on one line where it can. `pelagia.cli` prints it
after ``error:`` and exits with the code below; a traceback is therefore always a fault of ours.

    PelagiaError              1
    ├── InputError            2   a path, a file or an option that the caller gave
    │   ├── ConfigError       2   a YAML file or a ``--set``; lists all of its faults
    │   └── MissingExtra      2   an optional part that is not installed
    ├── DatasetError          3   a dataset folder, or what was to become one
    ├── ModelError            4   an .onnx file that is not ours, is damaged, or fails its own self-test
    │   └── ParityError       4   the exported model and the trained one disagree
    ├── SurveyError           5   a survey folder: of other settings, in use, damaged
    ├── StudioError           6   Label Studio: not running, refuses us, answers nonsense
    ├── TrainingError         7   training cannot go on
    │   └── DiskFullError     7   the disk is full: no other training would get further
    └── Interrupted         143   a run ended early because a SIGTERM asked it to; its work is saved

Exit code 8 is `classify --strict` where images failed; 9 is `doctor` where something is wrong; 130 is an interruption
(Ctrl-C), 143 a SIGTERM. 1 is anything else, such as a disk that cannot be written.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PelagiaError(Exception):
    """A fault with a remedy. ``str(error)`` is the whole message for the user."""

    exit_code = 1


class InputError(PelagiaError):
    """A path, a file or an option that the caller gave."""

    exit_code = 2


class ConfigError(InputError):
    """A file that a person wrote is wrong. Holds every fault found, not only the first.

    Args:
        where: the file or the option that holds the faults.
        faults: one sentence each, starting with the place inside the file.
    """

    def __init__(self, where: str, faults: Iterable[str]) -> None:
        self.where = where
        self.faults = tuple(faults)
        if len(self.faults) == 1:
            text = f"{where}: {self.faults[0]}"
        else:
            text = f"{where}: {len(self.faults)} faults" + "".join(f"\n  - {fault}" for fault in self.faults)
        super().__init__(text)


class MissingExtra(InputError):  # noqa: N818 - it is named after what is wrong
    """A package of an extra is not importable."""

    def __init__(self, what: str, extra: str, module: str) -> None:
        super().__init__(f"{what} needs the package '{module}', which is not installed: pip install 'pelagia[{extra}]'")


class DatasetError(PelagiaError):
    """A dataset folder, or what was to become one."""

    exit_code = 3


class ModelError(PelagiaError):
    """An .onnx file that is not ours, is damaged, or fails its own self-test."""

    exit_code = 4


class ParityError(ModelError):
    """The exported model and the trained one disagree."""


class SurveyError(PelagiaError):
    """A survey folder: of other settings, in use, damaged."""

    exit_code = 5


class StudioError(PelagiaError):
    """Label Studio: not running, refuses us, answers nonsense."""

    exit_code = 6


class TrainingError(PelagiaError):
    """Training cannot go on."""

    exit_code = 7


class DiskFullError(TrainingError):
    """The disk of a run folder is used up: whatever is trained next would end there too."""


class Interrupted(PelagiaError):  # noqa: N818 - it is not a fault
    """A run ended early because a SIGTERM asked it to. Its work is saved, and the same command resumes it."""

    exit_code = 143


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)``, or an empty string where nothing known is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def first_few(items: Iterable[str], limit: int = 5) -> str:
    """The first few of ``items`` joined by commas, and how many more there are."""
    everything = list(items)
    more = f" and {len(everything) - limit} more" if len(everything) > limit else ""
    return ", ".join(everything[:limit]) + more


def first_line(error: Exception) -> str:
    """What a library says of a fault, without the pages that follow."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
