"""The checks of the `doctor` commands and how they are printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pelagia.system import console


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        ok: whether the check passed; None if it was skipped.
        found: what was found, or why the check was skipped.
        remedy: what to do; empty if there is nothing to do.
    """

    name: str
    ok: bool | None
    found: str
    remedy: str = ""


def show_checks(checks: Iterable[Check]) -> bool:
    """Prints each check, and the remedy of each that failed. Returns True if none failed."""
    failed = False
    for check in checks:
        mark = {True: "ok  ", False: "BAD ", None: "skip"}[check.ok]
        console.say(f"{mark}  {check.name}: {check.found}")
        if check.ok is False:
            failed = True
            console.say(f"      {check.remedy}")
    return not failed
