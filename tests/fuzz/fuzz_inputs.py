"""Lists damaged IFCB bins, FlowCam runs, archives, manifests and EcoTaxa exports, and reports crashes and hangs.

    .venv/bin/python -m tests.fuzz.fuzz_inputs --minutes 10 [--seed 1] [--keep findings/]

Complete inputs are made first and then damaged at random: bytes are flipped, removed, doubled or cut off, numbers set
to extreme values, pieces of one input put into another. Then every listed image is read. Allowed are images, InputError
from the listing, and OSError or ImageError from reading. Any other error, more than 10 seconds, or more than 1 GB of
memory is a finding: the input is stored in the folder ``--keep``, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import gzip
import io
import lzma
import random
import resource
import signal
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from pelagia.errors import InputError
from pelagia.images.preprocess import REASONS, ImageError
from pelagia.sources import list_images

_SECONDS = 10
_MEMORY = 1 << 30
Files = dict[str, bytes]


def bin_of_style_d(rng: random.Random) -> Files:
    name = "D20220519T124533_IFCB134"
    rows, pixels = [], bytearray()
    for target in range(1, rng.randint(1, 30)):
        width, height = rng.choice([(0, 0), (rng.randint(1, 40), rng.randint(1, 40))])
        numbers = [target, target * 1.5, *[0.1] * 11, 5, 5, width, height, len(pixels), 0, 0, 0, 0]
        rows.append(",".join(map(str, [*numbers, target * 1.5 + 0.02, target * 0.08])))
        pixels += rng.randbytes(width * height)
    header = b"runTime: 12.5\ninhibitTime: 0.5\ngpsLatitude: 57.1\ngpsLongitude: 11.2\n"
    return {f"{name}.adc": "\n".join(rows).encode() + b"\n", f"{name}.roi": bytes(pixels), f"{name}.hdr": header}


def bin_of_style_i(rng: random.Random) -> Files:
    name = "IFCB5_2012_028_081515"
    rows, pixels = [], bytearray(b"\0")
    trigger = 0
    for _ in range(rng.randint(1, 30)):
        trigger += rng.random() < 0.7
        width, height = rng.choice([(0, 0), (rng.randint(1, 40), rng.randint(1, 40))])
        numbers = [trigger, 0.3, 0, 0, 0, 0, 0, trigger * 0.9, trigger, rng.randint(0, 30), rng.randint(0, 30)]
        rows.append(",".join(map(str, [*numbers, width, height, len(pixels), 0])) + ",")
        pixels += rng.randbytes(width * height)
    return {f"{name}.adc": "\n".join(rows).encode() + b"\n", f"{name}.roi": bytes(pixels), f"{name}.hdr": b"x"}


def flowcam_run(rng: random.Random) -> Files:
    run, fields = (
        "201-045311",
        ("id", "cal_const", "collage_file", "image_x", "image_y", "image_w", "image_h", "timestamp"),
    )
    rows = []
    for number in range(1, rng.randint(2, 30)):
        place = [rng.randint(0, 60), rng.randint(0, 40), rng.randint(0, 30), rng.randint(0, 30)]
        rows.append("|".join(map(str, [number, 0.55, f"{run}_00000{rng.randint(1, 2)}.tif", *place, "2014-07-20"])))
    header = ["017", f"num-fields|{len(fields)}", *(f"{name}|string" for name in fields)]
    pixels = np.frombuffer(rng.randbytes(60 * 90), np.uint8).reshape(60, 90)
    collage = cv2.imencode(".tif", pixels)[1].tobytes()
    context = (
        b"[General]\nRunStartTime=2014-07-20 04:53:25\n[Fluid]\nFluidVolumeImaged_ml=0.061\nCalibrationConstant=0.5\n"
    )
    return {
        f"{run}.lst": "\n".join([*header, *rows]).encode() + b"\n",
        f"{run}_000001.tif": collage,
        f"{run}_000002.tif": collage,
        f"{run}_000001_bin.tif": collage,
        f"{run}.ctx": context,
    }


def _members(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    for index in range(rng.randint(1, 12)):
        folder = rng.choice(["", "a/", "../", "/abs/", "é/", "long" * 40 + "/", "__MACOSX/"])
        data = rng.choice([b"", rng.randbytes(rng.randint(1, 3000)), bytes(rng.randint(1, 100_000))])
        yield f"{folder}{index}{rng.choice(['.png', '.jpg', '.txt', '.zip'])}", data


def zip_archive(rng: random.Random) -> Files:
    buffer = io.BytesIO()
    methods = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    streamed = rng.random() < 0.3
    target = _Unseekable(buffer) if streamed else buffer
    with zipfile.ZipFile(target, "w", rng.choice(methods)) as archive:  # type: ignore[arg-type]
        for name, data in _members(rng):
            with archive.open(name, "w", force_zip64=rng.random() < 0.2) as member:
                member.write(data)
    return {"cast.zip": buffer.getvalue()}


class _Unseekable:
    """A file that cannot seek, so that zipfile writes the sizes of a member after its data."""

    def __init__(self, inner: io.BytesIO) -> None:
        self._inner = inner

    def write(self, data: bytes) -> int:
        return self._inner.write(data)

    def flush(self) -> None:
        pass


def ecotaxa_zip(rng: random.Random) -> Files:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        rows = ["img_file_name\tobject_id\tobject_lat\tobject_date\tsample_id", "[t]\t[t]\t[f]\t[t]\t[t]"]
        for index in range(rng.randint(1, 20)):
            rows.append(f"{index}.jpg\to{index}\t57.1\t20240708\ts1")
            archive.writestr(f"{index}.jpg", rng.randbytes(200))
        archive.writestr("ecotaxa_export.tsv", "\n".join(rows))
    return {"export.zip": buffer.getvalue()}


def tar_archive(rng: random.Random) -> Files:
    buffer = io.BytesIO()
    form = rng.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in _members(rng):
            info = tarfile.TarInfo(name if form != tarfile.USTAR_FORMAT else name[-90:])
            info.size = len(data)
            if rng.random() < 0.1:
                info.type, info.linkname, info.size = tarfile.LNKTYPE, "a.png", 0
            archive.addfile(info, io.BytesIO(data))
    pack = rng.choice([bytes, gzip.compress, bz2.compress, lzma.compress])
    data = buffer.getvalue()
    return {"cast.tar": pack(damaged(rng, data) if rng.random() < 0.5 else data)}


def manifest(rng: random.Random) -> Files:
    rows = [f'{index}.png,"S{rng.randint(1, 3)}",{rng.random()}' for index in range(rng.randint(0, 20))]
    return {"manifest.csv": "\n".join(["path,station,depth", *rows]).encode()}


MAKERS: tuple[Callable[[random.Random], Files], ...] = (
    bin_of_style_d,
    bin_of_style_i,
    flowcam_run,
    zip_archive,
    ecotaxa_zip,
    tar_archive,
    manifest,
)
_NUMBERS = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 1 << 40)
_WORDS = (b"-1", b"1e308", b"nan", b"inf", b"99999999999999999999", b",", b"\n", b'"', b"\0", b"", b"\xff", b"\t")


def damaged(rng: random.Random, data: bytes) -> bytes:
    """``data`` after one to six random changes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(changed) + 1)
        span = slice(at, at + rng.choice([1, 2, 4, 8, 64, 512, 4096]))
        match rng.randrange(6):
            case 0:
                changed[span] = rng.randbytes(len(changed[span]))
            case 1:
                del changed[span]
            case 2:
                changed[at:at] = changed[span]
            case 3:
                del changed[at:]
            case 4:
                size = rng.choice([1, 2, 4, 8])
                changed[at : at + size] = (rng.choice(_NUMBERS) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
            case 5:
                changed[at : at + rng.randint(0, 5)] = rng.choice(_WORDS)
    return bytes(changed)


class Hang(BaseException):
    """An input took too long. Not an Exception, so that no reader can catch it."""


def _on_alarm(*_: object) -> None:
    raise Hang


def drain(path: Path, outcomes: Counter[str]) -> None:
    """Lists an input and reads its images. Any error that this raises is a finding."""
    paths: list[str] = []
    try:
        for image in list_images([path]):
            paths.append(image.path)
            str(image.file).encode("utf-8", "backslashreplace")
            image.path.encode()
            try:
                image.read()
                outcomes["read"] += 1
            except OSError:
                outcomes["unreadable"] += 1
            except ImageError as error:
                outcomes[error.reason] += 1
    except InputError:
        outcomes["refused"] += 1
    assert set(outcomes) <= {*REASONS, "read", "refused"}, outcomes
    assert len(set(paths)) == len(paths), "one name twice"


def once(seed: int, folder: Path, outcomes: Counter[str]) -> None:
    """Makes one input, damages it and reads it, all from the seed."""
    rng = random.Random(seed)
    files = rng.choice(MAKERS)(rng)
    for name, data in files.items():
        hit = len(files) == 1 or rng.random() < 0.6
        (folder / name).write_bytes(damaged(rng, data) if hit and rng.random() < 0.95 else data)
    given = folder if rng.random() < 0.2 and len(files) > 1 else folder / next(iter(files))
    signal.alarm(_SECONDS)
    try:
        drain(given, outcomes)
    finally:
        signal.alarm(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (4 * _MEMORY, 4 * _MEMORY))
    signal.signal(signal.SIGALRM, _on_alarm)
    outcomes: Counter[str] = Counter()
    findings, runs, end = 0, 0, time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        seed = options.seed + runs
        runs += 1
        with tempfile.TemporaryDirectory() as name:
            try:
                once(seed, Path(name), outcomes)
            except (Exception, Hang):
                findings += 1
                print(f"seed {seed}:\n{traceback.format_exc()}", flush=True)
                with contextlib.suppress(OSError):
                    kept = options.keep / str(seed)
                    kept.mkdir(parents=True)
                    for file in Path(name).iterdir():
                        (kept / file.name).write_bytes(file.read_bytes())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{runs} inputs from seed {options.seed}, {findings} findings, peak memory {peak:.0f} MB")
    print(", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common()))
    return 1 if findings or peak > _MEMORY >> 20 else 0


if __name__ == "__main__":
    sys.exit(main())
