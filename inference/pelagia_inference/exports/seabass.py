"""SeaBASS files of plankton and other particles from images: one ``.sb`` file for each sample.

The headers and fields are those of NASA's pages "Metadata Headers" and "Plankton and particles imagery" (SeaBASS wiki),
after Neeley et al. (2021), "Standards and practices for reporting plankton and other particle observations from
images", doi:10.1575/1912/27377. No value has a space. A header that has no value is ``NA``; a field that has none is
``-9999``. Volumes are milliliters, sizes micrometers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC
from urllib.parse import quote

from pydantic import Field

from pelagia.config import Strict
from pelagia.errors import first_few
from pelagia.images.pixel_size import PIXEL_SIZE_COLUMNS, pixel_size_um
from pelagia.survey.additions import kept_pixel_size, measures_of_image
from pelagia.survey.journal import Survey
from pelagia.system.files import slug
from pelagia_inference.counts.samples import Sample
from pelagia_inference.exports.dwc.terms import lsid
from pelagia_inference.exports.exporting import Exporting, Named, as_text, require
from pelagia_inference.exports.extents import Extent, extents_of, zone_of

NAME = "seabass"
MISSING = "-9999"
MEASURES = {
    "biovolume": ("um^3", "biovolume_um3"),
    "area_cross_section": ("um^2", "area_px"),
    "length_representation": ("um", "length_px"),
    "width_representation": ("um", "width_px"),
    "equivalent_spherical_diameter": ("um", "esd_um"),
}
"""Field -> its unit, and the measure of the survey. Measures in pixels are converted with the size of a pixel."""

_ROUNDING = 0.02  # 5.055 mL of "5 mL" is the same volume, rounded
_LABELS = ("data_provider_category_{}", "scientificName_{}", "scientificNameID_{}")
FIELDS = (
    "associatedMedia",
    *(name.format("automated") for name in _LABELS),
    "prediction_score_automated_category",
    *(name.format("manual") for name in _LABELS),
    *MEASURES,
)
_LINES_AT_ONCE = 20_000
_OF_ADDRESS = "%/:=&?~#+!$;@()*[]"  # what an address may hold; a comma separates fields


class SeabassMetadata(Strict):
    """What the survey cannot know: the key ``seabass`` of a YAML file, or the whole file."""

    investigators: tuple[str, ...] = ()
    affiliations: tuple[str, ...] = ()
    contact: tuple[str, ...] = ()
    experiment: str = ""
    cruise: str = ""
    documents: tuple[str, ...] = ()
    calibration_files: tuple[str, ...] = ()
    instrument_model: str = ""
    instrument_manufacturer: str = ""
    data_type: str = ""
    data_status: str = ""
    water_depth: float | None = None
    measurement_depth: float | None = None
    volume_sampled_ml: float | None = Field(default=None, gt=0)
    volume_imaged_ml: float | None = Field(default=None, gt=0)
    pixel_per_um: float | None = Field(default=None, gt=0)
    associated_archives: tuple[str, ...] = ()
    associated_archive_types: tuple[str, ...] = ()
    time_zone: str = ""
    scientific_name_ids: dict[str, str] = Field(default={}, description="class -> identifier in a namespace")
    comments: tuple[str, ...] = ()


_FROM_PEOPLE = (
    *("investigators", "affiliations", "contact", "experiment", "cruise", "documents", "calibration_files"),
    *("instrument_model", "instrument_manufacturer", "data_type", "data_status"),
)


def write(work: Exporting) -> list[str]:
    """Writes the files. Raises ConfigError, which lists all that is missing, before anything is written."""
    said = work.metadata(SeabassMetadata, NAME)
    zone = zone_of(said.time_zone)
    extents = extents_of(work, zone)
    samples = {sample.name: sample for sample in work.counts.samples if sample.name in extents}
    typed = _typed_pixel_size(work.survey)
    pixels = {name: _pixel_per_um(said, sample, typed) for name, sample in samples.items()}
    require(NAME, _missing(work, said, extents, samples, pixels, typed))
    names = _file_names(said, extents)
    lines = _Lines(work, names)
    for name, sample in samples.items():
        lines.add(name, _header(work, said, sample, extents[name], names[name], pixels[name]))
    rows = _Rows(work, said, pixels)
    for named in work.classified():
        of_sample = work.sample_of(named.row.columns)
        lines.add(of_sample, rows.line(named, of_sample))
    lines.flush()
    return rows.notes(len(samples))


def _missing(
    work: Exporting,
    said: SeabassMetadata,
    extents: Mapping[str, Extent],
    samples: Mapping[str, Sample],
    pixels: Mapping[str, float | None],
    typed: float,
) -> Iterator[str]:
    yield from (f"{key} is missing" for key in _FROM_PEOPLE if not getattr(said, key))
    if not work.survey.has_table("measures"):
        yield "the objects are not measured (biovolume, area, length and width are required): run `pelagia check` first"
    places = [name for name, extent in extents.items() if not extent.latitudes]
    if places:
        yield f"samples without decimalLatitude and decimalLongitude: {first_few(places)}"
    if across := [name for name, extent in extents.items() if extent.longitudes and _width(extent) > 180]:
        yield (
            f"samples with images on both sides of 180 degrees of longitude, whose corners cannot be written: "
            f"{first_few(across)}; name smaller samples with --by"
        )
    times = [name for name, extent in extents.items() if extent.first is None]
    if times:
        yield (
            f"samples without a time that has a time zone: {first_few(times)}; the images need a column eventDate, and "
            "times without a zone need time_zone, such as UTC or +01:00"
        )
    volumes = {name: _imaged_ml(said, sample) for name, sample in samples.items()}
    for key, values in (("volume_imaged_ml", volumes), ("pixel_per_um", pixels)):
        unknown = [name for name in samples if not values[name]]
        if unknown:
            yield f"{key} is not known for the samples {first_few(unknown)}"
    yield from _other_pixels(said, samples, typed)
    if said.volume_sampled_ml is None:
        yield "volume_sampled_ml is missing: the volume of the sample of which volume_imaged_ml was imaged"
        return
    most = said.volume_sampled_ml * (1 + _ROUNDING)
    if more := [name for name, volume in volumes.items() if volume is not None and volume > most]:
        yield (
            f"volume_sampled_ml is {said.volume_sampled_ml:g}, and the samples {first_few(more)} have a larger "
            f"volume_imaged_ml, such as {volumes[more[0]]:g}: correct one of them"
        )


def _width(extent: Extent) -> float:
    west, east = extent.longitudes
    return east - west


def _imaged_ml(said: SeabassMetadata, sample: Sample) -> float | None:
    return said.volume_imaged_ml or (None if sample.volume_l is None else sample.volume_l * sample.fraction * 1000)


def _typed_pixel_size(survey: Survey) -> float:
    """The size of a pixel in micrometers that a user typed for `pelagia check`; 0 if the input states sizes."""
    return 0.0 if {*PIXEL_SIZE_COLUMNS} & {*survey.columns().own} else kept_pixel_size(survey)


def _pixel_per_um(said: SeabassMetadata, sample: Sample, typed: float = 0.0) -> float | None:
    size = pixel_size_um(sample.columns) or typed
    return said.pixel_per_um or (1 / size if size else None)


def _other_pixels(said: SeabassMetadata, samples: Mapping[str, Sample], typed: float) -> Iterator[str]:
    """A fault if the metadata have another size of a pixel than that with which the objects were measured."""
    of_survey = {name: pixel_size_um(sample.columns) or typed for name, sample in samples.items()}
    others = [
        name for name, size in of_survey.items() if size and abs(size * (said.pixel_per_um or 1 / size) - 1) > 0.01
    ]
    if others:
        yield (
            f"pixel_per_um is {said.pixel_per_um:g}, but the survey says {1 / of_survey[others[0]]:.4g} for the "
            f"samples {first_few(others)}, with which the objects were measured: leave it out, or correct the survey"
        )


def _file_names(said: SeabassMetadata, extents: Mapping[str, Extent]) -> dict[str, str]:
    """Sample -> the name of its file; no two are the same, also where capitals do not count."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in extents:
        first = text = f"{slug(f'{said.experiment}-{said.cruise}')}_{slug(name)}"
        number = 2
        while text.lower() in taken:
            text, number = f"{first}_{number}", number + 1
        taken.add(text.lower())
        found[name] = f"{text}.sb"
    return found


