"""What decoding a 12-megapixel JPEG at a reduced scale saves, and what it changes of the network's input.

    .venv/bin/python benchmarks/big_jpeg.py [--images 6] [--rounds 5]

Photographs are made of real crops (drawn ones, without PELAGIA_DATA): tiled and enlarged to 4000 x 3000, with
grain, with and without halved colour. Every variant takes its turn in every round of one run, in one thread, so the
ratios hold where other programs run too. ``4`` is the rule of `pelagia.preprocess`; the others show why it is that.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np

from harness import real_crops
from pelagia import preprocess
from pelagia.preprocess import Image, PreprocessSpec, load
from pelagia.sample import draw_survey

WIDTH, HEIGHT = 4000, 3000
SIZES = (128, 224, 384)
MARGINS = (2, 4, 8)


def crops() -> list[Path]:
    found = real_crops()
    if found:
        return found
    root = draw_survey(Path(tempfile.mkdtemp(prefix="pelagia-big-jpeg-"), "drawn"), images=60).root
    return sorted(path for path in root.rglob("*") if path.suffix in (".jpg", ".png"))


def photograph(paths: list[Path], tile: int, seed: int) -> Image:
    """uint8, 3000 x 4000 x 3: crops as tiles of a side, and grain."""
    rng = np.random.default_rng(seed)
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for top in range(0, HEIGHT, tile):
        for left in range(0, WIDTH, tile):
            crop = cv2.imread(str(paths[rng.integers(len(paths))]))
            place = image[top : top + tile, left : left + tile]
            place[:] = cv2.resize(crop, place.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 4, (HEIGHT, WIDTH, 1))
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def encoded(image: Image, halved: bool) -> bytes:
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if halved else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return cv2.imencode(".jpg", image, options)[1].tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    paths = crops()
    photographs = [
        encoded(photograph(paths, tile=(500, 1000, 4000)[seed % 3], seed=seed), halved=seed % 2 == 0)
        for seed in range(options.images)
    ]
    print(
        f"{options.images} photographs of {WIDTH} x {HEIGHT}, {np.mean([len(one) for one in photographs]) / 1e6:.1f} MB"
    )
    print("size  margin  time, reduced/full  mean difference  largest")
    for size in SIZES:
        measure(photographs, size, options.rounds)


def measure(photographs: list[bytes], size: int, rounds: int) -> None:
    """Decodes and fits at full scale and by each margin in turn; prints a line a margin."""
    full, reduced = PreprocessSpec(size=size, jpeg_scale="full"), PreprocessSpec(size=size)
    ratios: dict[int, list[float]] = defaultdict(list)
    differences: dict[int, list[Image]] = defaultdict(list)
    for number in range(rounds):
        for data in photographs:
            seconds, expected = timed(data, full)
            for margin in MARGINS:
                with patch.object(preprocess, "_JPEG_MARGIN", margin):
                    taken, found = timed(data, reduced)
                ratios[margin].append(taken / seconds)
                if number == 0:
                    differences[margin].append(cv2.absdiff(found, expected).astype(np.uint8))
    for margin in MARGINS:
        difference = np.stack(differences[margin])
        ratio = statistics.median(ratios[margin])
        print(f"{size:4}  {margin:6}  {ratio:18.2f}  {difference.mean():15.2f}  {difference.max():7}")


def timed(data: bytes, spec: PreprocessSpec) -> tuple[float, Image]:
    start = time.perf_counter()
    fitted = load(data, spec)
    return time.perf_counter() - start, fitted


if __name__ == "__main__":
    main()
