"""From a survey to its Darwin Core Archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pelagia.errors import InputError
from pelagia.model.card import ModelCard
from pelagia.survey.journal import Survey
from pelagia.system.console import ProgressCallback
from pelagia.system.files import refuse_existing
from pelagia.taxonomy import Taxonomy, load_taxonomy
from pelagia_inference.counts.counts import Counts, excluded_images
from pelagia_inference.counts.options import CountOptions
from pelagia_inference.exports.dwc import measurements
from pelagia_inference.exports.dwc.archive import eml_of, write_archive
from pelagia_inference.exports.dwc.details import details_of
from pelagia_inference.exports.dwc.events import Row, SampleEvent, event_rows, sample_events
from pelagia_inference.exports.dwc.metadata import DatasetMetadata, load_metadata
from pelagia_inference.exports.dwc.missing import Missing, missing_in
from pelagia_inference.exports.dwc.occurrences import (
    Names,
    Occurrence,
    not_named,
    not_organisms,
    occurrence_row,
    occurrences_of,
)
from pelagia_inference.exports.dwc.terms import ABSENT, COLUMNS, HUMAN
from pelagia_inference.exports.exporting import FAILED, Exporting

ARCHIVE_FILE = "dwca.zip"


@dataclass(frozen=True)
class Published:
    """What `write_dwc` wrote.

    Attributes:
        target: the archive.
        rows: table -> number of rows.
        not_organisms: class that is not an organism -> number of its images, which are left out.
        not_named: verdict -> number of its images, which are left out if only accepted names count.
        failed: number of images that could not be classified, which are left out.
        absences: number of occurrences that say that a taxon is absent.
        confirmed: number of occurrences that people confirmed.
        missing: what is recommended and missing; with ``incomplete`` also what is required.
        warnings: what the user must know, one sentence each.
    """

    target: Path
    rows: dict[str, int]
    not_organisms: Counter[str]
    not_named: Counter[str]
    failed: int
    absences: int
    confirmed: int
    missing: tuple[Missing, ...]
    warnings: tuple[str, ...]


def write(work: Exporting) -> list[str]:
    """Writes the archive of an export, and returns what a person should know, one sentence each."""
    options = work.options
    done = write_dwc(
        work.survey,
        work.folder / ARCHIVE_FILE,
        counting=options,
        metadata=options.metadata,
        taxonomy=options.taxonomy,
        absences=options.absences,
        incomplete=options.incomplete,
        people=options.people,
        progress=work.progress,
    )
    work.left_out[FAILED] += done.failed
    for verdict, images in done.not_named.items():
        work.left_out[f"images that the model did not name with a class ({verdict.replace('_', ' ')})"] += images
    for name, images in done.not_organisms.items():
        work.left_out[f"images of '{name}', which is not an organism"] += images
    events, occurrences, measured = done.rows.values()
    said = f"{done.confirmed} of them confirmed by people, {done.absences} absences"
    return [
        f"{events} events, {occurrences} occurrences ({said}), {measured} measurements",
        *(f"{'missing' if one.required else 'recommended, and missing'}: {one.text}" for one in done.missing),
        *(f"warning: {text}" for text in done.warnings),
    ]


def write_dwc(
    survey: Survey,
    target: Path,
    *,
    counting: CountOptions = CountOptions(),  # noqa: B008 - it is frozen
    metadata: Path | None = None,
    taxonomy: Path | None = None,
    absences: bool = False,
    incomplete: bool = False,
    people: bool = False,
    progress: ProgressCallback = lambda done, total: None,
) -> Published:
    """Writes a survey as a Darwin Core Archive, if nothing that OBIS requires is missing.

    Args:
        survey: the open survey.
        target: the zip file to write; it must not exist.
        counting: how images are counted.
        metadata: the YAML file about the dataset; if it does not exist, a template is written there.
        taxonomy: a taxonomy file to use instead of that of the model.
        absences: whether taxa of which a sample has no image are written as absent.
        incomplete: whether to write the archive although something that OBIS requires is missing.
        people: whether the names in the survey are published of people who are not in the metadata.
        progress: called with (images done, all images).

    Raises:
        InputError: something that is required is missing; the message lists all of it. Or a file or column is wrong.
        SurveyError: the journal cannot be read.
        OSError: the disk is full or failing; nothing is written.
    """
    refuse_existing(target)
    about = load_metadata(metadata, survey)
    card = counting.card(survey)
    names = Names(_taxonomy(survey, card, taxonomy))
    counts = counting.count(survey, progress)
    excluded = excluded_images(survey, counting.exclude_flags)
    details = details_of(survey, counting.grouping(survey), excluded, progress)
    events = sample_events(counts.samples, details, about)
    rows = event_rows(events, about)
    occurrences = occurrences_of(events, counts.counts, names, absences=absences)
    model = model_reference(survey, card, about)
    written = [occurrence_row(one, model, about, people) for one in occurrences]
    missing = missing_in(about, events, occurrences, written)
    if not incomplete:
        _refuse(missing, survey.folder)
    measured = list(_measurements(events, occurrences, counts.method))
    tables = dict(zip(COLUMNS, (rows, written, measured), strict=True))
    write_archive(target, tables, eml_of(about, rows, _methods(model, counts)))
    return _published(target, tables, counts, names, missing)


def _published(
    target: Path, tables: Mapping[str, Sequence[Row]], counts: Counts, names: Names, missing: Sequence[Missing]
) -> Published:
    _, occurrences, _ = tables.values()
    return Published(
        target,
        {name: len(table) for name, table in tables.items()},
        not_organisms(counts.counts, names),
        not_named(counts.counts),
        sum(sample.failed for sample in counts.samples),
        sum(row["occurrenceStatus"] == ABSENT for row in occurrences),
        sum(row["identificationVerificationStatus"] == HUMAN for row in occurrences),
        tuple(missing),
        counts.warnings,
    )


def _taxonomy(survey: Survey, card: ModelCard | None, file: Path | None) -> Taxonomy:
    if file is not None:
        return load_taxonomy(file)
    if card is None:
        raise InputError(
            f"the survey {survey.folder} has no taxonomy: it was made by an older Pelagia; name a taxonomy file or a "
            "dataset.yaml with --taxonomy"
        )
    if not card.taxonomy.taxa:
        raise InputError(
            "the taxonomy of the model has classes and no taxa, so there are no scientific names: make a taxonomy with "
            "`pelagia taxonomy from TABLE.csv --out TAXONOMY.yaml`, and name it with --taxonomy"
        )
    return card.taxonomy


def model_reference(survey: Survey, card: ModelCard | None, about: DatasetMetadata) -> str:
    """The model with its version, for identificationReferences."""
    version = f"SHA-256 {survey.meta.get('model_sha256', '')[:16]}"
    name = "model" if card is None else f"{card.name}, made {card.created[:10]} with Pelagia {card.pelagia_version}"
    return " | ".join(text for text in (about.model_reference, f"{name} ({version})") if text)


def _refuse(missing: Sequence[Missing], folder: Path) -> None:
    required = [one.text for one in missing if one.required]
    if required:
        listed = "".join(f"\n  - {text}" for text in required)
        advised = "".join(f"\n  - {one.text}" for one in missing if not one.required)
        raise InputError(
            f"{folder}: nothing was written, because OBIS and GBIF require what is missing:{listed}"
            + (f"\nrecommended, and missing too:{advised}" if advised else "")
            + "\nAdd what is required. Where --metadata names a file that does not exist, a template to fill in is "
            "written. --incomplete writes the archive as it is."
        )


def _measurements(events: Sequence[SampleEvent], occurrences: Sequence[Occurrence], method: str) -> Iterator[Row]:
    for event in events:
        yield from measurements.of_sample(event)
    done: set[tuple[str, str]] = set()
    for one in occurrences:
        key = one.event.sample.name, one.named.name
        yield from measurements.of_occurrence(one, method, first=key not in done)
        done.add(key)


def _methods(model: str, counts: Counts) -> list[str]:
    steps = [f"Images were classified by a neural network: {model}."]
    if any(count.confirmed for count in counts.counts):
        steps.append("People confirmed the label of some images; these are occurrences of their own.")
    if counts.method:
        steps.append(f"Further measurements give corrected numbers: {counts.method}.")
    return steps
