"""Few labels a class: the last layer alone (`pelagia train --head-only`) beside the training of the whole network.

.venv/bin/python -m benchmarks.training.few_labels --dataset DATASET --weights FILE --backbone tf_efficientnet_lite0 \\
    --out FOLDER

For each number of labels and each seed, so many images of each class are drawn from the train split, and a quarter of
them from the val split, which chooses the best epoch of a whole training. Macro-F1 is that of the network, without
the temperatures of an export, on the test split, whose groups nothing else has seen. A whole training is that of
configs/training/flowcam_northsea.yaml with as many epochs as pass `--passes` images. An interrupted run resumes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from benchmarks.harness import REPOSITORY
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset, class_counts, fingerprint
from pelagia.dataset.write import write_tables
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import targets_of
from pelagia_training.evaluation.evaluate_torch import evaluate_run
from pelagia_training.figures.metrics import confusion_matrix, metrics_of
from pelagia_training.head.features import features_of_images
from pelagia_training.network.backbone import last_layer
from pelagia_training.runs.folder import read_run
from pelagia_training.runs.load import load_trained
from pelagia_training.train import train

_VALIDATED = 4
"""There is one image of the val split for this number of labels."""


def drawn(dataset: Dataset, labels: int, seed: int, folder: Path) -> Dataset:
    """``dataset`` with ``labels`` images of each class in the train split, and a quarter of them in the val split."""
    out = folder / f"{dataset.root.name}-{labels}-{seed}"
    if not out.is_dir():
        random = np.random.default_rng((labels, seed))
        most = {"train": labels, "val": -(-labels // _VALIDATED)}
        records = list(dataset.split("test"))
        for split, count in most.items():
            for name in dataset.class_names:
                of_class = [record for record in dataset.split(split) if record.class_name == name]
                records += [of_class[index] for index in random.permutation(len(of_class))[:count]]
        counts = class_counts(records, dataset.class_names)
        changes = {"fingerprint": fingerprint(records), "images": len(records), "counts": counts, "name": out.name}
        out.mkdir(parents=True)
        (out / "images").symlink_to(dataset.root.absolute() / "images")
        write_tables(out, dataset.meta.model_copy(update=changes), records)
    return Dataset.read(out)


def trained(dataset: Dataset, options: argparse.Namespace, out: Path, changes: list[str]) -> Path:
    """A finished run on ``dataset``."""
    model = [f"model.backbone={options.backbone}", f"model.weights={options.weights}", "train.warmup_epochs=1"]
    padding = [] if options.backbone.startswith("mobilenet") else ["model.options={}"]
    recipe = REPOSITORY / "configs/training/flowcam_northsea.yaml"
    config = load_config(recipe, TrainConfig, [f"dataset={dataset.root}", *model, *padding, *changes])
    if not out.is_dir() or read_run(out)[1].status != "finished":
        train(config, out, lambda event: print(f"  {event}", flush=True) if isinstance(event, str) else None)
    return out


def macro_f1_of_head(run: Path, dataset: Dataset, cache: Path) -> float:
    """The macro-F1 on the test split, from the features that all heads share."""
    config, state = read_run(run)
    network = load_trained(run, config, state)
    records = list(dataset.split("test"))
    features = features_of_images(network, dataset, records, config.preprocess, folder=cache / "features")
    layer = last_layer(network)
    logits = features @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    classes = state.taxonomy.names
    return metrics_of(confusion_matrix(targets_of(records, classes), logits.argmax(1), len(classes))).macro_f1


def measured(base: Dataset, options: argparse.Namespace, labels: int, seed: int, epochs: int) -> tuple[float, float]:
    """The macro-F1 and the seconds of one run; ``epochs`` is 0 for the last layer alone."""
    cache = options.out / "cache"
    dataset = drawn(base, labels, seed, options.out / "datasets")
    out = options.out / options.backbone / f"{labels}-{seed}-{epochs or 'head'}"
    how = [f"train.epochs={epochs}", f"train.patience={epochs}"] if epochs else ["train.head_only=true"]
    began = time.monotonic()
    run = trained(dataset, options, out, [f"seed={seed}", f"data.cache={cache}", *how])
    seconds = time.monotonic() - began
    return (evaluate_run(run, "test").metrics.macro_f1 if epochs else macro_f1_of_head(run, dataset, cache)), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=int, nargs="+", default=[5, 10, 20, 50], help="labels of each class")
    parser.add_argument("--seeds", type=int, default=3, help="number of draws for the last layer alone")
    parser.add_argument("--whole-seeds", type=int, default=1, help="number of draws for the whole network")
    parser.add_argument("--passes", type=int, default=11250, help="images that a whole training passes")
    options = parser.parse_args()
    base = Dataset.read(options.dataset)
    for labels in options.labels:
        epochs = max(2, round(options.passes / (labels * len(base.class_names))))
        ways = {"last layer": (0, options.seeds), f"whole network, {epochs} epochs": (epochs, options.whole_seeds)}
        for name, (of_way, seeds) in ways.items():
            if not seeds:
                continue
            scores, seconds = zip(
                *(measured(base, options, labels, seed, of_way) for seed in range(seeds)), strict=True
            )
            spread = f" +- {stdev(scores):.3f}" if seeds > 1 else ""
            each = " ".join(f"{one:.3f}" for one in scores)
            print(
                f"{options.backbone}, {labels} labels a class, {name}: {mean(scores):.3f}{spread} ({each})", flush=True
            )
            print(f"  {mean(seconds):.0f} s a run", flush=True)


if __name__ == "__main__":
    main()
