"""Makes the coastline of the survey report from a TopoJSON file of Natural Earth's land.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    .venv/bin/python scripts/coastline.py package/land-50m.json inference/pelagia_inference/report/coastline.npz

The npm package redistributes Natural Earth 4.1.0, which is in the public domain.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

HUNDREDTHS = 100
TOLERANCE = 0.02
"""In degrees: how far a simplified line may be from the original."""


def rings(topology: dict[str, Any]) -> list[NDArray[np.float64]]:
    """The rings of the land, each float64, N x 2: longitude and latitude in degrees."""
    scale, translate = (np.array(topology["transform"][name]) for name in ("scale", "translate"))
    arcs = [np.cumsum(arc, axis=0) * scale + translate for arc in topology["arcs"]]
    found = []
    for geometry in topology["objects"]["land"]["geometries"]:
        polygons = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
        for ring in (ring for polygon in polygons for ring in polygon):
            parts = [arcs[index] if index >= 0 else arcs[~index][::-1] for index in ring]
            found.append(unbroken(np.concatenate([part[int(number > 0) :] for number, part in enumerate(parts)])))
    return found


def unbroken(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """A ring without a jump at the date line; one around the pole gets the pole itself."""
    lon = np.unwrap(ring[:, 0], period=360)
    ring = np.column_stack((lon - 360 * np.round((lon.min() + lon.max()) / 720), ring[:, 1]))
    if abs(ring[-1, 0] - ring[0, 0]) < 180:
        return ring
    pole = np.copysign(90.0, ring[:, 1].mean())
    return np.concatenate((ring, [[ring[-1, 0], pole], [ring[0, 0], pole]]))


def main() -> None:
    """Writes the file."""
    source, out = map(Path, sys.argv[1:])
    simplified = [
        cv2.approxPolyDP(ring.astype(np.float32), TOLERANCE, closed=True)[:, 0]
        for ring in rings(json.loads(source.read_text(encoding="utf-8")))
    ]
    kept = [np.round(ring * HUNDREDTHS).astype(np.int16) for ring in simplified if len(ring) > 2]
    starts = np.cumsum([0, *map(len, kept)]).astype(np.int32)
    np.savez_compressed(out, points=np.concatenate(kept), starts=starts)
    print(f"{len(kept)} rings, {starts[-1]} points, {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
