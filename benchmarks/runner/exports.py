"""Measures how fast `pelagia survey export --to` is, and how much memory it takes, on surveys of two sizes.

    .venv/bin/python -m benchmarks.runner.exports [--rows 100000 1000000] [--to csv parquet ...] [--confirmed 50]

The surveys are made of random probabilities of 40 classes with eight columns at 100 stations; one image in 50 (see
`--confirmed`) has a label of people. With `--corrected`, the model has statistics with which counts are corrected,
which takes about 0.15 CPU seconds a sample. Each format runs in a process of its own. Its memory is the largest
resident size of the process, less the largest before the export, when the modules are imported and the survey is open.
The format `ecotaxa` is not measured here, because its time is that of reading the images. On a machine with other
programs, compare CPU seconds: those of the first format of `--to`, divided by those of each format, are a column.

Target: a survey of more rows takes at most 25 MB more. Exit code 1 if it is missed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pelagia.model.card import ModelCard
from pelagia.model.counting import Calibration, Counting, Recipe, packed
from pelagia.survey.additions import Confirmed, Measured, add_confirmed, add_measures
from pelagia.survey.journal import Prediction, Survey
from pelagia.taxonomy import LabelClass, Taxon, Taxonomy

FORMATS = ("csv", "parquet", "xlsx", "geojson", "ecotaxa-update", "ifcb", "ifcb-csv", "seabass", "camtrap-dp")
FORMATS += ("label-studio", "dwc", "datapackage")
TARGET_MB = 25
CLASSES = 40
_CHUNK = 10_000
_METADATA = """
seabass:
  {investigators: [A], affiliations: [B], contact: [c@example.org], experiment: E, cruise: C, documents: [d.txt],
   calibration_files: [no_cal_files], instrument_model: M, instrument_manufacturer: N, data_type: flow_thru,
   data_status: preliminary, volume_sampled_ml: 5, volume_imaged_ml: 4, pixel_per_um: 2.77}
camtrap-dp:
  {contributors: [{title: A}], project_title: P, sampling_design: opportunistic, capture_method: [timeLapse],
   individual_animals: false}
dwc:
  {title: A survey, creators: [{organization: A}], license: CC0-1.0, abstract: Random numbers., cruise: C}
"""
_RUN = """
import re, sys, time
from pathlib import Path
from pelagia.survey.journal import Survey
from pelagia_inference.exports.export import ExportOptions, FORMATS, export_survey
from importlib import import_module
survey, out, name, metadata = sys.argv[1:]
import_module(FORMATS[name].writer.partition(":")[0])
def peak():  # kB; ru_maxrss would start with the memory of the process that started this one
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
with Survey.open(survey) as opened:
    next(iter(opened))
    before = peak()
    start, cpu = time.perf_counter(), time.process_time()
    export_survey(opened, out, name, ExportOptions(metadata=Path(metadata), incomplete=True))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
