"""How far corrected counts are from the truth: FlowCam, surveys of stations that nothing else has seen.

.venv/bin/python -m benchmarks.science.counting --out FOLDER [--splits 16] [--others] [--drift 4]

The classifier is a linear one (multinomial logistic regression) on the embeddings of ImageNet networks, which trains in
seconds, so many splits can be measured. For each split, a quarter of the stations is left out. On the others, the
out-of-fold predictions of five folds by station calibrate and choose the correction, and surveys of 500 images of the
left-out stations are corrected. --stride trains on every n-th station only, for a smaller calibration. --others also
tries KDEyML (Moreo et al., arXiv 2401.00490) and BayesianCC (Ziegler and Czyz, arXiv 2302.09159). --drift counts the
warnings: of stations as they are, of blurred crops, and of a class that was left out of the training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import DATA, pelagia
from pelagia.embeddings import read_embeddings
from pelagia.model.counting import Calibration, Recipe
from pelagia.tables.reader import open_table
from pelagia_inference.counts.drift import group_distances
from pelagia_inference.counts.estimators import Real, estimate, known_of, maximize
from pelagia_inference.counts.intervals import Pool, Scores, simulated_interval
from pelagia_training.counts.choose import choose, covered
from pelagia_training.counts.document import drift_of
from pelagia_training.counts.simulate import COMPOSITIONS, IMAGES
from pelagia_training.figures.calibrate import calibrated, fit_temperatures

NETWORKS = ("tf_efficientnet_lite0", "tf_efficientnet_lite2", "mobilenetv2_100")
FOLDS, PARTS = 5, 4
COMPONENTS = 300
PENALTY = 3e-3
METHODS = {
    "raw": Recipe(),
    "mean": Recipe(method="mean"),
    "ACC": Recipe(method="acc"),
    "PACC": Recipe(method="pacc"),
    "EM": Recipe(method="em"),
}
"""The methods as published; "chosen" is the recipe that the simulation on the calibration chose."""
TARGETS = {"even": 1.05, "skewed": 0.6}
BANDWIDTH, KERNELS = 0.1, 150
DRAWS, BURN_IN = 300, 100


@dataclass(frozen=True)
class Images:
    """The labeled images: features (float32, N x D), labels and stations (int64, N), and the names of the classes.

    ``changed``: the features of the same images after they were blurred; None: not computed.
    """

    features: NDArray[np.float32]
    changed: NDArray[np.float32] | None
    labels: NDArray[np.int64]
    stations: NDArray[np.int64]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """Predictions of one split: out of fold for the calibration; of the left-out stations by the final classifier."""

    calibration: Calibration
    left_out: Calibration
    accuracy: float
    changed: Calibration | None = None


def read_images(out: Path, networks: tuple[str, ...], size: int, blur: float) -> Images:
    """Computes the embeddings of the images, or reads them if they are there."""
    source = DATA / "flowcam_northsea"
    if not source.is_dir():
        sys.exit(f"there is no {source}: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    out.mkdir(parents=True, exist_ok=True)
    paths, vectors = embeddings(source, out, networks, size, "")
    changed = None
    if blur:
        changed = embeddings(blurred(source, out / f"blurred_{blur:g}", blur), out, networks, size, f"_{blur:g}")[1]
    rows = {row["path"]: row for _, row in open_table(source / "manifest.csv").rows()}
    labels, stations = (np.array([rows[path][name] for path in paths]) for name in ("label", "station"))
    classes, numbers = np.unique(labels, return_inverse=True)
    numbered = np.unique(stations, return_inverse=True)[1].astype(np.int64)
    return Images(*principal(vectors, changed), numbers.astype(np.int64), numbered, tuple(classes.tolist()))


def embeddings(
    source: Path, out: Path, networks: tuple[str, ...], size: int, suffix: str
) -> tuple[list[str], NDArray[np.float32]]:
    """The paths, sorted, and the embeddings of all networks beside each other: float32, N x D."""
    vectors, paths = [], []
    for name in networks:
        embedder, file = out / f"{name}_{size}.onnx", out / f"{name}_{size}{suffix}.parquet"
        weights = DATA / "weights" / f"{name}_imagenet.safetensors"
        if not embedder.is_file():
            pelagia("embedder", "--backbone", name, "--weights", weights, "--size", size, "--out", embedder)
        if not file.is_file():
            pelagia("embed", source, "--model", embedder, "--out", file)
        read = read_embeddings(file)
        order = np.argsort([Path(path).with_suffix("").as_posix() for path in read.paths])
        paths = [read.paths[row] for row in order]
        vectors.append(read.vectors[order].astype(np.float32))
    return paths, np.concatenate(vectors, axis=1)


def blurred(source: Path, target: Path, sigma: float) -> Path:
    """Copies of the images that a Gaussian has blurred."""
    for path in sorted(source.glob("*/*.jpg")):
        file = (target / path.relative_to(source)).with_suffix(".png")
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), cv2.GaussianBlur(cv2.imread(str(path)), (0, 0), sigma))
    return target


def principal(
    vectors: NDArray[np.float32], changed: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """The first principal components of standardized vectors, and of the changed ones; labels are not used."""
    mean, deviation = vectors.mean(axis=0), vectors.std(axis=0) + 1e-3
    standard = (vectors - mean) / deviation
    directions = np.linalg.eigh(standard.T @ standard / len(standard))[1][:, ::-1][:, :COMPONENTS]
    found = standard @ directions
    scale = found.std()
    other = None if changed is None else np.asarray((changed - mean) / deviation @ directions / scale, np.float32)
    return np.asarray(found / scale, np.float32), other


def train(features: NDArray[np.float32], labels: NDArray[np.int64], classes: int) -> torch.nn.Linear:
    """Multinomial logistic regression."""
    inputs, targets = torch.from_numpy(features), torch.from_numpy(labels)
    layer = torch.nn.Linear(features.shape[1], classes)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(layer(inputs), targets) + PENALTY * layer.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return layer


@torch.no_grad()
def logits(layer: torch.nn.Linear, features: NDArray[np.float32]) -> NDArray[np.float32]:
    return layer(torch.from_numpy(features)).numpy()


def parts(stations: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Divides stations into parts with about equally many images: int64, N, the part of each image."""
    names, images = np.unique(stations, return_counts=True)
    sums, found = np.zeros(count), {}
    for index in np.argsort(-images * random.uniform(0.5, 1.5, len(images))):
        part = int(sums.argmin())
        found[names[index]] = part
        sums[part] += images[index]
    return np.array([found[station] for station in stations])


