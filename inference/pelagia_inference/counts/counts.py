"""Counts of a survey: for each sample, the number of organisms of each class and each taxon.

Invariant: labels that people confirmed are counted apart from those of the machine, and are never corrected.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from pelagia.survey.additions import confirmed_of
from pelagia.survey.journal import Survey
from pelagia_inference.counts.samples import Sample, sample_columns, sample_name


@dataclass(frozen=True)
class Count:
    """The number of organisms of one class or taxon in one sample.

    Attributes:
        sample: the name of the sample.
        name: the class, or the taxon.
        rank: the taxonRank of a taxon; empty for a class.
        raw: images that the machine gave the class, without those whose label people confirmed.
        confirmed: images whose label people confirmed to be the class.
        corrected: estimate of the true number of images of the class, the confirmed ones included; None: no correction.
        low, high: the ends of its interval (90%); None: not known.
        per_liter, per_liter_low, per_liter_high: organisms in a liter of water; None: the volume is not known.
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


def count_survey(survey: Survey, by: Sequence[str] = ()) -> Counts:
    """Counts the images of a survey by sample and class.

    Args:
        survey: the open survey.
        by: the columns that name the samples; by default the first of `SAMPLE_COLUMNS` that the survey has.

    Raises:
        InputError: the survey lacks a named column.
        SurveyError: the journal cannot be read.
    """
    columns = sample_columns(survey.columns().own, by)
    confirmed = confirmed_of(survey)
    raw: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    people: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    failed: Counter[tuple[str, ...]] = Counter()
    same: dict[tuple[str, ...], dict[str, str]] = {}
    for row in survey:
        key = tuple(row.columns.get(name, "") for name in columns)
        same[key] = {
            name: text for name, text in same.get(key, dict(row.columns)).items() if row.columns.get(name) == text
        }
        if row.probabilities is None:
            failed[key] += 1
        elif label := confirmed.get(row.path):
            people[key][label.class_name] += 1
        else:
            raw[key][survey.classes[int(row.probabilities.argmax())]] += 1
    samples, counts = [], []
    for key in sorted(same):
        name, images = sample_name(key), raw[key].total() + people[key].total()
        samples.append(Sample(name, key, same[key], images, failed[key]))
        names = dict.fromkeys((*survey.classes, *sorted(people[key])))
        counts += [Count(name, one, raw=raw[key][one], confirmed=people[key][one]) for one in names]
    return Counts(columns, tuple(samples), tuple(counts))
