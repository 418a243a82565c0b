"""How many wrong labels `pelagia suspects` finds, of labels that were changed on purpose.

.venv/bin/python -m benchmarks.science.label_noise [--share 0.05] [--images 1500] [--train]

A share of FlowCam's labels is changed to another class at random. Cross-validation with five folds by station gives
each image the probabilities of a model that was trained without the image and its station. The images are ranked as
`pelagia suspects` ranks them. A label that was wrong in the data before counts as a false positive, so precision is a
little too low.

By default the model is logistic regression on the features of an ImageNet network that is not trained further: two
minutes. With --train it is `pelagia train --folds 5` with configs/training/flowcam_northsea.yaml: five trainings.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import DATA, REPOSITORY, pelagia
from pelagia.dataset.schema import Dataset, Record
from pelagia.dataset.splits import assign_parts
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_training.studies.suspects import find_suspects, is_doubted, self_confidence

FOLDS = 5
SOURCE = DATA / "flowcam_northsea"
WEIGHTS = DATA / "weights" / "mobilenetv2_100_imagenet.safetensors"


def main() -> None:
    """Runs the benchmark and prints precision and recall."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.05, help="share of the labels that are changed")
    parser.add_argument("--images", type=int, default=None, help="number of images, drawn at random; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", action="store_true", help="train five networks instead of using frozen features")
    parser.add_argument("--set", action="append", default=[], help="changes to the config, with --train")
    options = parser.parse_args()
    if not SOURCE.is_dir():
        sys.exit(f"{SOURCE} does not exist: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    folder = Path(tempfile.mkdtemp(prefix="pelagia-noise-"))
    changed = write_noisy_manifest(folder / "manifest.csv", options.share, options.images, options.seed)
    dataset = import_dataset(
        SOURCE, folder / "dataset", manifest=folder / "manifest.csv", group_column="station", conflicts="drop"
    )
    if options.train:
        run = train_folds(dataset, folder / "cv", options.set)
        order = [suspect.record for suspect in find_suspects(run, dataset, len(dataset.records))]
        listed = len(find_suspects(run, dataset))
    else:
        order, listed = rank_by_frozen_features(dataset, changed)
    wrong = np.array([record.source in changed for record in order])
    print(f"{len(wrong)} images, {wrong.sum()} labels changed, in {folder}")
    for title, count in ((f"the first {options.share:.0%}", round(options.share * len(wrong))), ("listed", listed)):
        hits = wrong[:count].sum()
        print(f"{title:14} {count:5} images: precision {hits / count:.3f}, recall {hits / wrong.sum():.3f}")


def write_noisy_manifest(path: Path, share: float, images: int | None, seed: int) -> set[str]:
    """Writes FlowCam's manifest with a share of the labels changed, and returns the paths of the changed rows."""
    random = np.random.default_rng(seed)
    with (SOURCE / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [rows[index] for index in random.permutation(len(rows))[:images]]
    classes = sorted({row["label"] for row in rows})
    changed = set()
    for index in random.permutation(len(rows))[: round(share * len(rows))]:
        row = rows[index]
        row["label"] = str(random.choice([name for name in classes if name != row["label"]]))
        changed.add(row["path"])
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return changed


def train_folds(dataset: Dataset, run: Path, changes: list[str]) -> Path:
    """Trains five folds with `pelagia train`, and returns the folder of the run."""
    settings = [f"dataset={dataset.root}", f"model.weights={WEIGHTS}", *changes]
    sets = (part for setting in settings for part in ("--set", setting))
    config = REPOSITORY / "configs/training/flowcam_northsea.yaml"
    pelagia("train", config, *sets, "--folds", str(FOLDS), "--out", run)
    return run


def rank_by_frozen_features(dataset: Dataset, changed: set[str]) -> tuple[list[Record], int]:
    """All records, the most suspect label first, and how many `pelagia suspects` would list."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    vectors = features(dataset)
    records = list(dataset.records)
    targets = np.array([dataset.class_names.index(record.class_name) for record in records])
    classes, groups = [record.class_name for record in records], [record.group for record in records]
    parts = np.array(assign_parts(classes, groups, [1 / FOLDS] * FOLDS))
    probabilities = np.zeros((len(records), len(dataset.class_names)))
    for part in range(FOLDS):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=300))
        model.fit(vectors[parts != part], targets[parts != part])
        probabilities[np.ix_(parts == part, model.classes_)] = model.predict_proba(vectors[parts == part])
    confidence = self_confidence(probabilities, targets)
    others = np.where(np.arange(probabilities.shape[1]) == targets[:, None], 0.0, probabilities)
    by_margin = np.argsort(confidence - others.max(axis=1), kind="stable")
    worst = [records[index].source in changed for index in by_margin[: len(changed)]]
    print(f"ranked by normalised margin instead: precision {np.mean(worst):.3f} of the first {len(worst)}")
    order = np.argsort(confidence, kind="stable")
    return [records[index] for index in order], int(is_doubted(probabilities, targets).sum())


def features(dataset: Dataset) -> NDArray[np.float32]:
    """The features of each image that the ImageNet network computes before its head: float32, N x 1280."""
    import torch

    from pelagia.images.preprocess import PreprocessSpec
    from pelagia_training.data.batches import load_fitted
    from pelagia_training.network.backbone import build_network
    from pelagia_training.network.weights import load_weights

    network = build_network(
        "mobilenetv2_100", 1000, pretrained=False, drop_rate=0.0, options={"pad_type": "same"}
    ).eval()
    load_weights(network, WEIGHTS)
    pixels = load_fitted(dataset, dataset.records, PreprocessSpec(size=128))
    batches = []
    with torch.no_grad():
        for start in range(0, len(pixels), 64):
            batch = torch.from_numpy(pixels[start : start + 64]).permute(0, 3, 1, 2).float() / 127.5 - 1
            batches.append(network.forward_head(network.forward_features(batch), pre_logits=True).numpy())
    return np.concatenate(batches)


if __name__ == "__main__":
    main()
