"""Reads the images of a survey again: from their files, or from the survey's inputs if they are inside an archive.

Invariant: bytes are given out only if they are those that the model saw (SHA-256). Every other image gets a reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError
from pelagia.sources import Listing, ListingOptions, SourceImage, list_images
from pelagia.sources.image import read_encoded
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of

_ROWS_AT_ONCE = 256


def inputs_of(survey: Survey) -> list[Path]:
    """The absolute paths of the inputs that the survey was made from; empty if it does not say."""
    try:
        return [Path(text) for text in json.loads(survey.meta.get("origin") or "[]")]
    except ValueError:
        return []


def listing_of(survey: Survey) -> ListingOptions:
    """How the inputs of the survey were listed."""
    return ListingOptions(**json.loads(survey.meta.get("settings") or "{}").get("listing", {}))


def read_pictures(survey: Survey, rows: Iterable[Prediction]) -> Iterator[tuple[Prediction, bytes | str]]:
    """The encoded image of each row, or the reason why it cannot be used, in any order.

    Images with a file of their own are read at once. The others are inside archives or bins, or were moved together
    with the inputs: they are found by listing the inputs again. Only their paths are kept in memory.

    Args:
        survey: the open survey.
        rows: rows of it that were classified.
    """
    inside = set()
    for row in rows:
        if "!/" in row.file or not Path(row.file).is_file():
            inside.add(row.path)
        else:
            yield row, _checked(row, Path(row.file))
    yield from _listed_again(survey, inside)


def _listed_again(survey: Survey, missing: set[str]) -> Iterator[tuple[Prediction, bytes | str]]:
    inputs = inputs_of(survey)
    if missing and inputs:
        listing = list_images(inputs, Listing(listing_of(survey)), pass_over=True)
        for images in _batches(image for image in listing if image.path in missing):
            missing -= images.keys()
            for row in survey.rows_of(list(images)):
                image = images[row.path]
                yield row, _checked(row, image.reader or image.file)
    paths = sorted(missing)
    for start in range(0, len(paths), _ROWS_AT_ONCE):
        for row in survey.rows_of(paths[start : start + _ROWS_AT_ONCE]):
            yield row, f"missing: it was at {row.file}"


def _batches(images: Iterable[SourceImage]) -> Iterator[dict[str, SourceImage]]:
    """The images by path, some at a time."""
    batch: dict[str, SourceImage] = {}
    with suppress(InputError):  # no input can be listed
        for image in images:
            batch[image.path] = image
            if len(batch) == _ROWS_AT_ONCE:
                yield batch
                batch = {}
    if batch:
        yield batch


def _checked(row: Prediction, source: Callable[[], bytes] | Path | str) -> bytes | str:
    try:
        data = read_encoded(source)
    except (OSError, ImageError) as error:
        return f"cannot be read: {error}"
    return data if sha256_of(data) == row.sha256 else "changed: it is another image than the model saw"
