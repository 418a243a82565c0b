"""Near-duplicates: how many pairs are found wrongly, how many altered copies are found, and the time for many images.

.venv/bin/python -m benchmarks.science.near_duplicates [--copies 300] [--many 1000000]

No two stations of FlowCam and no two tracks of Fish4Knowledge or of the EGU fish (rotated crops with black corners)
share an image: exact copies were removed, and the pairs with the most similar texture were checked by eye. So each pair
from two stations or tracks that passes the checks is a false positive. Each figure is given without the check of the
content, and with it. Copies are made by saving again, scaling, brightening, adding noise and cropping, and are compared
with their originals.
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
from pelagia.dataset import near_duplicates
from pelagia.dataset.near_duplicates import (
    LEAST_CORRELATION,
    MOST_BITS,
    SIGNATURE_BYTES,
    find_near_duplicates,
    signature_of,
)
from pelagia.images.preprocess import Image, decode
from pelagia.sources import read_manifest


def main() -> None:
    """Runs the benchmark and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=300, help="number of images of each data set to copy")
    parser.add_argument("--many", type=int, default=0, help="also time the search among this many signatures")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"there is no {DATA}: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    for name, column in (("flowcam_northsea", "station"), ("fish4knowledge", "track"), ("egu2017_fish", "track")):
        rows = list(read_manifest(DATA / name / "manifest.csv"))
        images = [decode(row.read()) for row in rows]
        signatures = [signature_of(image) for image in images]
        groups = [row.columns[column] for row in rows]
        show_false_positives(name, column, signatures, groups, [row.columns["label"] for row in rows])
        show_found_copies(images, signatures, options.copies)
    if options.many:
        show_time_for_many(signatures, options.many)


def texture_alone(signatures: list[bytes]) -> list[bytes]:
    return [signature[:SIGNATURE_BYTES] for signature in signatures]


def show_false_positives(
    name: str, column: str, signatures: list[bytes], groups: list[str], classes: list[str]
) -> None:
    sizes = Counter(groups)
    pairs = (len(groups) ** 2 - sum(size**2 for size in sizes.values())) // 2
    near_duplicates.LEAST_CORRELATION = -2.0
    hashed = find_near_duplicates(texture_alone(signatures), groups)
    near_duplicates.LEAST_CORRELATION = LEAST_CORRELATION
    closest = max((pair.correlation for pair in hashed), default=0.0)
    without = find_near_duplicates(texture_alone(signatures), groups)
    both = find_near_duplicates(signatures, groups)
    plain = sum(len(signature) > SIGNATURE_BYTES for signature in signatures)
    print(f"{name}: {len(signatures)} images, {pairs} pairs from two {column}s")
    print(f"  hashes within {MOST_BITS} bits: {len(hashed)}; highest correlation of their textures: {closest:.3f}")
    print(f"  images with plain corners: {plain}")
    mixed = [sum(classes[pair.first] != classes[pair.second] for pair in pairs) for pairs in (without, both)]
    print(f"  taken for near-duplicates: {len(without)} without the content, {len(both)} with it")
    print(f"  of these, of two classes: {mixed[0]} without the content, {mixed[1]} with it")
    within = len(find_near_duplicates(signatures, range(len(signatures)))) - len(both)
    print(f"  near-duplicates within one {column}: {within} pairs")


def show_found_copies(images: list[Image], signatures: list[bytes], count: int) -> None:
    random = np.random.default_rng(0)
    chosen = random.permutation(len(images))[:count]
    for title, change in CHANGES.items():
        pairs = [[signatures[index], signature_of(change(images[index]))] for index in chosen]
        without = sum(bool(find_near_duplicates(texture_alone(pair), (0, 1))) for pair in pairs) / len(chosen)
        found = sum(bool(find_near_duplicates(pair, (0, 1))) for pair in pairs) / len(chosen)
        print(f"  share of copies found, {title}: {without:.3f} without the content, {found:.3f} with it")


def show_time_for_many(signatures: list[bytes], count: int) -> None:
    """Searches random signatures: hashes of real images with 15% of their bits flipped, and random textures."""
    random = np.random.default_rng(0)
    table = np.frombuffer(b"".join(texture_alone(signatures)), np.uint8).reshape(-1, SIGNATURE_BYTES)
    many = table[random.integers(0, len(table), count)]
    flipped = np.packbits(random.random((count, 64)) < 0.15, axis=1)
    many[:, :8] ^= flipped
    many[:, 8:] = random.integers(0, 256, (count, SIGNATURE_BYTES - 8), np.uint8)
    rows = [row.tobytes() for row in many]
    began = perf_counter()
    found = len(find_near_duplicates(rows, range(count)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{count} signatures: {found} pairs in {perf_counter() - began:.1f} s, peak memory {peak:.2f} GB")


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
    "two edges cut by two pixels": lambda image: image[2:, 2:],
}

if __name__ == "__main__":
    main()
