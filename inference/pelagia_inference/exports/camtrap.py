"""Camtrap DP 1.0: a data package of deployments, media and observations, for animals on cameras, also under water.

https://camtrap-dp.tdwg.org describes the format. A deployment is a sample of the survey; each classified image is one
medium with one observation. `pelagia dataset import IMAGES --manifest PACKAGE` reads the package again. The images stay
where they are: ``filePath`` is the path in the survey's input, or an address below ``--media-url``.
"""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

from pydantic import Field

from pelagia.config import Strict
from pelagia.errors import first_few
from pelagia.lineages import UNRANKED
from pelagia.system.files import write_text
from pelagia.system.tables import Cell, write_table
from pelagia.taxonomy import Taxon
from pelagia_inference.exports.exporting import Exporting, Named, nothing_to_export, require
from pelagia_inference.exports.extents import Extent, extents_of, interval_of, iso, zone_of

NAME = "camtrap-dp"
VERSION = "1.0.2"
_ROOT = f"https://raw.githubusercontent.com/tdwg/camtrap-dp/{VERSION}"
_DEPLOYMENT = "deploymentID"
_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species", "subspecies")
_FILE_PATH = re.compile(r"[^./~]((?!\.{2}).)*")
"""What the format allows as ``filePath``: no path from the root, and no two dots in a row."""

# fmt: off
DEPLOYMENTS = (
    "deploymentID", "locationID", "locationName", "latitude", "longitude", "coordinateUncertainty",
    "deploymentStart", "deploymentEnd", "setupBy", "cameraID", "cameraModel", "cameraDelay", "cameraHeight",
    "cameraDepth", "cameraTilt", "cameraHeading", "detectionDistance", "timestampIssues", "baitUse", "featureType",
    "habitat", "deploymentGroups", "deploymentTags", "deploymentComments",
)
MEDIA = (
    "mediaID", "deploymentID", "captureMethod", "timestamp", "filePath", "filePublic", "fileName", "fileMediatype",
    "exifData", "favorite", "mediaComments",
)
OBSERVATIONS = (
    "observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd", "observationLevel",
    "observationType", "cameraSetupType", "scientificName", "count", "lifeStage", "sex", "behavior", "individualID",
    "individualPositionRadius", "individualPositionAngle", "individualSpeed", "bboxX", "bboxY", "bboxWidth",
    "bboxHeight", "classificationMethod", "classifiedBy", "classificationTimestamp", "classificationProbability",
    "observationTags", "observationComments",
)
# fmt: on
"""All columns of the published table schemas, in their order: `frictionless` refuses a table that lacks some."""


class Contributor(Strict):
    """A person or an organization that contributed to the package."""

    title: str
    email: str | None = None
    organization: str | None = None
    path: str | None = None
    role: Literal["contact", "principalInvestigator", "rightsHolder", "publisher", "contributor"] = "contributor"


class Place(Strict):
    """What the survey does not know of a deployment. Times are ISO 8601."""

    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
    start: str = ""
    end: str = ""


class CamtrapMetadata(Strict):
    """What the survey cannot know: the key ``camtrap-dp`` of a YAML file, or the whole file."""

    title: str = ""
    description: str = ""
    contributors: tuple[Contributor, ...] = ()
    project_title: str = ""
    sampling_design: (
        Literal["simpleRandom", "systematicRandom", "clusteredRandom", "experimental", "targeted", "opportunistic"]
        | None
    ) = None
    capture_method: tuple[Literal["activityDetection", "timeLapse"], ...] = ()
    individual_animals: bool | None = None
    time_zone: str = ""
    files_are_public: bool = False
    deployments: dict[str, Place] = {}


def write(work: Exporting) -> list[str]:
    """Writes ``datapackage.json`` and the three tables.

    Raises:
        ConfigError: something is missing or wrong; the message lists all of it.
        InputError: no image can be in the package.
    """
    said = work.metadata(CamtrapMetadata, NAME)
    zone = zone_of(said.time_zone)
    if not work.options.by and _DEPLOYMENT in work.survey.columns().own:
        work.options = replace(work.options, by=(_DEPLOYMENT,))
    extents = extents_of(work, zone)
    require(NAME, _missing(said, extents, zone))
    package = _Package(work, said, zone)
    _write_table(work, "media", MEDIA, package.media())
    _write_table(work, "observations", OBSERVATIONS, package.observations())
    if not package.used:
        raise nothing_to_export(work)
    deployments = [_deployment(name, extents[name], said, zone) for name in extents if name in package.used]
    _write_table(work, "deployments", DEPLOYMENTS, deployments)
    descriptor = _descriptor(said, package, deployments)
    write_text(work.folder / "datapackage.json", json.dumps(descriptor, ensure_ascii=False, indent=1) + "\n")
    return _notes(work, package, said)


