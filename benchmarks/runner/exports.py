"""Measures how fast `pelagia survey export --to` is, and how much memory it takes, on surveys of two sizes.

    .venv/bin/python -m benchmarks.runner.exports [--rows 100000 1000000] [--to csv parquet ...]

The surveys are made of random probabilities of 40 classes, each with a taxon, with eight columns at 100 stations; one
image in 50 has a label of people. Each format runs in a process of its own. Its memory is the largest resident size of
the process, less that of a process that has imported the same modules and opened the survey (Linux). The format
`ecotaxa` is not measured here, because its time is that of reading the images. On a machine with other programs,
compare CPU seconds.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pelagia.model.card import ModelCard
from pelagia.survey.additions import Confirmed, Measured, add_confirmed, add_measures
from pelagia.survey.journal import Prediction, Survey
from pelagia.taxonomy import LabelClass, Taxon, Taxonomy

FORMATS = ("csv", "parquet", "xlsx", "geojson", "ecotaxa-update", "ifcb", "ifcb-csv", "seabass", "camtrap-dp")
FORMATS += ("label-studio", "dwc", "datapackage")
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
  {title: T, creators: [{family_name: A}], license: CC0-1.0}
"""
_RUN = """
import sys, time
from pelagia.survey.journal import Survey
from pelagia_inference.exports.export import ExportOptions, FORMATS, export_survey
from importlib import import_module
from pathlib import Path
def peak():
    # not `resource.getrusage`: its ru_maxrss begins with the memory of the process that started this one
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1])
survey, out, name, metadata = sys.argv[1:]
import_module(FORMATS[name].writer.partition(":")[0])
with Survey.open(survey) as opened:
    next(iter(opened))
    before = peak()
    start, cpu = time.perf_counter(), time.process_time()
    export_survey(opened, out, name, ExportOptions(metadata=Path(metadata)))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
print(seconds, cpu, (peak() - before) / 1024)
"""


def make_survey(folder: Path, rows: int, classes: int = 40) -> None:
    """A survey whose images are those of 100 IFCB bins, and have all the columns that the formats need."""
    names = [f"class {at}" for at in range(classes)]
    random = np.random.default_rng(0)
    model = _card(names).model_dump_json()
    with Survey.open_for_writing(folder, model_sha256="f" * 64, classes=names, settings={}, model=model) as survey:
        for start in range(0, rows, _CHUNK):
            scores = random.dirichlet(np.full(classes, 0.1), _CHUNK).astype(np.float32)
            added = [_row(start + at, rows, scores[at]) for at in range(min(_CHUNK, rows - start))]
            survey.add(added)
            add_confirmed(survey, [Confirmed(one.path, names[0], "Ann", "2024-01-02") for one in added[::50]])
            add_measures(survey, [Measured(one.path, {"area_px": 10.0, "esd_um": 5.5}) for one in added])


def _card(names: Sequence[str]) -> ModelCard:
    taxonomy = Taxonomy(
        name="invented",
        taxa=tuple(Taxon(name=f"Taxon {name}", rank="species") for name in names),
        classes=tuple(LabelClass(name=name, taxon=f"Taxon {name}") for name in names),
    )
    confusion = np.eye(len(names), dtype=int).tolist()
    return ModelCard(
        name="invented", created="2024-01-01", pelagia_version="0", taxonomy=taxonomy, validation_confusion=confusion
    )


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


def main() -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--to", nargs="+", default=list(FORMATS))
    options = parser.parse_args()
    print("| format | rows | seconds | CPU seconds | rows a CPU second | memory, MB | written, MB |")
    print("|" + " --- |" * 7)
    with tempfile.TemporaryDirectory() as temporary:
        metadata = Path(temporary) / "metadata.yaml"
        metadata.write_text(_METADATA, encoding="utf-8")
        for rows in options.rows:
            start = time.perf_counter()
            make_survey(Path(temporary) / str(rows), rows)
            print(f"made {rows} rows in {time.perf_counter() - start:.0f} s", file=sys.stderr)
            for name in options.to:
                seconds, cpu, memory, size = measure(Path(temporary) / str(rows), name, metadata)
                cells = (
                    name,
                    f"{rows:,}",
                    f"{seconds:.1f}",
                    f"{cpu:.1f}",
                    f"{rows / cpu:,.0f}",
                    f"{memory:.0f}",
                    f"{size / 1e6:.0f}",
                )
                print(f"| {' | '.join(cells)} |", flush=True)
            shutil.rmtree(Path(temporary) / str(rows))


if __name__ == "__main__":
    main()
