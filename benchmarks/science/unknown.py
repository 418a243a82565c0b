"""How well out-of-distribution scores separate images of an unknown class: FlowCam, with one class left out at a time.

.venv/bin/python -m benchmarks.science.unknown --out FOLDER [--classes copepod ceratium] [--set train.epochs=4 ...]

For each class, a network is trained without it, and its scores of the test images of the other classes are compared
with its scores of all images of the class. The same command resumes an interrupted benchmark. "exported" is the score
of an exported model, "ViM" is the published one.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from benchmarks.harness import DATA, REPOSITORY, pelagia
from pelagia.dataset.schema import Dataset
from pelagia_training.data.batches import spread
from pelagia_training.export.reliability import SUBSPACE_IMAGES, outputs
from pelagia_training.network.backbone import last_layer
from pelagia_training.network.unknown import fit_vim, vim_score
from pelagia_training.runs.folder import read_run
from pelagia_training.runs.load import load_trained

CLASSES = ("ceratium", "copepod", "silicoflagellate")
CONFIG = "configs/training/flowcam_northsea.yaml"
WEIGHTS = DATA / "weights" / "mobilenetv2_100_imagenet.safetensors"


def energy_score(logits: np.ndarray) -> np.ndarray:
    """Minus the log-sum-exp of the logits (Liu et al. 2020): float32, N."""
    return np.asarray(-torch.logsumexp(torch.from_numpy(logits), 1).numpy(), np.float32)


def max_logit_score(logits: np.ndarray) -> np.ndarray:
    """Minus the largest logit (Hendrycks et al. 2022): float32, N."""
    return np.asarray(-logits.max(axis=1), np.float32)


@dataclass(frozen=True)
class Separation:
    """How well a score separates unknown images from known ones.

    Attributes:
        auroc: probability that an unknown image has a higher score than a known one.
        false_positives: share of unknown images that are accepted where 95% of known images are (FPR at 95% TPR).
    """

    auroc: float
    false_positives: float


def separation(known: np.ndarray, unknown: np.ndarray) -> Separation:
    truth = [0] * len(known) + [1] * len(unknown)
    auroc = float(roc_auc_score(truth, np.concatenate((known, unknown))))
    return Separation(auroc, float((unknown <= np.quantile(known, 0.95)).mean()))


def prepared(out: Path, dataset: Path | None) -> Path:
    """The folder of the dataset; imports FlowCam where no dataset is given and none was imported yet."""
    if dataset is not None:
        return dataset
    source, made = DATA / "flowcam_northsea", out / "dataset"
    if not source.is_dir():
        sys.exit(f"there is no {source}: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    if not made.is_dir():
        taxonomy = REPOSITORY / "configs/taxonomy/flowcam_northsea.yaml"
        grouped = ("--manifest", source / "manifest.csv", "--group-column", "station", "--taxonomy", taxonomy)
        pelagia("dataset", "import", source, *grouped, "--out", made)
    return made


def separations(run: Path, dataset: Dataset, left_out: str) -> dict[str, Separation]:
    """Each score's separation of the run's test images from those of the class that it was trained without."""
    config, state = read_run(run)
    network = load_trained(run, config, state)
    parts = {
        "train": spread(
            [record for record in dataset.split("train") if record.class_name != left_out], SUBSPACE_IMAGES
        ),
        "known": [record for record in dataset.split("test") if record.class_name != left_out],
        "unknown": [record for record in dataset.records if record.class_name == left_out],
    }
    logits, features = {}, {}
    for name, records in parts.items():
        logits[name], pooled = outputs(network, dataset, records, config.preprocess)
        if pooled is None:
            sys.exit(f"{config.model.backbone} does not expose its features: choose another backbone with --set")
        features[name] = pooled
    last = last_layer(network)
    weight, bias = last.weight.detach().numpy(), last.bias.detach().numpy()
    fitted = features["train"], logits["train"], weight, bias
    as_exported, as_published = fit_vim(*fitted), fit_vim(*fitted, counts_for=1.0)
    scores = {
        "exported": lambda name: vim_score(as_exported, features[name], logits[name]),
        "ViM": lambda name: vim_score(as_published, features[name], logits[name]),
        "energy": lambda name: energy_score(logits[name]),
        "max-logit": lambda name: max_logit_score(logits[name]),
    }
    return {name: separation(score("known"), score("unknown")) for name, score in scores.items()}


def main() -> None:
    """Runs the benchmark and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the dataset and the runs")
    parser.add_argument("--dataset", type=Path, default=None, help="a dataset, instead of importing FlowCam")
    parser.add_argument("--classes", nargs="+", default=CLASSES, help="classes to leave out, one after the other")
    parser.add_argument("--config", default=CONFIG, help="a config, relative to the repository")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the config, as for `pelagia train`")
    options = parser.parse_args()
    out = options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    folder = prepared(out, options.dataset and options.dataset.absolute())
    results = []
    for name in options.classes:
        run = out / f"without_{name}"
        if not run.is_dir() or read_run(run)[1].status != "finished":
            weights = [f"model.weights={WEIGHTS}"] if options.config == CONFIG else []
            settings = (f"dataset={folder}", f"data.exclude=[{name}]", *weights, *options.set)
            changes = [part for setting in settings for part in ("--set", setting)]
            pelagia("train", options.config, *changes, "--no-export", "--out", run)
        results.append(separations(run, Dataset.read(folder), name))
    print(f"{'AUROC / FPR at 95% TPR':24}" + "".join(f"{name:>20}" for name in (*options.classes, "mean")))
    for score in results[0]:
        pairs = [(result[score].auroc, result[score].false_positives) for result in results]
        cells = [f"{auroc:.4f} / {rate:.3f}" for auroc, rate in (*pairs, np.mean(pairs, axis=0))]
        print(f"{score:24}" + "".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    main()
