"""Training methods that Pelagia does not have, each compared with the baseline of the same seed on unseen stations.

.venv/bin/python -m benchmarks.methods.training_methods --dataset DATASET --weights FILE --out F.jsonl [--seeds 0 1]

The baseline is configs/training/flowcam_northsea.yaml with tf_efficientnet_lite0, 96 px and six epochs. FILE holds its
ImageNet weights for an input of -1..1. `longer` continues the baseline of the same seed for one epoch at a third of
the learning rate. The methods below do the same and change one thing, and are compared with `longer`. So both start
from the same weights, and the seed changes their difference little.

- pseudo: it also learns images of the val and test stations with the class that the baseline gives them, without
  their labels: of each class that it gives, the half with the highest probabilities.
- tree_smoothing: the share of the label smoothing goes to the other classes by their distance in the taxonomy (as the
  soft labels of Bertinetto et al. 2020, arXiv 1912.09393) instead of evenly.
- tree_ranks: the mean of the cross-entropies of the class and of each rank, whose probabilities are sums of those of
  the classes.
- sharpness: sharpness-aware minimization (Foret et al. 2021, arXiv 2010.01412), rho 0.05, the same number of steps.
  Each step computes two gradients, so it takes twice the time.

These are trained from the first weights for six epochs, and are compared with the baseline:

- never_enlarge: a crop smaller than the input is pasted in the middle of it at its own size.
- whole_tree_smoothing, whole_tree_ranks, whole_sharpness: as above. They are not among the methods by default.

The benchmark replaces functions of `pelagia_training.train` and `pelagia.images.preprocess` while a method runs: the
product has no setting for any of these methods. A finished run is a line of the file and is not trained again; an
interrupted one resumes.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.harness import REPOSITORY
from benchmarks.methods.paired import add, finished, table
from benchmarks.methods.unlabeled import surest
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset, Record
from pelagia.images import preprocess
from pelagia.images.preprocess import Image, PreprocessSpec, border_color
from pelagia.taxonomy import Taxonomy
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import load_fitted, targets_of
from pelagia_training.data.splits import Splits
from pelagia_training.figures.calibrate import softmax
from pelagia_training.figures.metrics import confusion_matrix, metrics_of
from pelagia_training.fit.context import Step
from pelagia_training.fit.learner import Learner
from pelagia_training.network.losses import Loss
from pelagia_training.network.predict import predict
from pelagia_training.runs.folder import BEST_FILE, read_run
from pelagia_training.runs.load import load_trained

Floats = NDArray[np.float64]

training: Any = importlib.import_module("pelagia_training.train")
"""The module, whose functions are replaced; the package gives its function `train` the same name."""
RHO = 0.05
SMOOTHING = 0.1
SUREST = 0.5
_ONE_EPOCH = ("train.epochs=1", "train.lr=3e-4", "train.warmup_epochs=0.1")


@dataclass(frozen=True)
class Method:
    """A method: changes of the config, and what is replaced while it trains and predicts.

    Attributes:
        patches: taxonomy of the dataset -> the context in which the run is trained and evaluated.
        against: the method that it is compared with.
        further: whether it starts from the weights of the baseline.
        labelled: whether the baseline labels images of val and test for it.
        own_cache: whether its images differ from those of the others.
    """

    patches: Callable[[Taxonomy], AbstractContextManager[Any]] = lambda taxonomy: nullcontext()
    changes: tuple[str, ...] = ()
    against: str = "baseline"
    further: bool = False
    labelled: bool = False
    own_cache: bool = False


# ---- sharpness-aware minimization


def sharpness_aware(rho: float) -> AbstractContextManager[Any]:
    """Each step uses the gradient at the weights that are ``rho`` away, where the loss rises most."""
    plain = training._gradients

    def gradients(learner: Learner, step: int, batch: Sequence[Tensor]) -> Tensor:
        losses = plain(learner, step, batch)
        weights = [one for one in learner.network.parameters() if one.grad is not None]
        slopes = [one.grad.detach().clone() for one in weights if one.grad is not None]
        length = torch.linalg.vector_norm(torch.stack([slope.norm() for slope in slopes]))
        moves = [slope * (rho / (length + 1e-12)) for slope in slopes]
        learner.optimizer.zero_grad()
        with torch.no_grad():
            torch._foreach_add_(weights, moves)
        with _statistics_kept(learner.network):
            plain(learner, step, batch)
        with torch.no_grad():
            torch._foreach_sub_(weights, moves)
        return losses

    return patch.object(training, "_gradients", gradients)


@contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    """The running statistics of batch norm do not change, although the network trains."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


# ---- the taxonomy in the loss


