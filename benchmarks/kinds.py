"""One set of crops as every kind of input that `classify` takes."""

from __future__ import annotations

import csv
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

FOLDERS = 8


def make_kinds(crops: Sequence[Path], count: int, root: Path) -> dict[str, list[str]]:
    """The inputs of each kind, by its name. Each has ``count`` images, the crops repeated; one JPEG is cut short."""
    folder = root / "folder"
    names = _make_folder(crops, count, folder)
    _write_tables(names, root)
    _write_archives(folder, names, root)
    bins = _write_bins(crops, count, root / "bins")
    ecotaxa = _write_ecotaxa(folder, names, root)
    return {
        "folder": [str(folder)],
        "pattern": [f"{folder}/*/*.jpg"],
        "CSV manifest": [str(root / "manifest.csv")],
        "Parquet manifest": [str(root / "manifest.parquet")],
        "zip": [str(root / "crops.zip")],
        "tar": [str(root / "crops.tar")],
        "tar.gz": [str(root / "crops.tar.gz")],
        "IFCB bins": [str(root / "bins")],
        "EcoTaxa folder": [str(ecotaxa)],
        "EcoTaxa zip": [str(ecotaxa.with_suffix(".zip"))],
        "mixture": [str(folder), str(root / "crops.zip"), str(root / "crops.tar.gz"), str(bins[0])],
    }


def _make_folder(crops: Sequence[Path], count: int, folder: Path) -> list[str]:
    names = []
    for number in range(count):
        name = f"{number * FOLDERS // count:02}/{number:06}.jpg"
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        data = crops[number % len(crops)].read_bytes()
        target.write_bytes(data[: len(data) // 2] if number == count // 2 else data)
        names.append(name)
    return names


def _write_tables(names: Sequence[str], root: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    table = {"path": [f"folder/{name}" for name in names], "station": [f"S{name[:2]}" for name in names]}
    with (root / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([list(table), *zip(*table.values(), strict=True)])
    parquet.write_table(pyarrow.table(table), root / "manifest.parquet")


def _write_archives(folder: Path, names: Sequence[str], root: Path) -> None:
    """With other paths: a folder is not read again if the archive that it was unpacked from is an input as well."""
    with zipfile.ZipFile(root / "crops.zip", "w") as archive:
        for name in names:
            archive.write(folder / name, f"cast/{name}")
    for target, mode in (("crops.tar", "w:"), ("crops.tar.gz", "w:gz")):
        with tarfile.open(root / target, mode) as tar:
            for name in names:
                tar.add(folder / name, f"cast/{name}")


def _write_bins(crops: Sequence[Path], count: int, folder: Path) -> list[Path]:
    folder.mkdir()
    share = -(-count // 3)
    bins = []
    for number in range(3):
        base = folder / f"D2022051{number}T124533_IFCB134"
        part = range(number * share, min(count, (number + 1) * share))
        write_bin(base, [crops[index % len(crops)] for index in part])
        bins.append(base)
    return bins


def write_bin(base: Path, crops: Sequence[Path]) -> None:
    """An IFCB bin (.adc, .hdr, .roi) of the crops turned grey, in the form that instruments write today (style D)."""
    offset = 0
    with base.with_suffix(".adc").open("w") as adc, base.with_suffix(".roi").open("wb") as roi:
        for target, crop in enumerate(crops, start=1):
            pixels = _grey(crop)
            height, width = pixels.shape
            values = [target, target * 0.1, *[0.1] * 11, 5, 5, width, height, offset, 0, 0, 0, 0]
            adc.write(",".join(map(str, [*values, target * 0.1 + 0.02, target * 0.02])) + "\n")
            offset += roi.write(pixels.tobytes())
    base.with_suffix(".hdr").write_text("runTime: 1200.0\ninhibitTime: 30.0\ngpsLatitude: 57.1\ngpsLongitude: 11.2\n")


def _grey(crop: Path) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(crop), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise OSError(f"{crop} is not an image")
    return pixels.astype(np.uint8, copy=False)


def _write_ecotaxa(folder: Path, names: Sequence[str], root: Path) -> Path:
    export = root / "ecotaxa"
    export.mkdir()
    for name in names:
        (export / name).parent.mkdir(exist_ok=True)
        (export / name).hardlink_to(folder / name)
    with (export / "ecotaxa_export.tsv").open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(["img_file_name", "object_id", "object_lat", "object_lon", "sample_id"])
        table.writerow(["[t]", "[t]", "[f]", "[f]", "[t]"])
        table.writerows([name, Path(name).stem, 57.1, 11.2, name[:2]] for name in names)
    with zipfile.ZipFile(export.with_suffix(".zip"), "w") as archive:
        for path in sorted(export.rglob("*.*")):
            archive.write(path, path.relative_to(export).as_posix())
    return export