def _header(
    work: Exporting, said: SeabassMetadata, sample: Sample, extent: Extent, file_name: str, pixel_per_um: float | None
) -> str:
    """The block of metadata of a file."""
    headers = {
        "investigators": said.investigators,
        "affiliations": said.affiliations,
        "contact": said.contact,
        "experiment": said.experiment,
        "cruise": said.cruise,
        "station": sample.columns.get("station"),
        "eventID": sample.name,
        "data_file_name": file_name,
        "documents": said.documents,
        "calibration_files": said.calibration_files,
        "instrument_model": said.instrument_model,
        "instrument_manufacturer": said.instrument_manufacturer,
        "data_type": said.data_type,
        "data_status": said.data_status,
        **_time_and_place(extent),
        "water_depth": said.water_depth,
        "measurement_depth": _depth(said, extent),
        **_of_images(work, said, sample),
        "pixel_per_um": pixel_per_um,
        "missing": MISSING,
        "delimiter": "comma",
    }
    comments = (f"! {_ascii(text)}" for text in ("!", *said.comments, f"Classified by {work.model_text}", work.program))
    units = ["none"] * (len(FIELDS) - len(MEASURES)) + [unit for unit, _ in MEASURES.values()]
    return "\n".join(
        [
            "/begin_header",
            *(f"/{key}={_value(value) or 'NA'}" for key, value in headers.items()),
            *comments,
            f"/fields={','.join(FIELDS)}",
            f"/units={','.join(units)}",
            "/end_header",
        ]
    )


def _of_images(work: Exporting, said: SeabassMetadata, sample: Sample) -> dict[str, object]:
    """The headers that files of images have and others do not."""
    return {
        "volume_sampled_ml": said.volume_sampled_ml,
        "volume_imaged_ml": _imaged_ml(said, sample),
        "associatedMedia_source": work.options.media_url,
        "associated_archives": said.associated_archives,
        "associated_archive_types": said.associated_archive_types,
        "length_representation_instrument_varname": "length_px",
        "width_representation_instrument_varname": "width_px",
    }


