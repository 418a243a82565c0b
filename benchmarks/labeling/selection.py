"""Selection of what to label next, on FlowCam with an oracle: macro-F1 on unseen stations against labels spent.

Each round, a probe (regularized logistic regression of scikit-learn on frozen embeddings of an ImageNet network) is
trained on the labels so far and predicts the pool, and each strategy chooses the next images. A third of the stations
is held out. `random` starts with random images, as a lab does that does not choose; the others start with `clusters`,
which needs no model. With --long-tail, the classes of the pool are as uneven as in the sea: the rarest has 4% of the
images of the most frequent one. The seed changes the held-out stations.

.venv/bin/python -m benchmarks.labeling.selection --out FOLDER [--long-tail] [--weights lite0.safetensors]
"""

from __future__ import annotations

import argparse
import csv
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from benchmarks.harness import DATA, pelagia
from pelagia.embeddings import read_embeddings
from pelagia.system.tables import write_table
from pelagia_labeling.selection.pool import Candidate, Floats, Pool, Rows, reduced
from pelagia_labeling.selection.strategies import DEFAULT, RANDOM, STRATEGIES

BACKBONE = "tf_efficientnet_lite0"
COMPARED = (RANDOM, DEFAULT, "margin", "entropy", "rare", "clusters", "k-centre")
RAREST = 0.04
LEAST = 8
STRENGTH = 50.0
"""The inverse strength of the probe's L2 penalty, on vectors of unit length; chosen on random labels."""


@dataclass(frozen=True)
class Crops:
    """All crops: paths, reduced embeddings (float32, N x D, unit length), classes (int, N), and stations (text, N)."""

    paths: tuple[str, ...]
    vectors: Floats
    classes: NDArray[np.intp]
    stations: NDArray[np.str_]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Labels at the start, labels a round, and labels at the end."""

    start: int
    step: int
    end: int

    @property
    def spent(self) -> list[int]:
        """The numbers of labels at which the probe is measured."""
        return list(range(self.start, self.end + 1, self.step))


def main() -> None:
    """Runs the benchmark; exits with 1 if the default needs more than half of random's labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the embeddings, the table and the plot")
    parser.add_argument("--weights", type=Path, default=DATA / "weights" / f"{BACKBONE}_imagenet.safetensors")
    parser.add_argument("--embeddings", type=Path, help="embeddings of FlowCam that were made before")
    parser.add_argument("--long-tail", action="store_true", help="uneven classes in the pool")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels", type=int, nargs=3, default=(100, 100, 1000), metavar=("START", "STEP", "END"))
    options = parser.parse_args()
    crops = read_crops(options.embeddings or embed_flowcam(options.out, options.weights))
    plan = Plan(*options.labels)
    curves: dict[str, list[list[float]]] = {name: [] for name in COMPARED}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        pool, test = divided(crops, seed, long_tail=options.long_tail)
        whole = macro_f1(crops, pool, test)
        print(f"seed {seed}: {len(pool)} images in the pool, {len(test)} held out; all labels {whole:.3f}", flush=True)
        for name in COMPARED:
            chosen = choose(crops, pool, name, plan, seed)
            curves[name].append([macro_f1(crops, pool[taken], test) for taken in chosen])
            print(f"{name:16}", *(f"{value:.3f}" for value in curves[name][-1]), flush=True)
    sys.exit(report(options.out, plan, curves))


def embed_flowcam(out: Path, weights: Path) -> Path:
    """The embeddings of FlowCam, made by the commands that a lab types."""
    model, file = out / "embedder.onnx", out / "flowcam.parquet"
    if not file.is_file():
        if not model.is_file():
            pelagia("embedder", "--backbone", BACKBONE, "--weights", weights, "--out", model)
        pelagia("embed", DATA / "flowcam_northsea", "--model", model, "--out", file)
    return file


def read_crops(file: Path) -> Crops:
    """The crops with their embeddings and the labels of the manifest."""
    found = read_embeddings(file)
    with (DATA / "flowcam_northsea" / "manifest.csv").open(encoding="utf-8", newline="") as table:
        rows = {row["path"]: row for row in csv.DictReader(table)}
    labels = [rows[path]["label"] for path in found.paths]
    names, classes = np.unique(labels, return_inverse=True)
    stations = np.array([rows[path]["station"] for path in found.paths])
    return Crops(tuple(found.paths), reduced(found.vectors, 256), classes, stations, tuple(map(str, names)))