print(seconds, cpu, (peak() - before) / 1024)
"""


def card(corrected: bool) -> ModelCard:
    """A model with a taxon for each class; if counts are corrected, with statistics."""
    names = tuple(f"class {at}" for at in range(CLASSES))
    return ModelCard(
        name="random",
        created="2024-01-01T00:00:00Z",
        pelagia_version="0.1.0",
        taxonomy=Taxonomy(
            name="random",
            taxa=tuple(Taxon(name=f"Taxon {at}", rank="species") for at in range(CLASSES)),
            classes=tuple(LabelClass(name=name, taxon=f"Taxon {at}") for at, name in enumerate(names)),
        ),
        validation_confusion=((0,) * CLASSES,) * CLASSES,
        counting=statistics(names) if corrected else None,
    )


def statistics(names: tuple[str, ...]) -> Counting:
    """Those of 2,000 random images of 20 groups."""
    random = np.random.default_rng(1)
    labels = random.integers(CLASSES, size=2000)
    odds = random.dirichlet(np.full(CLASSES, 0.1), len(labels)) + np.eye(CLASSES)[labels]
    probabilities = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return Counting(
        classes=names,
        source="out of fold",
        folds=5,
        images=tuple(np.bincount(labels, minlength=CLASSES).tolist()),
        groups=20,
        recipe=Recipe(method="em"),
        **packed(Calibration(labels, random.integers(20, size=len(labels)), probabilities)),
    )


def make_survey(folder: Path, rows: int, confirmed: int, corrected: bool) -> None:
    """A survey whose images are those of 100 IFCB bins, and have all the columns that the formats need."""
    model = card(corrected)
    names = model.taxonomy.names
    random = np.random.default_rng(0)
    with Survey.open_for_writing(
        folder, model_sha256="f" * 64, classes=names, settings={}, model=model.model_dump_json()
    ) as survey:
        for start in range(0, rows, _CHUNK):
            scores = random.dirichlet(np.full(CLASSES, 0.1), _CHUNK).astype(np.float32)
            added = [_row(start + at, rows, scores[at]) for at in range(min(_CHUNK, rows - start))]
            survey.add(added)
            add_confirmed(survey, [Confirmed(one.path, names[0], "Ann", "2024-01-02") for one in added[::confirmed]])
            add_measures(survey, [Measured(one.path, {"area_px": 10.0, "esd_um": 5.5}) for one in added])


def _row(at: int, rows: int, scores: np.ndarray) -> Prediction:
    station, number = divmod(at, max(1, rows // 100))
    bin_id = f"D202405{station % 28 + 1:02d}T{station % 24:02d}0000_IFCB{100 + station}"
    columns = {
        "sample": bin_id,
        "object_id": f"object_{at}",
        "eventDate": f"2024-05-{station % 28 + 1:02d}T{station % 24:02d}:00:00Z",
        "decimalLatitude": f"{50 + station / 100}",
        "decimalLongitude": f"{3 + station / 100}",
        "minimumDepthInMeters": "5",
        "instrument": f"IFCB{100 + station}",
        "target": str(number),
    }
    name = f"{bin_id}_{number:05d}"
    return Prediction(name, f"/data/{bin_id}.roi!/{name}", f"{at:064x}", "", "", scores, None, columns=columns)


def measure(survey: Path, name: str, metadata: Path) -> tuple[float, float, float, int]:
    """Seconds, seconds of the processor, megabytes of memory and bytes written of one export."""
    out = survey / f"out-{name}"
    command = [sys.executable, "-c", _RUN, str(survey), str(out), name, str(metadata)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, cpu, memory = map(float, done.stdout.split())
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    return seconds, cpu, memory, size


def table(options: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Prints a row for each export. Returns format -> the megabytes for each number of rows."""
    (metadata := folder / "metadata.yaml").write_text(_METADATA, encoding="utf-8")
    print(
        f"| format | rows | seconds | CPU seconds | rows a CPU second | of {options.to[0]} | memory, MB | written, MB |"
    )
    print("|" + " --- |" * 8)
    found: dict[str, list[float]] = {name: [] for name in options.to}
    for rows in options.rows:
        start = time.perf_counter()
        make_survey(survey := folder / str(rows), rows, options.confirmed, options.corrected)
        print(f"made {rows} rows in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        first = 0.0
        for name in options.to:
            seconds, cpu, memory, size = measure(survey, name, metadata)
            first = first or cpu
            found[name].append(memory)
            cells = (f"{seconds:.1f}", f"{cpu:.1f}", f"{rows / cpu:,.0f}", f"{first / cpu:.2f}", f"{memory:.0f}")
            print(f"| {name} | {rows:,} | {' | '.join(cells)} | {size / 1e6:.0f} |", flush=True)
        shutil.rmtree(survey)
    return found


def main() -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--to", nargs="+", default=list(FORMATS))
    parser.add_argument("--confirmed", type=int, default=50, help="people labeled every n-th image")
    parser.add_argument("--corrected", action="store_true", help="the model has statistics, so counts are corrected")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = table(options, Path(folder))
    grown = [f"{name} by {mb[-1] - mb[0]:.0f} MB" for name, mb in found.items() if mb[-1] - mb[0] > TARGET_MB]
    if grown:
        sys.exit(f"the memory grew: {', '.join(grown)} (target: at most {TARGET_MB} MB)")


if __name__ == "__main__":
    main()
