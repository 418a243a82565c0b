"""From the images of a sample to organisms, cells and biovolume in its water, with intervals.

Arrays have one value for each row of a sample's counts: the classes, then the taxa, then the verdicts that count apart
(`Rows`). float64; not-a-number where a value is not known.

Two errors make the interval of a concentration: the errors of the machine (`pelagia_inference.counts.correction`, if
the model has statistics for it) and the chance of which organisms are in the sample (`poisson`). Their half-widths are
added in quadrature, because they are independent. All images of a sample that stand for as many organisms (a fraction)
are counted and corrected together. The errors of the machine are the same in all fractions, so their ends are added;
the chance is independent, so its half-widths are added in quadrature.

Biovolume and carbon are sums of unequal values. Their intervals are made in the same way, with `poisson.of_sums` for
the chance, which includes the error of a mean of few measured images. The errors of the machine are images times the
mean of the class: an image that has the wrong class is taken for one of mean size.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pelagia.model.card import ModelCard
from pelagia.model.decision import UNKNOWN
from pelagia_inference.counts import poisson
from pelagia_inference.counts.cells import CellsPerImage, CellTable, Moments, joined, mixed, usual_spread
from pelagia_inference.counts.correction import Corrected, correct
from pelagia_inference.counts.drift import drift_warnings
from pelagia_inference.counts.poisson import Amount, together
from pelagia_inference.counts.samples import DEPTH, DEPTHS, PLACES, SAMPLE_COLUMNS, WHERE, Grouping, are_unlike
from pelagia_inference.counts.tally import Part, Probabilities, merged
from pelagia_inference.counts.taxa import Names, Rows, Values
from pelagia_inference.counts.volumes import UNIT, VALUE, Effort, effort_of

Corrector = Callable[[NDArray[np.float32], int, float | None], tuple[Corrected, Sequence[str]]]
"""From a sample's probabilities, number of places and share of unknown images to corrected counts, and warnings."""


def corrector_of(card: ModelCard | None) -> Corrector | None:
    """The function that corrects the counts of one sample; None if the model has no statistics for it."""
    if card is None or card.counting is None:
        return None
    counting = card.counting

    def corrector(images: NDArray[np.float32], places: int, unknown: float | None) -> tuple[Corrected, Sequence[str]]:
        found = correct(counting, images, places)
        return found, drift_warnings(counting, images, found, unknown)

    return corrector


@dataclass(frozen=True)
class Numbers:
    """The images of a sub-sample by row.

    Attributes:
        raw, confirmed: counts of the machine and of people.
        value: the best estimate of the true number.
        low, high: its interval with the errors of the machine alone; not-a-number: not known.
        method: how it was corrected, in words; empty: it was not.
        warnings: why the correction may be wrong, in words.
    """

    raw: Values
    confirmed: Values
    value: Values
    low: Values
    high: Values
    method: str = ""
    warnings: tuple[str, ...] = ()


def numbers_of(part: Part, rows: Rows, corrector: Corrector | None, probabilities: Probabilities) -> Numbers:
    """Counts of a sub-sample, corrected if there is a corrector. A part that people reviewed wholly has no error."""
    raw = rows.of_counts(part.raw, part.rolled, part.verdicts)
    confirmed = rows.of_counts(part.confirmed, {}, {})
    if not part.machine:
        return Numbers(raw, confirmed, confirmed, confirmed, confirmed)
    if corrector is None:
        unknown = np.full(len(raw), np.nan)
        return Numbers(raw, confirmed, raw + confirmed, unknown, unknown)
    unknown_share = part.verdicts[UNKNOWN] / part.machine if any(part.verdicts) else None  # it may have no verdicts
    found, said = corrector(probabilities.read(part.rows), max(len(part.places), 1), unknown_share)
    others = np.zeros(len(rows.names.classes) - len(found.estimate))
    value, low, high = (
        rows.of_classes(np.concatenate([np.asarray(one, np.float64), others]))
        for one in (found.estimate, found.low, found.high)
    )
    high = np.minimum(high, part.machine)
    low, value, high = low + confirmed, value + confirmed, high + confirmed
    return Numbers(raw, confirmed, value, low, high, found.method, tuple(said))


@dataclass(frozen=True)
class Water:
    """The water of a sample.

    Attributes:
        liters: None: unknown.
        fractions: organisms that an image stands for (None: unknown), and all its images that stand for so many.
        fault: why the volume is not known, in words; empty if it is.
        assumed: what was assumed, in words.
    """

    liters: float | None
    fractions: tuple[tuple[float | None, Part], ...]
    fault: str = ""
    assumed: str = ""


