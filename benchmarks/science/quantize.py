"""Compares speed, size and macro-F1 of a float model and its int8 copy: a resnet18 trained on FlowCam by station.

.venv/bin/python -m benchmarks.science.quantize [--out FOLDER] [--set train.epochs=5 ...]
.venv/bin/python -m benchmarks.science.quantize MODEL.onnx DATASET       an existing model, instead of training one

The network starts from random weights, not from ImageNet weights, so its macro-F1 is lower than it could be.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import DATA, REPOSITORY, pelagia

BACKBONE = (
    "name=flowcam_resnet18",
    "model={backbone: resnet18}",
    "preprocess.size=96",
    "train.epochs=20",
)


def trained(out: Path, changes: list[str]) -> tuple[Path, Path]:
    """Imports FlowCam, trains and exports. Returns the paths of the model and of the dataset."""
    source = DATA / "flowcam_northsea"
    if not source.is_dir():
        sys.exit(f"there is no {source}: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    taxonomy = REPOSITORY / "configs/taxonomy/flowcam_northsea.yaml"
    dataset, run, model = out / "dataset", out / "run", out / "model.onnx"
    grouped = ("--manifest", source / "manifest.csv", "--group-column", "station", "--taxonomy", taxonomy)
    pelagia("dataset", "import", source, *grouped, "--out", dataset)
    settings = (f"dataset={dataset}", *BACKBONE, *changes)
    pelagia(
        "train",
        "--no-export",
        "configs/training/flowcam_northsea.yaml",
        *(part for setting in settings for part in ("--set", setting)),
        "--out",
        run,
    )
    pelagia("export", run, "--out", model)
    return model, dataset


def main() -> None:
    """Runs the benchmark; `pelagia quantize` prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="a float model, instead of training one")
    parser.add_argument("dataset", type=Path, nargs="?", help="the dataset that the model was trained on")
    parser.add_argument("--out", type=Path, default=None, help="folder for all files; by default a new one")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the config, as for `pelagia train`")
    parser.add_argument("--fp16", action="store_true", help="half precision instead of int8")
    options = parser.parse_args()
    if options.model and not options.dataset:
        parser.error("give the model's dataset after the model")
    out = (options.out or Path(tempfile.mkdtemp(prefix="pelagia-quantize-"))).absolute()
    given = (options.model.absolute(), options.dataset.absolute()) if options.model else None
    model, dataset = given or trained(out, options.set)
    small = out / f"{model.stem}.{'fp16' if options.fp16 else 'int8'}.onnx"
    pelagia("quantize", model, "--calibration", dataset, "--out", small, *(["--fp16"] if options.fp16 else []))
    pelagia("model", "verify", small)
    print(f"written: {out}")


if __name__ == "__main__":
    main()
