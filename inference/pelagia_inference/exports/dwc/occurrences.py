"""The occurrences of an archive: one for each taxon, status and sample.

Invariant: images that people confirmed and images that only the machine named are two occurrences, and none is counted
in both. A class that is not an organism is no occurrence; its images are counted as left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pelagia.lineages import UNRANKED
from pelagia.taxonomy import Taxon, Taxonomy
from pelagia_inference.counts.counts import Count
from pelagia_inference.counts.taxa import APART, CLASS
from pelagia_inference.exports.dwc.events import Row, SampleEvent
from pelagia_inference.exports.dwc.metadata import DatasetMetadata
from pelagia_inference.exports.dwc.terms import ABSENT, BASIS, HIGHER_RANKS, HUMAN, MACHINE, PRESENT, lsid

_JOINED_BY = " | "
"""What Darwin Core recommends between the values of a list."""


@dataclass(frozen=True)
class Named:
    """A taxon of the archive.

    Attributes:
        taxon: the taxon; None: a class that the taxonomy does not know.
        lineage: the taxa from the root down to it.
        name: its scientific name, or the name of the class that is not known.
    """

    taxon: Taxon | None
    lineage: tuple[Taxon, ...]
    name: str


@dataclass(frozen=True)
class Occurrence:
    """A taxon in a sample, as people or the machine saw it.

    Attributes:
        event: the sample.
        named: the taxon.
        counts: the counts of its classes in the sample.
        status: `MACHINE` or `HUMAN`.
        images: number of images; 0 if it is absent.
    """

    event: SampleEvent
    named: Named
    counts: tuple[Count, ...]
    status: str
    images: int

    @property
    def id(self) -> str:
        """The occurrenceID."""
        return ":".join((self.event.row["eventID"], self.named.name, self.status))

    @property
    def classes(self) -> list[str]:
        """The classes of the survey whose images it counts; all classes of the taxon if it is absent."""
        if not self.images:
            return [count.name for count in self.counts]
        return [one.name for one in self.counts if (one.confirmed if self.status == HUMAN else one.raw)]


class Names:
    """The taxa of a survey's classes."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy
        self._taxa = {taxon.name: taxon for taxon in taxonomy.taxa}

    def of(self, name: str) -> Named | None:
        """The taxon of a class, or of a taxon that people named instead; None if it is not an organism."""
        if name in self._taxonomy.names:
            lineage = self._taxonomy.lineage(name)
            return Named(lineage[-1], lineage, lineage[-1].name) if lineage else None
        if name in self._taxa:
            lineage = self._above(name)
            return Named(lineage[-1], lineage, name)
        return Named(None, (), name)

    def _above(self, name: str) -> tuple[Taxon, ...]:
        path = []
        node: str | None = name
        while node is not None:
            path.append(self._taxa[node])
            node = self._taxa[node].parent
        return tuple(reversed(path))


def occurrences_of(
    events: Sequence[SampleEvent], counts: Iterable[Count], names: Names, *, absences: bool = False
) -> list[Occurrence]:
    """The occurrences of each sample, in the order of the samples and of the classes.

    Args:
        events: the samples.
        counts: the counts; those of higher taxa, which count the same images again, are passed over.
        names: the taxa of the classes.
        absences: whether taxa of which a sample has no image are occurrences too. A taxon with a lower taxon in the
            sample is not absent.
    """
    by_sample: dict[str, list[Count]] = defaultdict(list)
    for count in counts:
        if count.kind == CLASS:
            by_sample[count.sample].append(count)
    found = []
    for event in events:
        found += list(_of_sample(event, by_sample[event.sample.name], names, absences))
    return found


def _of_sample(event: SampleEvent, counts: Sequence[Count], names: Names, absences: bool) -> Iterator[Occurrence]:
    groups: dict[Named, list[Count]] = defaultdict(list)
    for count in counts:
        if named := names.of(count.name):
            groups[named].append(count)
    seen = {taxon.name for named, of in groups.items() for taxon in named.lineage if _images(of)}
    machine = any(count.raw for count in counts)
    for named, of in groups.items():
        for status, images in ((MACHINE, sum(one.raw for one in of)), (HUMAN, sum(one.confirmed for one in of))):
            if images:
                yield Occurrence(event, named, tuple(of), status, images)
        if absences and event.sample.images and not _images(of) and named.name not in seen:
            yield Occurrence(event, named, tuple(of), MACHINE if machine else HUMAN, 0)


def _images(counts: Iterable[Count]) -> int:
    return sum(count.raw + count.confirmed for count in counts)


def not_organisms(counts: Iterable[Count], names: Names) -> Counter[str]:
    """Class that is not an organism -> number of its images."""
    found: Counter[str] = Counter()
    for count in counts:
        if count.kind == CLASS and names.of(count.name) is None:
            found[count.name] += count.raw + count.confirmed
    return +found


def not_named(counts: Iterable[Count]) -> Counter[str]:
    """Verdict -> number of images that count as no class, if only accepted names count."""
    found: Counter[str] = Counter()
    for count in counts:
        if count.kind == APART:
            found[count.name] += count.raw
    return +found


def occurrence_row(one: Occurrence, model: str, metadata: DatasetMetadata, everyone: bool = False) -> Row:
    """The row of an occurrence.

    Args:
        one: the occurrence.
        model: the model with its version, for identificationReferences.
        metadata: it says under which names people are published.
        everyone: whether people who are not in the metadata are published with their names in the survey.
    """
    people = [text for name in _said(one, one.event.details.people) if (text := metadata.published(name, everyone))]
    sources = _said(one, one.event.details.sources)
    taxon = one.named.taxon
    ranks = {above.rank.lower(): above.name for above in one.named.lineage}
    return {
        "eventID": one.event.row["eventID"],
        "occurrenceID": one.id,
        "basisOfRecord": BASIS,
        "occurrenceStatus": PRESENT if one.images else ABSENT,
        "individualCount": str(one.images),
        "scientificName": one.named.name if taxon else "",
        "scientificNameID": lsid(taxon.aphia_id) if taxon else "",
        "taxonRank": taxon.rank if taxon and taxon.rank != UNRANKED else "",
        **{rank: ranks.get(rank, "") for rank in HIGHER_RANKS},
        "verbatimIdentification": _JOINED_BY.join(one.classes),
        "identifiedBy": _JOINED_BY.join(dict.fromkeys(people)) if one.status == HUMAN else "",
        "identificationVerificationStatus": one.status,
        "identificationReferences": model if one.status == MACHINE else "",
        "identificationRemarks": f"labels from {_JOINED_BY.join(sources)}" if sources and one.status == HUMAN else "",
    }


def _said(one: Occurrence, by_class: Mapping[str, Mapping[str, None]]) -> list[str]:
    """What is said of the classes of an occurrence; of an absent taxon, what is said of all classes in the sample."""
    classes = one.classes if one.images else by_class
    return list(dict.fromkeys(text for name in classes for text in by_class.get(name, ())))
