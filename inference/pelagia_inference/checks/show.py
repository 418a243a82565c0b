"""Prints the result of `pelagia check`: tables for people, or one JSON document for programs."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from pelagia.system import console
from pelagia_inference.checks.check import Checked
from pelagia_inference.checks.rules import IMAGE_FLAGS, SAMPLE_FLAGS

_MOST_ROWS, _FEW = 20, 2


def show(checked: Checked) -> None:
    """Prints the flags of images and of samples, and where they were written."""
    at = checked.measuring
    before = f", {at.before} were measured before" if at.before else ""
    by = f" (by {', '.join(checked.by)})" if checked.by else ""
    total = len(checked.samples)
    samples = f"{total} sample{'s' if total != 1 else ''}"
    console.say(f"{checked.images} images in {samples}{by}; {at.done} measured now{before}")
    rows = [
        (flag, checked.counts[flag], f"{checked.counts[flag] / checked.images:.1%}", meaning)
        for flag, meaning in IMAGE_FLAGS.items()
        if checked.counts.get(flag)
    ]
    if rows:
        console.say()
        console.table(("flag", "images", "share", "what it means"), rows)
    _show_samples(checked)
    if not checked.images:
        console.say("nothing was checked, because no image of the survey was classified")
    elif not rows and not any(sample.flags for sample in checked.samples):
        console.say("nothing to flag")
    console.say()
    console.say("no image was removed; the flags are in the survey, and in:")
    for file in checked.files:
        console.say(f"  {file}")


def _show_samples(checked: Checked) -> None:
    """One row for each flag of samples, with what it means and the first samples that have it."""
    having: dict[str, list[str]] = {}
    for sample in checked.samples:
        for flag, detail in sample.flags.items():
            having.setdefault(flag, []).append(f"{sample.name}: {detail}" if detail else sample.name)
    if not having:
        return
    console.say()
    total = len(checked.samples)
    for flag, meaning in SAMPLE_FLAGS.items():
        if names := having.get(flag):
            everywhere = len(names) == total and total > _FEW
            count = "all" if everywhere else len(names)
            console.say(f"{flag}: {count} of {total} sample{'s' if total != 1 else ''}. {_sentence(meaning)}")
            for name in names[: _FEW if everywhere else _MOST_ROWS]:
                console.say(f"  {name}")
            if len(names) > (_FEW if everywhere else _MOST_ROWS):
                console.say("  ... check_samples.csv has the others")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def as_json(checked: Checked) -> str:
    """The result as one JSON document."""
    samples = Counter(flag for sample in checked.samples for flag in sample.flags)
    document: dict[str, Any] = {
        "images": checked.images,
        "measured": checked.measuring.done,
        "measured_before": checked.measuring.before,
        "not_measured": dict(checked.measuring.left_out),
        "by": list(checked.by),
        "image_flags": {flag: checked.counts.get(flag, 0) for flag in IMAGE_FLAGS},
        "sample_flags": {flag: samples[flag] for flag in SAMPLE_FLAGS},
        "samples": [
            {
                "sample": sample.name,
                "images": sample.images,
                "failed": sample.failed,
                "sharpness": [None if math.isnan(value) else round(value, 4) for value in sample.sharpness],
                "image_flags": dict(sample.counts),
                "flags": dict(sample.flags),
            }
            for sample in checked.samples
        ],
        "files": [str(file) for file in checked.files],
        "warnings": list(checked.warnings),
    }
    return json.dumps(document, ensure_ascii=False)
