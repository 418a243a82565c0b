"""Checks a survey: measures its objects, flags images and samples, and writes the flags.

Invariant: nothing is dropped. Flags and measures go into the journal, where counts and exports find them.
``checks.csv`` has one row for each flag, ``check_samples.csv`` one for each sample. A new check replaces the flags of
the one before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pelagia.errors import InputError, first_few
from pelagia.survey.additions import Flag, keep_pixel_size, kept_pixel_size, set_flags
from pelagia.survey.journal import Prediction, Survey
from pelagia.survey.model_card import card_of_survey
from pelagia.system.console import ProgressCallback
from pelagia.system.tables import Cell, write_table
from pelagia_inference.checks.expected import Region, place_and_month, unexpected, unknown_taxa
from pelagia_inference.checks.gather import Gathered, SampleState, gather, key_of
from pelagia_inference.checks.judge import Judge
from pelagia_inference.checks.measure import Measuring, measure_survey
from pelagia_inference.checks.rules import LEAST_SHARPNESS
from pelagia_inference.checks.samples import flow_flags, pixel_flags, share_flags, volume_flags
from pelagia_inference.counts.samples import sample_name

FLAGS_FILE, SAMPLES_FILE = "checks.csv", "check_samples.csv"
_QUANTILES = (0.1, 0.5, 0.9)
_MANY_SOFT = 0.5


@dataclass(frozen=True)
class CheckedSample:
    """A sample after the check.

    Attributes:
        name, images, failed: as in `pelagia_inference.counts.samples.Sample`.
        sharpness: the 10th percentile, the median and the 90th percentile of its objects; not a number: not known.
        counts: flag of images -> number of images.
        flags: flag of the sample -> details.
    """

    name: str
    images: int
    failed: int
    sharpness: tuple[float, float, float]
    counts: Mapping[str, int]
    flags: Mapping[str, str]


@dataclass(frozen=True)
class Checked:
    """The result of a check.

    Attributes:
        by: the columns that name the samples.
        measuring: how many objects were measured, and what was left out.
        samples: sorted by name.
        counts: flag of images -> number of images in the survey.
        images: number of classified images.
        files: the two files that were written.
        warnings: what the user must know, one sentence each.
    """

    by: tuple[str, ...]
    measuring: Measuring
    samples: tuple[CheckedSample, ...]
    counts: Mapping[str, int]
    images: int
    files: tuple[Path, ...]
    warnings: tuple[str, ...] = field(default=())


def check_survey(
    survey: Survey,
    by: Sequence[str] = (),
    pixel_size: float = 0.0,
    expected: Mapping[str, list[Region]] | None = None,
    progress: ProgressCallback | None = None,
    *,
    replace_pixel_size: bool = False,
) -> Checked:
    """Checks a survey that was opened to add.

    Args:
        by: the columns that name the samples; by default the first of `SAMPLE_COLUMNS` that the survey has.
        pixel_size: the size in micrometers for images that have none, which the survey keeps; 0: the kept one.
        expected: taxon -> where it lives; None: classes are not judged.
        progress: called with (measured, all images).
        replace_pixel_size: whether another size than the kept one replaces it, for all images.

    Raises:
        InputError: the survey keeps another pixel size, lacks a column, or a file cannot be replaced.
        SurveyError: the disk is full or failing, or the journal is damaged.
    """
    size = _pixel_size(survey, pixel_size, replace_pixel_size)
    measuring = measure_survey(survey, progress)
    data = gather(survey, by, size)
    judge = Judge(data)
    counts = judge.counts()
    lineages = {} if expected is None else _lineages(survey)
    flags = list(_sample_flags(data, counts, expected, lineages))
    set_flags(survey, (flag for _, flag in _image_flags(survey, judge)), flags)
    by_sample: dict[str, dict[str, str]] = {}
    for flag in flags:
        by_sample.setdefault(flag.on, {})[flag.flag] = flag.detail
    rows = sorted(_checked(data, counts, by_sample), key=lambda row: row.name)
    files = (_write_flags(survey, data, judge, flags), _write_samples(survey, rows))
    total = sum(counts, Counter[str]())
    warnings = (*_warnings(data, measuring, expected, lineages), *unknown_taxa(survey, expected or ()))
    return Checked(data.by, measuring, tuple(rows), total, len(data.sample), files, warnings)


def _pixel_size(survey: Survey, given: float, replaces: bool) -> float:
    """The size for images that have none: the one that is given, which is kept, else the kept one."""
    kept = kept_pixel_size(survey)
    if given and kept and given != kept and not replaces:
        raise InputError(
            f"the survey {survey.folder} was checked with --pixel-size {kept:g}, and now it is {given:g}: leave the "
            f"option out to use {kept:g}, or add --replace-pixel-size to use {given:g} for all images"
        )
    if given and given != kept:
        keep_pixel_size(survey, given)
    return given or kept


def _sample_flags(
    data: Gathered,
    counts: Sequence[Counter[str]],
    expected: Mapping[str, list[Region]] | None,
    lineages: Mapping[str, tuple[str, ...]],
) -> Iterator[Flag]:
    for sample, found in zip(data.samples, counts, strict=True):
        yield from share_flags(sample, found)
        yield from pixel_flags(sample)
        yield from sample.run_flags
    yield from volume_flags(data.samples)
    yield from flow_flags(data.samples)
    if expected is not None:
        yield from unexpected(data.samples, expected, lineages)


def _lineages(survey: Survey) -> dict[str, tuple[str, ...]]:
    """Class -> the names of its taxa from the root down; without taxa if the survey lacks the card of its model."""
    card = card_of_survey(survey)
    if card is None:
        return dict.fromkeys(survey.classes, ())
    taxonomy = card.taxonomy
    return {name: tuple(taxon.name for taxon in taxonomy.lineage(name)) for name in taxonomy.names}


def _checked(
    data: Gathered, counts: Sequence[Counter[str]], flags: Mapping[str, Mapping[str, str]]
) -> Iterator[CheckedSample]:
    order = np.argsort(data.sample, kind="stable")
    edges = np.searchsorted(data.sample[order], np.arange(len(data.samples) + 1))
    for index, sample in enumerate(data.samples):
        values = data.sharpness[order[edges[index] : edges[index + 1]]]
        values = values[np.isfinite(values)]
        low, middle, high = np.quantile(values, _QUANTILES).tolist() if len(values) else (np.nan,) * 3
        found = {flag: count for flag, count in counts[index].items() if count}
        yield CheckedSample(
            sample.name, sample.images, sample.failed, (low, middle, high), found, flags.get(sample.name, {})
        )


def _image_flags(survey: Survey, judge: Judge) -> Iterator[tuple[Prediction, Flag]]:
    for index, row in enumerate(row for row in survey if row.ok):
        yield from ((row, flag) for flag in judge.flags(index, row.path))


def _write_flags(survey: Survey, data: Gathered, judge: Judge, flags: Sequence[Flag]) -> Path:
    """Writes ``checks.csv``, samples first."""

    def rows() -> Iterator[tuple[Cell, ...]]:
        for flag in sorted(flags, key=lambda flag: (flag.on, flag.flag)):
            yield flag.on, None, flag.flag, flag.detail
        for row, flag in _image_flags(survey, judge):
            yield _sample_name(row, data), row.path, flag.flag, flag.detail

    return _write(survey.folder / FLAGS_FILE, ("sample", "path", "flag", "detail"), rows())


def _sample_name(row: Prediction, data: Gathered) -> str:
    return sample_name(key_of(row.columns, data.by))


def _write_samples(survey: Survey, samples: Sequence[CheckedSample]) -> Path:
    names = sorted({flag for sample in samples for flag in sample.counts})
    header = ("sample", "images", "failed", "sharpness_p10", "sharpness_median", "sharpness_p90", *names, "flags")
    rows = (
        (
            sample.name,
            sample.images,
            sample.failed,
            *(None if np.isnan(value) else round(value, 3) for value in sample.sharpness),
            *(sample.counts.get(name, 0) for name in names),
            "; ".join(f"{flag}: {detail}" if detail else flag for flag, detail in sample.flags.items()),
        )
        for sample in samples
    )
    return _write(survey.folder / SAMPLES_FILE, header, rows)


def _write(path: Path, header: Sequence[str], rows: Iterator[tuple[Cell, ...]]) -> Path:
    try:
        write_table(path, header, rows, mark=True)
    except PermissionError:
        raise InputError(f"cannot replace {path}: close it in the program that has it open, then check again") from None
    return path


def _warnings(
    data: Gathered,
    measuring: Measuring,
    expected: Mapping[str, list[Region]] | None,
    lineages: Mapping[str, tuple[str, ...]],
) -> Iterator[str]:
    for reason, count in measuring.left_out.items():
        first = measuring.first_left_out[reason]
        yield (
            f"not measured: {count} image{'s' if count > 1 else ''}, {reason} (the first is {first}); connect the "
            "drive with the images, and check again"
        )
    known = data.sharpness[np.isfinite(data.sharpness)]
    if len(known) and (known < LEAST_SHARPNESS).mean() > _MANY_SOFT:
        yield (
            "more than half of all images have edges wider than 2 pixels: the images may have been enlarged, and the "
            "flag 'blurred' means little then"
        )
    if not data.by:
        yield "no column names the samples, so the survey is one sample: name one with --by"
    if expected is not None:
        yield from _about_expected(data.samples, expected, lineages)


def _about_expected(
    samples: Sequence[SampleState], expected: Mapping[str, list[Region]], lineages: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    without = sum(place_and_month(sample.columns) is None for sample in samples)
    if without:
        yield (
            f"{without} of {len(samples)} samples have no position or date (decimalLatitude, decimalLongitude, "
            "eventDate), so their classes were not compared with the list of expected taxa"
        )
    if not any(lineages.values()):
        yield (
            "the taxa of the classes are not known, because the model has none or the survey was made by an older "
            "Pelagia: the list of expected taxa was compared with the names of classes only"
        )
    classes = {name for sample in samples for name in sample.classes}
    known = {name for name in classes if {name, *lineages.get(name, ())} & expected.keys()}
    if classes - known:
        yield (
            f"{len(classes - known)} of {len(classes)} classes are not in the list of expected taxa, so they were not "
            f"judged: {first_few(sorted(classes - known))}"
        )
