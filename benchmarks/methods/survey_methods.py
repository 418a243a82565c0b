"""What the images of a survey can teach a trained network without labels: methods compared on unseen stations.

.venv/bin/python -m benchmarks.methods.survey_methods --dataset DATASET --runs RUN0 RUN1 RUN2 --out F.jsonl

Each run is a finished `pelagia train` on DATASET with another seed. Nothing below sees a label of the val or the test
split: the stations of each of them are one survey. A method has several settings. The setting with the best mean
macro-F1 on val is chosen, and its macro-F1 on test is reported. So val is a little too good, and test is not.

A weight that depends on the number of images, n / (n + prior), mixes statistics of n images with those of the training,
which count as ``prior`` images (as Schneider et al. 2020, arXiv 2006.16971, do for batch norm):

- batch_norm: mean and variance of each batch normalization, estimated again from the images of a station or of the
  whole survey.
- mean: the embeddings (the input of the last layer) are shifted, so that their mean moves to that of the training.
- coral: mean and covariance of the embeddings, in the first principal components of the training, move to those of the
  training (CORAL, Sun, Feng & Saenko 2016, arXiv 1511.05547).
- last_layer: the surest share of each predicted class in the survey gets this class as its label, and the last layer
  is fitted again to these and to the training images. `last_layer_alone` is the same without the survey.
- propagation: probabilities spread along the neighbors in the embeddings (Zhou et al. 2004, Learning with local and
  global consistency), among the survey's images alone or with the labels of the training images.
- neighbors: the probabilities are mixed with the labels of the nearest training images.

`mean` and `coral` move a station with one class as well as one with all, which is a reason to expect little of them.

A measured setting is a line of the file with the predicted classes, and is not measured again. The table ends with the
difference to the network alone when the test stations are drawn again with replacement (90% of 2,000 draws).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.methods.paired import add, finished, table
from benchmarks.methods.unlabeled import (
    Floats,
    Seen,
    Setting,
    Trained,
    batch_norm,
    coral,
    last_layer_again,
    mean,
    neighbors,
    parts_of,
    propagation,
)
from pelagia.dataset.schema import Dataset
from pelagia_training.data.batches import load_fitted, targets_of
from pelagia_training.figures.metrics import confusion_matrix, metrics_of
from pelagia_training.network.backbone import Normalized
from pelagia_training.network.outputs import outputs
from pelagia_training.runs.folder import read_run
from pelagia_training.runs.load import load_trained

_DRAWS = 2000


# ---- the settings that are tried


def _grid(**values: Sequence[Any]) -> list[dict[str, Any]]:
    settings: list[dict[str, Any]] = [{}]
    for name, each in values.items():
        settings = [{**setting, name: value} for setting in settings for value in each]
    return settings


Compute = Callable[[Trained, Seen, Setting], Floats]
_STATION, _SURVEY = {"by": ("station",), "prior": (8, 32, 128, 512)}, {"by": ("survey",), "prior": (0, 800, 3200)}
METHODS: dict[str, tuple[Compute, list[dict[str, Any]]]] = {
    "network alone": (lambda trained, survey, setting: survey.logits, [{}]),
    "mean by station": (mean, _grid(**_STATION)),
    "mean of the survey": (mean, _grid(**_SURVEY)),
    "coral by station": (coral, _grid(**_STATION)),
    "coral of the survey": (coral, _grid(**_SURVEY)),
    "last layer alone": (last_layer_again, _grid(share=(0,), weight=(0,), strength=(0.1, 0.01))),
    "last layer": (last_layer_again, _grid(share=(0.3, 0.5, 0.8), weight=(0.3, 1), strength=(0.1, 0.01))),
    "propagation": (propagation, _grid(among=("survey", "all"), alpha=(0.2, 0.5, 0.8))),
    "neighbors": (neighbors, _grid(k=(5, 10, 20, 50), weight=(0.2, 0.35, 0.5, 0.75, 1))),
    "batch norm by station": (batch_norm, _grid(by=("station",), prior=(32, 256))),
    "batch norm of the survey": (batch_norm, _grid(by=("survey",), prior=(0, 800))),
}
_AGAINST = dict.fromkeys(METHODS, "network alone") | {"last layer": "last layer alone"}


# ---- measuring


def seen(network: Normalized, dataset: Dataset, split: str, run: Path, cache: Path) -> Seen:
    """What the network gives for a split, kept in ``cache`` for the next time."""
    config, state = read_run(run)
    records = list(dataset.split(split))
    file = cache / f"{state.fingerprint[:8]}-{config.seed}-{run.name}-{split}.npz"
    if not file.is_file():
        logits, features = outputs(network, dataset, records, config.preprocess)
        assert features is not None
        np.savez(file, logits=logits, features=features)
    found = np.load(file)
    side = config.preprocess.size
    images = load_fitted(dataset, records, config.preprocess) if split != "train" else np.empty((0, side, side, 3))
    groups = np.array([record.group for record in records])
    targets = targets_of(records, state.taxonomy.names)
    return Seen(found["features"], found["logits"], targets, groups, images.astype(np.uint8))


def measure(run: Path, dataset: Dataset, out: Path, methods: Sequence[str]) -> None:
    """Adds the lines of a run that are not in the file yet."""
    config, state = read_run(run)
    done = {(line["name"], str(line["setting"])) for line in finished(out) if line["seed"] == config.seed}
    if all((name, str(setting)) in done for name in methods for setting in METHODS[name][1]):
        return
    cache = out.with_suffix(".outputs")
    cache.mkdir(parents=True, exist_ok=True)
    network = load_trained(run, config, state).eval().to(memory_format=torch.channels_last)
    trained = Trained(network, seen(network, dataset, "train", run, cache))
    surveys = {split: seen(network, dataset, split, run, cache) for split in ("val", "test")}
    for name in methods:
        compute, settings = METHODS[name]
        for setting in settings:
            if (name, str(setting)) in done:
                continue
            line: dict[str, Any] = {"name": name, "setting": setting, "seed": config.seed}
            for split, survey in surveys.items():
                predicted = compute(trained, survey, setting).argmax(1)
                line[split] = macro_f1(survey.targets, predicted, len(state.taxonomy.names))
                line[f"{split}_predicted"] = predicted.tolist()
            add(out, line)
        print(f"seed {config.seed}: {name}", flush=True)


def macro_f1(targets: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> float:
    return metrics_of(confusion_matrix(targets, predicted, classes)).macro_f1


def chosen(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each method, the lines with the setting whose mean on val is best, of those measured for the most seeds."""
    kept: list[dict[str, Any]] = []
    for name in dict.fromkeys(line["name"] for line in lines):
        by_setting: dict[str, list[Mapping[str, Any]]] = {}
        for line in lines:
            if line["name"] == name:
                by_setting.setdefault(str(line["setting"]), []).append(line)
        best = max(by_setting.values(), key=lambda group: (len(group), float(np.mean([line["val"] for line in group]))))
        kept += [{**line, "method": name} for line in best]
    return kept


