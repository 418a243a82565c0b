"""The instruments and stations of a simulated survey, and the images that are planned for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]  # H x W, or H x W x 3 in OpenCV's order: blue, green, red


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