def _write_table(work: Exporting, name: str, header: Sequence[str], rows: Iterable[Mapping[str, Cell]]) -> None:
    cells = ([row.get(column) for column in header] for row in rows)
    write_table(work.folder / f"{name}.csv", header, cells, guard_formulas=False)


def _missing(said: CamtrapMetadata, extents: Mapping[str, Extent], zone: tzinfo | None) -> Iterator[str]:
    for key in ("contributors", "project_title", "sampling_design", "capture_method", "individual_animals"):
        if getattr(said, key) in ("", (), None):
            yield f"{key} is missing"
    if unknown := [name for name in said.deployments if name not in extents]:
        there = first_few(extents) or "none"
        yield f"deployments: {first_few(unknown)} are no deployments of the survey, which are {there}"
    for name, place in said.deployments.items():
        for key in ("start", "end"):
            if (text := getattr(place, key)) and interval_of(text, zone) is None:
                yield f"deployments: {name}: {key} '{text}' is not a time with a zone, such as 2024-05-01T10:20:30Z"
    places = [
        name for name, extent in extents.items() if not _has_position(extent, said.deployments.get(name, Place()))
    ]
    if places:
        yield (
            f"deployments without one position: {first_few(places)}; give latitude and longitude under deployments, or "
            "name the columns of the deployments with --by"
        )
    times = [name for name, extent in extents.items() if extent.first is None]
    if times:
        yield (
            f"deployments without a time that has a time zone: {first_few(times)}; the images need a column eventDate, "
            "and times without a zone need time_zone, such as UTC or +01:00"
        )


def _has_position(extent: Extent, place: Place) -> bool:
    return extent.has_one_position or (place.latitude is not None and place.longitude is not None)


def _deployment(name: str, extent: Extent, said: CamtrapMetadata, zone: tzinfo | None) -> dict[str, Any]:
    assert extent.first is not None and extent.last is not None  # noqa: S101, PT018 - `_missing` checked it
    place = said.deployments.get(name, Place())
    start, end = interval_of(place.start, zone), interval_of(place.end, zone)
    latitude = extent.latitudes[0] if place.latitude is None else place.latitude
    longitude = extent.longitudes[0] if place.longitude is None else place.longitude
    return {
        "deploymentID": name,
        "latitude": latitude,
        "longitude": longitude,
        "deploymentStart": iso(start[0] if start else extent.first),
        "deploymentEnd": iso(end[1] if end else extent.last),
    }


class _Package:
    """The rows of media and observations. ``used`` and ``taxa`` are known after they were read."""

    def __init__(self, work: Exporting, said: CamtrapMetadata, zone: tzinfo | None) -> None:
        self._work, self._said, self._zone = work, said, zone
        self._made = interval_of(work.survey.meta.get("created", ""), UTC)
        self.used: set[str] = set()
        self.taxa: dict[str, str] = {}
        self.unidentified = 0

    @property
    def has_taxa(self) -> bool:
        """Whether the model says to which taxon a class belongs."""
        return bool(self._work.taxa)

    def media(self) -> Iterator[dict[str, Cell]]:
        """The rows of ``media.csv``; what the format cannot hold is counted as left out."""
        for named in self._work.classified():
            path, columns = named.row.path, named.row.columns
            times = interval_of(columns.get("eventDate", ""), self._zone)
            if reason := _why_not(self._work.media(path), times is not None):
                self._work.left_out[reason] += 1
                continue
            assert times is not None  # noqa: S101 - `_why_not` checked it
            deployment = self._work.sample_of(columns)
            self.used.add(deployment)
            yield {
                "mediaID": path,
                "deploymentID": deployment,
                "timestamp": iso(times[0]),
                "filePath": self._work.media(path),
                "filePublic": "true" if self._said.files_are_public else "false",
                "fileName": path.rpartition("/")[2],
                "fileMediatype": mimetypes.guess_type(path)[0] or "image/x-unknown",
            }

    def observations(self) -> Iterator[dict[str, Cell]]:
        """The rows of ``observations.csv``, for the same images."""
        for row in self._work.survey:
            times = interval_of(row.columns.get("eventDate", ""), self._zone)
            if self._work.takes(row) and not _why_not(self._work.media(row.path), times is not None):
                assert times is not None  # noqa: S101 - `_why_not` checked it
                yield self._observation(self._work.named(row), times)

    def _observation(self, named: Named, times: tuple[datetime, datetime]) -> dict[str, Cell]:
        taxon, path = self._taxon(named.name), named.row.path
        if taxon is None:
            self.unidentified += 1
        else:
            self.taxa[taxon.name] = taxon.rank
        label = named.confirmed
        made = interval_of(label.made_at, self._zone) if label else self._made
        found: dict[str, Cell] = {"observationType": "unknown"}
        if taxon is not None:
            found = {"observationType": "animal", "scientificName": taxon.name, "count": 1}
        if taxon is None or taxon.name != named.name:
            found["observationComments"] = named.name or None
        return found | {
            "observationID": path,
            "deploymentID": self._work.sample_of(named.row.columns),
            "mediaID": path,
            "eventID": named.row.columns.get("eventID"),
            "eventStart": iso(times[0]),
            "eventEnd": iso(times[1]),
            "observationLevel": "media",
            "classificationMethod": "human" if label else "machine",
            "classifiedBy": (self._work.people(label) or None) if label else self._work.model_text,
            "classificationTimestamp": iso(made[0]) if made else None,
            "classificationProbability": None if label else round(named.probability, 6),
        }

    def _taxon(self, name: str) -> Taxon | None:
        """The taxon of a class or a taxon; None if it is not an organism, or not known."""
        if not self.has_taxa and name:
            return Taxon(name=name, rank=UNRANKED)
        return self._work.taxa.get(name)


