"""`pelagia check`: planted faults that are found, and flags on real bins and stations without planted faults.

.venv/bin/python -m benchmarks.science.checks [--each 150] [--stations 20]

The surveys have no model: the class of an image is its label. First the FlowCam crops of all 176 stations and the two
IFCB bins are checked as they are. Their flags are an upper bound of the false alarms, because some real images are
blurred or cut off. Then faults are planted in a copy of the FlowCam crops, each in images of its own: blurred by a
Gaussian of two pixels; cut off, with 30% of the object missing at a random side; repeated, with other noise and a shift
of one pixel, saved again as JPEG of quality 90. In whole stations, all images are blurred. Volumes of stations are
drawn around one value, with a spread that is named, and halved in some. In a copy of the IFCB bins, three particles of
each are repeated at their position, and the volume of the survey is halved.

Last, areas and lengths are compared with those of ZooProcess on the EcoTaxa export.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import cv2
import numpy as np

from benchmarks.harness import DATA
from pelagia.images.preprocess import decode
from pelagia.sources import Listing, list_images
from pelagia.sources.ifcb import files_at
from pelagia.survey.additions import image_flags, sample_flags
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia_inference.checks.check import check_survey
from pelagia_inference.checks.gather import SampleState
from pelagia_inference.checks.outline import gray_of, outline_of, without_legend
from pelagia_inference.checks.samples import volume_flags
from pelagia_inference.checks.shape import feret

Rows = list[dict[str, str]]
_CUT, _BLUR = 0.3, 2.0


def main() -> None:
    """Runs the benchmark and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=150, help="number of images for each planted fault")
    parser.add_argument("--stations", type=int, default=20, help="number of stations for each planted fault")
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"there is no {DATA}: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    with TemporaryDirectory(prefix="pelagia-checks-") as folder:
        flowcam_as_it_is(Path(folder, "real"))
        planted_in_images(Path(folder, "planted"), options.each)
        planted_in_stations(Path(folder, "stations"), options.stations)
        bins(Path(folder, "bins"))
    volumes()
    zooprocess()


def made(folder: Path, inputs: Sequence[Path], columns: Mapping[str, str] | None = None) -> Path:
    """A survey of these inputs, whose classes are the labels, with further columns for all images."""
    images = list(list_images(inputs, Listing()))
    classes = sorted({image.columns.get("label", "organism") for image in images})
    origin = json.dumps([str(path.absolute()) for path in inputs])
    with Survey.open_for_writing(folder, model_sha256="f" * 64, classes=classes, settings={}, origin=origin) as survey:
        survey.add(
            Prediction(
                image.path,
                str(image.file),
                sha256_of(image.read()),
                probabilities=np.eye(len(classes), dtype=np.float32)[
                    classes.index(image.columns.get("label", "organism"))
                ],
                columns={**image.columns, **(columns or {})},
            )
            for image in images
        )
    return folder


def checked(folder: Path) -> tuple[set[tuple[str, str]], set[tuple[str, str]], float]:
    """Flags of images and samples, and images measured a second."""
    with Survey.open(folder, to_add=True) as survey:
        start = perf_counter()
        result = check_survey(survey)
        rate = result.images / (perf_counter() - start)
        images = {(flag.on, flag.flag) for flag in image_flags(survey)}
        return images, {(flag.on, flag.flag) for flag in sample_flags(survey)}, rate


