"""What `pelagia frontier` prints, and its table for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pelagia.errors import first_few
from pelagia.system import console
from pelagia.system.tables import Cell, write_table
from pelagia_training.figures.bootstrap import Interval
from pelagia_training.frontier.folder import PAGE_FILE, TABLE_FILE
from pelagia_training.frontier.frontier import Frontier
from pelagia_training.frontier.plan import LEAST_EPOCHS, Plan
from pelagia_training.frontier.points import Figures, Point
from pelagia_training.frontier.recommend import answers

_FIGURES = ("macro_f1", "macro_f1_low", "macro_f1_high", "accuracy")
HEADER = (
    *("point", "networks", "size", "orientations", "epochs", "training_minutes"),
    *("images_per_s", "network_images_per_s", "speed"),
    *(f"{split}_{name}" for split in ("val", "test") for name in _FIGURES),
    "on_frontier",
)


def show_plan(plan: Plan) -> None:
    """Prints which runs are trained, and for how long, before the training begins."""
    rows = [
        (run.name, run.size, f"{run.epoch_seconds:.1f}", run.epochs, f"{run.minutes:.1f}")
        for run in plan.runs
        if run.name not in plan.failed
    ]
    console.table(("run", "size", "seconds per epoch", "epochs", "minutes"), rows)
    total = sum(run.minutes for run in plan.runs)
    console.say(
        f"number of runs: {len(plan.runs)}, about {_duration(total)} in all; --minutes {plan.minutes:g} for each, "
        f"{LEAST_EPOCHS} to {plan.most_epochs} epochs; measured on {plan.machine}"
    )
    longer = [run.name for run in plan.runs if run.epochs == LEAST_EPOCHS and run.minutes > 1.5 * plan.minutes]
    if longer:
        console.say(
            f"longer than --minutes, because {LEAST_EPOCHS} epochs are the least: {first_few(longer)}; give more "
            "minutes for a fair comparison"
        )


def _duration(minutes: float) -> str:
    if minutes < 2:
        return f"{60 * minutes:.0f} seconds"
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def write_csv(found: Frontier, out: Path) -> None:
    """Writes every point, the fastest first."""
    best = {id(point) for point in found.best}
    ranked = sorted(found.points, key=lambda point: -point.rate)
    write_table(out / TABLE_FILE, HEADER, (_row(point, id(point) in best) for point in ranked))


def _row(point: Point, on_frontier: bool) -> Iterator[Cell]:
    choice = point.choice
    yield choice.name
    yield " + ".join(one.backbone for one in choice.members)
    yield from (choice.size, choice.views, " + ".join(map(str, point.epochs)), round(point.minutes, 2))
    yield from (round(point.rate, 1), round(point.network_rate, 1), "measured" if point.timed else "sum of networks")
    for figures in (point.val, point.test):
        yield from _cells(figures)
    yield "yes" if on_frontier else "no"


def _cells(figures: Figures | None) -> Iterator[Cell]:
    if figures is None:
        yield from (None,) * len(_FIGURES)
        return
    interval = figures.interval
    yield round(figures.macro_f1, 4)
    yield from (None, None) if interval is None else (round(interval.low, 4), round(interval.high, 4))
    yield round(figures.accuracy, 4)


def between(interval: Interval | None) -> str:
    """An interval as text; empty if there is none."""
    return "" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def show_frontier(found: Frontier, out: Path) -> None:
    """Prints the points of the frontier, and what to use for each rate."""
    has_test = found.best[0].test is not None
    columns = ("point", "images/s", "macro-F1 val", *(("macro-F1 test",) if has_test else ()))
    console.table(columns, [_shown_row(point) for point in found.best])
    if len(found.points) > 1:
        console.say(
            f"{len(found.best)} of {len(found.points)} points are on the frontier: no other point is as fast and "
            "better on the validation split"
        )
    console.say(measured_on(found))
    _show_recommendations(found)
    console.say(f"written: {out}/{PAGE_FILE}, {TABLE_FILE}")


def _show_recommendations(found: Frontier) -> None:
    """Prints what to use for each rate, and what to type for it."""
    for rate, text, commands in answers(found.recommendations):
        console.say()
        console.say(f"for {rate}: {text}")
        for what, line in commands:
            console.say(f"  {line}    # {what}")
    console.say()


def measured_on(found: Frontier) -> str:
    """How the figures were chosen and measured, in a sentence."""
    val, *test = found.splits
    chosen = f"points are chosen by {len(val.records)} validation images of {len(set(val.groups))} groups"
    if not test:
        return f"{chosen}; the dataset has no test split, so nothing else measures them, and the best is optimistic"
    return f"{chosen}, and measured by {len(test[0].records)} test images of {len(set(test[0].groups))} groups"


def _shown_row(point: Point) -> tuple[str, ...]:
    """A line of at most 80 characters for usual names; the page also has the interval of the validation split."""
    start = point.choice.name, f"{point.rate:.0f}"
    if point.test is None:
        return *start, _with_interval(point.val)
    return *start, f"{point.val.macro_f1:.3f}", _with_interval(point.test)


def _with_interval(figures: Figures) -> str:
    interval = between(figures.interval)
    return f"{figures.macro_f1:.3f}" + (f" ({interval})" if interval else "")
