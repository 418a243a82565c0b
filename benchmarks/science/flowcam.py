"""FlowCam crops of the North Sea, 15 classes, grouped by station: import, train, export, evaluate, with the commands.

.venv/bin/python -m benchmarks.science.flowcam [--out FOLDER] [--set train.epochs=5 ...]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import DATA, REPOSITORY, pelagia


def main() -> None:
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=None, help="folder to keep the dataset, the run and the model in")
    parser.add_argument("--set", action="append", default=[], help="changes of the config, as for pelagia train")
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
    figures = json.loads((out / "evaluation" / "metrics.json").read_text())
    print()
    for name, value in seconds.items():
        print(f"{name:10} {value:7.1f} s")
    print(f"together   {sum(seconds.values()) / 60:7.1f} min on {os.cpu_count()} cores")
    print(f"test macro-F1 {figures['macro_f1']:.4f}, accuracy {figures['accuracy']:.4f}")
    print(f"on {figures['images']} images of {figures['groups']} stations that training did not see")
    print(f"kept in {out}")


if __name__ == "__main__":
    main()