def splits(images: Images, count: int, stride: int, without: int | None = None) -> Iterator[Split]:
    """Random splits of the stations; ``without``: a class that is left out of the training and the calibration."""
    classes = len(images.classes)
    for seed in range(count):
        random = np.random.default_rng(seed)
        left_out = parts(images.stations, PARTS, random) == 0
        inside = np.flatnonzero(~left_out & (images.stations % stride == 0) & (images.labels != without))
        folds = parts(images.stations[inside], FOLDS, random)
        found = np.empty((len(inside), classes), np.float32)
        for fold in range(FOLDS):
            rows = inside[folds != fold]
            layer = train(images.features[rows], images.labels[rows], classes)
            found[folds == fold] = logits(layer, images.features[inside[folds == fold]])
        layer = train(images.features[inside], images.labels[inside], classes)
        outside = logits(layer, images.features[left_out])
        temperatures = fit_temperatures(found, images.labels[inside])
        changed = None
        if images.changed is not None:
            blurred = logits(layer, images.changed[left_out])
            changed = _scored(images, np.flatnonzero(left_out), blurred, temperatures)
        yield Split(
            _scored(images, inside, found, temperatures),
            _scored(images, np.flatnonzero(left_out), outside, temperatures),
            float((outside.argmax(axis=1) == images.labels[left_out]).mean()),
            changed,
        )


def _scored(images: Images, rows: NDArray[np.int64], found: NDArray[np.float32], temperatures: Real) -> Calibration:
    probabilities = calibrated(found, temperatures).astype(np.float32)
    return Calibration(images.labels[rows], images.stations[rows], probabilities)


def density_ratios(calibration: Calibration, probabilities: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """KDEyML: the density of each image among the images of each class, Gaussian kernels on the probabilities."""
    random = np.random.default_rng(seed)
    found = np.empty_like(probabilities)
    for number in range(probabilities.shape[1]):
        centers = calibration.probabilities[calibration.labels == number]
        centers = centers[random.permutation(len(centers))[:KERNELS]]
        squares = (probabilities**2).sum(axis=1)[:, None] + (centers**2).sum(axis=1) - 2 * probabilities @ centers.T
        found[:, number] = np.exp(-squares / (2 * BANDWIDTH**2)).mean(axis=1) + 1e-12
    return found


def bayesian_count(calibration: Calibration, probabilities: NDArray[np.float32], seed: int) -> Real:
    """BayesianCC: the posterior mean of the composition, given the confusion and the raw counts, by Gibbs sampling."""
    random = np.random.default_rng(seed)
    classes = probabilities.shape[1]
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (calibration.labels, calibration.probabilities.argmax(axis=1)), 1)
    counts = np.bincount(probabilities.argmax(axis=1), minlength=classes)
    shares, total, drawn = np.full(classes, 1 / classes), np.zeros(classes), np.zeros((classes, classes))
    for step in range(DRAWS):
        rates = random.gamma(confusion + drawn + 1)
        joint = shares[:, None] * rates / rates.sum(axis=1, keepdims=True)
        drawn = random.multinomial(counts, (joint / joint.sum(axis=0)).T).T
        shares = random.dirichlet(drawn.sum(axis=1) + 1)
        total += shares if step >= BURN_IN else 0
    return total / total.sum()


