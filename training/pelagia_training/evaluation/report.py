"""Writes an evaluation as one HTML page that needs no network and no other file.

Invariant: only the charts, which `pelagia_training.evaluation.charts` draws, are inserted as markup. `pelagia.pages`
escapes every text and forbids all network access.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pelagia import __version__
from pelagia.dataset.schema import Dataset, Record, left_out_in_words
from pelagia.dataset.splits import SPLITS
from pelagia.images.preprocess import ImageError, PreprocessSpec, load
from pelagia.pages import page as pages
from pelagia.pages.page import Cell, Chart, Table, Thumbnail, count_cell, webp
from pelagia.system.files import write_text
from pelagia_training.evaluation import charts
from pelagia_training.evaluation.by_value import ByColumn, metrics_by, table_by
from pelagia_training.evaluation.evaluate import Evaluation
from pelagia_training.evaluation.people import people_note, with_people
from pelagia_training.evaluation.stress import Stressed
from pelagia_training.evaluation.stress_page import stress_section
from pelagia_training.figures.bootstrap import FEW_GROUPS, Interval
from pelagia_training.figures.metrics import Matrix

_THUMB = PreprocessSpec(size=96)
_QUALITY = 75
_MOST_GROUPS = 300
_MOST_CONFUSIONS, _IMAGES_EACH, _MOST_MISTAKES = 6, 6, 12
_HEADLINES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "balanced_accuracy": "Balanced accuracy",
    "ece": "Calibration error (ECE)",
}

REPORT_FILE = "report.html"

Curves = Mapping[str, Sequence[float]]
"""Columns of a run's `metrics.csv`, one value per epoch."""


def write_report(
    path: Path,
    evaluation: Evaluation,
    dataset: Dataset,
    curves: Curves | None = None,
    by: ByColumn | None = None,
    stressed: Sequence[Stressed] = (),
    *,
    notes: Sequence[str] = (),
) -> None:
    """Writes the page ``path`` that shows ``evaluation``.

    Args:
        dataset: the evaluated dataset; the page shows some of its images.
        curves: learning curves of the run that made the model; None if they are not known.
        by: the metrics for each value of a column of the manifest; the page also shows these.
        stressed: the metrics of disturbed images; the page also shows these.
        notes: more sentences for the summary.
    """
    page = render(
        "report.html",
        title=f"{evaluation.model} on {evaluation.dataset}, split {evaluation.split}",
        contents=_contents(evaluation, curves, by, stressed),
        headline=with_people(_headline(evaluation), evaluation.label_agreement),
        interval_note=_interval_note(evaluation),
        people_note=people_note(evaluation.label_agreement),
        notes=[*notes, *_notes(evaluation, dataset), *_notes_on_curves(evaluation, curves)],
        facts=_facts(evaluation),
        classes=_classes(evaluation),
        matrix=_matrix(evaluation),
        confusions=_confusions(evaluation, dataset),
        confident_mistakes=_confident_mistakes(evaluation, dataset),
        reliability=_reliability(evaluation),
        curves=_curves(curves) if curves else [],
        limits=evaluation.assessment.lines() if evaluation.assessment else (),
        **_sections(evaluation, dataset, by, stressed),
    )
    write_text(path, page)


def _sections(
    evaluation: Evaluation, dataset: Dataset, by: ByColumn | None, stressed: Sequence[Stressed]
) -> dict[str, object]:
    """The sections on groups, on the values of a column, on disturbed images and on the dataset."""
    return {
        **_group_section(evaluation, dataset),
        **_column_section(by),
        **stress_section(stressed, evaluation, dataset),
        **_dataset_section(dataset),
    }


def _dataset_section(dataset: Dataset) -> dict[str, object]:
    return {"data_text": _data_text(dataset), "data": _data(dataset), "sizes": _sizes(dataset)}


