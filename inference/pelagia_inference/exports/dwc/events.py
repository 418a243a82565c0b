"""The events of an archive: cruises, the stations of a cruise, and the samples of a station.

Invariant: an event says what its images say. A cruise or station has a position or depth only if all its samples have
the same; its time spans those of its samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pelagia_inference.counts.samples import Sample
from pelagia_inference.counts.volumes import effort_of
from pelagia_inference.exports.dwc.details import Details, distance_m, interval
from pelagia_inference.exports.dwc.metadata import DatasetMetadata
from pelagia_inference.exports.dwc.terms import PLACE, instrument_of

Row = dict[str, str]

STATION_COLUMNS = ("station", "locationID")
CRUISE_COLUMN = "cruise"
_DEPTHS = {"minimumDepthInMeters": 0, "maximumDepthInMeters": 1}
"""Column -> the end of its range in the images of a sample that is the depth of the sample."""


@dataclass
class SampleEvent:
    """A sample as an event.

    Attributes:
        sample: the sample.
        details: what its images say.
        row: its row in the table of events.
        faults: term -> why it has no value, if the images have one that cannot be used.
        instrument: name and URI of the instrument; empty if it is not known.
    """

    sample: Sample
    details: Details
    row: Row
    faults: dict[str, str] = field(default_factory=dict)
    instrument: tuple[str, str] = ("", "")


def sample_events(
    samples: Iterable[Sample], details: Mapping[tuple[str, ...], Details], metadata: DatasetMetadata
) -> list[SampleEvent]:
    """The samples as events, in their order."""
    return [_sample_event(one, details.get(one.key, Details()), metadata) for one in samples]


def _sample_event(sample: Sample, details: Details, metadata: DatasetMetadata) -> SampleEvent:
    row: Row = {
        "eventID": f"{metadata.id}:sample:{sample.name}",
        "eventType": "sample",
        "eventDate": details.date,
        "locationID": _station_of(sample),
        "samplingProtocol": metadata.sampling_protocol,
        **_size(sample),
    }
    event = SampleEvent(sample, details, row)
    event.faults |= {name: f"'{text}' is not a time or number" for name, text in details.wrong.items()}
    instrument = sample.columns.get("instrument", "") or metadata.instrument
    event.instrument = instrument_of(instrument) if instrument else ("", "")
    _add_depth(event)
    _add_position(event, metadata)
    return event


def _size(sample: Sample) -> Row:
    """The volume from which the abundances follow: in the unit of the input, or in liters if several are added up."""
    if sample.volume_l is None:
        return {}
    stated = effort_of(sample.columns).volume
    value, unit = stated if stated and sample.pooled == 1 else (sample.volume_l, "litre")
    return {"sampleSizeValue": number(value), "sampleSizeUnit": unit}


def _add_depth(event: SampleEvent) -> None:
    found = {name: event.details.ranges[name][end] for name, end in _DEPTHS.items() if name in event.details.ranges}
    if len(found) == len(_DEPTHS) and found["minimumDepthInMeters"] > found["maximumDepthInMeters"]:
        top, bottom = map(number, found.values())
        fault = f"its minimumDepthInMeters {top} is more than its maximumDepthInMeters {bottom}"
        event.faults |= dict.fromkeys(_DEPTHS, fault)
        return
    event.row |= {name: number(depth) for name, depth in found.items()}


def _add_position(event: SampleEvent, metadata: DatasetMetadata) -> None:
    """Adds the position of a sample, or the middle of its positions with their distance from it."""
    ranges = event.details.ranges
    if not {"decimalLatitude", "decimalLongitude"} <= ranges.keys():
        return
    (south, north), (west, east) = ranges["decimalLatitude"], ranges["decimalLongitude"]
    for name, low, high, most in (("decimalLatitude", south, north, 90), ("decimalLongitude", west, east, 180)):
        if low < -most or high > most:
            event.faults[name] = f"{number(low)} to {number(high)} is outside -{most} to {most}"
    if east - west > 180:
        event.faults["decimalLongitude"] = f"its images lie between {number(west)} and {number(east)}"
    if {"decimalLatitude", "decimalLongitude"} & event.faults.keys():
        return
    uncertainty = metadata.coordinate_uncertainty_m or 0.0
    if (south, west) != (north, east):
        middle = (south + north) / 2, (west + east) / 2
        uncertainty += max(distance_m(middle, corner) for corner in ((south, west), (north, east)))
        event.row["eventRemarks"] = (
            f"The position is the middle of those of the images: latitude {number(south)} to {number(north)}, "
            f"longitude {number(west)} to {number(east)}."
        )
    event.row["decimalLatitude"] = number(round((south + north) / 2, 6))
    event.row["decimalLongitude"] = number(round((west + east) / 2, 6))
    event.row["geodeticDatum"] = metadata.geodetic_datum
    event.row["coordinateUncertaintyInMeters"] = number(round(uncertainty, 1)) if uncertainty else ""


def event_rows(events: Sequence[SampleEvent], metadata: DatasetMetadata) -> list[Row]:
    """All rows of the table of events: cruises, stations and samples. It adds the parents to the rows of ``events``."""
    above: dict[str, list[SampleEvent]] = {}
    rows: dict[str, Row] = {}
    for event in events:
        parent = ""
        for kind, name in _levels(event.sample, metadata):
            key = ":".join((parent or metadata.id, kind, name))
            if key not in rows:
                rows[key] = {"eventID": key, "parentEventID": parent, "eventType": _TYPES[kind]}
                rows[key] |= {"locationID": name} if kind == "station" else {}
            above.setdefault(key, []).append(event)
            parent = key
        event.row["parentEventID"] = parent
    for key, below in above.items():
        rows[key] |= _common(below)
    return [*rows.values(), *(event.row for event in events)]


_TYPES = {"cruise": "cruise", "station": "stationVisit"}


def _levels(sample: Sample, metadata: DatasetMetadata) -> list[tuple[str, str]]:
    """The events above a sample, the largest first."""
    cruise, station = sample.columns.get(CRUISE_COLUMN, "") or metadata.cruise, _station_of(sample)
    return [(kind, name) for kind, name in (("cruise", cruise), ("station", station)) if name]


def _station_of(sample: Sample) -> str:
    return next((text for name in STATION_COLUMNS if (text := sample.columns.get(name, ""))), "")


def _common(events: Sequence[SampleEvent]) -> Row:
    """What the samples of a cruise or station share, and the time that they span."""
    firsts = [event.details.first for event in events if event.details.first]
    lasts = [event.details.last for event in events if event.details.last]
    row = {"eventDate": interval(min(firsts, default=None), max(lasts, default=None))}
    values = {name: {event.row.get(name, "") for event in events} for name in PLACE}
    shared = {name: next(iter(found)) for name, found in values.items() if len(found) == 1}
    if not {"decimalLatitude", "decimalLongitude"} <= shared.keys():
        shared = {name: text for name, text in shared.items() if "Depth" in name}
    return row | shared


def number(value: float) -> str:
    """A number as text, without needless digits."""
    return f"{value:.10g}"
