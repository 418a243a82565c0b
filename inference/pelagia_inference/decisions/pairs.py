"""Finds the images that two surveys have in common.

Invariant: two rows are one image if their bytes are the same (SHA-256). If the same bytes are in a survey several
times, the rows of one path belong together, and the others are paired in the order of their paths. Memory holds a few
numbers for each row, and no path.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.survey.journal import Survey

_KEY = 16
"""Bytes of a SHA-256 that are compared: two of a million images share them by chance once in 10 ** 26."""

Rows = NDArray[np.int64]
Keys = NDArray[np.bytes_]


@dataclass(frozen=True)
class Answers:
    """The rows of a survey, one entry each, sorted by path.

    Attributes:
        row_ids: int64, N, where the row is in the journal.
        images: S16, N, the beginning of the SHA-256; of the path for an image that could not be read.
        paths: S16, N, the beginning of the SHA-256 of the path.
        classes: int16, N, the index of the likeliest class; -1 if the image failed.
        confidence: float32, N, its probability; 0 if the image failed.
    """

    row_ids: Rows
    images: Keys
    paths: Keys
    classes: NDArray[np.int16]
    confidence: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.row_ids)


@dataclass(frozen=True)
class Pairs:
    """The images that are in both surveys.

    Attributes:
        first: int64, M, their places in the first survey's `Answers`, ascending.
        second: int64, M, their places in the second's.
        other_bytes: number of paths that are in both surveys with other bytes; they are no pairs.
        unread: number of paths that are in both surveys, but could not be read in one of them; they are no pairs.
    """

    first: Rows
    second: Rows
    other_bytes: int
    unread: int


def answers_of(survey: Survey) -> Answers:
    """The rows of a survey. Raises SurveyError if the journal cannot be read."""
    place = {name: index for index, name in enumerate(survey.classes)}
    kinds = [("row", "i8"), ("image", f"S{_KEY}"), ("path", f"S{_KEY}"), ("class", "i2"), ("confidence", "f4")]
    query = "SELECT rowid, path, sha256, class, probability FROM images ORDER BY path"
    rows = (
        (row, _key(sha256) if sha256 else hashed, hashed, place.get(name, -1), probability or 0.0)
        for row, path, sha256, name, probability in survey.read(query)
        for hashed in [hashlib.sha256(path.encode()).digest()[:_KEY]]
    )
    table = np.fromiter(rows, np.dtype(kinds), len(survey))
    return Answers(table["row"], table["image"], table["path"], table["class"], table["confidence"])


def _key(sha256: str) -> bytes:
    return bytes.fromhex(sha256)[:_KEY]


def pair(first: Answers, second: Answers) -> Pairs:
    """The images that are in both surveys."""
    same = _joined(first.images, first.paths), _joined(second.images, second.paths)
    _, left, right = np.intersect1d(*same, assume_unique=True, return_indices=True)
    rest = np.setdiff1d(np.arange(len(first)), left), np.setdiff1d(np.arange(len(second)), right)
    keys = _numbered(first.images[rest[0]]), _numbered(second.images[rest[1]])
    _, more_left, more_right = np.intersect1d(*keys, assume_unique=True, return_indices=True)
    pairs = np.concatenate((left, rest[0][more_left])), np.concatenate((right, rest[1][more_right]))
    order = np.argsort(pairs[0])
    lone = np.setdiff1d(rest[0], pairs[0]), np.setdiff1d(rest[1], pairs[1])
    paths = first.paths[lone[0]], second.paths[lone[1]]
    _, same_left, same_right = np.intersect1d(*paths, assume_unique=True, return_indices=True)
    read = (first.classes[lone[0][same_left]] >= 0) & (second.classes[lone[1][same_right]] >= 0)
    return Pairs(pairs[0][order], pairs[1][order], int(read.sum()), int((~read).sum()))


def _joined(images: Keys, paths: Keys) -> Keys:
    """Both keys of each row, as one."""
    keys = np.empty((len(images), 2), f"S{_KEY}")
    keys[:, 0], keys[:, 1] = images, paths
    return np.asarray(keys.view(f"S{2 * _KEY}").reshape(-1))


def _numbered(images: Keys) -> Keys:
    """The key of each row with its number among the rows with the same key, so that each is there once."""
    order = np.argsort(images, kind="stable")
    ordered = images[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(images) else order
    numbers = np.empty(len(images), np.int64)
    numbers[order] = np.arange(len(images)) - np.repeat(starts, np.diff(np.append(starts, len(images))))
    return _joined(images, np.char.mod("%d", numbers).astype(f"S{_KEY}"))