def drawn_again(
    lines: Sequence[Mapping[str, Any]], dataset: Dataset, method: str, other: str
) -> tuple[float, float] | None:
    """The 90% interval of the mean difference on test, in points, when the test stations are drawn again."""
    pairs = [
        (np.array(one["test_predicted"]), np.array(two["test_predicted"]))
        for one in lines
        for two in lines
        if one["method"] == method and two["method"] == other and one["seed"] == two["seed"]
    ]
    records = list(dataset.split("test"))
    targets, classes = targets_of(records, dataset.class_names), len(dataset.class_names)
    parts = parts_of(np.array([record.group for record in records]), "station")
    random = np.random.default_rng(0)
    gaps = []
    for _ in range(_DRAWS if pairs else 0):
        rows = np.concatenate([parts[index] for index in random.integers(0, len(parts), len(parts))])
        scores = [[macro_f1(targets[rows], each[rows], classes) for each in pair] for pair in pairs]
        gaps.append(100 * float(np.mean([one - two for one, two in scores])))
    return (float(np.quantile(gaps, 0.05)), float(np.quantile(gaps, 0.95))) if gaps else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset of the runs, split by station")
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="finished runs, each with another seed")
    parser.add_argument("--out", type=Path, required=True, help="a .jsonl file; each measured setting adds a line")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    options = parser.parse_args()
    dataset = Dataset.read(options.dataset)
    for run in options.runs:
        measure(run, dataset, options.out, options.methods)
    lines = chosen(finished(options.out))
    print(*table(lines, ("val", "test"), _AGAINST), sep="\n")
    print("\n| method | setting | difference on test, stations drawn again |\n| --- | --- | --- |")
    for name in dict.fromkeys(line["method"] for line in lines):
        setting = next(line["setting"] for line in lines if line["method"] == name)
        interval = None if name == _AGAINST[name] else drawn_again(lines, dataset, name, _AGAINST[name])
        words = "" if interval is None else f"{interval[0]:+.1f} to {interval[1]:+.1f}"
        print(f"| {name} | {', '.join(f'{key} {value}' for key, value in setting.items())} | {words} |", flush=True)


if __name__ == "__main__":
    main()