def divided(crops: Crops, seed: int, *, long_tail: bool) -> tuple[Rows, Rows]:
    """The pool and the held-out crops: a third of the stations."""
    random = np.random.default_rng(seed)
    stations = random.permutation(np.unique(crops.stations))
    held = np.isin(crops.stations, stations[: len(stations) // 3])
    pool = np.flatnonzero(~held)
    if long_tail:
        order = random.permutation(len(crops.names))
        kept = []
        for place, name in enumerate(order):
            members = random.permutation(pool[crops.classes[pool] == name])
            share = RAREST ** (place / (len(order) - 1))
            kept.append(members[: max(LEAST, int(len(members) * share))])
        pool = np.sort(np.concatenate(kept))
    return pool, np.flatnonzero(held)


def probe(crops: Crops, train: Rows) -> Callable[[Rows], Floats]:
    """A probe trained on some crops: rows -> probabilities, float32, N x classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge to the last digit
        model = LogisticRegression(C=STRENGTH, max_iter=100, class_weight="balanced")
        model.fit(crops.vectors[train], crops.classes[train])

    def predict(rows: Rows) -> Floats:
        found = np.zeros((len(rows), len(crops.names)), np.float32)
        found[:, model.classes_] = model.predict_proba(crops.vectors[rows])
        return found

    return predict


def macro_f1(crops: Crops, train: Rows, test: Rows) -> float:
    """Macro-F1 on ``test`` of a probe trained on ``train``."""
    predicted = probe(crops, train)(test).argmax(axis=1)
    return float(f1_score(crops.classes[test], predicted, average="macro"))


def choose(crops: Crops, pool: Rows, name: str, plan: Plan, seed: int) -> list[Rows]:
    """The rows of the pool that one strategy has chosen after each round; a later choice contains the earlier ones."""
    random = np.random.default_rng(seed)
    vectors = reduced(crops.vectors[pool])
    rows = [Candidate("", "", "")] * len(pool)
    everything: Rows = np.arange(len(pool), dtype=np.intp)
    first = RANDOM if name == RANDOM else "clusters"
    none: Rows = np.array([], np.intp)
    chosen = [STRATEGIES[first].choose(Pool(rows, vectors=vectors), everything, none, plan.start, random).rows]
    for _ in plan.spent[1:]:
        taken = chosen[-1]
        known = Pool(
            rows,
            probabilities=probe(crops, pool[taken])(pool),
            classes=crops.names,
            vectors=vectors,
            labeled=vectors[taken],
            labeled_counts=Counter(crops.names[at] for at in crops.classes[pool[taken]].tolist()),
        )
        free = np.setdiff1d(everything, taken)
        chosen.append(np.concatenate([taken, STRATEGIES[name].choose(known, free, none, plan.step, random).rows]))
    return chosen


def report(out: Path, plan: Plan, curves: Mapping[str, Sequence[Sequence[float]]]) -> int:
    """Writes the table and the plot, prints the labels that each strategy needs; 1 if the default missed the target."""
    means = {name: np.mean(values, axis=0) for name, values in curves.items()}
    target = float(means[RANDOM][-1])
    rows = [
        [name, seed, labels, f"{value:.4f}"]
        for name, seeds in curves.items()
        for seed, values in enumerate(seeds)
        for labels, value in zip(plan.spent, values, strict=True)
    ]
    write_table(out / "selection.csv", ("strategy", "seed", "labels", "macro_f1"), rows)
    _plot(out / "selection.svg", plan, curves)
    print(f"\nrandom reaches {target:.3f} with {plan.end} labels; mean of the seeds:")
    needed = {}
    for name, values in means.items():
        at = np.flatnonzero(values >= target)
        needed[name] = plan.spent[at[0]] if len(at) else plan.end + 1
        print(f"{name:16}", *(f"{value:.3f}" for value in values), f" reached with {needed[name]}")
    print(f"written: {out / 'selection.csv'}, selection.svg")
    return int(needed[DEFAULT] > plan.end / 2)


def _plot(path: Path, plan: Plan, curves: Mapping[str, Sequence[Sequence[float]]]) -> None:
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "pelagia"}
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, values in curves.items():
        mean, spread = np.mean(values, axis=0), np.std(values, axis=0)
        style = {"color": "black", "linewidth": 2} if name == RANDOM else {"linewidth": 2.5 if name == DEFAULT else 1}
        line = axes.plot(plan.spent, mean, label=name, **style)[0]
        if name in (RANDOM, DEFAULT):
            axes.fill_between(plan.spent, mean - spread, mean + spread, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.axhline(float(np.mean(curves[RANDOM], axis=0)[-1]), color="black", linewidth=0.7, linestyle=":")
    axes.set(xlabel="labels", ylabel="macro-F1 on unseen stations")
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