def waters_of(parts: Sequence[Part], by: Grouping) -> dict[tuple[str, ...], Water]:
    """The water of each sample, by its key. The volumes of the survey's own samples are added up."""
    groups: dict[tuple[str, ...], list[Part]] = defaultdict(list)
    keys: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for part in parts:
        groups[part.key].append(part)
        if part.images:
            keys[part.own].add(part.key)
    split = {own for own, found in keys.items() if by.own and len(found) > 1 and not by.divides}
    return {key: _water(group, by, split) for key, group in groups.items()}


def _water(parts: Sequence[Part], by: Grouping, split: set[str]) -> Water:
    efforts = [effort_of(part.effort) for part in parts]
    own: dict[str, list[Effort]] = defaultdict(list)
    images: dict[str, list[Part]] = defaultdict(list)
    for part, effort in zip(parts, efforts, strict=True):
        if part.images or part.is_empty:  # a row that failed may have no columns at all
            own[part.own].append(effort)
            images[part.own].append(part)
    several = [found for group in images.values() if (found := _several(group, by))[0]]
    faults = [fault for name, group in own.items() if (fault := _fault(name, group, by, split))]
    faults += [text for text, is_fault in several if is_fault]
    alike: dict[float | None, list[Part]] = defaultdict(list)
    for part, effort in zip(parts, efforts, strict=True):
        if part.images:
            alike[effort.per_image].append(part)
    fractions = tuple((per_image, merged(group)) for per_image, group in alike.items())
    if faults or not own:
        return Water(None, fractions, faults[0] if faults else "no images")
    liters = sum(group[0].liters or 0.0 for group in own.values())
    assumed = [effort.assumed for effort in efforts if effort.assumed] + [text for text, _ in several]
    return Water(liters, fractions, "", assumed[0] if assumed else "")


def _fault(own: str, efforts: Sequence[Effort], by: Grouping, split: set[str]) -> str:
    """Why the water of one of the survey's own samples is not known; empty if it is."""
    if fault := next((effort.fault for effort in efforts if effort.fault), ""):
        return fault
    if by.own and not own:
        return f"it has images without a name in the column {by.own}, whose volumes may be those of several samples"
    if own in split:
        remedy = f"name each sample in a column {SAMPLE_COLUMNS[0]} of the input"
        remedy = remedy if by.own in by.columns else f"add {by.own} to --by"
        return f"the images of one {by.own} are in several samples, and its volume is that of all: {remedy}"
    volumes = dict.fromkeys(effort.volume for effort in efforts if effort.volume)
    if len({unit for _, unit in volumes}) > 1:
        return f"its images have volumes in different units ({_listed(volumes)}; column {UNIT})"
    if len(volumes) > 1:
        return f"its images have different volumes ({_listed(volumes)}; column {VALUE})"
    return ""


def _several(parts: Sequence[Part], by: Grouping) -> tuple[str, bool]:
    """Why the images of one name may be of several samples, each with a volume; and whether it is then not known.

    A place may have many samples. A sample has one place, but it may have many depths (a profile) and days.
    """
    for column, what in WHERE.items():
        is_place = column in PLACES
        values = [text for part in parts for text in part.where[column]]
        several = any(are_unlike(column, values[0], text) for text in values[1:])
        if not several or not by.own or (is_place and by.own in PLACES):
            continue
        found = f"the images of one {by.own} have several {what} (column {column})"
        if is_place or by.own in PLACES:
            named = f"{by.own},{DEPTH if column in DEPTHS else column}"
            return f"{found} and may be samples with volumes of their own: name the samples with --by {named}", True
        return f"{found}, and the volume was taken as that of all of them", False
    return "", False


def _listed(volumes: Iterable[tuple[float, str]]) -> str:
    return ", ".join(f"{value:g} {unit}" for value, unit in volumes)


ORIGINS = ("cells_by_people", "cells_by_column", "cells_by_class", "cells_by_mean")
"""Fields of `Count`: images whose cells people counted, the input has, a table by class has, or the other images give.
"""


_ENOUGH = 30
"""Measured images that say how much the sizes of a class differ."""


def _images(parts: Sequence[Part], name: str) -> int:
    return sum(part.raw[name] + part.confirmed[name] for part in parts)


