"""Counts of a survey: for each sample, the number of organisms of each class and each taxon.

Invariant: labels that people confirmed are counted apart from those of the machine, and are never corrected.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from pelagia.errors import InputError, did_you_mean, first_few
from pelagia.model.card import ModelCard
from pelagia.model.decision import ABSTAINED, UNKNOWN
from pelagia.shell import command_line
from pelagia.survey.additions import image_flags, sample_flags
from pelagia.survey.journal import Survey
from pelagia.survey.model_card import card_of_survey
from pelagia_inference.counts.cells import CellTable, carbon_kinds
from pelagia_inference.counts.estimate import (
    Estimate,
    Matter,
    Numbers,
    Water,
    corrector_of,
    numbers_of,
    waters_of,
)
from pelagia_inference.counts.samples import Sample, grouping, sample_name
from pelagia_inference.counts.tally import (
    ACCEPTED_ONLY,
    COUNT_AS,
    LIKELIEST,
    NOT_NAMED,
    Choices,
    Part,
    Probabilities,
    Progress,
    Tally,
    tally,
)
from pelagia_inference.counts.taxa import CLASS, Rows, names_of
from pelagia_inference.counts.words import warnings

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """The number of organisms of one class or taxon in one sample.

    Intervals are 90% intervals. `docs/reference/counts.md` says how each number is computed.

    Attributes:
        sample: the name of the sample.
        name: the class, or the taxon.
        rank: the taxonRank of a taxon; empty for a class.
        raw: images that the machine gave the class, without those whose label people confirmed.
        confirmed: images whose label people confirmed to be the class.
        corrected: estimate of the true number of images of the class, the confirmed ones included; None: no correction.
        low, high: the ends of its interval (90%); None: not known.
        per_liter, per_liter_low, per_liter_high: organisms in a liter of water; None: the volume is not known.
        kind: ``class``, ``taxon``, or ``not_named`` for images that count apart if only accepted names count.
        counted_low, counted_high: interval of the mean of ``raw + confirmed`` in such samples (Poisson), without
            the errors of the machine.
        organisms: organisms in the whole sample, with sub-sampling and dilution; None: not known.
        raw_organisms, confirmed_organisms: the organisms that the images of ``raw`` and of ``confirmed`` stand for.
        cells, cells_low, cells_high: cells on the images; None: not known how many an image shows.
        cells_per_liter, cells_per_liter_low, cells_per_liter_high: cells in a liter of water.
        cells_by_people, cells_by_column, cells_by_class, cells_by_mean: images of the class whose cells people counted,
            the input has, a table by class has, or are taken for the mean of the other images.
        measured: images of the class whose volume was measured.
        biovolume_um3, carbon_pg: of all images of the class: the number of images times the mean of the measured ones.
            ``_low`` and ``_high`` are the interval of the mean in such samples, with the errors of the machine.
        biovolume_mm3_per_m3, carbon_ug_per_liter, each with ``_low`` and ``_high``: the same in the water.
    """

    sample: str
    name: str
    rank: str = ""
    raw: int = 0
    confirmed: int = 0
    corrected: float | None = None
    low: float | None = None
    high: float | None = None
    per_liter: float | None = None
    per_liter_low: float | None = None
    per_liter_high: float | None = None
    kind: str = CLASS
    counted_low: float = 0.0
    counted_high: float = 0.0
    organisms: float | None = None
    raw_organisms: float | None = None
    confirmed_organisms: float | None = None
    cells: float | None = None
    cells_low: float | None = None
    cells_high: float | None = None
    cells_per_liter: float | None = None
    cells_per_liter_low: float | None = None
    cells_per_liter_high: float | None = None
    cells_by_people: int = 0
    cells_by_column: int = 0
    cells_by_class: int = 0
    cells_by_mean: int = 0
    measured: int = 0
    biovolume_um3: float | None = None
    biovolume_um3_low: float | None = None
    biovolume_um3_high: float | None = None
    carbon_pg: float | None = None
    carbon_pg_low: float | None = None
    carbon_pg_high: float | None = None
    biovolume_mm3_per_m3: float | None = None
    biovolume_mm3_per_m3_low: float | None = None
    biovolume_mm3_per_m3_high: float | None = None
    carbon_ug_per_liter: float | None = None
    carbon_ug_per_liter_low: float | None = None
    carbon_ug_per_liter_high: float | None = None


@dataclass(frozen=True)
class Counts:
    """The counts of a survey.

    Attributes:
        by: the columns that name the samples.
        samples: the samples, sorted by name.
        counts: one for each sample and class or taxon; the classes come first, in the order of the model.
        method: how the counts were corrected, in words; empty: they were not.
        warnings: what the user must know, one sentence each.
    """

    by: tuple[str, ...]
    samples: tuple[Sample, ...]
    counts: tuple[Count, ...]
    method: str = ""
    warnings: tuple[str, ...] = field(default=())


def count_survey(
    survey: Survey,
    by: Sequence[str] = (),
    *,
    depth_bins: Sequence[float] = (),
    count_as: str = LIKELIEST,
    exclude_flags: Sequence[str] = (),
    cells: CellTable | None = None,
    card: ModelCard | None = None,
    correct: bool = True,
    progress: Progress | None = None,
) -> Counts:
    """Counts the images of a survey by sample, class and taxon.

    Args:
        survey: the open survey.
        by: the columns that name the samples; by default the first of `SAMPLE_COLUMNS` that the survey has.
        depth_bins: ends of depth intervals in meters, by which samples are put together as well.
        count_as: ``likeliest``: each classified image counts as its likeliest class, whatever the verdict;
            ``accepted``: only accepted names count, the other images count apart, and nothing is corrected.
        exclude_flags: flags of `pelagia check`; images with one of them are left out.
        cells: the cells of images and classes; None: only what people counted and the column ``cells`` of the input.
        card: the card of the model; None: that of the survey.
        correct: correct the counts if the model has statistics for it.
        progress: called with the rows done and their number; then, as the correction takes longer than reading, with
            the samples done and their number.

    Raises:
        InputError: the survey lacks a named column, flag or verdict.
        SurveyError: the journal cannot be read.
    """
    card = card or card_of_survey(survey)
    table = cells or CellTable()
    taxonomy = card.taxonomy if card else None
    _require(survey, count_as, exclude_flags)
    choices = Choices(
        grouping(survey.columns().own, by, depth_bins),
        count_as,
        frozenset(exclude_flags),
        table,
        carbon_kinds(survey.classes, taxonomy, table),
    )
    corrector = corrector_of(card) if correct and count_as == LIKELIEST else None
    with closing(Probabilities(len(survey.classes))) as probabilities:
        found = tally(survey, choices, probabilities if corrector else None, progress)
        names = names_of(survey.classes, {name for part in found.parts for name in part.confirmed}, taxonomy)
        rows = Rows(names, taxonomy, NOT_NAMED if count_as == ACCEPTED_ONLY else ())
        waters = waters_of(found.parts, choices.grouping)
        numbers: dict[Key, list[Numbers]] = {}
        for done, (key, water) in enumerate(waters.items(), 1):
            numbers[key] = [numbers_of(part, rows, corrector, probabilities) for _, part in water.fractions]
            if progress and corrector:
                progress(done, len(waters))
    samples, counts = _assemble(survey, found, rows, waters, numbers, choices)
    every = [(sample_name(key), one) for key, group in numbers.items() for one in group]
    method = next((one.method for _, one in every if one.method), "")
    drift = [(name, text) for name, one in every for text in one.warnings]
    said = [*warnings(found, samples, choices, names, card, method, drift)]
    said += _about_flags(survey, found, samples)
    return Counts(choices.grouping.columns, tuple(samples), tuple(counts), method, tuple(said))


def _about_flags(survey: Survey, found: Tally, samples: Sequence[Sample]) -> list[str]:
    """A warning if flags are of other samples than those that are counted."""
    known = {sample.name for sample in samples} | {part.own for part in found.parts}
    others = sorted({flag.on for flag in sample_flags(survey)} - known)
    if not others:
        return []
    check = command_line("pelagia", "check", survey.folder, "--by", "COLUMN")
    return [
        f"{len(others)} samples with flags are not among those that are counted ({first_few(others, 3)}), so their "
        f"flags are not shown: check with the columns by which you count, `{check}`"
    ]


def _require(survey: Survey, count_as: str, flags: Sequence[str]) -> None:
    if count_as not in COUNT_AS:
        choices = " or ".join(COUNT_AS)
        raise InputError(f"--count: there is no '{count_as}'{did_you_mean(count_as, COUNT_AS)}: choose {choices}")
    if count_as == ACCEPTED_ONLY and not survey.decides:
        raise InputError(
            "only accepted names cannot be counted: the model of this survey has no thresholds, and accepts every "
            f"image; count with '{LIKELIEST}'"
        )
    require_flags(survey, flags)


def excluded_images(survey: Survey, flags: Sequence[str]) -> frozenset[str]:
    """The paths of the images with one of these flags. Raises InputError if no image of the survey has a flag."""
    require_flags(survey, flags)
    return frozenset(one.on for one in image_flags(survey) if one.flag in flags) if flags else frozenset()


def require_flags(survey: Survey, flags: Sequence[str]) -> None:
    """Raises InputError if no image of the survey has one of these flags."""
    if not flags:
        return
    known = {flag.flag for flag in image_flags(survey)}
    check = command_line("pelagia", "check", survey.folder)
    has = ", ".join(sorted(known)) or f"none; set them with `{check}`"
    for name in flags:
        if name not in known:
            raise InputError(
                f"--exclude-flags: no image has the flag '{name}'{did_you_mean(name, known)}; flags of images: {has}"
            )


def _assemble(
    survey: Survey,
    found: Tally,
    rows: Rows,
    waters: Mapping[Key, Water],
    numbers: Mapping[Key, Sequence[Numbers]],
    choices: Choices,
) -> tuple[list[Sample], list[Count]]:
    groups: dict[Key, list[Part]] = defaultdict(list)
    for part in found.parts:
        groups[part.key].append(part)
    matter = Matter(found.parts, rows.names, choices.cells)
    flags: dict[str, list[str]] = defaultdict(list)
    for flag in sample_flags(survey):
        flags[flag.on].append(flag.flag)
    if twice := [name for name, count in Counter(map(sample_name, groups)).items() if count > 1]:
        raise InputError(f"--by: two samples would both have the name '{twice[0]}': name the columns in another order")
    samples, counts = [], []
    for key in sorted(groups):
        sample = _sample(key, groups[key], found.same[key], waters[key], flags)
        samples.append(sample)
        if sample.images:
            counts += _counts(sample.name, rows, Estimate(rows, waters[key], numbers[key], matter))
    return samples, counts


def _sample(
    key: Key,
    parts: Sequence[Part],
    columns: Mapping[str, str],
    water: Water,
    flags: Mapping[str, Sequence[str]],
) -> Sample:
    images, name = sum(part.images for part in parts), sample_name(key)
    stands_for = sum(part.images * (per_image or 1.0) for per_image, part in water.fractions)
    return Sample(
        name,
        key,
        columns,
        images,
        failed=sum(part.failed for part in parts),
        volume_l=water.liters,
        fraction=images / stands_for if stands_for else 1.0,
        excluded=sum(part.excluded for part in parts),
        abstained=sum(part.verdicts[ABSTAINED] for part in parts),
        unknown=sum(part.verdicts[UNKNOWN] for part in parts),
        pooled=len({part.own for part in parts}),
        flags="|".join(sorted({flag for one in {name, *(part.own for part in parts)} for flag in flags.get(one, ())})),
        no_volume=water.fault,
        assumed=water.assumed,
    )


def _counts(sample: str, rows: Rows, values: Estimate) -> list[Count]:
    """The counts of one sample, from arrays with one value for each row; not-a-number is None."""
    columns: dict[str, list[Any]] = {name: whole.tolist() for name, whole in values.whole().items()}
    for field_name, numbers in values.columns().items():
        columns[field_name] = [None if math.isnan(number) else number for number in numbers.tolist()]
    return [
        Count(sample, name, rank, kind=kind, **{field_name: column[index] for field_name, column in columns.items()})
        for index, (kind, name, rank) in enumerate(rows.labels)
    ]