def _why_not(address: str, has_time: bool) -> str:
    if not has_time:
        return "images without a time that has a time zone"
    plain = address.startswith(("http://", "https://")) or _FILE_PATH.fullmatch(address)
    return "" if plain and ".." not in address else "images whose path the format does not allow (two dots in a row)"


def _descriptor(said: CamtrapMetadata, package: _Package, deployments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    start = min(row["deploymentStart"] for row in deployments)[:10]
    end = max(row["deploymentEnd"] for row in deployments)[:10]
    return {
        "profile": f"{_ROOT}/camtrap-dp-profile.json",
        "resources": [_resource(name) for name in ("deployments", "media", "observations")],
        "created": iso(datetime.now(UTC)),
        **({"title": said.title} if said.title else {}),
        **({"description": said.description} if said.description else {}),
        "contributors": [one.model_dump(exclude_none=True) for one in said.contributors],
        "project": {
            "title": said.project_title,
            "samplingDesign": said.sampling_design,
            "captureMethod": list(said.capture_method),
            "individualAnimals": said.individual_animals,
            "observationLevel": ["media"],
        },
        "spatial": _box([row["latitude"] for row in deployments], [row["longitude"] for row in deployments]),
        "temporal": {"start": start, "end": end},
        "taxonomic": [
            {"scientificName": name, **({"taxonRank": rank} if rank in _RANKS else {})}
            for name, rank in sorted(package.taxa.items())
        ],
    }


def _resource(name: str) -> dict[str, str]:
    table = {"name": name, "path": f"{name}.csv", "profile": "tabular-data-resource", "format": "csv"}
    return table | {"mediatype": "text/csv", "encoding": "utf-8", "schema": f"{_ROOT}/{name}-table-schema.json"}


def _box(latitudes: Sequence[float], longitudes: Sequence[float]) -> dict[str, Any]:
    """The area of the deployments as GeoJSON: a point, a line or a box."""
    south, north, west, east = min(latitudes), max(latitudes), min(longitudes), max(longitudes)
    if (south, west) == (north, east):
        return {"type": "Point", "coordinates": [west, south]}
    if south == north or west == east:
        return {"type": "LineString", "coordinates": [[west, south], [east, north]]}
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _notes(work: Exporting, package: _Package, said: CamtrapMetadata) -> list[str]:
    notes = [f"deployments: {len(package.used)}; taxa: {len(package.taxa)}"]
    if any(not said.deployments.get(name, Place()).start for name in package.used):
        notes.append("a deployment without start and end in the metadata lasts from its first image to its last")
    if not package.has_taxa:
        notes.append("the model has no taxa: the names of its classes are written as scientific names")
    if package.unidentified:
        notes.append(f"{package.unidentified} observations are 'unknown': no class was accepted, or it has no taxon")
    if not work.options.media_url:
        notes.append("filePath is the path in the survey's input: put the package there, or give --media-url")
    return notes
