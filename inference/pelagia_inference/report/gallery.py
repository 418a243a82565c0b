"""The gallery of a report: small copies of the chosen images, with scale bars.

Invariant: only the chosen images are read, and all thumbnails together have at most the given number of bytes. What is
not shown is counted, with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pelagia.images.pixel_size import pixel_size_um
from pelagia.images.preprocess import ImageError, PreprocessSpec, decode_with_remark
from pelagia.pages.page import webp
from pelagia.survey.additions import kept_pixel_size
from pelagia.survey.journal import Prediction, Survey
from pelagia.survey.pictures import read_pictures
from pelagia.system.console import ProgressCallback, decoder_messages_hidden
from pelagia_inference.report.gather import KINDS, NO_DECISION, Gathered

SIDE = 112
"""The longer side of a thumbnail in pixels."""
MOST_EACH = 9
MOST_IMAGES = 810
_QUALITY = 70
_SPEC = PreprocessSpec(size=SIDE)
_BAR = 0.6
"""A scale bar takes at most this share of the thumbnail's width."""


@dataclass(frozen=True)
class Bar:
    """A scale bar: its length in percent of the thumbnail's width, and in words."""

    percent: float
    text: str


@dataclass(frozen=True)
class Picture:
    """An image of the gallery.

    Attributes:
        path: its name in the survey.
        data: WebP in base64.
        width, height: of the thumbnail in pixels.
        bar: its scale bar; None if the size of its pixels is not known.
        probability: of its likeliest class.
        decision, sample: for the filters; the sample is a number.
        lines: what is written below it.
        alt: its description for screen readers.
    """

    path: str
    data: str
    width: int
    height: int
    bar: Bar | None
    probability: float
    decision: str
    sample: int
    lines: Sequence[str]
    alt: str


@dataclass(frozen=True)
class Gallery:
    """The images of each class that has some: class -> kind -> images.

    Attributes:
        classes: class -> kind -> images.
        left_out: why images are not shown -> number of them.
        samples: the names of the samples that have images in it; `Picture.sample` is an index.
        bytes: size of all thumbnails in the page.
        without_size: whether an image has no scale bar.
    """

    classes: Mapping[str, Mapping[str, Sequence[Picture]]]
    left_out: Mapping[str, int]
    samples: Sequence[str]
    bytes: int
    without_size: bool

    def pictures(self) -> Iterator[Picture]:
        """All images."""
        return (one for kinds in self.classes.values() for images in kinds.values() for one in images)


def images_of_each_kind(classes: int) -> int:
    """How many images of each class and kind are shown, for a number of classes that have images."""
    return max(1, min(MOST_EACH, MOST_IMAGES // (len(KINDS) * max(classes, 1))))


def make_gallery(survey: Survey, data: Gathered, most_bytes: int, progress: ProgressCallback | None = None) -> Gallery:
    """Reads the chosen images and makes their thumbnails.

    Args:
        most_bytes: the largest size of all thumbnails in the page. What is beyond it is left out: the last images of
            each kind first.
        progress: called with (images read, images to read).
    """
    chosen = {name: choice.chosen() for name, choice in data.choices.items()}
    rows = {row.path: row for kinds in chosen.values() for kind in kinds.values() for row in kind}
    samples = sorted({data.sample_of(row.columns) for row in rows.values()})
    numbers = {name: index for index, name in enumerate(samples)}
    made, left_out = _pictures(survey, data, rows, numbers, progress)
    kept, size = _within(chosen, made, most_bytes)
    if len(made) > len(kept):
        left_out[f"to keep the thumbnails below {most_bytes / 1e6:g} MB"] = len(made) - len(kept)
    order = {name: index for index, name in enumerate(survey.classes)}
    shown = {
        name: {kind: [made[row.path] for row in chosen[name][kind] if row.path in kept] for kind in KINDS}
        for name in sorted(chosen, key=lambda name: order[name])
    }
    shown = {name: kinds for name, kinds in shown.items() if any(kinds.values())}
    without = any(made[path].bar is None for path in kept)
    return Gallery(shown, left_out, samples, size, without)


def _pictures(
    survey: Survey,
    data: Gathered,
    rows: Mapping[str, Prediction],
    numbers: Mapping[str, int],
    progress: ProgressCallback | None,
) -> tuple[dict[str, Picture], Counter[str]]:
    made: dict[str, Picture] = {}
    left_out: Counter[str] = Counter()
    with decoder_messages_hidden():
        for done, (row, found) in enumerate(read_pictures(survey, rows.values())):
            if progress and done % 10 == 0:
                progress(done, len(rows))
            if isinstance(found, str):
                left_out[found.partition(":")[0]] += 1
                continue
            try:
                made[row.path] = _picture(survey, data, row, found, numbers)
            except ImageError:
                left_out["cannot be decoded"] += 1
    return made, left_out


def _within(
    chosen: Mapping[str, Mapping[str, Sequence[Prediction]]], made: Mapping[str, Picture], most_bytes: int
) -> tuple[set[str], int]:
    """The paths that fit, taking the first image of each class and kind, then the second, and so on."""
    kept: set[str] = set()
    size = 0
    for place in range(max((len(rows) for kinds in chosen.values() for rows in kinds.values()), default=0)):
        for kinds in chosen.values():
            for rows in kinds.values():
                picture = made.get(rows[place].path) if place < len(rows) else None
                if picture and size + len(picture.data) <= most_bytes:
                    kept.add(picture.path)
                    size += len(picture.data)
    return kept, size


def _picture(survey: Survey, data: Gathered, row: Prediction, found: bytes, numbers: Mapping[str, int]) -> Picture:
    assert row.probabilities is not None  # noqa: S101 - only classified images are chosen
    pixels, sides, _ = decode_with_remark(found, _SPEC)
    scale = SIDE / max(sides)
    height, width = (max(1, round(side * scale)) for side in sides)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(pixels, (width, height), interpolation=method), np.uint8)
    best = int(row.probabilities.argmax())
    probability = float(row.probabilities[best])
    sample = data.sample_of(row.columns)
    label = data.confirmed.get(row.path)
    lines = [f"{probability:.2f} {_verdict(row)}".rstrip(), *([sample] if len(numbers) > 1 else [])]
    lines += [f"people: {label.class_name}"] if label else []
    return Picture(
        row.path,
        webp(small, _QUALITY),
        width,
        height,
        _bar((pixel_size_um(row.columns) or kept_pixel_size(survey)) / scale, width),
        probability,
        row.verdict.decision or NO_DECISION,
        numbers[sample],
        lines,
        f"{survey.classes[best]}, probability {probability:.2f}: {row.path}",
    )


def _verdict(row: Prediction) -> str:
    verdict = row.verdict
    return f"{verdict.decision.replace('_', ' ')} {verdict.name if verdict.decision == 'rolled_up' else ''}".strip()


def _bar(um_per_pixel: float, width: int) -> Bar | None:
    """The longest round bar that fits; None if the size of a pixel is not known."""
    room = um_per_pixel * width * _BAR
    if room <= 0:
        return None
    power = 10.0 ** (len(f"{int(room)}") - 1) if room >= 1 else 0.1
    um = max((step * power for step in (1, 2, 5) if step * power <= room), default=room)
    return Bar(100 * um / um_per_pixel / width, f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm")
