"""The page of a frontier: what to use for each rate, two charts, and every point in a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pelagia.pages.page import Cell, Chart, Table, plain_table, render
from pelagia.system.files import write_text
from pelagia_training.evaluation.charts import speed_chart
from pelagia_training.figures.bootstrap import FEW_GROUPS
from pelagia_training.frontier.folder import PAGE_FILE
from pelagia_training.frontier.frontier import Frontier
from pelagia_training.frontier.points import Figures, Point
from pelagia_training.frontier.recommend import answers
from pelagia_training.frontier.shown import between, measured_on

_NONE = "\u2013"


def write_page(found: Frontier, out: Path) -> None:
    """Writes `frontier.html`."""
    page = render(
        "pelagia_training.frontier",
        "frontier.html",
        title=f"Cost against accuracy: {Path(found.plan.config.dataset or '').name}",
        intro=measured_on(found).capitalize() + ".",
        notes=_notes(found),
        advice=list(answers(found.recommendations)),
        charts=_charts(found),
        best=_points_table(found.best, numbered=True),
        every=_points_table(sorted(found.points, key=lambda point: -point.rate)),
        runs=_runs_table(found),
        facts=_facts(found),
    )
    write_text(out / PAGE_FILE, page)


def _notes(found: Frontier) -> list[str]:
    """Why the figures may mislead, one sentence each."""
    notes = [
        f"The {one.name} split has images of only {groups} groups, so its intervals are too narrow."
        for one in found.splits
        if (groups := len(set(one.groups))) < FEW_GROUPS
    ]
    if found.best[0].test is None:
        notes.append(
            "The dataset has no test split. The best of many points on the validation split looks better than it is."
        )
    return notes + [f"{name} could not be trained: {fault}" for name, fault in found.plan.failed.items()]


def _charts(found: Frontier) -> list[Chart]:
    charts = [_chart(found, "val", "Chosen here: macro-F1 on the validation split.")]
    if found.best[0].test is not None:
        charts.append(_chart(found, "test", "Measured here: the same points on the test split, which chose nothing."))
    return charts


def _chart(found: Frontier, split: str, caption: str) -> Chart:
    def place(point: Point) -> tuple[float, float]:
        figures = point.val if split == "val" else point.test
        assert figures is not None  # noqa: S101 - the caller has looked
        return point.rate, figures.macro_f1

    best = {id(point) for point in found.best}
    others: dict[str, list[tuple[float, float]]] = {}
    for point in found.points:
        if id(point) not in best:
            others.setdefault("ensemble" if len(point.choice.members) > 1 else "one network", []).append(place(point))
    line, name = [place(point) for point in found.best], "validation" if split == "val" else split
    wanted = [one.rate for one in found.recommendations]
    drawn = speed_chart(split, dict(sorted(others.items(), reverse=True)), line, wanted, f"macro-F1, {name}")
    texts = (
        f"{number} {point.choice.name}: {rate:.0f} images/s, {value:.3f}"
        for number, (point, (rate, value)) in enumerate(zip(found.best, line, strict=True), 1)
    )
    marked = f" Dashed lines: {', '.join(f'{rate:g}' for rate in wanted)} images/s, where the chart reaches them."
    return Chart(drawn, f"Macro-F1 against images per second. {'; '.join(texts)}", caption + marked)


def _points_table(points: Sequence[Point], *, numbered: bool = False) -> Table:
    columns = ("Point", "Images/s", "Macro-F1 val", "Macro-F1 test", "Accuracy test", "Epochs", "Training minutes")
    rows = []
    for number, point in enumerate(points, 1):
        epochs = " + ".join(map(str, point.epochs))
        rows.append(
            [
                Cell((f"{number} " if numbered else "") + point.choice.name),
                Cell(f"{point.rate:,.0f}", point.rate, "" if point.timed else "computed"),
                _macro_f1(point.val),
                _macro_f1(point.test),
                Cell(_NONE) if point.test is None else Cell(f"{point.test.accuracy:.3f}", point.test.accuracy),
                Cell(epochs, sum(point.epochs)),
                Cell(f"{point.minutes:.1f}", point.minutes),
            ]
        )
    return Table(columns, rows)


def _macro_f1(figures: Figures | None) -> Cell:
    if figures is None:
        return Cell(_NONE)
    return Cell(f"{figures.macro_f1:.3f}", figures.macro_f1, between(figures.interval))


def _runs_table(found: Frontier) -> Table:
    """The runs that were planned and trained here."""
    rows = []
    for run in found.plan.runs:
        backbone = found.plan.network(run.network).model.backbone
        state = "failed" if run.name in found.plan.failed else "trained"
        numbers = (f"{run.size}", f"{run.epoch_seconds:.1f}", f"{run.epochs}", f"{run.minutes:.1f}")
        rows.append((run.name, backbone, *numbers, state))
    return plain_table(("Run", "Backbone", "Size", "Seconds per epoch", "Epochs", "Planned minutes", "State"), rows)


def _facts(found: Frontier) -> list[tuple[str, str]]:
    plan = found.plan
    return [
        ("Training time", f"about {plan.minutes:g} minutes for each run, 2 to {plan.most_epochs} epochs"),
        ("Trained on", plan.machine),
        ("Images/s measured on", found.speeds.machine),
        ("Sessions", found.speeds.setting),
        ("Dataset", f"{plan.config.dataset}, fingerprint {plan.fingerprint[:12]}"),
    ]
