"""What a run on all images takes from the folds of its recipe: which weights, and which threshold for unknown images.

.venv/bin/python -m benchmarks.science.final_fit CROSS_VALIDATION [--dataset DATASET]

Weights: each fold's best epoch, chosen on its val split, and its last epoch, on the images that the fold held out.
Temperature 1; NLL is the mean negative log-likelihood, ECE the expected calibration error.

Threshold of the out-of-distribution score: for each fold in turn, the other folds give a threshold, and the table shows
the share of the fold's held-out images below it. "pooled": the quantile of the other folds' held-out scores. "rank":
the mean rank of the other folds' thresholds among the scores of their training images. "distance": as in
`pelagia_training.network.threshold`. "trained": the quantile of the fold's own training images.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from pelagia.dataset.schema import Dataset
from pelagia_training.data.batches import targets_of
from pelagia_training.export.held_out import HeldOut, held_out_predictions
from pelagia_training.figures.calibrate import negative_log_likelihood, softmax
from pelagia_training.figures.metrics import confusion_matrix, metrics_of, reliability_diagram
from pelagia_training.network.threshold import FoldScores, accepted_shares
from pelagia_training.network.unknown import threshold_for
from pelagia_training.runs.final import plan_final
from pelagia_training.runs.folder import read_run

SHARES = (0.9, 0.95, 0.99)


def show_weights(name: str, found: HeldOut, classes: tuple[str, ...]) -> None:
    """Prints the metrics of all folds together, and the macro-F1 of each."""
    targets, chosen = targets_of(found.records, classes), found.logits.argmax(1)
    probabilities = softmax(found.logits)
    whole = metrics_of(confusion_matrix(targets, chosen, len(classes)))
    each = [
        metrics_of(confusion_matrix(targets[rows], chosen[rows], len(classes))).macro_f1
        for rows in (found.folds == number for number in range(1, int(found.folds.max()) + 1))
    ]
    print(
        f"{name:5} macro-F1 {whole.macro_f1:.4f}, accuracy {whole.accuracy:.4f}, "
        f"NLL {negative_log_likelihood(probabilities, targets):.4f}, "
        f"ECE {reliability_diagram(probabilities, targets).error:.4f}; "
        f"folds {' '.join(f'{value:.4f}' for value in each)}"
    )


def by_rank(others: list[FoldScores], fold: FoldScores, share: float) -> float:
    ranks = [(one.trained <= threshold_for(one.held_out, share)).mean() for one in others]
    return float(np.quantile(fold.trained, np.mean(ranks)))


def show_thresholds(folds: list[FoldScores]) -> None:
    """Prints the share of each fold's held-out images below the threshold of each method."""
    for share in SHARES:
        accepted: dict[str, list[float]] = {"pooled": [], "rank": [], "distance": accepted_shares(folds, share)}
        accepted["trained"] = [float((one.held_out <= threshold_for(one.trained, share)).mean()) for one in folds]
        for place, fold in enumerate(folds):
            others = [one for other, one in enumerate(folds) if other != place]
            pooled = threshold_for(np.concatenate([one.held_out for one in others]), share)
            for name, limit in (("pooled", pooled), ("rank", by_rank(others, fold, share))):
                accepted[name].append(float((fold.held_out <= limit).mean()))
        for name, values in accepted.items():
            off = np.abs(np.array(values) - share).mean()
            shown = " ".join(f"{value:.3f}" for value in values)
            print(f"{share:.0%} {name:9} mean {np.mean(values):.3f}, mean distance from {share:g} {off:.3f}; {shown}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cross_validation", type=Path)
    parser.add_argument("--dataset", type=Path)
    options = parser.parse_args()
    config, final = plan_final(options.cross_validation, [f"dataset={options.dataset}"] if options.dataset else [])
    assert config.dataset is not None
    dataset = Dataset.read(config.dataset)
    classes = read_run(options.cross_validation / "fold-1")[1].taxonomy.names
    for name, last in (("best", False), ("last", True)):
        with tempfile.TemporaryDirectory() as folder:
            fit = final.model_copy(update={"last_weights": last})
            found = held_out_predictions(Path(folder), fit, dataset, config, None, print)
        show_weights(name, found, classes)
    show_thresholds(found.scores_by_fold())


if __name__ == "__main__":
    main()
