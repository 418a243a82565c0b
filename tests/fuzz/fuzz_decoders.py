"""Decodes damaged images of every format with `pelagia.images.preprocess.load`, and reports crashes, hangs and errors.

    .venv/bin/python -m tests.fuzz.fuzz_decoders --minutes 10 [--seed 1] [--keep findings/]

Real images (noise without PELAGIA_DATA) are written in each format, the hostile files of the tests are added, and all
are damaged at random; the checksums of most PNGs are corrected afterwards, so that the damage reaches the decoder.
Allowed are ImageError, MemoryError, and pixels that are equal when the image is decoded again. Each batch runs in its own
process, so that a crash of the decoder is a finding and the search continues: the input is stored in the folder
``--keep``, and the exit code is 1. More than 10 seconds for one image is a finding too.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.harness import real_crops
from tests.fuzz.fuzz_inputs import damaged

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))
from hostile_files import files
from pelagia.images.preprocess import REASONS, ImageError, PreprocessSpec, load

_SECONDS = 10
_MEMORY = 4 << 30
_LARGEST_SEED = 200_000
_BATCH = 2000
_SPECS = (PreprocessSpec(size=16), PreprocessSpec(size=64, fit="stretch", jpeg_scale="full"))
_PILLOW: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("JPEG", "RGB", {}),
    ("JPEG", "RGB", {"progressive": True}),
    ("JPEG", "RGB", {"restart_marker_blocks": 2}),
    ("JPEG", "L", {}),
    ("JPEG", "CMYK", {}),
    ("PNG", "RGB", {}),
    ("PNG", "P", {"transparency": 0}),
    ("PNG", "LA", {}),
    ("PNG", "1", {}),
    ("PNG", "RGB", {"save_all": True}),
    ("TIFF", "RGB", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "RGB", {"compression": "jpeg"}),
    ("TIFF", "RGB", {"compression": "packbits"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "I;16", {}),
    ("TIFF", "P", {}),
    ("TIFF", "RGB", {"save_all": True, "big_tiff": True}),
    ("BMP", "RGB", {}),
    ("BMP", "P", {}),
    ("BMP", "1", {}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("WEBP", "RGB", {"save_all": True}),
    ("GIF", "P", {"save_all": True}),
    ("PPM", "RGB", {}),
    ("PPM", "L", {}),
    ("JPEG2000", "RGB", {}),
)
_OPENCV = (".exr", ".hdr", ".pfm", ".ras", ".pxm", ".tiff", ".png", ".avif")


def originals(rng: random.Random) -> Iterator[np.ndarray]:
    """Small real images, or noise if there are none: uint8, H x W x 3."""
    found = real_crops()
    for _ in range(6):
        if found:
            yield cv2.imread(str(rng.choice(found)))[:150, :150]
        else:
            yield np.frombuffer(rng.randbytes(60 * 50 * 3), np.uint8).reshape(60, 50, 3)


def seeds(rng: random.Random) -> list[bytes]:
    """Complete images in every format that the decoder knows, and the hostile files that are not huge."""
    whole = [one.data for one in files().values() if 0 < len(one.data) < _LARGEST_SEED]
    for pixels in originals(rng):
        image = Image.fromarray(np.ascontiguousarray(pixels))
        for form, mode, options in _PILLOW:
            buffer = io.BytesIO()
            frames = {"append_images": [image.convert(mode)] * 2} if "save_all" in options else {}
            exif = Image.Exif()
            exif[0x0112] = rng.randint(1, 8)
            exif_option = {"exif": exif} if form in ("JPEG", "PNG", "WEBP") else {}
            (image.convert("L") if mode == "I;16" else image).convert(mode).save(
                buffer, form, **options, **frames, **exif_option
            )
            whole.append(buffer.getvalue())
        for suffix in _OPENCV:
            wide = pixels.astype(np.float32) / 255 if suffix in (".exr", ".hdr", ".pfm", ".tiff") else pixels
            try:
                whole.append(
                    cv2.imencode(suffix, wide.astype(np.uint16) * 257 if suffix == ".png" else wide)[1].tobytes()
                )
            except cv2.error:  # a format that this OpenCV was built without
                continue
    return whole


def scratched(rng: random.Random, data: bytes) -> bytes:
    """``data`` with one to four bytes changed, so that most of it can still be decoded."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(min(len(changed), rng.choice([100, 1000, len(changed)])))] = rng.randrange(256)
    return bytes(changed)


def mended(data: bytes) -> bytes:
    """A PNG with correct checksums, as far as its chunks can be found."""
    at, out = 8, bytearray(data)
    while at + 12 <= len(out):
        end = at + 8 + int.from_bytes(out[at : at + 4])
        if end + 4 > len(out):
            break
        out[end : end + 4] = struct.pack(">I", zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


def batch(first: int, count: int, current: Path) -> None:
    """The child: ``count`` inputs from the seed ``first``, each written to ``current`` before it is decoded."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    whole = seeds(random.Random(first))
    outcomes: Counter[str] = Counter()
    for seed in range(first, first + count):
        rng = random.Random(seed)
        data = (damaged if rng.random() < 0.5 else scratched)(rng, rng.choice(whole))
        if data.startswith(b"\x89PNG") and rng.random() < 0.8:
            data = mended(data)
        current.write_bytes(data)
        faulthandler.dump_traceback_later(_SECONDS, exit=True)  # also where the decoder never gives control back
        try:
            spec = rng.choice(_SPECS)
            fitted = load(data, spec)
            assert fitted.dtype == np.uint8
            assert fitted.shape == (spec.size, spec.size, 3)
            _ = [np.full(150 * 150 * 3, seed % 256, kind) for kind in (np.uint8, np.uint16)]
            assert np.array_equal(load(data, spec), fitted), "other pixels the second time"
            outcomes["pixels"] += 1
        except ImageError as error:
            outcomes[error.reason] += 1
        except MemoryError:
            outcomes["memory"] += 1
        faulthandler.cancel_dump_traceback_later()
    assert set(outcomes) <= {*REASONS, "pixels", "memory"}
    print(*(f"{outcome}={number}" for outcome, number in outcomes.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        batch(options.seed, _BATCH, options.child)
        return 0
    outcomes: Counter[str] = Counter()
    noise: Counter[str] = Counter()
    findings, first, end = 0, options.seed, time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as folder:
        current = Path(folder) / "input"
        while time.monotonic() < end:
            command = [sys.executable, __file__, "--seed", str(first), "--child", str(current)]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
            if done.returncode:
                findings += 1
                options.keep.mkdir(parents=True, exist_ok=True)
                kept = options.keep / f"{first}-{abs(done.returncode)}"
                kept.write_bytes(current.read_bytes())
                print(f"{kept}: exit {done.returncode}\n{done.stderr[-2000:]}", flush=True)
            else:
                noise.update(line[:60] for line in done.stderr.splitlines())
            outcomes.update(
                {name: int(value) for name, _, value in (one.partition("=") for one in done.stdout.split())}
            )
            first += _BATCH
    print(f"{first - options.seed} inputs from seed {options.seed}, {findings} findings")
    print(", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common()))
    print(f"{sum(noise.values())} lines of noise on the terminal")
    for line, count in noise.most_common(12):
        print(f"  {count:6} {line}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