def _contents(
    evaluation: Evaluation, curves: Curves | None, by: ByColumn | None, stressed: Sequence[Stressed]
) -> list[tuple[str, str]]:
    """The identifier and the link text of each section."""
    return [
        ("headline", "Summary"),
        ("classes", "Classes"),
        ("confusion", "Confusion matrix"),
        ("mistakes", "Confusions"),
        ("calibration", "Calibration"),
        *([("learning", "Learning curves")] if curves else []),
        *([("limits", "Thresholds")] if evaluation.assessment else []),
        ("groups", "Groups"),
        *([("by-column", f"By {by.column}")] if by else []),
        *([("stress", "Worse images")] if stressed else []),
        ("data", "Dataset"),
    ]


def _group_section(evaluation: Evaluation, dataset: Dataset) -> dict[str, object]:
    """The table of the largest groups, one row per group; no table if every group holds a single image."""
    groups = None
    if evaluation.groups < evaluation.images:
        found = metrics_by(evaluation, [record.group for record in evaluation.records], _MOST_GROUPS)
        groups = table_by(found, "Group", groups=False)
    text = _groups_text(evaluation, dataset, groups)
    return {"groups_title": "Metrics by group", "groups_text": text, "groups": groups}


def _column_section(by: ByColumn | None) -> dict[str, object]:
    """The table of the values with the most images, one row per value of a column of the manifest."""
    if by is None:
        return {"by_column": None, "report_by": "", "column_text": ""}
    count = len(by.values)
    most = f" The table shows the {_MOST_GROUPS} values with the most images of {count}."
    shown = most if count > _MOST_GROUPS else ""
    text = (
        f"The metrics of the images with each value of the column \u201c{by.column}\u201d of the manifest.{shown} "
        "Small numbers vary by chance."
    )
    return {"by_column": table_by(by.values[:_MOST_GROUPS], by.column), "report_by": by.column, "column_text": text}


def render(template: str, **values: object) -> str:
    """The HTML text of a template in `pages/`, filled with ``values``; every value is escaped."""
    return pages.render("pelagia_training.evaluation", template, **values)


def thumbnail(dataset: Dataset, record: Record, alt: str, lines: Sequence[str]) -> Thumbnail | None:
    """A small copy of a dataset's image; None if the image cannot be read."""
    try:
        pixels = load(dataset.file(record).read_bytes(), _THUMB)
    except (OSError, ImageError):
        return None
    return Thumbnail(webp(pixels, _QUALITY), record.source or record.path, alt, lines)


def _between(interval: Interval | None, digits: int = 3) -> str:
    return "\u2013" if interval is None else f"{interval.low:.{digits}f}\u2013{interval.high:.{digits}f}"


def _headline(evaluation: Evaluation) -> list[dict[str, str]]:
    return [
        {
            "name": _HEADLINES[name],
            "text": f"{value:.3f}",
            "range": "no interval: one group" if interval is None else _between(interval),
        }
        for name, value in evaluation.headline.items()
        for interval in (evaluation.intervals.headline[name],)
    ]


def _interval_note(evaluation: Evaluation) -> str:
    return (
        f"{evaluation.images} images of {evaluation.groups} group{'s' * (evaluation.groups != 1)}. Below each value: "
        "its 95% confidence interval, computed by resampling the groups (bootstrap). The interval does not include the "
        "differences between training runs."
    )


def _notes(evaluation: Evaluation, dataset: Dataset) -> list[str]:
    notes = [
        f"Left out: {count} images of \u201c{name}\u201d, a class that the model does not know."
        for name, count in evaluation.unknown.items()
    ]
    if evaluation.failed:
        notes.append(f"Left out: {evaluation.failed} images that cannot be read.")
    if evaluation.warning:
        notes.append(f"{evaluation.warning[0].upper()}{evaluation.warning[1:]}.")
    if evaluation.split == "val":
        notes.append(
            "The best epoch, the temperatures and the thresholds were chosen by these images, so the metrics are "
            "slightly optimistic. Report those of the test split."
        )
    if evaluation.groups < FEW_GROUPS:
        notes.append(f"There are only {evaluation.groups} groups, so the intervals are too narrow.")
    if dataset.meta.split.group_column is None:
        notes.append(
            "This dataset has no groups, so images of one sample may be in the training split and in the test split. "
            "The metrics are optimistic and the intervals are too narrow. Import the dataset with --group-column."
        )
    return notes


