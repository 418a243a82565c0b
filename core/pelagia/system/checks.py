"""What a doctor reports: one `Check` a thing that was looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pelagia.system import console


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        ok: None where it was skipped.
        found: what was seen, or why it was skipped.
        remedy: what to do; empty where nothing is to be done.
    """

    name: str
    ok: bool | None
    found: str
    remedy: str = ""


def show_checks(checks: Iterable[Check]) -> bool:
    """Prints each check, with its remedy where it failed. Returns whether none failed."""
    failed = False
    for check in checks:
        mark = {True: "ok  ", False: "BAD ", None: "skip"}[check.ok]
        console.say(f"{mark}  {check.name}: {check.found}")
        if check.ok is False:
            failed = True
            console.say(f"      {check.remedy}")
    return not failed
