"""The measurements of an archive: of samples, and of occurrences.

Invariant: what was counted, and what was estimated from it, are separate measurements, and each estimate says its
method. A number that is not known is left out. Only what was counted has the code of its type, so that a program that
adds up all values of a code counts nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pelagia_inference.counts.counts import Count
from pelagia_inference.counts.samples import Sample
from pelagia_inference.counts.volumes import effort_of
from pelagia_inference.exports.dwc.events import Row, SampleEvent, number
from pelagia_inference.exports.dwc.occurrences import Occurrence
from pelagia_inference.exports.dwc.terms import (
    ABUNDANCE,
    BIOVOLUME,
    BIOVOLUME_UNIT,
    CARBON,
    CARBON_UNIT,
    CELLS,
    COUNT,
    CUBIC_METERS,
    HUMAN,
    INSTRUMENT,
    MACHINE,
    MESH,
    MICROMETERS,
    NO_UNIT,
    PER_CUBIC_METER,
    PER_LITER,
    SUBSAMPLE,
    VOLUME,
)

MESH_COLUMNS = ("mesh_size_um", "net_mesh_um", "sample_net_mesh")
"""Columns with the mesh of a net in micrometers; the last is that of ZooProcess and EcoTaxa."""
_LITERS = 1000.0
_BY = {
    MACHINE: "images that the model gave the taxon, as in identificationReferences",
    HUMAN: "images whose taxon people confirmed",
}


def of_sample(event: SampleEvent) -> Iterator[Row]:
    """The measurements of a sample: volume, sub-sampling, mesh, and the instrument."""
    sample = event.sample
    rows = []
    if sample.volume_l:
        rows.append(_row(VOLUME, number(sample.volume_l / _LITERS), CUBIC_METERS))
    if sample.fraction != 1:
        rows.append(_row(SUBSAMPLE, number(sample.fraction), NO_UNIT, "the part of the sample that was imaged"))
    if mesh := next((text for name in MESH_COLUMNS if (text := sample.columns.get(name, ""))), ""):
        rows.append(_row(MESH, mesh, MICROMETERS))
    name, uri = event.instrument
    if name:
        rows.append(_row(INSTRUMENT, name, NO_UNIT) | {"measurementValueID": uri})
    yield from _numbered(rows, event.row["eventID"], "")


def of_occurrence(one: Occurrence, method: str, *, first: bool = True) -> Iterator[Row]:
    """The measurements of an occurrence: count and abundance; corrected ones; biovolume, cells and carbon.

    Args:
        one: the occurrence.
        method: how the counts were corrected, in words.
        first: whether it is the first occurrence of its taxon in the sample. A corrected number, a biovolume and so on
            are for all images of the taxon, so only one occurrence has them.
    """
    unit = unit_of(one.event.sample)
    rows = [_row(COUNT, str(one.images), NO_UNIT, _BY[one.status])]
    abundance = _sum(_abundance(count, one.status, one.event.sample.volume_l) for count in one.counts)
    if abundance is not None:
        rows.append(_row(ABUNDANCE, _in(abundance, unit), unit, _BY[one.status]))
    if first and method:
        rows += _corrected(one.counts, unit, method)
    if first and one.images:
        rows += _matter(one.counts)
    yield from _numbered(rows, one.event.row["eventID"], one.id)


def unit_of(sample: Sample) -> tuple[str, str]:
    """The unit of the abundances of a sample: per cubic meter if its size is given so, else per liter."""
    stated = effort_of(sample.columns).volume
    return PER_CUBIC_METER if stated and stated[1] == "cubic metre" else PER_LITER


def _abundance(count: Count, status: str, liters: float | None) -> float | None:
    """Organisms in a liter, of the images of one class and status; None: the volume is not known."""
    organisms = count.confirmed_organisms if status == HUMAN else count.raw_organisms
    return None if organisms is None or not liters else organisms / liters


def _corrected(counts: tuple[Count, ...], unit: tuple[str, str], method: str) -> Iterator[Row]:
    """The corrected count and abundance of a taxon; their interval if the taxon has one class: intervals do not add."""
    if any(count.corrected is None for count in counts):
        return
    how = f"all images of the taxon, confirmed ones included; {method}"
    for (kind, _), measured_in, factor, numbers in (
        (COUNT, NO_UNIT, 1.0, [(one.corrected, one.low, one.high) for one in counts]),
        (ABUNDANCE, unit, _factor(unit), [(one.per_liter, one.per_liter_low, one.per_liter_high) for one in counts]),
    ):
        total = _sum(value for value, _, _ in numbers)
        if total is None:
            continue
        yield _row((f"{kind}, corrected", ""), number(total * factor), measured_in, how)
        if len(numbers) == 1:
            ends = [None if value is None else value * factor for value in numbers[0][1:]]
            yield from _ends(f"{kind}, corrected", ends, measured_in, how)


_HOW = "all images of the taxon, confirmed ones included; an estimate from"
_MATTER = (
    (BIOVOLUME, BIOVOLUME_UNIT, f"{_HOW} the outlines of the images", "biovolume_mm3_per_m3"),
    (CELLS, PER_LITER, f"{_HOW} the number of cells on an image", "cells_per_liter"),
    (CARBON, CARBON_UNIT, f"{_HOW} the biovolume, by Menden-Deuer and Lessard (2000)", "carbon_ug_per_liter"),
)
"""Type, unit, method, and field of `Count`."""


def _matter(counts: tuple[Count, ...]) -> Iterator[Row]:
    """Biovolume, cells and carbon of a taxon in the water, if they are known for all its classes.

    They have an interval if one class of the taxon has images: intervals do not add.
    """
    seen = [one for one in counts if one.raw or one.confirmed]
    for kind, unit, method, field in _MATTER:
        total = _sum(getattr(one, field) for one in seen)
        if total is None:
            continue
        yield _row(kind, number(total), unit, method)
        if len(seen) == 1:
            left_out = "; without the error of the formula" * (kind == CARBON)
            ends = [getattr(seen[0], f"{field}_{end}") for end in ("low", "high")]
            yield from _ends(kind[0], ends, unit, method + left_out)


def _ends(kind: str, ends: Sequence[float | None], unit: tuple[str, str], method: str) -> Iterator[Row]:
    """The known ends of an interval."""
    for end, value in zip(("lower", "upper"), ends, strict=True):
        if value is not None:
            yield _row((f"{kind}: {end} end of the 90% interval", ""), number(value), unit, method)


def _sum(values: Iterable[float | None]) -> float | None:
    found = list(values)
    return None if None in found or not found else sum(value for value in found if value is not None)


def _factor(unit: tuple[str, str]) -> float:
    return _LITERS if unit == PER_CUBIC_METER else 1.0


def _in(per_liter: float, unit: tuple[str, str]) -> str:
    return number(per_liter * _factor(unit))


def _row(kind: tuple[str, str], value: str, unit: tuple[str, str], method: str = "") -> Row:
    return {
        "measurementType": kind[0],
        "measurementTypeID": kind[1],
        "measurementValue": value,
        "measurementUnit": unit[0],
        "measurementUnitID": unit[1],
        "measurementMethod": method,
    }


def _numbered(rows: list[Row], event: str, occurrence: str) -> Iterator[Row]:
    for index, row in enumerate(rows, 1):
        yield {"eventID": event, "occurrenceID": occurrence, "measurementID": f"{occurrence or event}:{index}", **row}
