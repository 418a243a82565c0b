"""Selection of what to label next with a whole network: half of the labels, chosen, against all of them at random.

The images are chosen as in `benchmarks.labeling.selection`: the default strategy with half of the labels, `random` with
all of them. Then `pelagia train` trains a network on each choice, for equally many steps, and it is measured on the
held-out third of the stations. A part of the chosen stations is the val split.

.venv/bin/python -m benchmarks.labeling.selection_network --out FOLDER [--seeds 3] [--images 30000]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from benchmarks.harness import DATA, REPOSITORY, pelagia
from benchmarks.labeling.selection import BACKBONE, Crops, Plan, choose, divided, embed_flowcam, read_crops
from pelagia.system.tables import write_table
from pelagia_labeling.selection.pool import Rows
from pelagia_labeling.selection.strategies import DEFAULT, RANDOM

CONFIG = "configs/training/flowcam_northsea.yaml"
VALIDATION = 0.15
"""Share of the chosen stations in the val split."""


def main() -> None:
    """Runs the benchmark; exits with 1 if half of the labels, chosen, are not as good as all at random."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the embeddings, the datasets and the runs")
    parser.add_argument("--embeddings", type=Path, help="embeddings of FlowCam that were made before")
    parser.add_argument("--weights", type=Path, default=DATA / "weights" / f"{BACKBONE}_imagenet.safetensors")
    parser.add_argument("--labels", type=int, default=1000, help="number of labels at random; half of it is chosen")
    parser.add_argument("--images", type=int, default=30000, help="number of images that each training sees")
    parser.add_argument("--first-seed", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    crops = read_crops(options.embeddings or embed_flowcam(options.out, options.weights))
    half = options.labels // 2
    found: dict[str, list[float]] = {f"{DEFAULT} {half}": [], f"{RANDOM} {options.labels}": []}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        pool, test = divided(crops, seed, long_tail=False)
        for name, labels in ((DEFAULT, half), (RANDOM, options.labels)):
            chosen = pool[choose(crops, pool, name, Plan(100, 100, labels), seed)[-1]]
            score = train(crops, chosen, test, options.out / f"{name}-{labels}-{seed}", options.images)
            found[f"{name} {labels}"].append(score)
            print(f"seed {seed}: {name} {labels}: macro-F1 {score:.4f}", flush=True)
    for name, scores in found.items():
        print(f"{name:24}", *(f"{score:.3f}" for score in scores), f" mean {np.mean(scores):.3f}")
    chosen_mean, random_mean = (float(np.mean(scores)) for scores in found.values())
    sys.exit(int(chosen_mean < random_mean))


def train(crops: Crops, chosen: Rows, test: Rows, out: Path, images: int) -> float:
    """Trains a network on the chosen crops, and returns its macro-F1 on the held-out ones."""
    out.mkdir(parents=True)
    stations = np.unique(crops.stations[chosen])
    held = np.random.default_rng(0).permutation(stations)[: round(VALIDATION * len(stations))]
    rows = [
        [crops.paths[row], crops.names[crops.classes[row]], crops.stations[row], split]
        for split, part in (("", chosen), ("test", test))
        for row in part.tolist()
    ]
    for row in rows:
        row[3] = row[3] or ("val" if row[2] in held else "train")
    write_table(out / "manifest.csv", ("path", "label", "station", "split"), rows)
    trained = sum(row[3] == "train" for row in rows)
    taxonomy = REPOSITORY / "configs/taxonomy/flowcam_northsea.yaml"
    source = ("--manifest", out / "manifest.csv", "--group-column", "station", "--split-column", "split")
    pelagia("dataset", "import", DATA / "flowcam_northsea", *source, "--taxonomy", taxonomy, "--out", out / "dataset")
    weights = DATA / "weights" / "mobilenetv2_100_imagenet.safetensors"
    settings = (f"dataset={out / 'dataset'}", f"model.weights={weights}", f"train.epochs={round(images / trained)}")
    pelagia("train", CONFIG, "--out", out / "run", *(word for setting in settings for word in ("--set", setting)))
    pelagia("evaluate", out / "run" / "model.onnx", out / "dataset", "--out", out / "evaluation")
    return float(json.loads((out / "evaluation" / "metrics.json").read_text(encoding="utf-8"))["macro_f1"])


if __name__ == "__main__":
    main()
