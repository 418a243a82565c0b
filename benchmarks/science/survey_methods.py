"""What the images of a survey can teach a trained network without labels: methods compared on unseen stations.

.venv/bin/python -m benchmarks.science.survey_methods --dataset DATASET --runs RUN0 RUN1 RUN2 --out F.jsonl

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn
from torch.nn import functional

from benchmarks.paired import add, finished, table
from pelagia.dataset.schema import Dataset
from pelagia_training.data.batches import load_fitted, targets_of
from pelagia_training.figures.calibrate import softmax
from pelagia_training.figures.metrics import confusion_matrix, metrics_of
from pelagia_training.network.backbone import Normalized, last_layer
from pelagia_training.network.losses import soft_targets
from pelagia_training.network.outputs import outputs
from pelagia_training.runs.folder import read_run
from pelagia_training.runs.load import load_trained

Floats = NDArray[np.float32]
Setting = Mapping[str, Any]

COMPONENTS = 64
SMOOTHING = 0.1
_DRAWS = 2000


@dataclass(frozen=True)
class Seen:
    """What a network gives for the N images of a split.

    Attributes:
        features: the input of the last layer, float32, N x D.
        logits: float32, N x C.
        targets: the true classes, int64, N; a method may read those of the train split alone.
        groups: the station of each image.
        images: uint8, N x S x S x 3; empty for the train split.
    """

    features: Floats
    logits: Floats
    targets: NDArray[np.int64]
    groups: NDArray[np.str_]
    images: NDArray[np.uint8]


@dataclass
class Trained:
    """A trained network, and what it gives for the images of its training."""

    network: Normalized
    train: Seen

    @cached_property
    def axes(self) -> Floats:
        """The first principal components of the embeddings of the training, float32, K x D."""
        vectors = np.linalg.eigh(np.cov(self.train.features, rowvar=False, bias=True))[1]
        return np.ascontiguousarray(vectors[:, ::-1][:, :COMPONENTS].T, np.float32)

    @property
    def head(self) -> tuple[Floats, Floats]:
        """Weight, C x D, and bias, C, of the last layer."""
        layer = last_layer(self.network)
        return layer.weight.detach().numpy(), layer.bias.detach().numpy()


# ---- statistics of a station or of the whole survey


def parts_of(groups: NDArray[np.str_], by: str) -> list[NDArray[np.int64]]:
    """The indices of the images of each station, or of all (``by`` survey)."""
    if by == "survey":
        return [np.arange(len(groups))]
    return [np.flatnonzero(groups == name) for name in np.unique(groups)]


def share(count: int, prior: float) -> float:
    """The weight of the statistics of ``count`` images."""
    return count / (count + prior)


@torch.no_grad()
def batch_norm(trained: Trained, survey: Seen, setting: Setting) -> Floats:
    """Logits with the statistics of batch norm estimated again from the images of each part of the survey."""
    logits = np.empty_like(survey.logits)
    for part in parts_of(survey.groups, setting["by"]):
        with estimated_again(trained.network, share(len(part), setting["prior"])):
            logits[part] = trained.network(torch.from_numpy(survey.images[part])).numpy()
    return logits


@contextmanager
def estimated_again(network: nn.Module, weight: float) -> Iterator[None]:
    """Each batch norm uses a mix of its statistics and of those of the batch, whose weight is 0..1."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    trained = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]  # type: ignore[union-attr]

    def mix(norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), unbiased=False)
        was_mean, was_variance = statistics[norm]
        mixed = (1 - weight) * was_mean + weight * mean
        between = (1 - weight) * (was_mean - mixed) ** 2 + weight * (mean - mixed) ** 2
        norm.running_mean.copy_(mixed)  # type: ignore[union-attr]
        norm.running_var.copy_((1 - weight) * was_variance + weight * variance + between)  # type: ignore[union-attr]

    statistics = dict(zip(norms, trained, strict=True))
    hooks = [norm.register_forward_pre_hook(mix) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for norm, (mean, variance) in statistics.items():
            norm.running_mean.copy_(mean)  # type: ignore[union-attr]
            norm.running_var.copy_(variance)  # type: ignore[union-attr]


def mean(trained: Trained, survey: Seen, setting: Setting) -> Floats:
    """Logits of the embeddings, shifted towards the mean of the training."""
    moved = survey.features.copy()
    for part in parts_of(survey.groups, setting["by"]):
        shift = trained.train.features.mean(0) - survey.features[part].mean(0)
        moved[part] += share(len(part), setting["prior"]) * shift
    return logits_of(trained, moved)


def coral(trained: Trained, survey: Seen, setting: Setting) -> Floats:
    """Logits of the embeddings, with mean and covariance moved to those of the training."""
    center = trained.train.features.mean(0)
    axes = trained.axes
    wanted = (trained.train.features - center) @ axes.T
    moved = survey.features.copy()
    for part in parts_of(survey.groups, setting["by"]):
        have = (survey.features[part] - center) @ axes.T
        moved[part] += (aligned(have, wanted, share(len(part), setting["prior"])) - have) @ axes
    return logits_of(trained, moved)


def aligned(have: Floats, wanted: Floats, weight: float) -> Floats:
    """``have`` (float32, N x D) with mean and covariance moved to those of ``wanted`` (float32, M x D).

    Its own mean and covariance are first mixed with the wanted ones: ``weight`` 0 changes nothing.
    """
    mean, target = have.mean(0), wanted.mean(0)
    mixed = weight * mean + (1 - weight) * target
    covariance = np.cov(wanted, rowvar=False, bias=True)
    own = np.cov(have, rowvar=False, bias=True) if len(have) > 1 else covariance
    turn = power(weight * own + (1 - weight) * covariance, -0.5) @ power(covariance, 0.5)
    return ((have - mixed) @ turn + target).astype(np.float32)


def power(matrix: NDArray[np.floating], exponent: float) -> NDArray[np.floating]:
    """A power of a symmetric matrix with eigenvalues of at least 0."""
    values, vectors = np.linalg.eigh(matrix)
    powered: NDArray[np.floating] = (vectors * np.maximum(values, 1e-6 * values.max()) ** exponent) @ vectors.T
    return powered


def logits_of(trained: Trained, features: Floats) -> Floats:
    weight, bias = trained.head
    found: Floats = features @ weight.T + bias
    return found


# ---- labels that the network guesses, and neighbors


def last_layer_again(trained: Trained, survey: Seen, setting: Setting) -> Floats:
    """Logits of a last layer that is also fitted to the surest images of the survey; it stays near to the old one."""
    weight, bias = (torch.from_numpy(one.copy()).requires_grad_() for one in trained.head)
    old = weight.detach().clone()
    classes = len(old)
    features = torch.from_numpy(trained.train.features)
    wanted = soft_targets(torch.from_numpy(trained.train.targets), classes, SMOOTHING)
    chosen = surest(softmax(survey.logits), setting["share"])
    guessed = soft_targets(torch.from_numpy(survey.logits[chosen].argmax(1)), classes, SMOOTHING)
    of_survey = torch.from_numpy(survey.features[chosen])
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        loss = functional.cross_entropy(features @ weight.T + bias, wanted)
        if len(chosen):
            loss = loss + setting["weight"] * functional.cross_entropy(of_survey @ weight.T + bias, guessed)
        loss = loss + setting["strength"] / 2 * ((weight - old) ** 2).sum()
        torch.autograd.backward(loss)
        return loss

    stepped: Any = optimizer
    stepped.step(closure)
    found: Floats = survey.features @ weight.detach().numpy().T + bias.detach().numpy()
    return found


def surest(probabilities: NDArray[np.floating], share: float) -> NDArray[np.int64]:
    """The images with the highest probabilities: a share of those of each predicted class. Indices, ascending."""
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    kept: list[int] = []
    for number in np.unique(predicted):
        of_class = np.flatnonzero(predicted == number)
        kept += of_class[np.argsort(-confidence[of_class], kind="stable")[: round(share * len(of_class))]].tolist()
    return np.array(sorted(kept), np.int64)


def propagation(trained: Trained, survey: Seen, setting: Setting) -> Floats:
    """Probabilities that have spread along neighbors."""
    start, features = softmax(survey.logits).astype(np.float32), survey.features
    if setting["among"] == "all":
        start = np.concatenate((start, np.eye(start.shape[1], dtype=np.float32)[trained.train.targets]))
        features = np.concatenate((features, trained.train.features))
    return spread_out(start, features, setting["alpha"])[: len(survey.logits)]


def spread_out(start: Floats, features: Floats, alpha: float, count: int = 10, steps: int = 50) -> Floats:
    """Probabilities (float32, N x C) after they have spread along the ``count`` nearest neighbors of each image.

    Args:
        alpha: the share that an image takes from its neighbors, 0..1; the rest is its own start.
    """
    similarity = cosine(features, features)
    np.fill_diagonal(similarity, -1)
    nearest = np.argpartition(-similarity, count, axis=1)[:, :count]
    rows = np.repeat(np.arange(len(features)), count)
    values = np.maximum(similarity[rows, nearest.ravel()], 0) ** 3
    graph = sparse.csr_matrix((values, (rows, nearest.ravel())), shape=similarity.shape)
    graph = graph.maximum(graph.T)
    scale = sparse.diags(1 / np.sqrt(np.maximum(np.asarray(graph.sum(1)).ravel(), 1e-9)))
    graph = scale @ graph @ scale
    found = start
    for _ in range(steps):
        found = alpha * (graph @ found) + (1 - alpha) * start
    return np.asarray(found, np.float32)


def neighbors(trained: Trained, survey: Seen, setting: Setting) -> Floats:
    """Probabilities mixed with the labels of the nearest training images, the nearer the more."""
    own = softmax(survey.logits)
    votes = voted(cosine(survey.features, trained.train.features), trained.train.targets, setting["k"], own.shape[1])
    return ((1 - setting["weight"]) * own + setting["weight"] * votes).astype(np.float32)


def voted(similarity: Floats, targets: NDArray[np.int64], count: int, classes: int) -> Floats:
    """Shares of the classes among the ``count`` most similar images, weighted by exp(similarity / 0.07)."""
    nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    weights = np.exp((np.take_along_axis(similarity, nearest, 1) - 1) / 0.07)
    votes = np.zeros((len(similarity), classes), np.float32)
    np.add.at(votes, (np.arange(len(similarity))[:, None], targets[nearest]), weights)
    shares: Floats = votes / votes.sum(1, keepdims=True)
    return shares


def cosine(one: Floats, other: Floats) -> Floats:
    lengths = [np.linalg.norm(each, axis=1, keepdims=True) + 1e-9 for each in (one, other)]
    found: Floats = (one / lengths[0]) @ (other / lengths[1]).T
    return found


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