def paths(taxonomy: Taxonomy) -> list[tuple[str, ...]]:
    """The names from the root to each class. Classes that are no organisms share a branch."""
    return [
        (*([taxon.name for taxon in taxonomy.lineage(name)] or ["no organism"]), f"class {name}")
        for name in taxonomy.names
    ]


def tree_distances(taxonomy: Taxonomy) -> NDArray[np.int64]:
    """The number of steps between any two classes along the tree, over a common root: int64, C x C."""
    found = paths(taxonomy)

    def steps(one: Sequence[str], other: Sequence[str]) -> int:
        shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
        return len(one) + len(other) - 2 * shared

    return np.array([[steps(one, other) for other in found] for one in found], np.int64)


def rank_memberships(taxonomy: Taxonomy) -> list[Floats]:
    """For each depth of the tree above the classes, which class is in which taxon: C x T, zeros and ones."""
    found = paths(taxonomy)
    memberships = []
    for depth in range(1, max(map(len, found)) - 1):
        names = [path[: min(depth, len(path) - 1)] for path in found]
        taxa = sorted(set(names))
        memberships.append(np.array([[name == taxon for taxon in taxa] for name in names], float))
    return memberships


def tree_smoothing(taxonomy: Taxonomy) -> AbstractContextManager[Any]:
    """The loss with targets of which a share goes to other classes, the more the nearer they are in the taxonomy."""
    nearness = np.exp(-tree_distances(taxonomy).astype(float))
    np.fill_diagonal(nearness, 0)
    shares = SMOOTHING * nearness / nearness.sum(1, keepdims=True)
    spread = torch.from_numpy((1 - SMOOTHING) * np.eye(len(shares)) + shares).float()
    return _with_loss(lambda logits, targets: functional.cross_entropy(logits.float(), targets @ spread))


def tree_ranks(taxonomy: Taxonomy) -> AbstractContextManager[Any]:
    """The loss as the mean of the cross-entropies of the class and of each depth of the tree."""
    ranks = [torch.from_numpy(one).float() for one in rank_memberships(taxonomy)]

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        probabilities = torch.softmax(logits.float(), 1)
        total = functional.cross_entropy(logits.float(), targets)
        for rank in ranks:
            total = total - ((targets @ rank) * torch.log((probabilities @ rank).clamp(min=1e-7))).sum(1).mean()
        return total / (1 + len(ranks))

    return _with_loss(loss)


def _with_loss(loss: Loss) -> AbstractContextManager[Any]:
    return patch.object(training, "build_loss", lambda long_tail, counts: loss)


# ---- images and labels