@dataclass
class Results:
    """What was measured: errors by kind and method; coverage by kind, surveys x classes, as `_coverage` gives it."""

    errors: dict[str, dict[str, list[float]]]
    coverage: dict[str, list[Real]]
    recipes: list[Recipe]
    accuracy: list[float]


def measure(drawn: Iterable[Split], options: argparse.Namespace) -> Results:
    """The errors of all methods, and the coverage of the intervals of the chosen one."""
    results = Results({kind: {} for kind in COMPOSITIONS}, {kind: [] for kind in (*COMPOSITIONS, "station")}, [], [])
    for number, split in enumerate(drawn):
        recipe, spread, _ = choose(split.calibration, seed=number)
        results.recipes.append(recipe)
        results.accuracy.append(split.accuracy)
        _measure_split(results, split, recipe, spread, options, number)
        print(f"split {number + 1}: accuracy {split.accuracy:.3f}, {recipe}", flush=True)
    return results


def _measure_split(
    results: Results, split: Split, recipe: Recipe, spread: Real, options: argparse.Namespace, seed: int
) -> None:
    classes = len(spread)
    known = {name: known_of(one, split.calibration) for name, one in (METHODS | {"chosen": recipe}).items()}
    scores, pool = Scores.of(known["chosen"], split.calibration.probabilities), Pool(split.calibration, classes)
    outside, random = Pool(split.left_out, classes), np.random.default_rng(1000 + seed)
    densities = density_ratios(split.calibration, split.left_out.probabilities, seed) if options.others else None
    for kind, parameter in COMPOSITIONS.items():
        for survey in range(options.surveys):
            rows, truth = outside.draw(random.dirichlet(np.full(classes, parameter)), IMAGES, 1.0, random)
            probabilities = split.left_out.probabilities[rows]
            found = {name: estimate(one, probabilities) for name, one in known.items()}
            if densities is not None:
                found["KDEyML"] = maximize(densities[rows], np.full(classes, 1 / classes))
                found["BayesianCC"] = bayesian_count(split.calibration, probabilities, survey)
            for name, shares in found.items():
                results.errors[kind].setdefault(name, []).append(float(np.abs(shares - truth).mean()))
            results.coverage[kind].append(
                _coverage(scores, pool, found["chosen"], truth, (IMAGES, outside.groups), spread)
            )
    for station in np.unique(split.left_out.groups):
        inside = split.left_out.part(split.left_out.groups == station)
        if len(inside.labels) >= options.least:
            truth = np.bincount(inside.labels, minlength=classes) / len(inside.labels)
            shares = estimate(known["chosen"], inside.probabilities)
            size = (len(inside.labels), 1)
            results.coverage["station"].append(_coverage(scores, pool, shares, truth, size, spread))
            for name in ("raw", "chosen"):
                error = float(np.abs(estimate(known[name], inside.probabilities) - truth).mean())
                results.errors.setdefault("station", {}).setdefault(name, []).append(error)


def _coverage(scores: Scores, pool: Pool, shares: Real, truth: Real, size: tuple[int, int], spread: Real) -> Real:
    """For each class, whether the interval covers: 1 yes, 0 no; if the class is not in the survey, 2 yes, 3 no.

    ``size``: number of images, and of groups, of the survey.
    """
    below, above = simulated_interval(scores, pool, shares, *size)
    inside = covered(shares, truth, below, above, spread)
    return np.where(truth > 0, inside, np.where(inside, 2.0, 3.0))


