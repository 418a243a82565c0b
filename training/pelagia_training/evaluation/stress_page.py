"""The results of `pelagia evaluate --stress` as a table, as charts, and as examples of the changed images."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import groupby

import cv2

from pelagia.dataset.schema import Dataset
from pelagia.images.preprocess import PreprocessSpec, load
from pelagia.pages.page import Cell, Chart, Table
from pelagia.system.tables import Cell as CsvCell
from pelagia_training.evaluation import charts
from pelagia_training.evaluation.evaluate import Evaluation
from pelagia_training.evaluation.stress import Stressed, changed_image
from pelagia_training.figures.paired import Difference

CSV_HEADER = (
    *("disturbance", "level", "unit", "macro_f1", "macro_f1_change", "macro_f1_change_low", "macro_f1_change_high"),
    *("accuracy", "accuracy_change", "accuracy_change_low", "accuracy_change_high"),
    *("accepted", "precision_of_accepted", "called_unknown", "failed"),
)
_COLUMNS = ("Change", "Macro-F1", "Difference", "Accuracy", "Accepted", "Precision of accepted", "Called unknown")
TEXT_COLUMNS = ("change", "macro-F1", "difference", "accepted", "precision", "unknown")
_THUMB = PreprocessSpec(size=96)
_QUALITY = 80


def stress_section(found: Sequence[Stressed], evaluation: Evaluation, dataset: Dataset) -> dict[str, object]:
    """The values of the section of the report; without results, the report has no such section."""
    if not found:
        return {"stress": None, "stress_text": "", "stress_charts": (), "stress_examples": ()}
    text = (
        f"The same {evaluation.images} images, made worse at the size of their files and classified again. Each change "
        "is made alone. A good model that is given worse images accepts fewer of them, and those that it accepts are "
        "still right. The difference of macro-F1 is to the unchanged images; below it is its 95% interval, computed by "
        "resampling the groups."
    )
    return {
        "stress": stress_table(found),
        "stress_text": text,
        "stress_charts": stress_charts(found),
        "stress_examples": stress_examples(found, evaluation, dataset),
    }


def stress_table(found: Sequence[Stressed]) -> Table:
    """A sortable table with one row per level."""
    return Table(_COLUMNS, [_row(one) for one in found])


def text_rows(found: Sequence[Stressed]) -> list[tuple[str, ...]]:
    """A row per level under `TEXT_COLUMNS`, as plain text for the console."""
    shown = (0, 1, 2, 4, 5, 6)
    return [tuple(_row(one)[column].text for column in shown) for one in found]


def csv_row(one: Stressed) -> tuple[CsvCell, ...]:
    """The cells of a row under `CSV_HEADER`."""
    rates = (one.accepted, one.precision, one.called_unknown)
    return (
        *(one.disturbance.name, f"{one.level:g}", one.disturbance.unit),
        *_csv(one.macro_f1),
        *_csv(one.accuracy),
        *("" if rate is None else f"{rate:.4f}" for rate in rates),
        one.failed,
    )


def _csv(metric: Difference) -> tuple[str, ...]:
    ends = ("", "") if metric.interval is None else (f"{metric.interval.low:.4f}", f"{metric.interval.high:.4f}")
    return f"{metric.second:.4f}", f"{metric.value:.4f}", *ends


def _row(one: Stressed) -> list[Cell]:
    change, interval = one.macro_f1, one.macro_f1.interval
    between = "" if interval is None else f"{interval.low:+.3f} to {interval.high:+.3f}"
    rates = (one.accepted, one.precision, one.called_unknown)
    return [
        Cell(one.text + (f" ({one.failed} failed)" if one.failed else "")),
        Cell(f"{change.second:.3f}", change.second),
        Cell(f"{change.value:+.3f}", change.value, between),
        Cell(f"{one.accuracy.second:.3f}", one.accuracy.second),
        *(Cell("\u2013") if rate is None else Cell(f"{rate:.1%}", rate) for rate in rates),
    ]


def stress_charts(found: Sequence[Stressed]) -> list[Chart]:
    """A chart for each disturbance: macro-F1 and accepted share against the level."""
    made = []
    for number, (disturbance, group) in enumerate(groupby(found, key=lambda one: one.disturbance)):
        levels = list(group)
        lines = {"macro-F1": [one.macro_f1.second for one in levels]}
        if levels[0].accepted is not None:
            lines["accepted"] = [one.accepted or 0.0 for one in levels]
        drawn = charts.levels_chart(
            f"stress{number}", [one.level for one in levels], lines, levels[0].macro_f1.first, disturbance.unit
        )
        points = "; ".join(f"{one.text}: {one.macro_f1.second:.3f}" for one in levels)
        caption = f"{disturbance.name.capitalize()}. The dashed line is the macro-F1 of the unchanged images."
        made.append(Chart(drawn, f"Macro-F1 by level. {points}", caption))
    return made


def stress_examples(
    found: Sequence[Stressed], evaluation: Evaluation, dataset: Dataset
) -> list[tuple[str, list[dict[str, object]]]]:
    """For each disturbance, one image of the evaluation, unchanged and at each level."""
    record = evaluation.records[len(evaluation.records) // 2]
    data = dataset.file(record).read_bytes()
    rows = []
    for disturbance, group in groupby(found, key=lambda one: one.disturbance):
        shown = [_picture(data, record.path, "unchanged")]
        shown += [_picture(changed_image(data, disturbance, one.level), record.path, one.text) for one in group]
        rows.append((disturbance.name.capitalize(), shown))
    return rows


def _picture(data: bytes, name: str, text: str) -> dict[str, object]:
    pixels = load(data, _THUMB)
    encoded = cv2.imencode(".webp", pixels[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1].tobytes()
    return {"data": base64.b64encode(encoded).decode("ascii"), "name": name, "alt": text, "lines": [text]}