class Matter:
    """Cells, volume and carbon of an image of each class: of the sample, else of the whole survey.

    Args:
        parts: all sub-samples of the survey.
        names: its classes.
        table: the cells that the user gave.
    """

    def __init__(self, parts: Sequence[Part], names: Names, table: CellTable) -> None:
        self.classes, self._table = names.classes, table
        self._survey = {kind: self._joined(parts, kind) for kind in ("cells", "volumes", "carbon")}
        self._usual = {kind: usual_spread(found.values()) for kind, found in self._survey.items()}

    def _joined(self, parts: Sequence[Part], kind: str) -> dict[str, Moments]:
        found: dict[str, list[Moments]] = defaultdict(list)
        for part in parts:
            for name, moments in getattr(part, kind).items():
                found[name].append(moments)
        return {name: joined(moments) for name, moments in found.items()}

    def cells(self, parts: Sequence[Part]) -> list[CellsPerImage | None]:
        """The cells of an image of each class; None: not known."""
        own = self._joined(parts, "cells")
        found: list[CellsPerImage | None] = []
        for name in self.classes:
            stated, moments = self._table.classes.get(name), own.get(name)
            if stated is None:
                moments = moments or self._survey["cells"].get(name)
            counted = CellsPerImage(moments.mean, moments.deviation, moments.count) if moments else None
            if counted and stated:
                counted = mixed(counted, stated, counted.images / _images(parts, name))
            found.append(counted or stated)
        return found

    def origins(self, parts: Sequence[Part]) -> dict[str, Values]:
        """Number of images of each class by where their cells come from, by field of `Count`."""
        own = self._joined(parts, "cells")
        found: dict[str, Values] = {field: np.zeros(len(self.classes)) for field in ORIGINS}
        for index, name in enumerate(self.classes):
            counted = own[name].count if name in own else 0
            people = sum(part.by_people[name] for part in parts)
            rest = _images(parts, name) - counted
            found["cells_by_people"][index], found["cells_by_column"][index] = people, counted - people
            if name in self._table.classes:
                found["cells_by_class"][index] = rest
            elif name in self._survey["cells"]:
                found["cells_by_mean"][index] = rest
        return found

    def sizes(self, fraction: Part, sample: Sequence[Part], kind: str) -> tuple[Values, Values]:
        """The mean of ``volumes`` or ``carbon`` of an image of each class in a fraction, and the error of the mean.

        The mean is that of the images of the fraction, else of the sample, else of the survey. How much the values
        differ is known from few images only roughly, so the first of the three with `_ENOUGH` images says it, else the
        survey. If the survey has one image of the class, the mean over the other classes is taken.

        Returns:
            means: not-a-number: not known.
            errors: the variance of the mean, in units of the squared mean.
        """
        levels = [self._joined([fraction], kind), self._joined(sample, kind), self._survey[kind]]
        found = np.full((2, len(self.classes)), np.nan)
        for index, name in enumerate(self.classes):
            if known := [level[name] for level in levels if name in level]:
                widest = next((one for one in known if one.count >= _ENOUGH), known[-1])
                spread = widest.spread if widest.count > 1 else self._usual[kind]
                found[:, index] = known[0].mean, spread / known[0].count
        return found[0], found[1]

    def measured(self, parts: Sequence[Part]) -> Values:
        """Number of images of each class whose volume was measured."""
        own = self._joined(parts, "volumes")
        return np.array([own[name].count if name in own else 0 for name in self.classes], np.float64)


