"""Measures how close `pelagia classify` comes to what the machine can do, over FlowCam JPEGs, for two networks.

.venv/bin/python -m benchmarks.runner.efficiency [--copies 8] [--rounds 3] [--models FOLDER]

The networks are first trained for one epoch on simulated images: speed does not depend on how good they are. `--copies`
says how often the 5,241 crops are repeated, so that a run is as long as a survey.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.harness import DATA, flowcam, pelagia

NETWORKS = {"mobilenetv3_small_100": 224, "mobilenetv2_100": 128}


def make_models(folder: Path) -> list[Path]:
    """Makes a model file for each network, unless it exists."""
    models = [folder / f"{name}_{size}.onnx" for name, size in NETWORKS.items()]
    if all(model.exists() for model in models):
        return models
    with tempfile.TemporaryDirectory(prefix="pelagia-efficiency-") as scratch:
        simulated = Path(scratch, "simulated")
        pelagia("simulate", simulated, "--images", 240)
        taxonomy, truth = simulated / "taxonomy.yaml", simulated / "truth.csv"
        grouped = ("--manifest", truth, "--group-column", "station", "--taxonomy", taxonomy)
        pelagia("dataset", "import", simulated, *grouped, "--out", Path(scratch, "dataset"))
        for (name, size), model in zip(NETWORKS.items(), models, strict=True):
            network = f"model={{backbone: {name}, pretrained: false}}"
            changes = [f"dataset={scratch}/dataset", f"preprocess.size={size}", network, "train.epochs=1"]
            options = [part for change in changes for part in ("--set", change)]
            pelagia("train", "configs/training/baseline.yaml", "--no-export", *options, "--out", Path(scratch, name))
            pelagia("export", Path(scratch, name), "--out", model)
    return models


def main() -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", type=Path, default=None, help="folder to keep the models in")
    options = parser.parse_args()
    source, crops = DATA / "flowcam_northsea", flowcam()
    with tempfile.TemporaryDirectory(prefix="pelagia-efficiency-") as folder:
        images = Path(folder, "images")
        for copy in range(options.copies):
            for image in crops:
                link = images / str(copy) / image.relative_to(source)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(image)
        for model in make_models((options.models or Path(folder)).absolute()):
            print(f"\n{model.stem}", flush=True)
            pelagia("bench", model, images, "--rounds", options.rounds)


if __name__ == "__main__":
    main()