def fit_without_enlarging(image: Image, spec: PreprocessSpec) -> Image:
    """As `pelagia.images.preprocess.fit` with letterbox, but a small image keeps its size: uint8, size x size x 3."""
    side = max(image.shape[:2])
    if side >= spec.size:
        return _fit(image, spec)
    canvas = np.empty((spec.size, spec.size, 3), np.uint8)
    canvas[:] = border_color(image)
    top, left = ((spec.size - length) // 2 for length in image.shape[:2])
    canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return canvas


_fit = preprocess.fit


def with_more_images(more: Sequence[Record]) -> AbstractContextManager[Any]:
    """The training reads these images as well as those of the train split."""
    plain = training.read_data

    def read(*arguments: Any) -> Splits:
        splits = plain(*arguments)
        return replace(splits, train=[*splits.train, *more])

    return patch.object(training, "read_data", read)


_SMOOTHED = "train.label_smoothing=0"
_WHOLE = {
    "never_enlarge": Method(lambda _: patch.object(preprocess, "fit", fit_without_enlarging), own_cache=True),
    "whole_tree_smoothing": Method(tree_smoothing, (_SMOOTHED,)),
    "whole_tree_ranks": Method(tree_ranks),
    "whole_sharpness": Method(lambda _: sharpness_aware(RHO)),
}
_FURTHER = {
    "longer": Method(),
    "pseudo": Method(labelled=True),
    "tree_smoothing": Method(tree_smoothing, (_SMOOTHED,)),
    "tree_ranks": Method(tree_ranks),
    "sharpness": Method(lambda _: sharpness_aware(RHO)),
}
METHODS = {
    "baseline": Method(),
    **{
        name: replace(one, changes=(*_ONE_EPOCH, *one.changes), against="longer", further=True)
        for name, one in _FURTHER.items()
    },
    **_WHOLE,
}
METHODS["longer"] = replace(METHODS["longer"], against="baseline")
DEFAULT = ("baseline", *_FURTHER, "never_enlarge")


# ---- one run


def run(name: str, seed: int, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Trains and evaluates a method with a seed, and returns its line of the file."""
    method, dataset = METHODS[name], Dataset.read(options.dataset)
    first = folder / f"baseline-{seed}"
    weights = _copied(first / BEST_FILE, folder / f"first-{seed}.safetensors") if method.further else options.weights
    common = (f"dataset={dataset.root.absolute()}", f"seed={seed}", "model.backbone=tf_efficientnet_lite0")
    settings = (f"model.weights={weights}", "model.options={}", "preprocess.size=96", "train.epochs=6")
    cache = (f"data.cache={folder / 'cache' / (name if method.own_cache else 'plain')}",)
    recipe = REPOSITORY / "configs/training/flowcam_northsea.yaml"
    config = load_config(recipe, TrainConfig, [*common, *settings, *cache, *method.changes])
    more = guessed(first, dataset) if method.labelled else []
    out = folder / f"{name}-{seed}"
    began = time.monotonic()
    with method.patches(dataset.meta.taxonomy), with_more_images(more):
        if not (out / BEST_FILE).is_file() or read_run(out)[1].status != "finished":
            training.train(config, out, _progress(name, seed))
        seconds = time.monotonic() - began
        found = scores(out, dataset)
    return {"method": name, "seed": seed, **found, "seconds": round(seconds), "added": len(more)}


def _copied(file: Path, out: Path) -> Path:
    """A copy of the weights outside of the run's folder, so that the training takes them with their last layer."""
    if not file.is_file():
        raise SystemExit(f"there is no {file}: this method starts from the baseline, so name baseline first")
    shutil.copyfile(file, out)
    return out


def _progress(name: str, seed: int) -> Callable[[str | Step], None]:
    def report(event: str | Step) -> None:
        if isinstance(event, Step) and event.validation is not None:
            score = f"val {event.validation.macro_f1:.4f}"
            print(f"  {name} seed {seed}: epoch {event.epoch} of {event.epochs}, {score}", flush=True)

    return report


def probabilities_of(run_folder: Path, dataset: Dataset, records: Sequence[Record]) -> NDArray[np.float32]:
    """The probabilities of a run's best weights, float32, N x C."""
    config, state = read_run(run_folder)
    images = load_fitted(dataset, records, config.preprocess)
    return softmax(predict(load_trained(run_folder, config, state), images)).astype(np.float32)


def guessed(run_folder: Path, dataset: Dataset) -> list[Record]:
    """The surest images of the val and test stations, with the class that the run gives them as their label."""
    records = [*dataset.split("val"), *dataset.split("test")]
    probabilities = probabilities_of(run_folder, dataset, records)
    names = dataset.class_names
    chosen = surest(probabilities, SUREST)
    right = np.mean([records[index].class_name == names[probabilities[index].argmax()] for index in chosen])
    print(f"  {len(chosen)} images get the class of the baseline, {right:.1%} of them the right one", flush=True)
    return [replace(records[index], class_name=names[probabilities[index].argmax()], split="train") for index in chosen]


def scores(run_folder: Path, dataset: Dataset) -> dict[str, float]:
    """Macro-F1 on val and test, and the mean distance of the mistakes in the taxonomy, in steps."""
    found: dict[str, float] = {}
    distances = tree_distances(dataset.meta.taxonomy)
    for split in ("val", "test"):
        records = list(dataset.split(split))
        targets = targets_of(records, dataset.class_names)
        predicted = probabilities_of(run_folder, dataset, records).argmax(1)
        found[split] = metrics_of(confusion_matrix(targets, predicted, len(distances))).macro_f1
        found[f"{split}_distance"] = float(distances[targets, predicted][targets != predicted].mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, help="FlowCam crops, split by station")
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights of tf_efficientnet_lite0")
    parser.add_argument("--out", type=Path, required=True, help="a .jsonl file; each finished run adds a line")
    parser.add_argument("--methods", nargs="+", default=DEFAULT, choices=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    folder = options.out.with_suffix(".runs").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for name in options.methods:
            if not any(line["method"] == name and line["seed"] == seed for line in finished(options.out)):
                print(f"{name}, seed {seed}", flush=True)
                add(options.out, run(name, seed, options, folder))
    lines = finished(options.out)
    print(*table(lines, ("val", "test"), {name: method.against for name, method in METHODS.items()}), sep="\n")
    print("\n| method | steps to the true class of a mistake, val | test | seconds |\n| --- | --- | --- | --- |")
    for name in dict.fromkeys(line["method"] for line in lines):
        of_method = [line for line in lines if line["method"] == name]
        means = (np.mean([line[key] for line in of_method]) for key in ("val_distance", "test_distance", "seconds"))
        print(f"| {name} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")


if __name__ == "__main__":
    main()
