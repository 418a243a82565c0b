"""One answer for each fish: Fish4Knowledge and EGU fish, by track and by camera, with a probe on frozen embeddings.

The probe is a regularized logistic regression of scikit-learn on the embeddings of an ImageNet network. Each track is
answered by probes that were trained on other tracks (five folds), or on the other cameras. Its temperature, and the
exponent of `pelagia.model.tracks`, are fitted on the training part of the fold, by folds inside it. Answers to a track:
the majority of its images, the mean probability, and the mean log-probability, which `pelagia tracks` uses.

.venv/bin/python -m benchmarks.science.tracks --out FOLDER [--weights lite0.safetensors]
"""

from __future__ import annotations

import argparse
import csv
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.harness import DATA, pelagia
from pelagia.embeddings import read_embeddings
from pelagia.model.tracks import fit_evidence, log_probabilities, track_probabilities

BACKBONE = "tf_efficientnet_lite0"
STRENGTH = 50.0
"""The inverse strength of the probe's L2 penalty, on vectors of unit length, as in `benchmarks.labeling.selection`."""
FOLDS = 5
DRAWS = 1000
TEMPERATURES = np.geomspace(0.2, 8, 80)

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Fold = tuple[Whole, Whole]


@dataclass(frozen=True)
class Fish:
    """Embeddings (N x D, unit length), labels (int, N) and the track and camera of each image."""

    vectors: Floats
    labels: Whole
    tracks: NDArray[np.str_]
    cameras: NDArray[np.str_]
    classes: int


@dataclass(frozen=True)
class Tracks:
    """Sums over the images of each track: float64, tracks x classes; number of images and label of each track."""

    logs: Floats
    probabilities: Floats
    votes: Floats
    images: Whole
    labels: Whole


