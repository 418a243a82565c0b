"""Compares two surveys of the same images: which answers differ, how far they agree, and what that does to the counts.

An answer is the likeliest class of an image. Classes are the same if they have the same name. A class that only one of
the models has can never agree, so images with such an answer are counted apart, and are not part of the agreement. The
composition is that of the images in both surveys.

Sources: Cohen 1960, "A coefficient of agreement for nominal scales"; Bray and Curtis 1957, "An ordination of the upland
forest communities of southern Wisconsin".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.errors import InputError
from pelagia.survey.journal import Survey
from pelagia.system.files import require_new_file
from pelagia.system.tables import Cell, write_table
from pelagia_inference.counts.samples import Grouping, grouping, sample_name
from pelagia_inference.decisions.pairs import Answers, Rows, answers_of, pair

HEADER = ("path", "path_b", "file", "class_a", "probability_a", "class_b", "probability_b", "decision_a", "decision_b")
"""The columns of the table of changed images."""
_ROWS_AT_ONCE = 500

Matrix = NDArray[np.int64]


@dataclass(frozen=True)
class Changed:
    """An image with another answer in the second survey; the fields are the columns of `HEADER`."""

    path: str
    path_b: str
    file: str
    class_a: str
    probability_a: float
    class_b: str
    probability_b: float
    decision_a: str
    decision_b: str


@dataclass(frozen=True)
class SampleDifference:
    """How far the answers to one sample differ.

    Attributes:
        name: the name of the sample.
        images: number of its images that both surveys classified.
        changed: number of these with another answer.
        bray_curtis: dissimilarity of the two compositions, 0 (the same) to 1.
    """

    name: str
    images: int
    changed: int
    bray_curtis: float


@dataclass(frozen=True)
class Comparison:
    """The difference of two surveys, A and B.

    Attributes:
        same_model: whether one model made both.
        classes: the classes of A, then those that only B has.
        in_a, in_b: the classes of each model.
        table: int64, classes x classes: the images in both by answer in A (rows) and B (columns).
        only_a, only_b: number of images that only one of them has.
        other_bytes: number of paths that are in both with other bytes.
        failed: number of images in both that at least one of them could not classify.
        by: the columns that name the samples.
        samples: the samples, the most different first.
        first: the changed images to look at first: those of which both models are sure.
        out: the table of all changed images; None: not written.
    """

    same_model: bool
    classes: tuple[str, ...]
    in_a: frozenset[str]
    in_b: frozenset[str]
    table: Matrix
    only_a: int
    only_b: int
    other_bytes: int
    failed: int
    by: tuple[str, ...]
    samples: tuple[SampleDifference, ...]
    first: tuple[Changed, ...]
    out: Path | None = None

    @property
    def images(self) -> int:
        """Number of images that both surveys classified."""
        return int(self.table.sum())

    @property
    def _shared(self) -> Matrix:
        """The part of the table with the classes of both models."""
        shared = [place for place, name in enumerate(self.classes) if name in self.in_a and name in self.in_b]
        return self.table[np.ix_(shared, shared)]

    @property
    def compared(self) -> int:
        """Number of images in both whose two answers are classes of both models."""
        return int(self._shared.sum())

    @property
    def agreement(self) -> float | None:
        """Share of `compared` with the same answer; None if there are none."""
        return float(np.trace(self._shared) / self.compared) if self.compared else None

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa of `compared`."""
        return kappa_of(self._shared)

    @property
    def changes(self) -> Counter[tuple[str, str]]:
        """(class in A, class in B) -> number of images in both, if the classes differ."""
        found = ((i, j) for i, j in np.argwhere(self.table).tolist() if i != j)
        return Counter({(self.classes[i], self.classes[j]): int(self.table[i, j]) for i, j in found})

    @property
    def composition(self) -> dict[str, tuple[int, int]]:
        """Class -> number of images in both with this answer in A and in B."""
        pairs = zip(self.table.sum(axis=1).tolist(), self.table.sum(axis=0).tolist(), strict=True)
        return dict(zip(self.classes, pairs, strict=True))

    @property
    def bray_curtis(self) -> float:
        """The Bray-Curtis dissimilarity of the two compositions."""
        return bray_curtis(self.table.sum(axis=1), self.table.sum(axis=0))