def _notes_on_curves(evaluation: Evaluation, curves: Curves | None) -> list[str]:
    """Why the metrics of a model on the val split differ from those that the training showed."""
    best = max((curves or {}).get("val_macro_f1", []), default=None)
    same = best is None or abs(best - evaluation.metrics.macro_f1) < 5e-4
    if evaluation.split != "val" or evaluation.assessment is None or best is None or same:
        return []
    return [
        f"The training showed a macro-F1 of up to {best:.3f} on these images, for the network alone. The metrics here "
        "are of the exported model, whose temperatures change the most likely class of some images."
    ]


def _facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    facts = [
        ("Model", evaluation.model),
        ("SHA-256", evaluation.model_sha256[:12]),
        ("Dataset", evaluation.dataset),
        ("Fingerprint", evaluation.fingerprint[:12]),
        ("Split", evaluation.split),
        ("Made by", f"pelagia {__version__}"),
    ]
    return [(name, value) for name, value in facts if value]


def _classes(evaluation: Evaluation) -> Table:
    metrics, intervals = evaluation.metrics, evaluation.intervals.per_class
    groups: dict[str, set[str]] = {name: set() for name in evaluation.classes}
    for record in evaluation.records:
        groups[record.class_name].add(record.group)

    def metric(name: str, index: int) -> Cell:
        value = float(getattr(metrics, name)[index])
        return Cell(f"{value:.3f}", value, _between(intervals[name][index], 2))

    rows = [
        [
            Cell(name),
            *(metric(column, index) for column in ("precision", "recall", "f1")),
            count_cell(int(metrics.support[index])),
            count_cell(len(groups[name])),
        ]
        for index, name in enumerate(evaluation.classes)
    ]
    return Table(("Class", "Precision", "Recall", "F1", "Images", "Groups"), rows)


def _matrix(evaluation: Evaluation) -> dict[str, object]:
    shares = evaluation.confusion / np.maximum(evaluation.confusion.sum(axis=1, keepdims=True), 1)
    rows = []
    for row, name in enumerate(evaluation.classes):
        cells = [
            {
                "count": int(evaluation.confusion[row, column]),
                "share": f"{share:.2f}",
                "rate": f"{share:.0%}" if share >= 0.01 else "<1%",
                "classes": " ".join(["hit"] * (row == column) + ["strong"] * bool(share > 0.5)),
            }
            for column, share in enumerate(shares[row])
        ]
        rows.append({"name": name, "cells": cells})
    return {"names": evaluation.classes, "rows": rows}


def _confusions(evaluation: Evaluation, dataset: Dataset) -> list[dict[str, object]]:
    """The pairs of classes that are confused most often, each with its most confident mistakes."""
    wrong = evaluation.confusion.copy()
    np.fill_diagonal(wrong, 0)
    confusions: list[dict[str, object]] = []
    for cell in np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CONFUSIONS]:
        row, column = np.unravel_index(cell, wrong.shape)
        if not wrong[row, column]:
            break
        label, prediction, count = evaluation.classes[row], evaluation.classes[column], wrong[row, column]
        chosen = np.flatnonzero((evaluation.targets == row) & (evaluation.predicted == column))
        labelled = evaluation.confusion[row].sum()
        confusions.append(
            {
                "title": f"{label}, predicted as {prediction}",
                "text": f"{count} of {labelled} images of {label} ({count / labelled:.0%}), most confident first:",
                "images": _most_confident(evaluation, dataset, chosen, _IMAGES_EACH, named=False),
            }
        )
    return confusions


def _confident_mistakes(evaluation: Evaluation, dataset: Dataset) -> list[Thumbnail]:
    mistakes = np.flatnonzero(evaluation.predicted != evaluation.targets)
    return _most_confident(evaluation, dataset, mistakes, _MOST_MISTAKES, named=True)


