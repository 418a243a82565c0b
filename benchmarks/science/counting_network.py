"""How far corrected counts of a fine-tuned network are from the truth, on stations that it has not seen.

.venv/bin/python -m benchmarks.science.counting_network RUN --dataset DATASET [--splits 16] [--others] [--in-turn]

RUN is the folder of `pelagia train --folds 5`. Each image's probabilities are those of the network that has seen
neither the image nor its station. For each split, a quarter of the stations is left out: their predictions make the
surveys, and the predictions of the other stations calibrate and choose the correction, as `pelagia export --folds`
does. So the networks are trained once, and not for each split as in `benchmarks.science.counting`, whose tables this
prints. A network that predicts one station may have been trained on a left-out one, but no prediction of a station
comes from a network that was trained on it.

The first quarter of a split holds the largest station more often than the others do. --in-turn leaves out the first
quarter of the first split, the second of the second, and so on, so each station is left out about equally often.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.science.counting import PARTS, Split, measure, missed, parts, show
from pelagia.dataset.schema import Dataset
from pelagia.model.counting import Calibration
from pelagia_training.data.batches import targets_of
from pelagia_training.figures.calibrate import calibrated, fit_temperatures
from pelagia_training.runs.out_of_fold import read_predictions


def fold_splits(run: Path, dataset: Path, count: int, in_turn: bool = False) -> tuple[Iterator[Split], tuple[str, ...]]:
    """Random splits of the stations of a cross-validation, and the names of the classes."""
    records, probabilities, classes = read_predictions(run, Dataset.read(dataset))
    labels = targets_of(records, classes)
    stations = np.unique([record.group for record in records], return_inverse=True)[1].astype(np.int64)
    logits = np.log(np.maximum(probabilities, 1e-30)).astype(np.float32)

    def drawn() -> Iterator[Split]:
        for seed in range(count):
            left_out = parts(stations, PARTS, np.random.default_rng(seed)) == (seed % PARTS if in_turn else 0)
            temperatures = fit_temperatures(logits[~left_out], labels[~left_out])
            found = calibrated(logits, temperatures).astype(np.float32)
            inside, outside = (Calibration(labels[rows], stations[rows], found[rows]) for rows in (~left_out, left_out))
            yield Split(inside, outside, float((found.argmax(axis=1) == labels)[left_out].mean()))

    return drawn(), classes


def main() -> None:
    """Runs the benchmark and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a cross-validation")
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset that it was made on")
    parser.add_argument("--splits", type=int, default=16, help="random splits of the stations")
    parser.add_argument("--surveys", type=int, default=20, help="surveys of each composition in each split")
    parser.add_argument("--least", type=int, default=30, help="images of a left-out station that is a survey itself")
    parser.add_argument("--others", action="store_true", help="also try KDEyML and BayesianCC")
    parser.add_argument("--in-turn", action="store_true", help="leave out another quarter in each split")
    options = parser.parse_args()
    drawn, classes = fold_splits(options.run, options.dataset, options.splits, options.in_turn)
    results = measure(drawn, options)
    show(results, classes)
    if missed(results):
        sys.exit("a target was missed")


if __name__ == "__main__":
    main()
