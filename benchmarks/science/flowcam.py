"""Imports, trains, exports and evaluates FlowCam crops of the North Sea (15 classes, by station), and times each step.

.venv/bin/python -m benchmarks.science.flowcam [--out FOLDER] [--set train.epochs=5 ...]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import DATA, REPOSITORY, pelagia
from pelagia.system.cores import usable_cores


def main() -> None:
    """Runs the benchmark and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=None, help="folder for the dataset, the run and the model; by default a new one"
    )
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the config, as for `pelagia train`")
    options = parser.parse_args()
    source = DATA / "flowcam_northsea"
    if not source.is_dir():
        sys.exit(f"there is no {source}: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    out = options.out or Path(tempfile.mkdtemp(prefix="pelagia-flowcam-"))
    weights = DATA / "weights" / "mobilenetv2_100_imagenet.safetensors"
    taxonomy = REPOSITORY / "configs/taxonomy/flowcam_northsea.yaml"
    grouped = ("--manifest", source / "manifest.csv", "--group-column", "station", "--taxonomy", taxonomy)
    settings = [f"dataset={out / 'dataset'}", f"model.weights={weights}", *options.set]
    seconds = {
        "import": pelagia("dataset", "import", source, *grouped, "--out", out / "dataset"),
        "train": pelagia(
            "train",
            "configs/training/flowcam_northsea.yaml",
            "--no-export",
            *(part for setting in settings for part in ("--set", setting)),
            "--out",
            out / "run",
        ),
        "export": pelagia("export", out / "run", "--out", out / "model.onnx"),
        "evaluate": pelagia("evaluate", out / "model.onnx", out / "dataset", "--out", out / "evaluation"),
    }
    metrics = json.loads((out / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    print()
    for name, value in seconds.items():
        print(f"{name:10} {value:7.1f} s")
    print(f"total      {sum(seconds.values()) / 60:7.1f} min on {usable_cores()} cores")
    print(f"test macro-F1 {metrics['macro_f1']:.4f}, accuracy {metrics['accuracy']:.4f}")
    print(f"on {metrics['images']} images of {metrics['groups']} stations that are not in the training split")
    print(f"written: {out}")


if __name__ == "__main__":
    main()
