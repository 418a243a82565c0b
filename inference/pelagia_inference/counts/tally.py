"""One pass over the rows of a survey: what is counted, by sample and sub-sample.

Invariant: memory grows with the samples, not with the images: of an image only its number in the file of probabilities
is kept (8 bytes), and that only if the counts are corrected.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from pelagia.model.decision import ABSTAINED, ACCEPTED, ROLLED_UP, UNKNOWN
from pelagia.survey.additions import (
    Beside,
    Confirmed,
    CountedCells,
    Flag,
    Measured,
    confirmed_rows,
    counted_cells,
    empty_samples,
    image_flags,
    measures_of,
)
from pelagia.survey.journal import Prediction, Survey
from pelagia_inference.counts.cells import CELLS, PEOPLE, CellTable, Moments, carbon_of, joined
from pelagia_inference.counts.samples import DEPTHS, PLACES, WHERE, Grouping, are_unlike, where_of
from pelagia_inference.counts.volumes import EFFORT_COLUMNS, effort_of

LIKELIEST, ACCEPTED_ONLY = "likeliest", "accepted"
COUNT_AS = (LIKELIEST, ACCEPTED_ONLY)
"""What an image counts as: its likeliest class whatever the verdict, or only what the model accepted."""

Progress = Callable[[int, int], None]
_MOST_SEEN = 10_000
"""Combinations of columns whose sub-sample is remembered: images may each have their own depth."""


@dataclass(frozen=True)
class Choices:
    """What a user chooses about the counts.

    Attributes:
        grouping: how images are put into samples.
        count_as: one of `COUNT_AS`.
        exclude: flags of images that are left out.
        cells: the cells of images and classes.
        carbon: class -> formula of its carbon; see `pelagia_inference.counts.cells`.
    """

    grouping: Grouping
    count_as: str = LIKELIEST
    exclude: frozenset[str] = frozenset()
    cells: CellTable = field(default_factory=CellTable)
    carbon: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Part:
    """A sub-sample: images of one sample with the same volume and sub-sampling.

    Attributes:
        key: the values that name its sample.
        own: the survey's own sample that it belongs to.
        effort: its values of `EFFORT_COLUMNS`.
        raw: class -> images that the machine gave it.
        rolled: taxon -> images that are counted as it alone, if only accepted names count.
        confirmed: name -> images that people gave it.
        verdicts: decision of the model -> images that nobody confirmed.
        cells, volumes, carbon: class -> cells, cubic micrometers and picograms of its images.
        by_people: class -> images whose cells people counted, of those in ``cells``.
        rows: numbers of its unconfirmed images in the file of probabilities.
        where: column of `WHERE` -> its values in the images, two at most: enough to know that they differ.
        is_empty: whether it is a sample that was taken and has no image: its water counts.
        places: the places of its unconfirmed images, or their samples if no column names places; `merged` sets them.
    """

    key: tuple[str, ...]
    own: str
    effort: dict[str, str]
    failed: int = 0
    excluded: int = 0
    raw: Counter[str] = field(default_factory=Counter)
    rolled: Counter[str] = field(default_factory=Counter)
    confirmed: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    cells: dict[str, Moments] = field(default_factory=lambda: defaultdict(Moments))
    by_people: Counter[str] = field(default_factory=Counter)
    volumes: dict[str, Moments] = field(default_factory=lambda: defaultdict(Moments))
    carbon: dict[str, Moments] = field(default_factory=lambda: defaultdict(Moments))
    rows: array[int] = field(default_factory=lambda: array("q"))
    where: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in WHERE})
    is_empty: bool = False
    places: set[str] = field(default_factory=set)

    @property
    def machine(self) -> int:
        """Number of images that nobody confirmed."""
        return self.verdicts.total()

    @property
    def images(self) -> int:
        """Number of images that are counted."""
        return self.machine + self.confirmed.total()


def merged(parts: Sequence[Part]) -> Part:
    """The images of several sub-samples of one sample as one, with the name and the effort of the first."""
    found = Part(parts[0].key, parts[0].own, parts[0].effort)
    for part in parts:
        found.failed += part.failed
        found.excluded += part.excluded
        for name in ("raw", "rolled", "confirmed", "verdicts", "by_people"):
            getattr(found, name).update(getattr(part, name))
        for name in ("cells", "volumes", "carbon"):
            for key, moments in getattr(part, name).items():
                getattr(found, name)[key] = joined([getattr(found, name)[key], moments])
        found.rows.extend(part.rows)
        if part.machine:
            found.places.update(next((part.where[name] for name in PLACES if part.where[name]), [part.own]))
    return found


@dataclass
class Tally:
    """All sub-samples of a survey, and what was noticed on the way.

    Attributes:
        parts: the sub-samples, in the order of their first image.
        same: key of a sample -> the columns that have one value in all its images.
        excluded: flag -> images that were left out because of it.
        no_time: images without a time.
        spanning: images whose depth range goes beyond one interval of depth.
        reversed_depths: images whose minimum depth is more than their maximum depth, if intervals of depth are counted.
        one_cell: class -> images whose carbon was computed as that of one cell, because their cells are not known.
        no_cells: images whose column `CELLS` holds no number.
        not_in_survey: paths of the table of cells that are not in the survey, sorted.
        empty, empty_no_volume: names of the samples that were taken and have no image: those whose volume is known, and
            those whose volume is not, which are not among the parts.
    """

    parts: list[Part] = field(default_factory=list)
    same: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    excluded: Counter[str] = field(default_factory=Counter)
    one_cell: Counter[str] = field(default_factory=Counter)
    no_time: int = 0
    spanning: int = 0
    reversed_depths: int = 0
    no_cells: int = 0
    not_in_survey: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    empty_no_volume: list[str] = field(default_factory=list)


class Probabilities:
    """The probabilities of the images of a survey in a temporary file, so that those of one sample can be read."""

    def __init__(self, classes: int) -> None:
        self._file: IO[bytes] = TemporaryFile()  # noqa: SIM115 - `close` closes it
        self._row = 4 * classes
        self._classes = classes
        self._rows = 0

    def add(self, probabilities: NDArray[np.float32]) -> int:
        """Appends the probabilities of an image, float32, K. Returns its number."""
        self._file.write(probabilities.astype("<f4").tobytes())
        self._rows += 1
        return self._rows - 1

    def read(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """The probabilities of some images, float32, N x K."""
        numbers = np.asarray(rows, np.int64)
        found = np.empty((len(numbers), self._classes), np.float32)
        starts = np.flatnonzero(np.diff(numbers, prepend=-2) != 1).tolist()  # of runs of neighbors in the file
        for start, end in pairwise([*starts, len(numbers)]):
            self._file.seek(int(numbers[start]) * self._row)
            data = self._file.read((end - start) * self._row)
            found[start:end] = np.frombuffer(data, "<f4").reshape(end - start, self._classes)
        return found

    def close(self) -> None:
        """Deletes the file."""
        self._file.close()


def tally(
    survey: Survey, choices: Choices, probabilities: Probabilities | None = None, progress: Progress | None = None
) -> Tally:
    """Counts the rows of a survey.

    Args:
        survey: the open survey.
        choices: what the user chose.
        probabilities: gets those of the images that nobody confirmed; None: they are not needed.
        progress: called with the rows done and their number.
    """
    found, total = Tally(), len(survey) if progress else 0
    part_of = _Parts(found, choices.grouping)
    count = _Counter(survey, choices, probabilities, found.one_cell)
    flags: Beside[Flag] = Beside(image_flags(survey), lambda flag: flag.on)
    labels: Beside[Confirmed] = Beside(confirmed_rows(survey), lambda label: label.path)
    counted: Beside[CountedCells] = Beside(counted_cells(survey), lambda one: one.path)
    measures: Beside[Measured] = Beside(measures_of(survey), lambda measured: measured.path)
    unused = set(choices.cells.images)
    for done, row in enumerate(survey):
        unused.discard(row.path)
        if progress and done % 1000 == 0:
            progress(done, total)
        part = part_of(row.columns)
        own, label, measured = flags.of(row.path), labels.of(row.path), measures.of(row.path)
        people = counted.of(row.path)
        if choices.exclude and (bad := {flag.flag for flag in own} & choices.exclude):
            part.excluded += 1
            found.excluded.update(bad)
            continue
        if not row.columns.get("eventDate"):
            found.no_time += 1
        cells = choices.cells.of_image(row.path, row.columns, people[0].cells if people else None)
        found.no_cells += bool(row.columns.get(CELLS)) and cells[0] is None
        count(part, row, label[0].class_name if label else "", measured[0] if measured else None, cells)
    found.not_in_survey = sorted(unused)
    _add_empty(found, part_of, survey, choices.grouping)
    return found


def _add_empty(found: Tally, part_of: _Parts, survey: Survey, grouping: Grouping) -> None:
    """Adds the samples that were taken and have no image, so that their water counts."""
    with_images = {part.own for part in found.parts if part.images}
    for columns in empty_samples(survey):
        own = grouping.own_sample(columns)
        if own in with_images:  # a later run found its images
            continue
        if effort_of(columns).fault:
            found.empty_no_volume.append(own)
            continue
        part_of(columns).is_empty = True
        found.empty.append(own)


class _Parts:
    """Finds the sub-sample of a row; the values of its columns are looked at once for each combination."""

    def __init__(self, found: Tally, grouping: Grouping) -> None:
        self._found, self._grouping = found, grouping
        names = dict.fromkeys((*grouping.columns, grouping.own, *DEPTHS, *EFFORT_COLUMNS))
        if not grouping.edges:
            names = dict.fromkeys((*grouping.columns, grouping.own, *EFFORT_COLUMNS))
        self._names = tuple(name for name in names if name)
        self._seen: dict[tuple[str | None, ...], tuple[Part, bool, bool]] = {}
        self._parts: dict[tuple[object, ...], Part] = {}

    def __call__(self, columns: Mapping[str, str]) -> Part:
        values = tuple(map(columns.get, self._names))
        known = self._seen.get(values)
        if known is None:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            grouping = self._grouping
            known = self._seen[values] = self._part(columns), grouping.spans(columns), grouping.is_reversed(columns)
        part, spans, is_reversed = known
        self._found.spanning += spans
        self._found.reversed_depths += is_reversed
        for name, known_values in part.where.items():
            text = where_of(columns, name) if len(known_values) < 2 else ""
            if text and not any(not are_unlike(name, text, known_text) for known_text in known_values):
                known_values.append(text)
        same = self._found.same.get(part.key)
        if same is None:
            self._found.same[part.key] = dict(columns)
        elif differs := [name for name, text in same.items() if columns.get(name) != text]:
            for name in differs:
                del same[name]
        return part

    def _part(self, columns: Mapping[str, str]) -> Part:
        key, own = self._grouping.key(columns), self._grouping.own_sample(columns)
        effort = {name: text for name in EFFORT_COLUMNS if (text := columns.get(name, "").strip())}
        identity = (key, own, *effort.items())
        if identity not in self._parts:
            self._parts[identity] = Part(key, own, effort)
            self._found.parts.append(self._parts[identity])
        return self._parts[identity]


class _Counter:
    """Counts one row."""

    def __init__(
        self, survey: Survey, choices: Choices, probabilities: Probabilities | None, one_cell: Counter[str]
    ) -> None:
        self._classes, self._choices, self._probabilities = survey.classes, choices, probabilities
        self._one_cell = one_cell
        self._carbon = carbon_of(choices.carbon)

    def __call__(
        self, part: Part, row: Prediction, label: str, measured: Measured | None, cells: tuple[float | None, str]
    ) -> None:
        if label:
            part.confirmed[label] += 1
            name = label
        elif row.probabilities is None:
            part.failed += 1
            return
        else:
            part.verdicts[row.verdict.decision] += 1
            name = self._named(part, row, row.probabilities)
            if self._probabilities is not None:
                part.rows.append(self._probabilities.add(row.probabilities))
        if name:
            self._measure(part, name, measured, *cells)

    def _named(self, part: Part, row: Prediction, probabilities: NDArray[np.float32]) -> str:
        """The class that the image counts as; empty if it counts as none."""
        if self._choices.count_as == LIKELIEST:
            name = self._classes[int(probabilities.argmax())]
        elif row.verdict.decision == ACCEPTED:
            name = row.verdict.name
        else:
            if row.verdict.decision == ROLLED_UP:
                part.rolled[row.verdict.name] += 1
            return ""
        part.raw[name] += 1
        return name

    def _measure(self, part: Part, name: str, measured: Measured | None, cells: float | None, origin: str) -> None:
        if cells is not None:
            part.cells[name].add(cells)
            part.by_people[name] += origin == PEOPLE
        volume = None if measured is None else measured.values.get("biovolume_um3")
        if volume is None:
            return
        part.volumes[name].add(volume)
        if cells is None and (stated := self._choices.cells.classes.get(name)):
            cells = stated.mean
        if (carbon := self._carbon(name, volume, 1.0 if cells is None else cells)) is not None:
            part.carbon[name].add(carbon)
            self._one_cell[name] += cells is None


NOT_NAMED = (ROLLED_UP, ABSTAINED, UNKNOWN)
"""Verdicts that count apart if only accepted names count."""