def _time_and_place(extent: Extent) -> dict[str, str]:
    """The headers of the first and last moment (GMT) and of the corners of the area."""
    assert extent.first is not None and extent.last is not None  # noqa: S101, PT018 - `_missing` checked it
    first, last = extent.first.astimezone(UTC), extent.last.astimezone(UTC)
    [south, north], [west, east] = extent.latitudes, extent.longitudes
    degrees_of = {"north_latitude": north, "south_latitude": south, "east_longitude": east, "west_longitude": west}
    return {
        "start_date": f"{first:%Y%m%d}",
        "end_date": f"{last:%Y%m%d}",
        "start_time": f"{first:%H:%M:%S}[GMT]",
        "end_time": f"{last:%H:%M:%S}[GMT]",
        **{key: f"{value:.10g}[DEG]" for key, value in degrees_of.items()},
    }


def _value(value: object) -> str:
    """The value of a header; several are separated by commas."""
    if isinstance(value, tuple):
        return ",".join(_plain(text, in_list=True) for text in value)
    return _plain(as_text(value))


def _depth(said: SeabassMetadata, extent: Extent) -> float | None:
    """The depth of the measurement, if there is one for all images."""
    if said.measurement_depth is not None:
        return said.measurement_depth
    return extent.depths[0] if extent.depths and extent.depths[0] == extent.depths[1] else None


class _Rows:
    """The lines of the data, and what must be said of them."""

    def __init__(self, work: Exporting, said: SeabassMetadata, pixels: Mapping[str, float | None]) -> None:
        self._work, self._said, self._pixels = work, said, pixels
        self._unmeasured = 0
        self._without_id: set[str] = set()

    def line(self, named: Named, sample: str) -> str:
        """The line of an image."""
        automated = self._label(named.accepted)
        score = f"{named.probability:.6f}" if named.accepted == named.likeliest else MISSING
        manual = self._label(named.confirmed.class_name if named.confirmed else "")
        path = named.row.path
        media = quote(self._work.media(path), safe=_OF_ADDRESS) if self._work.options.media_url else quote(path)
        return ",".join([media, *automated, score, *manual, *self._measures(named, self._pixels[sample] or 1)])

    def _label(self, name: str) -> list[str]:
        """Category, scientific name and its identifier."""
        if not name:
            return [MISSING] * 3
        taxon = self._work.taxa.get(name)
        identifier = self._said.scientific_name_ids.get(name, lsid(taxon.aphia_id) if taxon else "")
        if not identifier:
            self._without_id.add(name)
        return [_plain(text, in_list=True) or MISSING for text in (name, taxon.name if taxon else "", identifier)]

    def _measures(self, named: Named, pixel_per_um: float) -> list[str]:
        found = measures_of_image(self._work.survey, named.row.path)
        self._unmeasured += not found
        return [
            _measure(found.get(key), pixel_per_um ** {"area_px": 2, "length_px": 1, "width_px": 1}.get(key, 0))
            for _, key in MEASURES.values()
        ]

    def notes(self, samples: int) -> list[str]:
        """What a person should know."""
        notes = [f"files, one for each sample: {samples}"]
        if self._unmeasured:
            notes.append(f"{self._unmeasured} images have no measures: their sizes are {MISSING}")
        if self._without_id:
            notes.append(
                f"{len(self._without_id)} classes have no scientificNameID, which SeaBASS requires; give AphiaIDs in "
                f"the taxonomy, or scientific_name_ids in the metadata: {first_few(sorted(self._without_id))}"
            )
        return [*notes, "check the files with SeaBASS's FCHECK before you submit them"]


def _measure(value: float | None, divisor: float) -> str:
    return MISSING if value is None else f"{value / divisor:.6g}"


class _Lines:
    """The files of the samples, which are written a few thousand lines at a time."""

    def __init__(self, work: Exporting, names: Mapping[str, str]) -> None:
        self._work, self._names = work, names
        self._waiting: dict[str, list[str]] = {}
        self._lines = 0

    def add(self, sample: str, line: str) -> None:
        """Adds a line to the file of a sample."""
        self._waiting.setdefault(sample, []).append(line)
        self._lines += 1
        if self._lines >= _LINES_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        for sample, lines in self._waiting.items():
            with (self._work.folder / self._names[sample]).open("a", encoding="ascii", newline="\n") as file:
                file.write("\n".join(lines) + "\n")
        self._waiting, self._lines = {}, 0


def _plain(text: str, *, in_list: bool = False) -> str:
    """A value as SeaBASS allows it: ASCII, without spaces; without commas where they separate values."""
    return re.sub(r"[\s,]+" if in_list else r"\s+", "_", _ascii(text).strip())


def _ascii(text: str) -> str:
    """Text in ASCII: accents are dropped, other characters become ``?``."""
    kept = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return " ".join(kept.encode("ascii", "replace").decode().split())
