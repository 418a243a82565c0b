"""Draws a small survey of synthetic organisms, so that the demo and the tests need no download.

Invariant: an image depends only on (survey seed, station index, image index, class), so the same call gives the same
bytes, and a survey of another seed has other stations: other water, light, focus and community. The classes are those
of `synthetic/taxonomy.yaml`. The images look like crops of an instrument, but are not real biology: positions, volumes
and sizes are invented, and no metric measured on them says anything about real plankton.

    OUT/images/<station>/<object id>.jpg or .png     uint8, three channels, 40 to 160 pixels a side
    OUT/manifest.csv                                 one row for each image, without the class: what a field team has
    OUT/truth.csv                                    the same rows with `class` as the second column
    OUT/taxonomy.yaml
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from pelagia.errors import InputError
from pelagia.synthetic.organisms import ORGANISMS
from pelagia.synthetic.pen import SUPERSAMPLE, Pen
from pelagia.system.files import new_folder, write_text
from pelagia.system.tables import Cell, write_table

Rng: TypeAlias = np.random.Generator
Floats: TypeAlias = npt.NDArray[np.float32]  # H x W, or H x W x 3 in OpenCV's order: blue, green, red
Pixels: TypeAlias = npt.NDArray[np.uint8]  # H x W x 3, blue, green, red, 0 to 255

STATIONS = 16
SHORTEST, LONGEST = 40, 160  # pixels a side
RAREST = 0.036  # the least share of a class in a survey

# Shares in the water; a station's own community scatters around them.
ABUNDANCE = {
    "copepod": 0.19,
    "chain_diatom": 0.13,
    "dinoflagellate": 0.10,
    "medusa": 0.07,
    "arrow_worm": 0.06,
    "fish_larva": 0.05,
    "appendicularia": 0.07,
    "radiolarian": 0.06,
    "detritus": 0.19,
    "bubble": 0.08,
}

# Length of the long axis in pixels, before the station's magnification.
LENGTH = {
    "copepod": (55, 105),
    "chain_diatom": (60, 120),
    "dinoflagellate": (50, 90),
    "medusa": (50, 95),
    "arrow_worm": (75, 135),
    "fish_larva": (70, 130),
    "appendicularia": (65, 115),
    "radiolarian": (45, 90),
    "detritus": (40, 110),
    "bubble": (32, 85),
}

SPHERES = ("bubble", "radiolarian")  # the same from every side

SURVEY_COLUMNS = (
    "path",
    "sample",
    "station",
    "eventDate",
    "decimalLatitude",
    "decimalLongitude",
    "minimumDepthInMeters",
    "maximumDepthInMeters",
    "sampleSizeValue",
    "sampleSizeUnit",
    "pixel_size_um",
    "instrument",
)


@dataclass(frozen=True)
class SimulatedSurvey:
    """The folder and the content of a simulated survey. `counts` is by class, in the order of the taxonomy."""

    root: Path
    manifest: Path
    truth: Path
    taxonomy: Path
    images: int
    stations: int
    counts: dict[str, int]


@dataclass(frozen=True)
class Instrument:
    """The properties of an instrument, the same at all its stations. Colors are blue, green, red."""

    name: str
    unit: str
    volume: tuple[float, float]
    pixel_size_um: float
    background: tuple[float, float, float]
    absorbs: tuple[float, float, float]
    gray: bool
    darkfield: bool
    extension: str


INSTRUMENTS = (
    Instrument("flow imager", "millilitre", (20, 250), 1.5, (214, 164, 158), (1.2, 1.03, 0.93), False, False, "jpg"),
    Instrument("imaging cytometer", "millilitre", (3, 5), 0.4, (176, 176, 176), (1, 1, 1), True, False, "png"),
    Instrument("flatbed scanner", "litre", (500, 40000), 10.6, (243, 243, 243), (1.2, 1.2, 1.2), True, False, "jpg"),
    Instrument("darkfield profiler", "litre", (2, 60), 22.0, (26, 17, 11), (0.85, 0.95, 1.0), False, True, "jpg"),
)


@dataclass(frozen=True)
class Station:
    """The water and optics of one station. All values are drawn from (survey seed, station index)."""

    index: int
    name: str
    instrument: Instrument
    when: datetime
    latitude: float
    longitude: float
    layers: tuple[tuple[float, float], tuple[float, float]]  # meters: the shallow and the deep sample
    volumes: tuple[float, float]
    community: npt.NDArray[np.float64]  # probability of each class, in the order of ORGANISMS
    magnification: float
    background: Floats  # 3
    tint: Floats  # 3
    gradient: float
    focus: float  # pixels, the blur's standard deviation
    contrast: float
    noise: float  # gray levels
    clutter: float  # expected particles beside the organism
    quality: int


@dataclass(frozen=True)
class Planned:
    """One image to draw."""

    station: Station
    index: int
    kind: str

    @property
    def path(self) -> str:
        extension = self.station.instrument.extension
        return f"images/{self.station.name}/{self.station.name}_{self.index:05d}.{extension}"


def taxonomy_yaml() -> str:
    """The text of the taxonomy of simulated surveys."""
    return resources.files("pelagia").joinpath("synthetic/taxonomy.yaml").read_text(encoding="utf-8")


def simulate_survey(
    out: Path, *, images: int = 1800, seed: int = 0, progress: Callable[[int], None] | None = None
) -> SimulatedSurvey:
    """Draws a survey into the new folder `out`; the same seed and number of images give the same bytes.

    Args:
        out: a folder that does not exist yet.
        images: the number of images. Every class appears in 10 or more images; with the default, at least 60 times.
        seed: 0 or more; surveys of different seeds share no station.
        progress: called after each image with the number drawn so far.

    Raises:
        InputError: `out` exists, or a number is out of range.
    """
    if images < 1:
        raise InputError(f"a survey of {images} images cannot be drawn: ask for 1 or more")
    if seed < 0:
        raise InputError(f"the seed {seed} is negative: give 0 or more")
    stations = [_station(seed, index) for index in range(min(STATIONS, images))]
    plan = _plan(stations, images, seed)
    with new_folder(out, "survey") as partial:
        for station in stations:
            (partial / "images" / station.name).mkdir(parents=True)
        for done, item in enumerate(plan, start=1):
            (partial / item.path).write_bytes(_encode(draw_image(item, seed), item.station))
            if progress is not None:
                progress(done)
        _write_table(partial / "manifest.csv", plan, with_class=False)
        _write_table(partial / "truth.csv", plan, with_class=True)
        write_text(partial / "taxonomy.yaml", taxonomy_yaml())
    counts = Counter(item.kind for item in plan)
    return SimulatedSurvey(
        root=out,
        manifest=out / "manifest.csv",
        truth=out / "truth.csv",
        taxonomy=out / "taxonomy.yaml",
        images=len(plan),
        stations=len(stations),
        counts={kind: counts[kind] for kind in ORGANISMS},
    )


# --- the survey -------------------------------------------------------------------------------------------------------


def _station(seed: int, index: int) -> Station:
    """A station's place, time, water and optics. Four consecutive stations use all four instruments."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, index)))
    order = np.random.default_rng(np.random.SeedSequence((seed, index // len(INSTRUMENTS), 1, 1)))
    instrument = INSTRUMENTS[order.permutation(len(INSTRUMENTS))[index % len(INSTRUMENTS)]]
    shares = np.array([ABUNDANCE[kind] for kind in ORGANISMS]) * np.exp(rng.normal(0, 0.6, len(ORGANISMS)))
    thermocline, floor = rng.integers(10, 40), rng.integers(60, 200)
    start = datetime(2024, 3, 1, tzinfo=UTC) + timedelta(days=(37 * seed) % 3650)
    cast = np.full(3, rng.normal(0, 6)) if instrument.gray else rng.normal(0, 6, 3)
    return Station(
        index=index,
        name=f"SEED{seed}_ST{index + 1:02d}",
        instrument=instrument,
        when=start + timedelta(hours=9 * index, minutes=int(rng.integers(0, 240))),
        latitude=round(54.0 + 0.35 * (index // 4) + rng.uniform(-0.1, 0.1), 4),
        longitude=round(2.0 + 0.55 * (index % 4) + rng.uniform(-0.15, 0.15), 4),
        layers=((0.0, float(thermocline)), (float(thermocline), float(floor))),
        volumes=(round(rng.uniform(*instrument.volume), 1), round(rng.uniform(*instrument.volume), 1)),
        community=shares / shares.sum(),
        magnification=float(rng.uniform(0.85, 1.15)),
        background=np.clip(
            np.array(instrument.background) + cast * (0.5 if instrument.darkfield else 1), 4, 250
        ).astype(np.float32),
        tint=(np.array(instrument.absorbs) * np.exp(0.0 if instrument.gray else rng.normal(0, 0.08, 3))).astype(
            np.float32
        ),
        gradient=float(rng.uniform(0.02, 0.22)),
        focus=float(rng.uniform(0.35, 1.0)),
        contrast=float(rng.uniform(0.75, 1.3)),
        noise=float(rng.uniform(1.0, 5.0)),
        clutter=float(rng.uniform(0.2, 2.5)),
        quality=int(rng.integers(55, 93)),
    )


def _plan(stations: list[Station], images: int, seed: int) -> list[Planned]:
    """The images to draw: classes from the communities of the stations, with at least a share `RAREST` of each."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, images, 2)))
    effort = rng.dirichlet(np.full(len(stations), 8.0))
    at = np.concatenate((np.arange(len(stations)), rng.choice(len(stations), size=images - len(stations), p=effort)))
    at.sort()
    kinds = np.array([rng.choice(len(ORGANISMS), p=stations[station].community) for station in at])
    floor = max(int(RAREST * images), int(images >= len(ORGANISMS)))
    for rare in range(len(ORGANISMS)):
        while (kinds == rare).sum() < floor:
            commonest = int(np.bincount(kinds, minlength=len(ORGANISMS)).argmax())
            kinds[rng.choice(np.flatnonzero(kinds == commonest))] = rare
    names = tuple(ORGANISMS)
    seen: Counter[int] = Counter()
    plan = []
    for station, kind in zip(at.tolist(), kinds.tolist(), strict=True):
        plan.append(Planned(stations[station], seen[station], names[kind]))
        seen[station] += 1
    return plan


def _write_table(path: Path, plan: list[Planned], *, with_class: bool) -> None:
    columns = (SURVEY_COLUMNS[0], "class", *SURVEY_COLUMNS[1:]) if with_class else SURVEY_COLUMNS
    write_table(path, columns, ([row[name] for name in columns] for row in _rows(plan)), guard_formulas=False)


def _rows(plan: list[Planned]) -> Iterator[dict[str, Cell]]:
    """Rows in the order of drawing. A station's images alternate between its shallow and its deep sample."""
    for item in plan:
        station, layer = item.station, item.index % 2
        top, bottom = station.layers[layer]
        yield {
            "path": item.path,
            "class": item.kind,
            "sample": f"{station.name}_{'shallow' if layer == 0 else 'deep'}",
            "station": station.name,
            "eventDate": (station.when + timedelta(minutes=40 * layer)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "decimalLatitude": station.latitude,
            "decimalLongitude": station.longitude,
            "minimumDepthInMeters": top,
            "maximumDepthInMeters": bottom,
            "sampleSizeValue": station.volumes[layer],
            "sampleSizeUnit": station.instrument.unit,
            "pixel_size_um": station.instrument.pixel_size_um,
            "instrument": station.instrument.name,
        }


# --- one image --------------------------------------------------------------------------------------------------------


def draw_image(item: Planned, seed: int) -> Pixels:
    """One image as the station's instrument would save it: uint8, H x W x 3, blue, green, red, 0..255."""
    station = item.station
    rng = np.random.default_rng(np.random.SeedSequence((seed, station.index, item.index, 3)))
    tissue, pigment = _clutter(*_crop(*_organism(item.kind, station, rng), rng), station, rng)
    blur = float(np.clip(station.focus * np.exp(rng.normal(0, 0.45)), 0.3, 1.9))
    return _expose(_blurred(tissue, blur), _blurred(pigment, blur), station, rng)


def _blurred(layer: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), sigma), np.float32)


def _organism(kind: str, station: Station, rng: Rng) -> tuple[Floats, Floats]:
    """Density layers (tissue, pigment), float32 H x W at image resolution, far larger than the organism."""
    pen = Pen(rng, float(rng.uniform(*LENGTH[kind])) * station.magnification, tilts=kind not in SPHERES)
    ORGANISMS[kind](pen, rng)
    side = pen.tissue.shape[0] // SUPERSAMPLE
    tissue, pigment = (
        np.asarray(cv2.resize(layer, (side, side), interpolation=cv2.INTER_AREA), np.float32)
        for layer in (pen.tissue, pen.pigment)
    )
    return tissue, pigment


def _crop(tissue: Floats, pigment: Floats, rng: Rng) -> tuple[Floats, Floats]:
    """Cuts out the organism with an uneven margin; one in nine is at the edge of the frame and loses a part."""
    found = np.abs(tissue) + pigment > 0.08
    spans = []
    clipped = int(rng.integers(0, 4)) if rng.random() < 0.11 else -1
    for axis in (0, 1):
        hit = np.flatnonzero(found.any(axis=1 - axis))
        low, high = (int(hit[0]), int(hit[-1]) + 1) if len(hit) else (0, found.shape[axis])
        extent = high - low
        ends = [low - int(3 + extent * rng.uniform(0, 0.22)), high + int(3 + extent * rng.uniform(0, 0.22))]
        if clipped // 2 == axis:
            cut = int(extent * rng.uniform(0.06, 0.18))
            ends[clipped % 2] = low + cut if clipped % 2 == 0 else high - cut
        lacking = SHORTEST - (ends[1] - ends[0])
        if lacking > 0:
            ends = [ends[0] - lacking // 2, ends[1] + lacking - lacking // 2]
        excess = max(0, ends[1] - ends[0] - LONGEST)
        spans.append((ends[0] + excess // 2, ends[1] - (excess - excess // 2)))
    (top, bottom), (left, right) = spans
    height, width = found.shape
    pad = max(0, -top, -left, bottom - height, right - width)
    window = slice(top + pad, bottom + pad), slice(left + pad, right + pad)
    return np.pad(tissue, pad)[window].copy(), np.pad(pigment, pad)[window].copy()


def _clutter(tissue: Floats, pigment: Floats, station: Station, rng: Rng) -> tuple[Floats, Floats]:
    """Adds other particles, with outlines as (x, y) in pixels: specks, a fiber, the edge of a neighbor."""
    height, width = tissue.shape
    mask = np.zeros((height * SUPERSAMPLE, width * SUPERSAMPLE), np.uint8)
    circle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    circle = np.stack((np.cos(circle), np.sin(circle)), axis=1)

    def fixed(points: npt.NDArray[np.float64]) -> list[npt.NDArray[np.int32]]:
        return [np.round(points * (SUPERSAMPLE * 16)).astype(np.int32)]

    for _ in range(int(rng.poisson(2 * station.clutter))):
        radii = rng.uniform(0.5, 2.0) * rng.uniform(0.7, 1.3, (14, 1))
        speck = rng.uniform(0, (width, height)) + circle * radii
        cv2.fillPoly(mask, fixed(speck), (int(rng.integers(50, 200)),), cv2.LINE_AA, 4)
    if rng.random() < 0.07 * station.clutter:
        ends = rng.uniform(0, (width, height), (2, 2))
        middle = ends.mean(axis=0) + rng.normal(0, 0.12 * (width + height), 2)
        t = np.linspace(0, 1, 16)[:, None]
        fiber = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * middle + t**2 * ends[1]
        cv2.polylines(mask, fixed(fiber), False, (110,), SUPERSAMPLE, cv2.LINE_AA, 4)
    if rng.random() < 0.09 * station.clutter:
        radii = rng.uniform(0.05, 0.22) * min(width, height) * rng.uniform(0.7, 1.3, (14, 1))
        neighbor = rng.integers(0, 2, 2) * (width, height) + circle * radii
        cv2.fillPoly(mask, fixed(neighbor), (150,), cv2.LINE_AA, 4)
    small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    return tissue + small.astype(np.float32) / np.float32(160), pigment


def _expose(tissue: Floats, pigment: Floats, station: Station, rng: Rng) -> Pixels:
    """Simulates light, lens and sensor: turns density into pixels, dark on light or, in a darkfield, light on dark."""
    instrument, (height, width) = station.instrument, tissue.shape
    light = _illumination(height, width, station, rng)[..., None] * station.background
    contrast = station.contrast * float(np.exp(rng.normal(0, 0.18)))
    browns = np.array((1.0, 1.0, 1.0) if instrument.gray else (1.5, 1.02, 0.75), np.float32)
    density = contrast * (tissue[..., None] * station.tint + pigment[..., None] * browns * np.float32(0.9))
    if instrument.darkfield:
        scattered = 1 - np.exp(-np.maximum(density, 0) * 0.8)
        glow = scattered - 0.35 * _blurred(scattered, 2.5)
        image = light + np.maximum(glow, 0) * np.float32(235) * station.tint
    else:
        passed = np.exp(-np.maximum(density, -0.35))
        halo = passed - _blurred(passed, 2.2)
        image = light * (passed + 0.3 * halo)
    channels = 1 if instrument.gray else 3
    image = image + rng.standard_normal((height, width, channels), np.float32) * np.float32(station.noise)
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def _illumination(height: int, width: int, station: Station, rng: Rng) -> Floats:
    """Relative light, float32, H x W, around 1: a slope, and faint stripes in a flow cell."""
    heading, level = rng.uniform(0, 2 * np.pi), 1 + rng.normal(0, 0.04)
    down, across = np.linspace(-0.5, 0.5, height), np.linspace(-0.5, 0.5, width)
    slope = np.sin(heading) * down[:, None] + np.cos(heading) * across[None, :]
    field = level + station.gradient * slope
    if station.instrument.name == "flow imager":
        field = field + rng.normal(0, 0.008, width)[None, :]
    return np.asarray(field, np.float32)


def _encode(image: Pixels, station: Station) -> bytes:
    extension = station.instrument.extension
    options = [cv2.IMWRITE_JPEG_QUALITY, station.quality] if extension == "jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 6]
    done, data = cv2.imencode(f".{extension}", image, options)
    if not done:
        raise RuntimeError(f"OpenCV could not encode a {image.shape} image as {extension}")
    return data.tobytes()