def main() -> None:
    """Runs the benchmark and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the embeddings; those in it are used")
    parser.add_argument("--weights", type=Path, default=DATA / "weights" / f"{BACKBONE}_imagenet.safetensors")
    parser.add_argument("--seed", type=int, default=0, help="seed of the folds")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)  # a fold may lack a class
    for name in ("fish4knowledge", "egu2017_fish"):
        fish = read_fish(name, options.out, options.weights)
        report(f"{name} by track", fish, by_track(fish.labels, fish.tracks, options.seed), options.seed)
        if len(set(fish.cameras)) > 1:
            folds = [
                (np.flatnonzero(fish.cameras != one), np.flatnonzero(fish.cameras == one)) for one in cameras(fish)
            ]
            report(f"{name} by camera", fish, folds, options.seed)


def cameras(fish: Fish) -> list[str]:
    return sorted(set(fish.cameras.tolist()))


def read_fish(name: str, out: Path, weights: Path) -> Fish:
    """The images of a set, with embeddings that are made in ``out`` if they are not there."""
    source, file = DATA / name / "manifest.csv", out / f"{name}.parquet"
    if not source.is_file():
        sys.exit(f"there is no {source}: set PELAGIA_DATA to the folder that holds {name}")
    if not file.is_file():
        embedder = out / "embedder.onnx"
        out.mkdir(parents=True, exist_ok=True)
        if not embedder.is_file():
            pelagia("embedder", "--backbone", BACKBONE, "--weights", weights, "--out", embedder)
        pelagia("embed", source, "--model", embedder, "--out", file)
    found = read_embeddings(file)
    with source.open(encoding="utf-8-sig", newline="") as table:
        rows = {row["path"]: row for row in csv.DictReader(table)}
    vectors = found.vectors.astype(np.float64)
    own = [rows[path] for path in found.paths]
    names, labels = np.unique([row["label"] for row in own], return_inverse=True)
    return Fish(
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        labels,
        np.array([row["track"] for row in own]),
        np.array([row.get("camera", "") for row in own]),
        len(names),
    )


def by_track(labels: Whole, tracks: NDArray[np.str_], seed: int) -> list[Fold]:
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    return list(folds.split(labels[:, None], labels, tracks))


def by_camera(cameras: NDArray[np.str_]) -> list[Fold]:
    return [(np.flatnonzero(cameras != one), np.flatnonzero(cameras == one)) for one in np.unique(cameras)]


def probe(fish: Fish, train: Whole, test: Whole) -> Floats:
    """Probabilities of the test images by a probe on the training images: float64, images x classes."""
    fitted = LogisticRegression(C=STRENGTH, max_iter=300).fit(fish.vectors[train], fish.labels[train])
    found = np.zeros((len(test), fish.classes))
    found[:, fitted.classes_] = fitted.predict_proba(fish.vectors[test])
    return found


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """The probabilities with their logarithms divided by a temperature."""
    return track_probabilities(log_probabilities(probabilities) / temperature, np.ones(len(probabilities), int), 0.0)


def loss(probabilities: Floats, labels: Whole) -> float:
    """The mean negative log-likelihood."""
    return -float(log_probabilities(probabilities[np.arange(len(labels)), labels]).mean())


def answered(fish: Fish, folds: Sequence[Fold], seed: int) -> tuple[Floats, list[float], Floats]:
    """Calibrated probabilities of all images, the exponent of each fold, and that exponent for each image."""
    probabilities, exponents = np.zeros((len(fish.labels), fish.classes)), []
    own = np.zeros(len(fish.labels))
    for train, test in folds:
        inside = np.zeros((len(train), fish.classes))
        for fit, held in by_track(fish.labels[train], fish.tracks[train], seed):
            inside[held] = probe(fish, train[fit], train[held])
        losses = [loss(tempered(inside, one), fish.labels[train]) for one in TEMPERATURES]
        temperature = float(TEMPERATURES[int(np.argmin(losses))])
        evidence = fit_evidence(tempered(inside, temperature), fish.labels[train], fish.tracks[train], "track")
        exponents.append(0.0 if evidence is None else evidence.exponent)
        own[test] = exponents[-1]
        probabilities[test] = tempered(probe(fish, train, test), temperature)
    return probabilities, exponents, own


def tracks_of(fish: Fish, probabilities: Floats) -> Tracks:
    names, first, places = np.unique(fish.tracks, return_index=True, return_inverse=True)
    sums = [np.zeros((len(names), fish.classes)) for _ in range(3)]
    votes = np.eye(fish.classes)[probabilities.argmax(axis=1)]
    for total, values in zip(sums, (log_probabilities(probabilities), probabilities, votes), strict=True):
        np.add.at(total, places, values)
    return Tracks(*sums, np.bincount(places), fish.labels[first])


def interval(right: NDArray[np.bool_], units: Whole, seed: int) -> str:
    """The share that is right, with a 95% interval from resampled tracks."""
    random, count = np.random.default_rng(seed), int(units.max()) + 1
    hits, sizes = np.bincount(units, right, count), np.bincount(units, minlength=count)
    drawn = random.integers(0, count, (DRAWS, count))
    low, high = np.quantile(hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), (0.025, 0.975))
    return f"{right.mean():.1%} ({low:.1%} to {high:.1%})"


def report(title: str, fish: Fish, folds: Sequence[Fold], seed: int) -> None:
    probabilities, exponents, own = answered(fish, folds, seed)
    tracks = tracks_of(fish, probabilities)
    _, first, units = np.unique(fish.tracks, return_index=True, return_inverse=True)
    means, each = tracks.logs / tracks.images[:, None], np.arange(len(tracks.labels))
    several = tracks.images > 1
    print(f"{title}: {len(fish.labels)} images, {len(each)} tracks, {several.sum()} of them with several images")
    print(f"  an image                 {interval(probabilities.argmax(axis=1) == fish.labels, units, seed)}")
    for name, sums in (("majority", tracks.votes), ("mean probability", tracks.probabilities), ("mean log", means)):
        right = sums.argmax(axis=1) == tracks.labels
        print(f"  a track, {name:16}{interval(right, each, seed)}; of several images {right[several].mean():.1%}")
    fitted = np.concatenate(
        [track_probabilities(means[[at]], tracks.images[[at]], own[first[at]]) for at in range(len(each))]
    )
    compared = {"0": track_probabilities(means, tracks.images, 0.0), "fitted": fitted}
    compared["1"] = track_probabilities(means, tracks.images, 1.0)
    for name, found in compared.items():
        sure = found[several].max(axis=1).mean()
        value = loss(found[several], tracks.labels[several])
        print(f"  exponent {name:7} log-loss {value:.3f}, mean confidence {sure:.3f}")
    print(f"  fitted exponents {', '.join(f'{value:.2f}' for value in exponents)}")


if __name__ == "__main__":
    main()
