"""Near-duplicates: pairs that are none and are taken for some, copies that are found, and a million images.

.venv/bin/python -m benchmarks.science.near_duplicates [--copies 300] [--many 1000000]

No two stations of FlowCam and no two tracks of Fish4Knowledge share an image (exact copies were removed, and what the
second check comes closest to was looked at), so each pair of two of them that passes is a false one. Copies are made by
saving again, rescaling, brightening, noise and cropping, and compared with their originals.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections import Counter
from time import perf_counter

import cv2
import numpy as np

from benchmarks.harness import DATA
from pelagia.dataset.near_duplicates import (
    LEAST_CORRELATION,
    MOST_BITS,
    SIGNATURE_BYTES,
    find_near_duplicates,
    signature_of,
)
from pelagia.dataset.schema import near_duplicates
from pelagia.images.preprocess import Image, decode
from pelagia.sources import read_manifest


def main() -> None:
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=300, help="images of each data set to make copies of")
    parser.add_argument("--many", type=int, default=0, help="also time the search among this many looks")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"there is no {DATA}: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    for name, column in (("flowcam_northsea", "station"), ("fish4knowledge", "track")):
        rows = list(read_manifest(DATA / name / "manifest.csv"))
        images = [decode(row.read()) for row in rows]
        looks = [signature_of(image) for image in images]
        groups = [row.columns[column] for row in rows]
        show_false(name, column, looks, groups)
        show_found(images, looks, options.copies)
    if options.many:
        show_many(looks, options.many)


def show_false(name: str, column: str, looks: list[bytes], groups: list[str]) -> None:
    sizes = Counter(groups)
    pairs = (len(groups) ** 2 - sum(size**2 for size in sizes.values())) // 2
    near_duplicates.LEAST_CORRELATION = -2.0
    hashed = find_near_duplicates(looks, groups)
    near_duplicates.LEAST_CORRELATION = LEAST_CORRELATION
    closest = max((pair.correlation for pair in hashed), default=0.0)
    both = find_near_duplicates(looks, groups)
    print(f"{name}: {len(looks)} images, {pairs} pairs of two {column}s")
    print(f"  within {MOST_BITS} bits: {len(hashed)}; their texture agrees by {closest:.3f} at most")
    print(f"  taken for near-duplicates: {len(both)}")
    print(f"  within one {column}: {len(find_near_duplicates(looks, range(len(looks)))) - len(both)} pairs")


def show_found(images: list[Image], looks: list[bytes], count: int) -> None:
    random = np.random.default_rng(0)
    chosen = random.permutation(len(images))[:count]
    for title, change in CHANGES.items():
        found = sum(
            bool(find_near_duplicates([looks[one], signature_of(change(images[one]))], (0, 1))) for one in chosen
        )
        print(f"  found of {title}: {found / len(chosen):.3f}")


def show_many(looks: list[bytes], count: int) -> None:
    """Hashes that lie about the real ones as theirs do about each other, and textures of their own."""
    random = np.random.default_rng(0)
    table = np.frombuffer(b"".join(looks), np.uint8).reshape(-1, SIGNATURE_BYTES)
    many = table[random.integers(0, len(table), count)]
    flipped = np.packbits(random.random((count, 64)) < 0.15, axis=1)
    many[:, :8] ^= flipped
    many[:, 8:] = random.integers(0, 256, (count, SIGNATURE_BYTES - 8), np.uint8)
    rows = [row.tobytes() for row in many]
    began = perf_counter()
    found = len(find_near_duplicates(rows, range(count)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{count} looks: {found} pairs in {perf_counter() - began:.1f} s, {peak:.2f} GB at most")


def _saved(image: Image, quality: int) -> Image:
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return decode(data.tobytes())


def _scaled(image: Image, factor: float) -> Image:
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _noisy(image: Image) -> Image:
    return np.clip(image + np.random.default_rng(1).normal(0, 5, image.shape), 0, 255).astype(np.uint8)


CHANGES = {
    "saved again at quality 90": lambda image: _saved(image, 90),
    "saved again at quality 50": lambda image: _saved(image, 50),
    "scaled to 0.8": lambda image: _scaled(image, 0.8),
    "scaled to 0.5": lambda image: _scaled(image, 0.5),
    "10% brighter": lambda image: cv2.convertScaleAbs(image, alpha=1.1),
    "noise of 5 of 255": _noisy,
    "two edges cut by a pixel": lambda image: image[1:, 1:],
}

if __name__ == "__main__":
    main()
