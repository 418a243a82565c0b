"""What it is worth to check the most suspect labels: wrong labels are planted, and an oracle corrects some of them.

.venv/bin/python -m benchmarks.methods.label_cleaning --dataset DATASET --weights FILE --out F.jsonl

A share of the labels of the train split is changed. The wrong class is drawn by how probable a model without the image
and its station finds it, so wrong labels are of classes that are easily confused. Then the images are ranked as
`pelagia suspects` ranks them, by probabilities out of fold, with folds by station. An oracle looks at a share of the
train split, the most suspect or as many at random, and corrects what was planted there. All is fitted again and
measured on unseen stations. The wrong labels that FlowCam has itself stay, in all splits.

The model is a logistic regression on the features of an ImageNet network (tf_efficientnet_lite0, in FILE) that has seen
no label, reduced to their first 256 principal components. The strength of its penalty is that of the labels without
planted errors. The seed draws the wrong labels and the random checks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.methods.paired import add, finished, table
from pelagia.dataset.schema import Dataset
from pelagia.dataset.splits import assign_parts
from pelagia.images.preprocess import PreprocessSpec
from pelagia_training.data.batches import targets_of
from pelagia_training.figures.calibrate import softmax
from pelagia_training.figures.metrics import confusion_matrix, metrics_of
from pelagia_training.head.features import features_of_images
from pelagia_training.head.logistic import choose_strength, fit_path
from pelagia_training.network.backbone import Normalized, build_network
from pelagia_training.network.losses import build_loss, soft_targets
from pelagia_training.network.weights import load_weights
from pelagia_training.studies.suspects import self_confidence

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

BACKBONE = "tf_efficientnet_lite0"
COMPONENTS = 256
FOLDS = 5
_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Data:
    """Features (float32, N x D), true labels and stations of the splits; the strength of the penalty."""

    features: dict[str, Floats]
    labels: dict[str, Labels]
    stations: list[str]
    classes: int
    strength: float


def read_data(dataset: Dataset, weights: Path, cache: Path, strength: float | None) -> Data:
    """The features of the dataset. The strength is chosen out of fold, with folds by station, unless it is given."""
    network = build_network(BACKBONE, 1000, pretrained=False, drop_rate=0.0, options={})
    load_weights(network, weights)
    classifier, spec = Normalized(network, _HALF, _HALF).eval(), PreprocessSpec(size=128)
    records = {split: list(dataset.split(split)) for split in ("train", "val", "test")}
    every = [record for rows in records.values() for record in rows]
    vectors = features_of_images(classifier, dataset, every, spec, folder=cache)
    train = len(records["train"])
    axes = np.linalg.svd(vectors[:train] - vectors[:train].mean(0), full_matrices=False)[2][:COMPONENTS]
    reduced = iter(vectors @ axes.T)
    features = {split: np.stack([next(reduced) for _ in rows]) for split, rows in records.items()}
    labels = {split: targets_of(rows, dataset.class_names) for split, rows in records.items()}
    stations = [record.group for record in records["train"]]
    classes = len(dataset.class_names)
    if strength is None:
        targets, loss = one_hot(labels["train"], classes), build_loss("none", np.bincount(labels["train"]))
        strength = choose_strength(features["train"], targets, labels["train"], stations, loss).strength
    return Data(features, labels, stations, classes, strength)


def one_hot(labels: Labels, classes: int) -> Floats:
    hot: Floats = soft_targets(torch.from_numpy(labels), classes, smoothing=0).numpy()
    return hot


def probabilities(data: Data, rows: NDArray[np.bool_] | slice, labels: Labels, features: Floats) -> Floats:
    """The probabilities of ``features`` by a head that is fitted to these rows of the train split."""
    loss = build_loss("none", np.ones(data.classes))
    head = fit_path(data.features["train"][rows], one_hot(labels[rows], data.classes), loss, [data.strength])[-1]
    return softmax(head.logits(features)).astype(np.float32)


def out_of_fold(data: Data, labels: Labels) -> Floats:
    """The probabilities of each image of the train split, without its station."""
    parts = np.array(assign_parts([str(one) for one in labels], data.stations, [1 / FOLDS] * FOLDS))
    found = np.zeros((len(labels), data.classes), np.float32)
    for part in range(FOLDS):
        found[parts == part] = probabilities(data, parts != part, labels, data.features["train"][parts == part])
    return found


def planted(labels: Labels, likely: Floats, share: float, random: np.random.Generator) -> Labels:
    """The labels with a share of them changed, each to a class drawn by its probability.

    Args:
        likely: the probabilities of each image by a model that has not seen it, float32, N x C.
    """
    wrong = labels.copy()
    for index in random.permutation(len(labels))[: round(share * len(labels))]:
        chances = likely[index].astype(float)
        chances[labels[index]] = 0
        wrong[index] = random.choice(len(chances), p=chances / chances.sum())
    return wrong


def checked(given: Labels, true: Labels, rows: NDArray[np.int64]) -> Labels:
    """The given labels, with those of ``rows`` as the oracle says."""
    corrected = given.copy()
    corrected[rows] = true[rows]
    return corrected


def corrections(data: Data, likely: Floats, share: float, seed: int) -> Iterator[tuple[str, Labels, int, int]]:
    """Yields a name, the labels, the number of images that the oracle saw, and of wrong labels among them."""
    random, true = np.random.default_rng(seed), data.labels["train"]
    given = planted(true, likely, share, random)
    order = np.argsort(self_confidence(out_of_fold(data, given), given), kind="stable")
    shuffled = random.permutation(len(given))
    yield "not checked", given, 0, 0
    for budget in (0.02, 0.05, 0.1):
        for how, rows in (("suspects", order), ("at random", shuffled)):
            first = rows[: round(budget * len(given))]
            yield f"{budget:.0%} {how}", checked(given, true, first), len(first), int((given != true)[first].sum())
    yield "nothing planted", true, 0, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, help="FlowCam crops, split by station")
    parser.add_argument("--weights", type=Path, required=True, help=f"ImageNet weights of {BACKBONE}")
    parser.add_argument("--out", type=Path, required=True, help="a .jsonl file; each finished fit adds a line")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.1], help="shares of wrong labels")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--strength", type=float, help="of the penalty; chosen if it is not given, in a minute")
    options = parser.parse_args()
    cache = options.out.with_suffix(".features")
    data = read_data(Dataset.read(options.dataset), options.weights, cache, options.strength)
    print(f"strength of the penalty {data.strength:g}", flush=True)
    likely = out_of_fold(data, data.labels["train"])
    for share in options.shares:
        for seed in options.seeds:
            measure(data, likely, share, seed, options.out)
        lines = [line for line in finished(options.out) if line["share"] == share]
        print(f"\n{share:.0%} of the labels are wrong\n")
        print(*table(lines, ("val", "test"), {line["method"]: "not checked" for line in lines}), sep="\n")
        for name in dict.fromkeys(line["method"] for line in lines if line["seen"]):
            runs = [line for line in lines if line["method"] == name]
            right = np.mean([line["wrong"] / line["seen"] for line in runs])
            print(f"{name}: {right:.1%} of the checked labels are wrong", flush=True)


def measure(data: Data, likely: Floats, share: float, seed: int, out: Path) -> None:
    """Adds the lines of a seed, unless they are in the file."""
    done = {line["method"] for line in finished(out) if (line["share"], line["seed"]) == (share, seed)}
    if "nothing planted" in done:
        return
    for name, labels, seen, wrong in corrections(data, likely, share, seed):
        if name not in done:
            line = {"method": name, "share": share, "seed": seed, "seen": seen, "wrong": wrong}
            for split in ("val", "test"):
                predicted = probabilities(data, slice(None), labels, data.features[split]).argmax(1)
                found = metrics_of(confusion_matrix(data.labels[split], predicted, data.classes))
                line |= {split: found.macro_f1, f"{split}_accuracy": found.accuracy}
            add(out, line)


if __name__ == "__main__":
    main()
