"""How sure the model was: probabilities, out-of-distribution scores, and decisions by sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pelagia.model.decision import ABSTAINED, DECISIONS, UNKNOWN
from pelagia.pages.page import Cell, Chart, Table, count_cell
from pelagia_inference.report.charts import colors_of, histogram, ranges
from pelagia_inference.report.gather import BINS, NO_DECISION, Gathered

_QUANTILES = (0.1, 0.5, 0.9)
_UNKNOWN_BINS = 40
_MOST_CLASSES = 40
FEW_IMAGES = 10
"""The share of images without a name means little in a sample with fewer images."""


def decisions_of(data: Gathered) -> list[str]:
    """The decisions that occur, in the order of `DECISIONS`."""
    return [name for name in (*DECISIONS, NO_DECISION) if name in data.scores]


def decision_legend(data: Gathered) -> list[tuple[str, str]]:
    """The colors of the decisions: color and name."""
    names = decisions_of(data)
    return [(color, name.replace("_", " ")) for color, name in zip(colors_of(names), names, strict=True)]


def score_charts(data: Gathered, classes: Sequence[str], threshold: float | None) -> list[Chart]:
    """The distributions of the scores; empty if no image was classified."""
    names = decisions_of(data)
    if not names:
        return []
    table = np.sum([data.scores[name] for name in names], axis=0)
    edges = [index / BINS for index in range(BINS + 1)]
    parts = {name.replace("_", " "): data.scores[name].sum(axis=0).tolist() for name in names}
    sure = table[:, int(0.9 * BINS) :].sum() / table.sum()
    charts = [
        Chart(
            histogram(edges, parts, "probability of the likeliest class", "images"),
            f"{sure:.0%} of the images have a probability of 0.9 or more",
            f"Probability of the likeliest class. {sure:.0%} of the images have 0.9 or more.",
        )
    ]
    charts += _by_class(table, classes)
    if len(data.unknown):
        charts.append(_unknown(np.array(data.unknown, np.float64), threshold))
    return charts


def _by_class(table: NDArray[np.int64], classes: Sequence[str]) -> list[Chart]:
    found = [int(at) for at in np.argsort(-table.sum(axis=1), kind="stable") if table[at].sum()][:_MOST_CLASSES]
    share = np.cumsum(table[found], axis=1) / table[found].sum(axis=1, keepdims=True)
    low, middle, high = (((share < at).sum(axis=1) + 0.5) / BINS for at in _QUANTILES)
    names = [classes[at] for at in found]
    alt = "; ".join(f"{name} {one:.2f}" for name, one in zip(names, middle, strict=True))
    return [
        Chart(
            ranges(names, low, middle, high, "probability of the likeliest class"),
            f"Median probability by class: {alt}",
            "For each class: median (dot) and 80% of the images (line), to the nearest 0.05.",
        )
    ]


def _unknown(scores: NDArray[np.float64], threshold: float | None) -> Chart:
    low, high = np.quantile(scores, (0.001, 0.999)).tolist()
    high = max(high, threshold or low, low + 1e-6 * max(1.0, abs(low)))  # one value needs a width, too
    counts, edges = np.histogram(np.clip(scores, low, high), _UNKNOWN_BINS, (low, high))
    if threshold is None:
        parts, note = {"images": counts.tolist()}, ""
    else:
        above = edges[:-1] >= threshold
        parts = {"below": np.where(above, 0, counts).tolist(), "above": np.where(above, counts, 0).tolist()}
        note = f" {np.mean(scores > threshold):.1%} are above the model's threshold of {threshold:.3g} (red)."
    return Chart(
        histogram(edges.tolist(), parts, "out-of-distribution score", "images"),
        f"Out-of-distribution scores from {low:.3g} to {high:.3g}.{note}",
        f"Out-of-distribution score: the higher, the less an image is like the training images.{note}",
    )


def doubtful_classes(data: Gathered, classes: Sequence[str]) -> Table | None:
    """Images without a name and without a label of people, by their likeliest class, the most first; None: no image."""
    rows = []
    for at, name in enumerate(classes):
        abstained, unknown = (data.unlabeled[decision, at] for decision in (ABSTAINED, UNKNOWN))
        every = sum(images for (_, best), images in data.unlabeled.items() if best == at)
        if abstained + unknown:
            rows.append((abstained + unknown, [Cell(name), *map(count_cell, (every, abstained, unknown))]))
    rows.sort(key=lambda row: -row[0])
    return Table(("Likeliest class", "Images", "Abstained", "Unknown"), [row for _, row in rows]) if rows else None


def doubtful_samples(data: Gathered, most: int) -> Table | None:
    """The samples with the largest share of images without a name; None if there is one sample, or no decision rule.

    Very small samples are left out, if there are others.
    """
    if len(data.samples) < 2 or not any(name in data.scores for name in DECISIONS):
        return None
    least = FEW_IMAGES if any(one.decisions.total() >= FEW_IMAGES for one in data.samples.values()) else 1
    rows = []
    for name, sample in data.samples.items():
        total = sample.decisions.total()
        if total >= least:
            shares = [sample.decisions[one] / total for one in (ABSTAINED, UNKNOWN)]
            cells = [Cell(f"{share:.0%}", share) for share in (*shares, sum(shares))]
            rows.append([Cell(name), count_cell(total), *cells])
    rows.sort(key=lambda row: (-row[-1].value, row[0].text))
    return Table(("Sample", "Images", "Abstained", "Unknown", "Without a name"), rows[:most])