def compare(a: Survey, b: Survey, *, by: Sequence[str] = (), first: int = 20, out: Path | None = None) -> Comparison:
    """Compares two surveys.

    Args:
        a, b: the open surveys.
        by: the columns of A that name the samples; by default as in `grouping`.
        first: how many images to look at first.
        out: a .csv with all changed images, in the order in which to look at them.

    Raises:
        InputError: no image is in both surveys, A has no such column, or ``out`` exists or is no .csv.
        SurveyError: a journal cannot be read.
    """
    if out is not None:
        require_new_file(out, "table", ".csv")
    samples = grouping(a.columns().own, by)
    rows, others = answers_of(a), answers_of(b)
    pairs = pair(rows, others)
    if not len(pairs.first):
        raise InputError(
            f"no image is in both {a.folder} and {b.folder}: their SHA-256 are compared. Compare surveys of the same "
            "images"
        )
    classified = (rows.classes[pairs.first] >= 0) & (others.classes[pairs.second] >= 0)
    left, right = pairs.first[classified], pairs.second[classified]
    names = tuple(dict.fromkeys((*a.classes, *b.classes)))
    answers = rows.classes[left].astype(np.int64), _in(names, b.classes)[others.classes[right]]
    ordered = _to_look_at(answers, rows.confidence[left], others.confidence[right])
    changed = _Changed(a, b, rows, others, left[ordered], right[ordered])
    if out is not None:
        write_table(out, HEADER, changed.cells(), mark=True)
    both = len(pairs.first) + pairs.other_bytes + pairs.unread
    return Comparison(
        same_model=a.meta.get("model_sha256") == b.meta.get("model_sha256"),
        classes=names,
        in_a=frozenset(a.classes),
        in_b=frozenset(b.classes),
        table=_confusion(*answers, len(names)),
        only_a=len(rows) - both,
        only_b=len(others) - both,
        other_bytes=pairs.other_bytes,
        failed=int((~classified).sum()) + pairs.unread,
        by=samples.columns,
        samples=_samples(a, samples, left, answers, len(names)),
        first=tuple(changed.take(first)),
        out=out,
    )


def kappa_of(table: Matrix) -> float | None:
    """Cohen's kappa of a confusion matrix (int64, classes x classes); None if chance alone would agree always."""
    total = table.sum()
    if not total:
        return None
    expected = float((table.sum(axis=0) * table.sum(axis=1)).sum() / total**2)
    return None if expected == 1 else float((np.trace(table) / total - expected) / (1 - expected))


def bray_curtis(first: NDArray[np.integer], second: NDArray[np.integer]) -> float:
    """The Bray-Curtis dissimilarity of two counts, 0 to 1; 0 if there is nothing."""
    total = first.sum() + second.sum()
    return float(np.abs(first - second).sum() / total) if total else 0.0


def _in(names: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """The place of each class in ``names``."""
    places = {name: place for place, name in enumerate(names)}
    return np.array([places[name] for name in classes], np.int64)


def _confusion(a: Rows, b: Rows, classes: int) -> Matrix:
    """int64, classes x classes; the rows are the classes in A."""
    return np.bincount(a * classes + b, minlength=classes * classes).reshape(classes, classes)


def _to_look_at(answers: tuple[Rows, Rows], first: NDArray[np.float32], second: NDArray[np.float32]) -> Rows:
    """The places of the changed images, those first of which the less sure model is surest."""
    changed = np.flatnonzero(answers[0] != answers[1])
    return changed[np.argsort(-np.minimum(first[changed], second[changed]), kind="stable")]


def _samples(
    a: Survey, grouped: Grouping, left: Rows, answers: tuple[Rows, Rows], classes: int
) -> tuple[SampleDifference, ...]:
    """The samples of the images in both, the most different first; empty if no column names samples."""
    if not grouped.columns:
        return ()
    places: dict[tuple[str, ...], int] = {}
    keys = (grouped.key(row.columns) for row in a)
    sample = np.fromiter((places.setdefault(key, len(places)) for key in keys), np.int64, len(a))[left]
    first, second = (np.zeros((len(places), classes), np.int64) for _ in answers)
    np.add.at(first, (sample, answers[0]), 1)
    np.add.at(second, (sample, answers[1]), 1)
    changed = np.bincount(sample, answers[0] != answers[1], len(places)).astype(int)
    found = [
        SampleDifference(sample_name(key), int(first[at].sum()), int(changed[at]), bray_curtis(first[at], second[at]))
        for key, at in places.items()
        if first[at].any()
    ]
    return tuple(sorted(found, key=lambda one: (-one.bray_curtis, one.name)))


@dataclass(frozen=True)
class _Changed:
    """The changed images, in the order in which to look at them. Their rows are read when they are needed."""

    a: Survey
    b: Survey
    rows: Answers
    others: Answers
    left: Rows
    right: Rows

    def take(self, count: int | None = None) -> Iterator[Changed]:
        """The first ``count`` of them, or all."""
        left, right = self.left[:count], self.right[:count]
        for start in range(0, len(left), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            ids = self.rows.row_ids[left[part]].tolist(), self.others.row_ids[right[part]].tolist()
            found = _read(self.a, ids[0]), _read(self.b, ids[1])
            for one, other in zip(*ids, strict=True):
                path, file, name, probability, decision = found[0][one]
                path_b, _, name_b, probability_b, decision_b = found[1][other]
                yield Changed(path, path_b, file, name, probability, name_b, probability_b, decision, decision_b)

    def cells(self) -> Iterator[list[Cell]]:
        """The rows of the table."""
        for one in self.take():
            values = (getattr(one, name) for name in HEADER)
            yield [f"{value:.6f}" if isinstance(value, float) else value for value in values]


def _read(survey: Survey, ids: Sequence[int]) -> dict[int, tuple[str, str, str, float, str]]:
    """Row -> path, file, class, probability, decision."""
    decision = "decision" if survey.decides else "''"
    columns = f"rowid, path, file, class, probability, {decision}"
    query = f"SELECT {columns} FROM images WHERE rowid IN ({','.join(map(str, ids))})"
    return {row: (*values,) for row, *values in survey.read(query)}
