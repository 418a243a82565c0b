"""Compares methods of calibrating a run's network, and measures the precision that its thresholds keep.

.venv/bin/python -m benchmarks.science.calibration RUN [--dataset DATASET] [--targets 0.9 0.95]

All methods are fitted on the validation split. Errors on the validation split are of images whose groups were held out
of the fit; the best penalty is chosen by them, and never by the test split. "biases" scales the logits and adds a bias
to each class's logit (Alexandari et al. 2020), with the best of four penalties on the biases. NLL is the mean negative
log-likelihood, ECE the expected calibration error, "chance" the ECE that a perfectly calibrated model would show.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pelagia.dataset.schema import Dataset
from pelagia.taxonomy import Taxonomy
from pelagia_training.data.batches import targets_of
from pelagia_training.export.reliability import outputs
from pelagia_training.figures import calibrate
from pelagia_training.figures.calibrate import (
    calibrated,
    centered,
    error_by_chance,
    negative_log_likelihood,
    softmax,
)
from pelagia_training.figures.metrics import reliability_diagram
from pelagia_training.figures.thresholds import choose_thresholds, coverage_and_precision
from pelagia_training.runs.folder import read_run
from pelagia_training.runs.load import load_trained

Apply = Callable[[np.ndarray], np.ndarray]
PENALTIES = (0.3, 0.1, 0.03, 0.01)


def temperature(penalty: float) -> Callable[[np.ndarray, np.ndarray], Apply]:
    def fit(logits: np.ndarray, targets: np.ndarray) -> Apply:
        divisors = calibrate.fit_temperatures(logits, targets, penalty)
        return lambda others: calibrated(others, divisors)

    return fit


def biases(penalty: float) -> Callable[[np.ndarray, np.ndarray], Apply]:
    """One temperature, and a bias for each class."""

    def fit(logits: np.ndarray, targets: np.ndarray) -> Apply:
        values, labels = torch.from_numpy(centered(logits)), torch.from_numpy(targets)
        slope = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        shift = torch.zeros(logits.shape[1], dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([slope, shift], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            value = torch.nn.functional.cross_entropy(values * slope.exp() + shift, labels)
            value = value + penalty * (shift * shift).sum()
            value.backward()
            return value

        optimizer.step(loss)
        scale, added = float(slope.detach().exp()), shift.detach().numpy()
        return lambda others: softmax(centered(others) * scale + added)

    return fit


METHODS = {
    "nothing": [lambda logits, targets: softmax],
    "temperature": [temperature(float("inf"))],
    "biases": [biases(penalty) for penalty in PENALTIES],
    "temperatures": [temperature(penalty) for penalty in calibrate.PENALTIES],
}


def held_out(fit: Callable[..., Apply], logits: np.ndarray, targets: np.ndarray, groups: list[str]) -> np.ndarray:
    """Probabilities of each image, N x C, by a fit without its group."""
    probabilities = np.empty(logits.shape)
    for out in calibrate.folds_of(groups):
        probabilities[out] = fit(logits[~out], targets[~out])(logits[out])
    return probabilities


def main() -> None:
    """Runs the benchmark and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a folder that `pelagia train` made")
    parser.add_argument("--dataset", type=Path, default=None, help="the run's dataset, where it was moved")
    parser.add_argument("--targets", type=float, nargs="+", default=[0.9, 0.95], help="target precisions to try")
    options = parser.parse_args()
    config, state = read_run(options.run)
    dataset = Dataset.read(options.dataset or state.dataset)
    network, names = load_trained(options.run, config, state), state.taxonomy.names
    logits, targets, groups = {}, {}, []
    for split in ("val", "test"):
        records = [record for record in dataset.split(split) if record.class_name in names]
        logits[split], _ = outputs(network, dataset, records, config.preprocess)
        targets[split] = targets_of(records, names)
        groups = groups or [record.group for record in records]
    show_methods(logits, targets, groups)
    show_thresholds(logits, targets, groups, state.taxonomy, options.targets)


def show_methods(logits: dict[str, np.ndarray], targets: dict[str, np.ndarray], groups: list[str]) -> None:
    print(f"{'':14}{'val, held out':>22}{'test':>32}")
    print(f"{'':14}{'NLL':>8}{'ECE':>8}{'':6}{'NLL':>8}{'ECE':>8}{'chance':>8}{'accuracy':>10}")
    for name, fits in METHODS.items():
        tried = [held_out(fit, logits["val"], targets["val"], groups) for fit in fits]
        best = min(range(len(fits)), key=lambda at: negative_log_likelihood(tried[at], targets["val"]))
        on_val, on_test = tried[best], fits[best](logits["val"], targets["val"])(logits["test"])
        nll, error = measure(on_val, targets["val"])
        nll_test, error_test = measure(on_test, targets["test"])
        accuracy = (on_test.argmax(1) == targets["test"]).mean()
        print(
            f"{name:14}{nll:8.4f}{error:8.4f}{'':6}{nll_test:8.4f}{error_test:8.4f}{error_by_chance(on_test):8.4f}"
            f"{accuracy:10.4f}"
        )


def show_thresholds(
    logits: dict[str, np.ndarray],
    targets: dict[str, np.ndarray],
    groups: list[str],
    taxonomy: Taxonomy,
    target_precisions: list[float],
) -> None:
    fitted, val = calibrate.calibrate(logits["val"], targets["val"], groups)
    test = calibrated(logits["test"], fitted.temperatures).astype(np.float32)
    print("\ntarget  split   by thresholds: accepted, precision   with roll-up: accepted, precision")
    for target in target_precisions:
        rule = choose_thresholds(val.astype(np.float32), targets["val"], taxonomy, target)
        for split, probabilities in (("val", val.astype(np.float32)), ("test", test)):
            classes, taxa = coverage_and_precision(probabilities, targets[split], taxonomy, rule)
            print(
                f"{target:6.2f}  {split:6}{classes.accepted:24.3f}{classes.precision or 0:11.3f}"
                f"{taxa.accepted:25.3f}{taxa.precision or 0:11.3f}"
            )


def measure(probabilities: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """NLL and ECE."""
    return negative_log_likelihood(probabilities, targets), reliability_diagram(probabilities, targets).error


if __name__ == "__main__":
    main()
