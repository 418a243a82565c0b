"""What `pelagia label status` prints."""

from __future__ import annotations

from pelagia.system import console
from pelagia_labeling.progress.counts import ACCEPTED, LABELED, NOT_COUNTED, OUTCOMES, Counts
from pelagia_labeling.progress.forecast import Forecast
from pelagia_labeling.progress.status import Status

_MOST_GROUPS, _MOST_DAYS, _MOST_CLASSES = 20, 7, 5
_WORDS = {
    LABELED: "labeled by hand",
    ACCEPTED: "accepted pre-labels",
    "unsure": "unsure",
    "skipped": "skipped",
    "disputed": "without a majority",
    NOT_COUNTED: "not counted (too fast, or without a class)",
    "open": "open",
}


def show_status(status: Status) -> None:
    """Prints the counts of a project, then the learning curve."""
    counts = status.counts
    _show_classes(counts)
    _show_groups(counts)
    _show_people(counts)
    parts = ", ".join(f"{counts.outcomes[name]} {_WORDS[name]}" for name in OUTCOMES)
    console.say(f"{counts.tasks} images in '{status.project}': {parts}")
    if counts.per_day is not None:
        days = ", ".join(f"{day}: {labels}" for day, labels in list(counts.days.items())[-_MOST_DAYS:])
        console.say(f"labels a day (UTC): {days}; mean {counts.per_day:.0f}")
    if counts.repeats:
        console.say(f"{counts.repeats} planted repeats are not counted as images")
    _show_agreement(status)
    if status.forecast is None:
        console.say(f"no learning curve: {status.no_curve}")
        return
    _show_curve(status, status.forecast)


def _show_agreement(status: Status) -> None:
    found = status.agreement
    if found is None:
        console.say("agreement: no image has the labels of two people yet")
        return
    ends = found.alpha_interval
    between = f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
    alpha = "" if found.alpha is None else f"; Krippendorff's alpha {found.alpha:.3f}{between}"
    console.say(f"agreement: two people agree on {found.agreement:.1%} of {found.images} images that both saw{alpha}")


def _show_classes(counts: Counts) -> None:
    rows = [
        (name, found.get(LABELED, 0) + found.get(ACCEPTED, 0), found.get(ACCEPTED, 0))
        for name, found in counts.classes.items()
    ]
    if rows:
        console.table(("class", "labels", "accepted"), rows)


def _show_groups(counts: Counts) -> None:
    if not counts.group_column:
        return
    rows = [(name, *(found.get(outcome, 0) for outcome in OUTCOMES)) for name, found in counts.groups.items()]
    console.table((counts.group_column, *OUTCOMES), rows[:_MOST_GROUPS])
    if len(rows) > _MOST_GROUPS:
        console.note(f"{len(rows) - _MOST_GROUPS} more values of '{counts.group_column}': --json FILE writes them all")


def _show_people(counts: Counts) -> None:
    rows = [
        (one.name, one.labels, one.accepted, one.unsure, one.skipped, f"{one.per_hour:.0f}" if one.per_hour else "-")
        for one in counts.people
    ]
    if rows:
        console.table(("person", "labels", "accepted", "unsure", "skipped", "labels an hour"), rows)


def _show_curve(status: Status, curve: Forecast) -> None:
    points = list(zip(curve.labels, curve.scores, strict=True))
    console.table(("labels", "macro-F1"), [(f"{labels:.0f}", f"{score:.3f}") for labels, score in points])
    if status.without_embedding:
        console.note(f"warning: {status.without_embedding} labels are not in the curve: their images have no embedding")
    for warning in curve.warnings:
        console.note(f"warning: {warning}")
    console.say(curve.summary)
    gain = curve.gain
    console.say(f"expected gain {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})")
    best = [one for one in curve.classes if one.gain >= 0.001][:_MOST_CLASSES]
    if best:
        named = ", ".join(f"{one.name} ({one.labels} labels, F1 {one.f1:.2f}, {one.gain:+.3f})" for one in best)
        console.say(f"classes that gain most: {named}")
    console.say(
        "This is the macro-F1 of a simple classifier of the embeddings on groups that it has not seen. A trained "
        "network is usually better; look at the gain."
    )
