"""What `pelagia train --folds`, `sweep` and `leak` print when they have finished."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pelagia.errors import TrainingError, first_few
from pelagia.shell import command_line
from pelagia.system import console
from pelagia_training.studies.folds import CrossValidation, group_names
from pelagia_training.studies.leak import Leak

if TYPE_CHECKING:
    from pelagia_training.studies.sweep import Sweep


def show_folds(found: CrossValidation, out: Path) -> None:
    """Prints the metrics of each fold, their mean and deviation, and the groups that each fold held out."""
    names = tuple(found.together.headline)
    rows = [
        (str(number), fold.groups, fold.images, *(f"{fold.headline[name]:.4f}" for name in names))
        for number, fold in enumerate(found.folds, 1)
    ]
    console.table(("fold", "groups", "images", *names), rows)
    for name in names:
        average, deviation = found.spread(name)
        interval = found.together.intervals.headline[name]
        between = f", {interval.low:.4f} to {interval.high:.4f}" if interval else ""
        console.say(
            f"{name:18} mean {average:.4f}, standard deviation {deviation:.4f}; "
            f"all images together {found.together.headline[name]:.4f}{between}"
        )
    for number, fold in enumerate(found.folds, 1):
        console.say(f"fold {number} held out: {first_few(group_names(fold), 8)}")
    console.say(f"written: {out}/report.html, folds.json, out_of_fold")
    console.say_next("pelagia", "suspects", out, "--out", "SUSPECTS")


def show_sweep(found: Sweep, out: Path) -> None:
    """Prints the trials, the best first, and what to do with the best."""
    from pelagia_training.studies.sweep import BEST_CONFIG_FILE, run_of, values_of  # it imports Optuna, an extra

    ranked = sorted(found.trials, key=lambda trial: (trial.state != "complete", -(trial.macro_f1 or 0)))
    rows = [
        (
            *(str(trial.number), *values_of(trial).values()),
            *("" if trial.macro_f1 is None else f"{trial.macro_f1:.4f}", trial.epochs, trial.state),
        )
        for trial in ranked
    ]
    console.table(("trial", *found.search, "macro-F1", "epochs", "state"), rows)
    if found.importance:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in found.importance.items())
        console.say(f"keys whose values distinguish the best quarter of the trials from the others: {shares}")
    best = found.best
    if best is None:
        raise TrainingError(f"none of {len(found.trials)} trials was completed; the last one: {found.trials[-1].fault}")
    console.say(
        f"best validation macro-F1 {best.macro_f1:.4f}, trial {best.number}: "
        "it was chosen for this value, so the value is optimistic"
    )
    console.say(f"written: {out}/sweep.json, sweep.csv, {BEST_CONFIG_FILE}")
    console.say_next("pelagia", "export", run_of(out, best), "--out", f"{out.name}.onnx")
    again = command_line("pelagia", "train", out / BEST_CONFIG_FILE, "--out", f"{out}-best")
    console.say(f"or train its config again with other settings: {again}")


def show_leak(found: Leak) -> None:
    """Prints the metrics of both runs side by side, and what they say."""
    both = found.by_group, found.at_random
    rows = []
    for name in found.by_group.headline:
        intervals = [one.intervals.headline[name] for one in both]
        texts = (f"{one.low:.4f} to {one.high:.4f}" if one else "" for one in intervals)
        rows.append(
            (
                name,
                *(cell for one, text in zip(both, texts, strict=True) for cell in (f"{one.headline[name]:.4f}", text)),
            )
        )
    console.table(("test split", "by group", "95%", "at random", "95%"), rows)
    console.say(found.summary)
