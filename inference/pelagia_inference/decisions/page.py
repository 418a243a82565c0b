"""An explanation as one HTML page that needs no other file and no network; `pelagia.pages` escapes every text."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np

from pelagia.pages.page import LOSSLESS, Thumbnail, plain_table, render, webp
from pelagia_inference.decisions.explain import (
    LEAST_SHOWN,
    MODEL_CLASS,
    Explanation,
    Pixels,
    Similar,
    sentence_of,
    shown_levels,
)

_LONGEST, _LONGEST_REFERENCE = 640, 208
_SMALL = 200
"""Images with a shorter longest side are enlarged on the page, each pixel as a square."""
_QUALITY = 75
_CLASSES = 10


def page_of(found: Explanation, survey: str, model: str) -> str:
    """The page.

    Args:
        found: the explanation.
        survey: the name of the survey.
        model: the name of its model; empty if it is not known.
    """
    levels = shown_levels(found)
    columns = [(name, value) for name, value in found.row.columns.items() if value]
    return render(
        "pelagia_inference.decisions",
        "image.html",
        row=found.row,
        survey=survey,
        model=model,
        picture=None if found.pixels is None else webp(_shrunk(found.pixels, _LONGEST), LOSSLESS),
        no_picture=found.no_picture,
        size=None if found.pixels is None else found.pixels.shape[1::-1],
        small=found.pixels is not None and max(found.pixels.shape) < _SMALL,
        sentence=sentence_of(found),
        confirmed=found.confirmed,
        classes=found.classes[:_CLASSES],
        more_classes=len(found.classes) - _CLASSES,
        levels=[(one, one.rank or MODEL_CLASS, _limit(one.threshold)) for one in levels],
        least=f"{LEAST_SHOWN:.1%}",
        has_thresholds=any(level.threshold is not None for level in levels),
        flags=list(_flags(found)),
        similar=[_thumbnail(one) for one in found.similar],
        no_similar=found.no_similar,
        columns=plain_table(("Column", "Value"), columns) if columns else None,
    )


def _shrunk(pixels: Pixels, longest: int) -> Pixels:
    height, width = pixels.shape[:2]
    if (shrink := longest / max(height, width)) >= 1:
        return pixels
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _limit(threshold: float | None) -> str:
    """A threshold in words; empty if there is none."""
    return "" if threshold is None else "never accepted" if math.isinf(threshold) else f"{threshold:.3f}"


def _flags(found: Explanation) -> Iterator[str]:
    for flag in found.flags:
        yield f"{flag.flag}: {flag.detail}" if flag.detail else flag.flag
    if found.row.ok and found.row.message:
        yield found.row.message


def _thumbnail(one: Similar) -> Thumbnail:
    data = "" if one.pixels is None else webp(_shrunk(one.pixels, _LONGEST_REFERENCE), _QUALITY)
    lines = [*([one.class_name] if one.class_name else []), f"similarity {one.similarity:.3f}", one.path]
    return Thumbnail(data, one.path, f"Reference image {one.path}", lines)