def manifest() -> Rows:
    with (DATA / "flowcam_northsea" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def save(folder: Path, rows: Rows) -> Path:
    """Writes a manifest."""
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def copied(folder: Path) -> Rows:
    """The manifest of a copy of the FlowCam crops in a new folder, with absolute paths."""
    shutil.copytree(DATA / "flowcam_northsea", folder)
    return [{**row, "path": str(folder / row["path"])} for row in manifest()]


def share(name: str, found: int, of: int) -> None:
    print(f"  {name:52} {found:5} of {of:5} ({found / max(of, 1):.1%})")


def flowcam_as_it_is(folder: Path) -> None:
    """Flags on the crops and stations without planted faults."""
    images, samples, rate = checked(made(folder, [DATA / "flowcam_northsea" / "manifest.csv"]))
    rows = manifest()
    print(f"FlowCam as it is, {rate:.0f} images/s:")
    for flag in ("blurred", "clipped", "duplicate"):
        share(f"images flagged {flag}", sum(one == flag for _, one in images), len(rows))
    stations = {row["station"] for row in rows}
    for flag in ("many_blurred", "many_clipped", "many_duplicates"):
        share(f"stations flagged {flag}", sum(one == flag for _, one in samples), len(stations))


def planted_in_images(folder: Path, each: int) -> None:
    """Faults in single images, each kind in images of its own, among all other crops."""
    rng = np.random.default_rng(0)
    rows = copied(folder)
    chosen = rng.permutation(len(rows))[: 3 * each].reshape(3, each)
    out: dict[str, list[str]] = {"blurred": [], "clipped": [], "duplicate": []}
    added: Rows = []
    for flag, indices in zip(out, chosen, strict=True):
        for index in indices.tolist():
            row = rows[index]
            image = decode(Path(row["path"]).read_bytes())
            changed = {"blurred": blurred, "clipped": cut, "duplicate": repeated}[flag](image, rng)
            target = folder / f"{flag}_{index:05}.jpg"
            cv2.imwrite(str(target), cv2.cvtColor(changed, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
            out[flag].append(str(target))
            new = {**row, "path": str(target)}
            added.append(new) if flag == "duplicate" else rows.__setitem__(index, new)
    images, _, _ = checked(made(folder.with_name("planted_survey"), [save(folder, [*rows, *added])]))
    named = {(Path(path).name, flag) for path, flag in images}
    print("planted in single images of FlowCam:")
    for flag, paths in out.items():
        if flag == "duplicate":  # the copy or its original has the flag, whichever sorts later
            pairs = [{Path(path).name, Path(rows[int(Path(path).stem[-5:])]["path"]).name} for path in paths]
            share(f"{flag} found", sum(any((name, flag) in named for name in pair) for pair in pairs), len(paths))
        else:
            share(f"{flag} found", sum((Path(path).name, flag) in named for path in paths), len(paths))


def blurred(image: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), _BLUR))


def cut(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image without 30% of its object, at a random side."""
    turns = int(rng.integers(4))
    turned = np.rot90(image, turns)
    outline = outline_of(gray_of(np.ascontiguousarray(turned)))
    rows = np.arange(len(turned)) if outline is None else np.flatnonzero(outline.mask.any(axis=1))
    start = rows[0] + round(_CUT * (rows[-1] - rows[0] + 1))
    return np.ascontiguousarray(np.rot90(turned[start:], -turns))


def repeated(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image again with other noise, shifted by one pixel."""
    moved = np.roll(image, (1, 1), (0, 1)).astype(np.float32) + rng.normal(0, 2, image.shape)
    return np.clip(moved, 0, 255).astype(np.uint8)


def planted_in_stations(folder: Path, number: int) -> None:
    """Stations whose images are all blurred."""
    rng = np.random.default_rng(1)
    rows = copied(folder)
    sizes = {station: sum(row["station"] == station for row in rows) for station in {row["station"] for row in rows}}
    large = sorted(station for station, size in sizes.items() if size >= 10)
    chosen = set(rng.choice(large, number, replace=False).tolist())
    for index, row in enumerate(rows):
        if row["station"] in chosen:
            changed = blurred(decode(Path(row["path"]).read_bytes()), rng)
            target = folder / f"{index:05}.jpg"
            cv2.imwrite(str(target), cv2.cvtColor(changed, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
            row["path"] = str(target)
    _, samples, _ = checked(made(folder.with_name("stations_survey"), [save(folder, rows)]))
    found = {sample for sample, flag in samples if flag == "many_blurred"}
    print("planted in whole stations of FlowCam with 10 images or more:")
    share("blurred stations flagged many_blurred", len(found & chosen), number)
    share("other stations flagged many_blurred", len(found - chosen), len(sizes) - number)


def bins(folder: Path) -> None:
    """The IFCB bins as they are, with three particles repeated at their position, and with half of the volume."""
    sources = [DATA / "ifcb" / "smhi", DATA / "ifcb" / "whoi"]
    images, samples, _ = checked(made(folder / "real", sources))
    total = len(list(list_images(sources, Listing())))
    print("IFCB bins as they are:")
    for flag in ("blurred", "clipped", "duplicate"):
        share(f"images flagged {flag}", sum(one == flag for _, one in images), total)
    print(f"  flags of samples: {sorted({flag for _, flag in samples})}")
    copies = [stuck(source, folder / source.name) for source in sources]
    images, _, _ = checked(made(folder / "stuck", [file.parent for file in copies]))
    share("repeated particles found", sum(flag == "duplicate" for _, flag in images), 6)
    halved = [made(folder / f"half_{source.name}", [source], half_volume(source)) for source in sources]
    found = sum(any(flag == "implausible_volume" for _, flag in checked(one)[1]) for one in halved)
    share("bins with half of the volume found", found, len(halved))


def half_volume(source: Path) -> dict[str, str]:
    value = next(iter(list_images([source], Listing()))).columns["sampleSizeValue"]
    return {"sampleSizeValue": f"{float(value) / 2:.6f}"}


def stuck(source: Path, target: Path) -> Path:
    """A copy of a bin with its first three images again at the end, each with other noise and moved by two pixels."""
    target.mkdir(parents=True)
    rng = np.random.default_rng(2)
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    roi_file = next(target.glob("*.roi"))
    files = files_at(roi_file.with_suffix(""))
    if files is None:
        sys.exit(f"{roi_file} is not a bin")
    rois = [roi for roi in files.read_adc().rois() if not roi.is_empty][:3]
    lines, pixels = roi_file.with_suffix(".adc").read_text().splitlines(), roi_file.read_bytes()
    for roi in rois:
        data = np.frombuffer(pixels, np.uint8)[roi.offset : roi.offset + roi.width * roi.height].astype(np.float32)
        values = lines[roi.target - 1].split(",")
        values[13], values[14], values[17] = str(roi.x + 2), str(roi.y + 2), str(len(pixels))
        lines.append(",".join(values))
        pixels += np.clip(data + rng.normal(0, 2, len(data)), 0, 255).astype(np.uint8).tobytes()
    roi_file.with_suffix(".adc").write_text("\n".join(lines) + "\n")
    roi_file.write_bytes(pixels)
    return roi_file


def volumes() -> None:
    """Halved volumes among the volumes of 176 stations, which are drawn with different spreads."""
    rng = np.random.default_rng(3)
    stations = sorted({row["station"] for row in manifest()})
    print(f"volumes of {len(stations)} stations, drawn; 10% of them halved:")
    for spread in (0.05, 0.1, 0.2, 0.3):
        drawn = np.exp(rng.normal(0, spread, len(stations))) * 5
        half = rng.random(len(stations)) < 0.1
        states = [
            SampleState(name, {"sampleSizeValue": f"{value:.4f}", "sampleSizeUnit": "millilitre", "instrument": "F"})
            for name, value in zip(stations, np.where(half, drawn / 2, drawn), strict=True)
        ]
        found = {flag.on for flag in volume_flags(states)}
        wanted = {name for name, is_half in zip(stations, half, strict=True) if is_half}
        share(f"spread {spread:.0%}: halved volumes found", len(found & wanted), len(wanted))
        share(f"spread {spread:.0%}: other volumes flagged", len(found - wanted), len(stations) - len(wanted))


def zooprocess() -> None:
    """Areas and lengths, compared with those that ZooProcess measured."""
    table = next((DATA / "ecotaxa_export").glob("*.tsv"))
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))[1:]
    areas, lengths = [], []
    for row in rows:
        outline = outline_of(without_legend(gray_of(decode((table.parent / row["img_file_name"]).read_bytes()))))
        if outline is None:
            areas.append(0.0)
            continue
        areas.append(outline.area / float(row["object_area"]))
        lengths.append(feret(outline.points)[0] / float(row["object_feret"]))
    ratios = np.array(areas)
    print(f"ZooProcess, {len(rows)} objects: area / object_area median {np.median(ratios):.3f},", end=" ")
    print(f"5th to 95th percentile {np.quantile(ratios, 0.05):.2f} to {np.quantile(ratios, 0.95):.2f};", end=" ")
    print(f"within 20%: {np.mean(np.abs(ratios - 1) < 0.2):.1%}; no outline: {np.sum(ratios == 0)}")
    print(f"  length / object_feret median {np.median(lengths):.3f}, 5th percentile {np.quantile(lengths, 0.05):.2f}")


if __name__ == "__main__":
    main()
