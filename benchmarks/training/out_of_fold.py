"""What the folds of a recipe say of a model that is trained on all images: accuracy, calibration, decisions, unknowns.

.venv/bin/python -m benchmarks.training.out_of_fold CROSS_VALIDATION [--orientations 1 8] [--unknown DATASET ...]

Each image is predicted by the network that held out its group. Intervals resample the groups. The temperatures of an
image are fitted without its group. The thresholds of a fold are chosen on the other folds, for the target precision of
the config, and applied to the fold. "before" and "after" are the calibration error (ECE) without and with temperatures,
and "chance" is the error that perfect probabilities would show.

--unknown: datasets whose images belong to no class of the recipe. For each fold, their out-of-distribution scores are
compared with those of the images that the fold held out: AUROC, and the share of them that is accepted where 95% of
the held-out images are.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.science.unknown import Separation, separation
from pelagia.dataset.schema import Dataset
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import spread, targets_of
from pelagia_training.data.resplit import resplit
from pelagia_training.export.held_out import HeldOut, held_out_predictions
from pelagia_training.export.reliability import fit_subspace, subspace_images
from pelagia_training.figures.bootstrap import intervals_of
from pelagia_training.figures.calibrate import calibrate, error_by_chance, softmax
from pelagia_training.figures.metrics import confusion_matrix, metrics_of, reliability_diagram
from pelagia_training.figures.thresholds import choose_thresholds, coverage_and_precision
from pelagia_training.network.outputs import outputs
from pelagia_training.network.unknown import vim_score
from pelagia_training.runs.final import plan_final, read_folds
from pelagia_training.runs.folder import FinalFit, read_run
from pelagia_training.runs.load import load_trained

UNKNOWN_IMAGES = 300
"""At most so many images of each unknown dataset."""


def show_accuracy(found: HeldOut, probabilities: NDArray[np.float64], classes: tuple[str, ...]) -> None:
    """Prints macro-F1 and accuracy with their intervals, each fold, and each class."""
    targets, chosen = targets_of(found.records, classes), probabilities.argmax(1)
    whole = metrics_of(confusion_matrix(targets, chosen, len(classes)))
    groups = [record.group for record in found.records]
    within = intervals_of(probabilities, targets, groups)
    raw = metrics_of(confusion_matrix(targets, found.logits.argmax(1), len(classes)))
    print(f"before temperatures: macro_f1 {raw.macro_f1:.4f}, accuracy {raw.accuracy:.4f}")
    for name, value in (("macro_f1", whole.macro_f1), ("accuracy", whole.accuracy)):
        interval = within.headline[name]
        print(f"{name} {value:.4f}" + ("" if interval is None else f" [{interval.low:.4f}, {interval.high:.4f}]"))
    each = [
        metrics_of(confusion_matrix(targets[rows], chosen[rows], len(classes))).macro_f1
        for rows in (found.folds == number for number in np.unique(found.folds))
    ]
    print(f"folds {np.mean(each):.4f} +- {np.std(each, ddof=1):.4f}: {' '.join(f'{value:.4f}' for value in each)}")
    print("F1 " + ", ".join(f"{name} {value:.3f}" for name, value in zip(classes, whole.f1, strict=True)))


def show_decisions(
    found: HeldOut, probabilities: NDArray[np.float64], classes: tuple[str, ...], run: Path, precision: float
) -> None:
    """Prints the share of images that thresholds of the other folds accept, and the precision that they reach."""
    taxonomy = read_run(run)[1].taxonomy
    targets, values = targets_of(found.records, classes), probabilities.astype(np.float32)
    parts = []
    for number in np.unique(found.folds):
        own = found.folds == number
        decision = choose_thresholds(values[~own], targets[~own], taxonomy, precision)
        parts.append((own.sum(), coverage_and_precision(values[own], targets[own], taxonomy, decision)))
    for place, name in enumerate(("classes", "with roll-up to taxa")):
        accepted = sum(count * part[place].accepted for count, part in parts)
        right = sum(count * part[place].accepted * (part[place].precision or 0.0) for count, part in parts)
        reached = f"{right / accepted:.1%}" if accepted else "none"
        print(f"{name}: accepted {accepted / len(targets):.1%}, precision {reached} (target {precision:.0%})")


def unknown_scores(
    folder: Path, config: TrainConfig, dataset: Dataset, others: list[Dataset], final: FinalFit
) -> list[list[Separation]]:
    """For each unknown dataset, the separation of its images from the held-out images of each fold."""
    found: list[list[Separation]] = [[] for _ in others]
    folds = read_folds(folder)
    for run, fold_config, state in zip(folds.runs, folds.configs, folds.states, strict=True):
        split = resplit(dataset, fold_config.data.resplit)
        with_views = fold_config.model_copy(update={"model": config.model})
        network = load_trained(run, with_views, state, last=final.last_weights)
        logits, features = outputs(network, dataset, subspace_images(split.split("train")), config.preprocess)
        vim, _, why = fit_subspace(network, logits, features)
        if vim is None:
            raise SystemExit(f"no out-of-distribution score: {why}")

        parts = []
        for of, records in ((dataset, split.split("test")), *((other, other.records) for other in others)):
            values, pooled = outputs(network, of, spread(records, UNKNOWN_IMAGES), config.preprocess)
            assert pooled is not None
            parts.append(vim_score(vim, pooled, values))
        for results, scores in zip(found, parts[1:], strict=True):
            results.append(separation(parts[0], scores))
    return found


def show_recipe(folder: Path, orientations: int, moved: Path | None, unknown: list[Path], kept: Path) -> None:
    """Prints all figures of a model with so many orientations; the predictions are kept in the folder ``kept``."""
    changes = [f"model.orientations={orientations}", *([f"dataset={moved}"] if moved else [])]
    config, final = plan_final(folder, changes)
    assert config.dataset is not None
    dataset, run = Dataset.read(config.dataset), folder / "fold-1"
    classes = read_run(run)[1].taxonomy.names
    found = held_out_predictions(kept, final, dataset, config, None, lambda line: None)
    targets, groups = targets_of(found.records, classes), [record.group for record in found.records]
    probabilities = calibrate(found.logits, targets, groups)[1]
    epoch = "last" if final.last_weights else "best"
    print(f"\n{orientations} orientations, {len(targets)} images, weights of the {epoch} epoch")
    show_accuracy(found, probabilities, classes)
    before, after = (reliability_diagram(one, targets).error for one in (softmax(found.logits), probabilities))
    print(f"ECE before {before:.4f}, after {after:.4f}, chance {error_by_chance(probabilities):.4f}")
    show_decisions(found, probabilities, classes, run, config.decision.target_precision)
    others = [Dataset.read(path) for path in unknown]
    for path, each in zip(unknown, unknown_scores(folder, config, dataset, others, final), strict=True):
        values = np.array([(one.auroc, one.false_positives) for one in each])
        (auroc, accepted), (auroc_sd, accepted_sd) = values.mean(0), values.std(0, ddof=1)
        print(f"{path.name}: AUROC {auroc:.4f} +- {auroc_sd:.4f}, accepted {accepted:.1%} +- {accepted_sd:.1%}")


def main() -> None:
    """Runs the benchmark and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cross_validation", type=Path)
    parser.add_argument("--dataset", type=Path, default=None, help="the dataset, if it was moved")
    parser.add_argument("--orientations", type=int, nargs="+", default=[1], help="orientations of the model")
    parser.add_argument("--unknown", type=Path, nargs="+", default=[], help="datasets of images of no class")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the predictions, for the next time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        kept = options.keep or Path(scratch)
        kept.mkdir(parents=True, exist_ok=True)
        for count in options.orientations:
            show_recipe(options.cross_validation, count, options.dataset, options.unknown, kept)


if __name__ == "__main__":
    main()
