"""What a user must know about the counts of a survey, in words: one sentence each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pelagia.errors import did_you_mean, first_few
from pelagia.model.card import ModelCard
from pelagia_inference.counts.cells import CELLS
from pelagia_inference.counts.samples import DEPTH, NO_VALUE, Sample
from pelagia_inference.counts.tally import LIKELIEST, Choices, Tally
from pelagia_inference.counts.taxa import Names

_FEW = 10
"""So many samples of a single image are not warned of."""
_VALUE = re.compile(r"'[^']*'|[0-9.]+(e[+-]?[0-9]+)?")
"""A name or a number in a warning: warnings of one kind differ only in them."""


def warnings(
    found: Tally,
    samples: Sequence[Sample],
    choices: Choices,
    names: Names,
    card: ModelCard | None,
    method: str,
    drift: Sequence[tuple[str, str]],
) -> Iterator[str]:
    """The warnings on the counts of a survey, the most important first.

    Args:
        method: how the counts were corrected; empty: they were not.
        drift: names of samples, and why their correction may be wrong.
    """
    yield from _about_correction(found, choices, card, method)
    yield from about_drift(samples, drift)
    yield from _about_samples(found, samples, choices)
    yield from _about_flags(samples)
    yield from _about_alike_names(samples)
    yield from _about_water(samples)
    yield from _about_images(found, samples, choices)
    yield from _about_names(found, names, choices, card)


def _about_correction(found: Tally, choices: Choices, card: ModelCard | None, method: str) -> Iterator[str]:
    if choices.count_as != LIKELIEST:
        yield (
            "only accepted names are counted: the images of which the model is unsure are missing from the classes, "
            f"which changes the composition; `--count {LIKELIEST}` counts every image"
        )
    counting = None if card is None else card.counting
    by_machine = any(part.machine for part in found.parts)
    if by_machine and method and counting is not None and (reason := counting.reason):
        yield f"the counts are those of the machine, not corrected, because {reason}; the intervals hold its errors"
    elif by_machine and not method and choices.count_as == LIKELIEST:
        why = "the model has no statistics for it" if counting is None else "as it was asked for"
        yield (
            f"the counts are not corrected for the errors of the model ({why}): the intervals hold only the chance of "
            "which organisms are in a sample"
        )
    if card is None:
        yield (
            "the survey was made by an older Pelagia and does not keep the taxonomy of its model: there are no counts "
            "of taxa; name the model with --model MODEL.onnx"
        )


def about_drift(samples: Sequence[Sample], drift: Sequence[tuple[str, str]]) -> Iterator[str]:
    """One warning for each kind, with the numbers of its first sample."""
    kinds: dict[str, dict[str, str]] = defaultdict(dict)
    for name, text in drift:
        kinds[_VALUE.sub("", text)].setdefault(name, text)
    for texts in kinds.values():
        first = "in the first, " if len(texts) > 1 else ""
        yield f"{len(texts)} of {len(samples)} samples ({first_few(texts)}): {first}{next(iter(texts.values()))}"


def _about_samples(found: Tally, samples: Sequence[Sample], choices: Choices) -> Iterator[str]:
    columns = choices.grouping.columns
    for index, name in enumerate(columns):
        missing = sum(sample.images + sample.failed for sample in samples if not sample.key[index])
        if missing and choices.grouping.edges and name == DEPTH:
            yield f"{missing} images have no depth, or one outside the bins: they count as '{NO_VALUE}'"
        elif missing:
            yield f"{missing} images have no value in the column {name}: they count as '{NO_VALUE}'"
    if not columns:
        yield (
            "the survey has no column that names samples (sample, eventID, station, locationID): all its images are "
            "one sample; name columns with --by"
        )
    single = [sample.name for sample in samples if sample.images + sample.failed == 1]
    if columns and len(single) > max(_FEW, len(samples) / 2):
        yield (
            f"{len(single)} of {len(samples)} samples are a single image ({first_few(single)}), so "
            f"{' and '.join(columns)} may name images and not samples: name columns that all images of a sample share "
            "with --by"
        )
    if pooled := [sample.name for sample in samples if sample.pooled > 1]:
        yield f"several samples are put together, and their volumes added up, in {first_few(pooled)}"
    if found.empty:
        yield f"{len(found.empty)} samples have no image, and their volumes count: {first_few(found.empty)}"
    if found.empty_no_volume:
        yield (
            f"{len(found.empty_no_volume)} samples have no image and no known volume: if they are put together with "
            f"others, the concentrations are too high: {first_few(found.empty_no_volume)}"
        )


def _about_flags(samples: Sequence[Sample]) -> Iterator[str]:
    flagged: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        for flag in filter(None, sample.flags.split("|")):
            flagged[flag].append(sample.name)
    for flag, names in flagged.items():
        yield f"{len(names)} of {len(samples)} samples have the flag {flag} of `pelagia check`: {first_few(names)}"


def _about_alike_names(samples: Sequence[Sample]) -> Iterator[str]:
    """Names of samples that may be one."""
    alike: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        alike["/".join(" ".join(part.casefold().split()) for part in sample.key)].append(sample.name)
    if found := [" and ".join(map(repr, same)) for same in alike.values() if len(same) > 1]:
        yield (
            f"the names of the samples {first_few(found, 3)} differ only in capitals or spaces: they are counted "
            "apart; if they are one sample, correct it in the input and classify into a new folder"
        )


def _about_water(samples: Sequence[Sample]) -> Iterator[str]:
    """One warning for each kind: warnings of one kind differ only in the values of the samples."""
    faults, assumed = defaultdict[str, dict[str, str]](dict), defaultdict[str, dict[str, str]](dict)
    for sample in samples:
        if sample.images and sample.no_volume:
            faults[_VALUE.sub("", sample.no_volume)][sample.name] = sample.no_volume
        if sample.assumed:
            assumed[_VALUE.sub("", sample.assumed)][sample.name] = sample.assumed
    for texts in faults.values():
        yield f"{len(texts)} of {len(samples)} samples have no concentration: {_first_of(texts)}"
    for texts in assumed.values():
        yield f"{len(texts)} of {len(samples)} samples: {_first_of(texts)}"


def _first_of(texts: Mapping[str, str]) -> str:
    """The first of the texts of samples, with the names of the samples."""
    text = next(iter(texts.values()))
    others = ", and others like it" if len({*texts.values()}) > 1 else ""
    return f"{text}{others}: {first_few(texts)}"


def _about_images(found: Tally, samples: Sequence[Sample], choices: Choices) -> Iterator[str]:
    total = sum(sample.images for sample in samples)
    if excluded := sum(sample.excluded for sample in samples):
        by_flag = ", ".join(f"{flag} {count}" for flag, count in sorted(found.excluded.items()))
        yield f"{excluded} images are left out because of their flags ({by_flag}): organisms on them are not counted"
    if failed := sum(sample.failed for sample in samples):
        yield f"{failed} images could not be classified: organisms on them are not counted"
    if found.spanning:
        yield f"{found.spanning} images have a depth range that goes beyond one bin: they count in that of its middle"
    if found.reversed_depths:
        yield (
            f"{found.reversed_depths} images have a minimumDepthInMeters that is more than their maximumDepthInMeters: "
            "the two were taken as the ends of one range"
        )
    if found.no_time:
        yield f"{found.no_time} of {total + failed} images have no time (column eventDate)"
    if taken := [name for name, count in sorted(found.one_cell.items()) if count]:
        yield (
            f"the carbon of {first_few(taken)} is that of one cell an image, because their cells are not known: give "
            "them with --cells (1 for single cells)"
        )
    if found.no_cells:
        yield f"{found.no_cells} images have a value in the column {CELLS} that is not a number from 0 to 1,000,000,000"


def _about_names(found: Tally, names: Names, choices: Choices, card: ModelCard | None) -> Iterator[str]:
    if card is not None and (others := names.classes[len(card.taxonomy.names) :]):
        yield f"people gave names that are no classes of the model: {first_few(others)}"
    if unknown := sorted({*choices.cells.classes, *choices.cells.carbon} - set(names.classes)):
        said = [f"'{name}'{did_you_mean(name, names.classes)}" for name in unknown]
        yield f"--cells: the table has classes that the survey does not have: {first_few(said)}"
    if found.not_in_survey:
        yield (
            f"--cells: {len(found.not_in_survey)} of the {len(choices.cells.images)} images in the table are not in "
            f"the survey, and are not used: {first_few(found.not_in_survey, 3)}; a path must be that of predictions.csv"
        )