def _most_confident(
    evaluation: Evaluation, dataset: Dataset, indices: Matrix, most: int, *, named: bool
) -> list[Thumbnail]:
    """At most ``most`` of the images ``indices``, most confident first; ``named``: whether to print their classes."""
    grouped = evaluation.groups < evaluation.images
    confidence = evaluation.probabilities[indices].max(axis=1)
    images = []
    for index in indices[np.argsort(-confidence, kind="stable")][:most]:
        record, prediction = evaluation.records[index], evaluation.classes[evaluation.predicted[index]]
        probability = f"{float(evaluation.probabilities[index].max()):.2f}"
        alt = f"labeled {record.class_name}, predicted {prediction}: {record.source or record.path}"
        classes = (f"{prediction} {probability}", f"label: {record.class_name}")
        lines = (classes if named else (probability,)) + ((record.group,) if grouped else ())
        images.append(thumbnail(dataset, record, alt, lines))
    return [image for image in images if image is not None]


def _reliability(evaluation: Evaluation) -> Chart:
    bins = evaluation.reliability
    points = "; ".join(
        f"{confidence:.2f}: {accuracy:.2f}" for confidence, accuracy in zip(bins.confidence, bins.accuracy, strict=True)
    )
    return Chart(
        charts.reliability_chart(bins),
        f"Confidence and accuracy of each bin: {points}",
        f"Reliability diagram: {len(bins.images)} bins of equal size ({int(bins.images.min())} images or more each). "
        f"Below the dashed line the model is overconfident. Expected calibration error {bins.error:.3f}.",
    )


def _curves(curves: Curves) -> list[Chart]:
    losses = {name: values for name, values in curves.items() if name.endswith("loss")}
    scores = {name: values for name, values in curves.items() if name.startswith("val_") and name not in losses}
    made = []
    for name, lines, label in (("losses", losses, "loss"), ("scores", scores, "validation metric")):
        if lines:
            ends = ", ".join(f"{line} {values[0]:.3f} to {values[-1]:.3f}" for line, values in lines.items())
            named = {_curve_name(line): values for line, values in lines.items()}
            alt = f"From the first to the last epoch: {ends}"
            made.append(Chart(charts.curves_chart(name, named, label), alt, f"{label.capitalize()} by epoch"))
    return made


def _curve_name(column: str) -> str:
    return "validation loss" if column == "val_loss" else column.removeprefix("val_").replace("_", " ")


def _groups_text(evaluation: Evaluation, dataset: Dataset, groups: Table | None) -> str:
    if groups is None:
        return "Every group holds a single image, so there are no metrics by group."
    column = dataset.meta.split.group_column
    by = f"The groups are the values of \u201c{column}\u201d. " if column else ""
    most = f"The table shows the {_MOST_GROUPS} largest of {evaluation.groups} groups. "
    shown = most if evaluation.groups > _MOST_GROUPS else ""
    return f"{by}{shown}Check the images of a group that is much worse than the others. Small groups vary by chance."


def _data_text(dataset: Dataset) -> str:
    meta = dataset.meta
    groups = len({record.group for record in dataset.records})
    left = "; ".join(left_out_in_words(meta.left_out))
    return f"{meta.name}: {meta.images:,} images of {len(meta.counts)} classes in {groups:,} groups, in all splits." + (
        f" Left out when the dataset was made: {left}." if left else ""
    )


def _data(dataset: Dataset) -> Table:
    rows = [
        [
            Cell(name),
            *(count_cell(counts[split]) for split in SPLITS),
            count_cell(sum(counts[split] for split in SPLITS)),
        ]
        for name, counts in dataset.meta.counts.items()
    ]
    return Table(("Class", *SPLITS, "total"), rows)


def _sizes(dataset: Dataset) -> Chart:
    sides = [max(record.width, record.height) for record in dataset.records]
    low, middle, high = np.quantile(sides, (0.05, 0.5, 0.95))
    text = f"median {middle:.0f} pixels, 90% of images between {low:.0f} and {high:.0f}"
    return Chart(charts.sizes_chart(sides), f"Longer side of the images: {text}", f"Longer side: {text}.")
