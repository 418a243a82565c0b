"""What a dataset lacks for OBIS and GBIF: checked before anything is written.

Invariant: it checks the rows that are written, so that the list and the archive agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pelagia.errors import first_few
from pelagia_inference.exports.dwc.events import Row, SampleEvent
from pelagia_inference.exports.dwc.metadata import LICENSES, DatasetMetadata
from pelagia_inference.exports.dwc.occurrences import Occurrence
from pelagia_inference.exports.dwc.terms import HUMAN, REQUIRED, instrument_of

_MANIFEST = "give the column in a manifest and classify into a new folder"
_FIX = {
    "eventDate": f"{_MANIFEST}, as 2024-05-31 or 2024-05-31T13:45:00Z",
    "decimalLatitude": f"{_MANIFEST}, in degrees, or name the samples with other columns (--by)",
    "decimalLongitude": f"{_MANIFEST}, in degrees, or name the samples with other columns (--by)",
    "scientificName": "give each of these classes a taxon in a taxonomy (`pelagia taxonomy from`), and name the file "
    "with --taxonomy",
    "scientificNameID": "`pelagia taxonomy check TAXONOMY.yaml --worms --write NEW.yaml` finds AphiaIDs; name the new "
    "file with --taxonomy",
    "coordinateUncertaintyInMeters": "give coordinate_uncertainty_m in the metadata",
    "minimumDepthInMeters": _MANIFEST,
    "maximumDepthInMeters": _MANIFEST,
    "sampleSizeValue": f"{_MANIFEST}; without it there are counts, and no abundances",
    "identifiedBy": "give the names to publish under people in the metadata, or add --people",
    "parentEventID": "give the cruise in the metadata, or a column station",
}
"""Term -> what to do where it is missing."""

_RECOMMENDED_OF_EVENTS = (
    "coordinateUncertaintyInMeters",
    "minimumDepthInMeters",
    "maximumDepthInMeters",
    "sampleSizeValue",
    "parentEventID",
)


@dataclass(frozen=True)
class Missing:
    """A term or key without a value.

    Attributes:
        name: the term, or the key of the metadata.
        required: whether OBIS or GBIF requires it; else it is recommended.
        text: what was found, where, and what to do.
    """

    name: str
    required: bool
    text: str


def missing_in(
    metadata: DatasetMetadata,
    events: Sequence[SampleEvent],
    occurrences: Sequence[Occurrence],
    rows: Sequence[Row],
) -> list[Missing]:
    """What is missing, the required things first.

    Args:
        metadata: what people say about the dataset.
        events: the samples.
        occurrences: the occurrences.
        rows: the row of each occurrence.
    """
    found = [*_metadata(metadata), *_events(events), *_occurrences(occurrences, rows), *_instrument(events)]
    return sorted(found, key=lambda one: not one.required)


def _metadata(metadata: DatasetMetadata) -> Iterator[Missing]:
    for name, there, what in (
        ("title", bool(metadata.title.strip()), "a title"),
        ("creators", any(one.named for one in metadata.creators), "a person or organization with a name"),
        ("license", bool(metadata.license), f"one of {', '.join(LICENSES)}"),
    ):
        if not there:
            yield Missing(name, True, f"{name}: the metadata has none: give {what} in the file of --metadata")
    if not metadata.abstract.strip():
        yield Missing("abstract", False, "abstract: the metadata has none")


def _events(events: Sequence[SampleEvent]) -> Iterator[Missing]:
    for term in ("eventDate", "decimalLatitude", "decimalLongitude", *_RECOMMENDED_OF_EVENTS):
        lacking = [event for event in events if not event.row.get(term)]
        if lacking:
            yield _of_term(term, f"{len(lacking)} of {len(events)} samples have none", lacking)
    wrong = [event for event in events if "eventDate" in event.faults and event.row["eventDate"]]
    if wrong:  # some images of the sample have a time, and others something else
        yield Missing("eventDate", True, _of_term("eventDate", "some images have no time of ISO 8601", wrong).text)


def _of_term(term: str, what: str, events: Sequence[SampleEvent]) -> Missing:
    names = [
        f"{event.sample.name}: {event.faults[term]}" if term in event.faults else event.sample.name for event in events
    ]
    return Missing(term, term in REQUIRED, f"{term}: {what} ({first_few(names, 3)}): {_FIX[term]}")


def _occurrences(occurrences: Sequence[Occurrence], rows: Sequence[Row]) -> Iterator[Missing]:
    def lacking(term: str, wanted: Callable[[Row], bool]) -> Iterator[Missing]:
        pairs = zip(occurrences, rows, strict=True)
        names = dict.fromkeys(one.named.name for one, row in pairs if not row[term] and wanted(row))
        if names:
            where = f"{len(names)} taxa or classes have none ({first_few(names, 5)})"
            yield Missing(term, term in REQUIRED, f"{term}: {where}: {_FIX[term]}")

    yield from lacking("scientificName", lambda row: True)
    yield from lacking("scientificNameID", lambda row: bool(row["scientificName"]))
    yield from lacking("identifiedBy", lambda row: row["identificationVerificationStatus"] == HUMAN)
    odd = [name for name in dict.fromkeys(row["scientificName"] for row in rows) if set(name) & set("<>_/=")]
    if odd:
        text = f"scientificName: {len(odd)} taxa have names that are not scientific ({first_few(odd)})"
        yield Missing("scientificName", True, f"{text}: {_FIX['scientificName']}")
    if not rows:
        yield Missing("scientificName", True, f"scientificName: no image is an organism: {_FIX['scientificName']}")


def _instrument(events: Sequence[SampleEvent]) -> Iterator[Missing]:
    names = dict.fromkeys(event.instrument[0] for event in events)
    if "" in names:
        yield Missing("instrument", False, "instrument: not known for all samples: give instrument in the metadata")
    if unknown := [name for name in names if name and not instrument_of(name)[1]]:
        text = f"instrument: no code of the collection L22 is known for {first_few(unknown)}: the name is written"
        yield Missing("instrument", False, text)