class Estimate:
    """The values of one sample, by row.

    Args:
        rows: the rows.
        water: its water, with its images.
        numbers: the counts of its fractions.
        matter: cells and volumes.
    """

    def __init__(self, rows: Rows, water: Water, numbers: Sequence[Numbers], matter: Matter) -> None:
        self._rows, self._water, self._numbers, self._matter = rows, water, numbers, matter
        self._parts = [part for _, part in water.fractions]

    def whole(self) -> dict[str, NDArray[np.int64]]:
        """The whole numbers of `Count`, by field."""
        measured = self._rows.of_classes(self._matter.measured(self._parts))
        found = {"raw": self._sum("raw"), "confirmed": self._sum("confirmed"), "measured": measured}
        found |= {field: self._rows.of_classes(one) for field, one in self._matter.origins(self._parts).items()}
        return {name: np.rint(values).astype(np.int64) for name, values in found.items()}

    def columns(self) -> dict[str, Values]:
        """The other numbers of `Count`, by field."""
        counted_low, counted_high = poisson.intervals(self._sum("raw") + self._sum("confirmed"))
        low, high = self._sum("low"), self._sum("high")
        corrected = np.where(np.isnan(low), np.nan, self._value)
        found = {"corrected": corrected, "low": low, "high": high}
        found |= {"counted_low": counted_low, "counted_high": counted_high}
        return found | self._in_water() | self._cells() | self._biovolume()

    def _sum(self, name: str) -> Values:
        return np.asarray(np.sum([getattr(one, name) for one in self._numbers], axis=0), np.float64)

    def _stands_for(self, name: str) -> Values:
        """The organisms that images stand for: of the counts of this name, each of its fraction."""
        factors = [math.nan if per_image is None else per_image for per_image, _ in self._water.fractions]
        pairs = zip(factors, self._numbers, strict=True)
        return np.asarray(np.sum([factor * getattr(one, name) for factor, one in pairs], axis=0), np.float64)

    @cached_property
    def _value(self) -> Values:
        return self._sum("value")

    @cached_property
    def _organisms(self) -> tuple[Values, Values, Values]:
        """Organisms in the whole sample, and the ends of the interval; not-a-number: not known."""
        sums = [Amount(one.value, *poisson.intervals(one.value), *_of_machine(one)) for one in self._numbers]
        return together(sums, self._per_image)

    @property
    def _per_image(self) -> list[float]:
        """Organisms that an image of each fraction stands for; not-a-number: not known."""
        return [math.nan if per_image is None else per_image for per_image, _ in self._water.fractions]

    @cached_property
    def _concentration(self) -> tuple[Values, Values, Values]:
        """Organisms in a liter, and the ends of the interval."""
        liters = np.nan if self._water.liters is None else self._water.liters
        value, low, high = self._organisms
        return value / liters, low / liters, high / liters

    def _in_water(self) -> dict[str, Values]:
        value, low, high = self._concentration
        found = {"organisms": self._organisms[0], "per_liter": value, "per_liter_low": low, "per_liter_high": high}
        return found | {f"{name}_organisms": self._stands_for(name) for name in ("raw", "confirmed")}

    def _cells(self) -> dict[str, Values]:
        known, size = self._matter.cells(self._parts), len(self._matter.classes)
        means = np.array([np.nan if one is None else one.mean for one in known], np.float64)
        value = self._value[:size]
        errors = np.array(
            [np.nan if one is None else one.error(count) for one, count in zip(known, value.tolist(), strict=True)]
        )
        low = np.where(np.isnan(self._sum("low")), self._value, self._sum("low"))[:size]
        high = np.where(np.isnan(self._sum("high")), self._value, self._sum("high"))[:size]
        found = self._times(means, errors, value, low, high, "cells{}")
        per_liter, per_liter_low, per_liter_high = (one[:size] for one in self._concentration)
        return found | self._times(means, errors, per_liter, per_liter_low, per_liter_high, "cells_per_liter{}")

    def _times(
        self, means: Values, errors: Values, value: Values, low: Values, high: Values, name: str
    ) -> dict[str, Values]:
        """Images times cells per image, with the errors of both in quadrature."""
        product = value * means
        below = np.sqrt(((value - low) * means) ** 2 + (value * errors) ** 2)
        above = np.sqrt(((high - value) * means) ** 2 + (value * errors) ** 2)
        columns = {"": product, "_low": np.maximum(product - below, 0.0), "_high": product + above}
        return {name.format(end): self._rows.sums(values, self._value) for end, values in columns.items()}

    def _biovolume(self) -> dict[str, Values]:
        """Biovolume and carbon on the images and in the water."""
        liters = math.nan if self._water.liters is None else self._water.liters
        in_water = [factor / liters * 1e-6 for factor in self._per_image]  # 1 um3 in a liter is 1e-6 mm3 in 1 m3
        found: dict[str, Values] = {}
        for kind, on_images, of_water in (
            ("volumes", "biovolume_um3", "biovolume_mm3_per_m3"),
            ("carbon", "carbon_pg", "carbon_ug_per_liter"),
        ):
            sums = [self._sum_of(kind, part, one) for part, one in zip(self._parts, self._numbers, strict=True)]
            for name, factors in ((on_images, [1.0] * len(sums)), (of_water, in_water)):
                columns = zip(("", "_low", "_high"), together(sums, factors), strict=True)
                found |= {f"{name}{end}": values for end, values in columns}
        return found

    def _sum_of(self, kind: str, part: Part, numbers: Numbers) -> Amount:
        """The volume or the carbon of all images of a fraction."""
        means, errors = self._matter.sizes(part, self._parts, kind)
        images = numbers.value[: len(means)]
        machine = [one[: len(means)] * means for one in _of_machine(numbers)]
        total, variance, *machine = (
            self._rows.sums(one, self._value)
            for one in (images * means, images * means**2 * (1 + images * errors), *machine)
        )
        return Amount(total, *poisson.of_sums(total, variance, self._rows.largest(means)), *machine)


def _of_machine(numbers: Numbers) -> tuple[Values, Values]:
    """How far the errors of the machine reach below and above the number of images; 0 where they are not known."""
    below, above = numbers.value - numbers.low, numbers.high - numbers.value
    return np.maximum(np.nan_to_num(below), 0), np.maximum(np.nan_to_num(above), 0)
