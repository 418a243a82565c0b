"""The folder of a frontier, and its plan on the disk.

    plan.json            what was asked for, the measured training speeds, and the epochs of each run
    runs/NAME-SIZE/      the runs, as those of `pelagia train`
    outputs/             the outputs of each run for the held-out images, for each number of orientations
    speed.json           images/s of each measured network on this machine
    frontier.csv, .html  every point, for programs and for people

Invariant: each file is complete or absent, and is written when what it holds was measured. So a command that was killed
measures and trains only what is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pelagia.errors import InputError
from pelagia.system.files import write_text
from pelagia.system.locking import exclusive_lock
from pelagia_training.frontier.plan import Plan, changed_options
from pelagia_training.runs.folder import LOCK_FILE
from pelagia_training.runs.study import is_among, read_document, remove_unused

PLAN_FILE, TABLE_FILE, PAGE_FILE, SPEED_FILE = "plan.json", "frontier.csv", "frontier.html", "speed.json"
RUNS_FOLDER, OUTPUTS_FOLDER = "runs", "outputs"
TRIAL_FOLDER, GRAPHS_FOLDER = ".trial", ".graphs"
"""Folders that are removed when they are no longer needed."""
_BEFORE_THE_PLAN = (LOCK_FILE, TRIAL_FOLDER)


@contextmanager
def open_frontier(out: Path, plan: Plan) -> Iterator[Plan]:
    """Locks the folder of a new or interrupted frontier. Yields ``plan`` with what is already known of its runs.

    A folder in which nothing was measured is removed at the end.

    Raises:
        InputError: ``out`` is not a frontier, was made with other options, or is in use.
    """
    resumable(out, plan)
    out.mkdir(parents=True, exist_ok=True)
    refusal = f"another process is using the frontier {out}: wait for it, or choose another --out"
    with exclusive_lock(out / LOCK_FILE, refusal):
        for left in out.glob(".*.partial-*"):
            left.unlink(missing_ok=True)
        try:
            yield resumable(out, plan)
        finally:
            shutil.rmtree(out / TRIAL_FOLDER, ignore_errors=True)
            if not (out / PLAN_FILE).is_file():
                remove_unused(out, _BEFORE_THE_PLAN)


def write_plan(out: Path, plan: Plan) -> None:
    """Writes `plan.json`."""
    write_text(out / PLAN_FILE, plan.model_dump_json(indent=2) + "\n")


def resumable(out: Path, plan: Plan) -> Plan:
    """``plan`` with what is already known of its runs in the folder ``out``. It only reads, and needs no torch.

    Raises:
        InputError: ``out`` is not a frontier, or was made with other options.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: name a new folder with --out")
    if not (out / PLAN_FILE).is_file():
        if out.is_dir() and not all(is_among(file, _BEFORE_THE_PLAN) for file in out.iterdir()):
            raise InputError(f"{out} is no frontier, because it has no {PLAN_FILE}: choose another --out, or remove it")
        return plan
    before = read_plan(out)
    if found := changed_options(before, plan):
        listed = "".join(f"\n  - {line}" for line in found)
        raise InputError(
            f"the frontier {out} was started with other options, so its runs could not be compared:{listed}\n"
            "give the old options again, or choose another --out; networks, sizes, orientations, ensembles, rates and "
            "included runs may be added"
        )
    return plan.model_copy(update={"runs": before.runs, "failed": before.failed, "machine": before.machine})


def read_plan(out: Path) -> Plan:
    """Reads `plan.json`. Raises InputError if it is damaged."""
    return read_document(out / PLAN_FILE, Plan, "frontier")
