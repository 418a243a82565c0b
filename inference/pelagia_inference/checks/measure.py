"""Measures each object of a survey once: reads its image, finds its outline, and writes what it measured.

Invariant: the measures of an image and its signature are written together, in batches. So a run that is interrupted is
resumed by the same command, and no image is measured twice. Memory does not grow with the number of images, apart from
the names of `_ROWS` images whose bytes are inside archives.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

from pelagia.dataset.near_duplicates import signature_of
from pelagia.images.preprocess import Image, ImageError, decode
from pelagia.survey.additions import Measured, add_measures
from pelagia.survey.journal import Prediction, Survey
from pelagia.survey.pictures import read_pictures
from pelagia.survey.signatures import add_signatures, measured_count, unmeasured
from pelagia.system.console import ProgressCallback
from pelagia.system.cores import thread_pool, usable_cores
from pelagia_inference.checks.clipping import contact_of
from pelagia_inference.checks.outline import gray_of, outline_of, without_legend
from pelagia_inference.checks.repeats import centered
from pelagia_inference.checks.shape import feret, volume_of
from pelagia_inference.checks.sharpness import sharpness_of

_ROWS, _BATCH = 100_000, 500
_AHEAD = 16
"""Images for each core that are read before they are measured."""


@dataclass
class Measuring:
    """What `measure_survey` did.

    Attributes:
        before: images that had measures already.
        done: images that were measured.
        left_out: reason -> number of images that could not be read again.
        first_left_out: reason -> the name of one of them.
    """

    before: int = 0
    done: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    first_left_out: dict[str, str] = field(default_factory=dict)


def measure(image: Image) -> tuple[dict[str, float], bytes]:
    """The measures of the object in an image: those of `pelagia.survey.additions.MEASURES` that need no pixel size.

    Args:
        image: uint8, H x W x 3, RGB, 0..255.

    Returns:
        name -> value; without an outline there is only the sharpness of the whole image. And the signature of the
        object's picture (`pelagia.dataset.near_duplicates.signature_of`).
    """
    gray = without_legend(gray_of(image))
    outline = outline_of(gray)
    sharpness = sharpness_of(gray, outline)
    found = {} if sharpness is None else {"sharpness": sharpness}
    if outline is not None:
        length, width = feret(outline.points)
        found |= {"area_px": float(outline.area), "length_px": length, "width_px": width}
        found |= {"volume_px3": volume_of(outline), "contact": contact_of(outline)}
    return found, signature_of(centered(image[: len(gray)], outline))


def measure_survey(survey: Survey, progress: ProgressCallback | None = None) -> Measuring:
    """Measures the classified images of a survey that have no measures yet.

    Args:
        survey: opened to add.
        progress: called with (measured or left out, all classified images).

    Raises:
        SurveyError: the disk is full or failing, or the journal is damaged.
    """
    at = Measuring(before=measured_count(survey))
    total = survey.counts_by_class().total()
    report = progress or (lambda done, total: None)
    report(at.before, total)
    after = ""
    while rows := unmeasured(survey, after, _ROWS):
        after = rows[-1].path
        for batch in _batches(_results(read_pictures(survey, rows))):
            good = [(path, *found) for path, found in batch if not isinstance(found, str)]
            add_signatures(survey, [(path, signature) for path, _, signature in good])
            add_measures(survey, [Measured(path, values) for path, values, _ in good])
            at.done += len(good)
            for path, reason in ((path, found) for path, found in batch if isinstance(found, str)):
                at.left_out[reason] += 1
                at.first_left_out.setdefault(reason, path)
            report(at.before + at.done + at.left_out.total(), total)
    return at


_Found = tuple[dict[str, float], bytes] | str
"""The measures of an image and its signature, or why it was left out."""


def _results(pictures: Iterable[tuple[Prediction, bytes | str]]) -> Iterator[tuple[str, _Found]]:
    """The path of each image and what was found, in the order of the pictures; all cores measure at once."""
    waiting: deque[tuple[str, Future[_Found]]] = deque()
    with thread_pool() as pool:
        for row, data in pictures:
            waiting.append((row.path, pool.submit(_measured, data)))
            if len(waiting) >= _AHEAD * usable_cores():
                path, future = waiting.popleft()
                yield path, future.result()
        while waiting:
            path, future = waiting.popleft()
            yield path, future.result()


def _measured(data: bytes | str) -> _Found:
    if isinstance(data, str):
        return data.partition(":")[0]
    try:
        image = decode(data)
    except ImageError:
        return "cannot be decoded"
    return measure(image)


def _batches(results: Iterator[tuple[str, _Found]]) -> Iterator[list[tuple[str, _Found]]]:
    batch = []
    for one in results:
        batch.append(one)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