def show(results: Results, classes: Sequence[str]) -> None:
    """Prints the tables."""
    print(f"accuracy on left-out stations {np.mean(results.accuracy):.3f}")
    print(f"{'':12}" + "".join(f"{kind:>12}{'of raw':>8}" for kind in results.errors))
    for name in results.errors["even"]:
        cells = ""
        for kinds in results.errors.values():
            if name in kinds:
                mean, raw = np.mean(kinds[name]), np.mean(kinds["raw"])
                cells += f"{mean:12.4f}{mean / raw:8.2f}"
        print(f"{name:12}{cells}")
    print("\ncoverage of the intervals (nominally 90%): in all surveys, and in those that hold the class")
    kinds = [kind for kind, rows in results.coverage.items() if rows]
    print(f"{'':20}" + "".join(f"{kind:>20}" for kind in kinds))
    tables = {kind: np.array(results.coverage[kind]) for kind in kinds}
    for number, name in enumerate((*classes, "all classes")):
        cells = ""
        for table in tables.values():
            column = table[:, number] if number < len(classes) else table
            inside, there = (column == 1) | (column == 2), column < 2
            cells += f"{inside.mean():>12.3f}{inside[there].mean():>8.3f}"
        print(f"{name:20}{cells}")


def missed(results: Results) -> bool:
    """Whether the chosen correction misses a target: the largest share of the raw error, for each composition."""
    errors = results.errors
    return any(np.mean(errors[kind]["chosen"]) > most * np.mean(errors[kind]["raw"]) for kind, most in TARGETS.items())


def show_drift(images: Images, options: argparse.Namespace) -> None:
    """How many left-out stations are warned of: as they are, with blurred crops, and with a class that is not known."""
    print("\nshare of left-out stations of 20 images or more that are warned of")
    counts: dict[str, list[bool]] = {}
    limits = []
    for split in splits(images, options.drift, options.stride):
        limits.append(_warned(counts, split, "as they are", split.left_out))
        if split.changed is not None:
            _warned(counts, split, f"blurred by {options.blur:g} px", split.changed)
    for name in options.classes:
        unknown = images.classes.index(name)
        for seed, split in enumerate(splits(images, options.drift, options.stride, without=unknown)):
            for share in (0.2, 0.4):
                sample = _with_unknown(split.left_out, unknown, share, np.random.default_rng(seed))
                _warned(counts, split, f"{share:.0%} {name}, not known", sample)
    for name, warned in counts.items():
        print(f"{name:32}{np.mean(warned):8.2f}")
    print(f"limit {np.mean([limit for limit in limits if limit is not None]):.3f}")


def _warned(counts: dict[str, list[bool]], split: Split, name: str, sample: Calibration) -> float | None:
    """Adds whether each station of the sample is warned of. Returns the limit."""
    drift = drift_of(split.calibration, METHODS["EM"])
    if drift is not None:
        known = known_of(METHODS["EM"], split.calibration)
        found = group_distances(known, split.calibration, sample)
        counts.setdefault(name, []).extend(one > drift.limit for one in found)
    return None if drift is None else drift.limit


def _with_unknown(left_out: Calibration, unknown: int, share: float, random: np.random.Generator) -> Calibration:
    """The stations without a class, but with its images in place of a share of each station's images."""
    sample = left_out.part(left_out.labels != unknown)
    strange = left_out.probabilities[left_out.labels == unknown]
    probabilities = sample.probabilities.copy()
    for station in np.unique(sample.groups):
        rows = np.flatnonzero(sample.groups == station)
        rows = random.permutation(rows)[: round(share * len(rows))]
        probabilities[rows] = strange[random.integers(len(strange), size=len(rows))]
    return Calibration(sample.labels, sample.groups, probabilities)


def main() -> None:
    """Runs the benchmark and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the embedders and the embeddings")
    parser.add_argument("--networks", nargs="+", default=NETWORKS[:1], choices=NETWORKS)
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--splits", type=int, default=16, help="random splits of the stations")
    parser.add_argument("--surveys", type=int, default=20, help="surveys of each composition in each split")
    parser.add_argument("--stride", type=int, default=1, help="train and calibrate on every n-th station only")
    parser.add_argument("--least", type=int, default=30, help="images of a left-out station that is a survey itself")
    parser.add_argument("--others", action="store_true", help="also try KDEyML and BayesianCC")
    parser.add_argument("--drift", type=int, default=0, metavar="SPLITS", help="also measure the warnings of drift")
    parser.add_argument("--blur", type=float, default=2, help="sigma of the blur of the crops, in pixels; 0: none")
    parser.add_argument("--classes", nargs="+", default=["ceratium", "copepod", "silicoflagellate"])
    options = parser.parse_args()
    images = read_images(
        options.out.absolute(), tuple(options.networks), options.size, options.blur if options.drift else 0
    )
    if options.splits:
        results = measure(splits(images, options.splits, options.stride), options)
        show(results, images.classes)
    if options.drift:
        show_drift(images, options)
    if options.splits and missed(results):
        sys.exit("a target was missed")


if __name__ == "__main__":
    main()
