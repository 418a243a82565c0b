"""Draws a small survey of synthetic organisms, so that the demo and the tests need no download.

Invariant: the same call gives the same bytes. A survey of another seed has other stations: other water, light, focus
and community. `pelagia.synthetic.image` draws each image. The classes are those
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

import numpy as np

from pelagia.errors import InputError
from pelagia.synthetic.image import draw_image, encode
from pelagia.synthetic.organisms import ORGANISMS
from pelagia.synthetic.station import INSTRUMENTS, Planned, Station
from pelagia.system.files import new_folder, write_text
from pelagia.system.paths import StrPath
from pelagia.system.tables import Cell, write_table

STATIONS = 16
MOST_STATIONS = 200  # the northernmost is at 71 degrees
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


def taxonomy_yaml() -> str:
    """The text of the taxonomy of simulated surveys."""
    return resources.files("pelagia").joinpath("synthetic/taxonomy.yaml").read_text(encoding="utf-8")


def simulate_survey(
    out: StrPath,
    *,
    images: int = 1800,
    seed: int = 0,
    stations: int = STATIONS,
    progress: Callable[[int], None] | None = None,
) -> SimulatedSurvey:
    """Draws a survey into the new folder `out`; the same seed and numbers give the same bytes.

    Args:
        out: a folder that does not exist yet.
        images: the number of images. Every class appears in 10 or more images; with the default, at least 60 times.
        seed: 0 or more; surveys of different seeds share no station.
        stations: the number of stations, at most 200; fewer if there are fewer images.
        progress: called after each image with the number drawn so far.

    Raises:
        InputError: `out` exists, or a number is out of range.
    """
    _require(images, seed, stations)
    visited = [_station(seed, index) for index in range(min(stations, images))]
    plan = _plan(visited, images, seed)
    with new_folder(out := Path(out), "survey") as partial:
        for station in visited:
            (partial / "images" / station.name).mkdir(parents=True)
        for done, item in enumerate(plan, start=1):
            (partial / item.path).write_bytes(encode(draw_image(item, seed), item.station))
            if progress is not None:
                progress(done)
        _write_table(partial / "manifest.csv", plan, with_class=False)
        _write_table(partial / "truth.csv", plan, with_class=True)
        write_text(partial / "taxonomy.yaml", taxonomy_yaml())
    return _described(out, plan)


def _described(out: Path, plan: list[Planned]) -> SimulatedSurvey:
    counts = Counter(item.kind for item in plan)
    return SimulatedSurvey(
        root=out,
        manifest=out / "manifest.csv",
        truth=out / "truth.csv",
        taxonomy=out / "taxonomy.yaml",
        images=len(plan),
        stations=len({item.station.index for item in plan}),
        counts={kind: counts[kind] for kind in ORGANISMS},
    )


def _require(images: int, seed: int, stations: int) -> None:
    """Raises InputError if a number is out of range."""
    if images < 1:
        raise InputError(f"a survey of {images} images cannot be drawn: ask for 1 or more")
    if seed < 0:
        raise InputError(f"the seed {seed} is negative: give 0 or more")
    if not 1 <= stations <= MOST_STATIONS:
        raise InputError(f"{stations} stations cannot be drawn: ask for 1 to {MOST_STATIONS}")


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
