"""Wrong labels: how many of those that were put in on purpose `pelagia suspects` lists.

.venv/bin/python -m benchmarks.science.label_noise [--share 0.05] [--images 1500] [--train]

A share of FlowCam's labels is changed to another class at random. Five folds by station give each image the
probabilities of a model that saw neither it nor its station; the images are ranked as `pelagia suspects` ranks them. A
wrong label that was in the data before counts as a false find, so the figures are a little low.

By default the model is logistic regression on features of an ImageNet network that nobody trains further: two minutes.
With --train it is `pelagia train --folds 5` of configs/training/flowcam_northsea.yaml: five times a training.
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
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.05, help="of the labels that are changed")
    parser.add_argument("--images", type=int, default=None, help="take so many only, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", action="store_true", help="train five networks instead of probing one")
    parser.add_argument("--set", action="append", default=[], help="changes of the config, with --train")
    options = parser.parse_args()
    if not SOURCE.is_dir():
        sys.exit(f"there is no {SOURCE}: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    folder = Path(tempfile.mkdtemp(prefix="pelagia-noise-"))
    flipped = write_noisy_manifest(folder / "manifest.csv", options.share, options.images, options.seed)
    dataset = import_dataset(
        SOURCE, folder / "dataset", manifest=folder / "manifest.csv", group_column="station", conflicts="drop"
    )
    if options.train:
        run = train_folds(dataset, folder / "cv", options.set)
        order = [suspect.record for suspect in find_suspects(run, dataset, len(dataset.records))]
        listed = len(find_suspects(run, dataset))
    else:
        order, listed = probe(dataset, flipped)
    wrong = np.array([record.source in flipped for record in order])
    print(f"{len(wrong)} images, {wrong.sum()} labels changed, in {folder}")
    for title, count in ((f"the first {options.share:.0%}", round(options.share * len(wrong))), ("listed", listed)):
        hits = wrong[:count].sum()
        print(f"{title:14} {count:5} images: precision {hits / count:.3f}, recall {hits / wrong.sum():.3f}")


def write_noisy_manifest(path: Path, share: float, images: int | None, seed: int) -> set[str]:
    """FlowCam's manifest with some labels changed; the paths of those."""
    random = np.random.default_rng(seed)
    with (SOURCE / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [rows[index] for index in random.permutation(len(rows))[:images]]
    classes = sorted({row["label"] for row in rows})
    flipped = set()
    for index in random.permutation(len(rows))[: round(share * len(rows))]:
        row = rows[index]
        row["label"] = str(random.choice([name for name in classes if name != row["label"]]))
        flipped.add(row["path"])
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return flipped


def train_folds(dataset: Dataset, run: Path, changes: list[str]) -> Path:
    settings = [f"dataset={dataset.root}", f"model.weights={WEIGHTS}", *changes]
    sets = (part for setting in settings for part in ("--set", setting))
    config = REPOSITORY / "configs/training/flowcam_northsea.yaml"
    pelagia("train", config, *sets, "--folds", str(FOLDS), "--out", run)
    return run


def probe(dataset: Dataset, flipped: set[str]) -> tuple[list[Record], int]:
    """All records, the worst label first, and how many are listed, by logistic regression on frozen features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pixels = features(dataset)
    records = list(dataset.records)
    targets = np.array([dataset.class_names.index(record.class_name) for record in records])
    parts = np.array(
        assign_parts([one.class_name for one in records], [one.group for one in records], [1 / FOLDS] * FOLDS)
    )
    probabilities = np.zeros((len(records), len(dataset.class_names)))
    for part in range(FOLDS):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=300))
        model.fit(pixels[parts != part], targets[parts != part])
        probabilities[np.ix_(parts == part, model.classes_)] = model.predict_proba(pixels[parts == part])
    trust = self_confidence(probabilities, targets)
    others = np.where(np.arange(probabilities.shape[1]) == targets[:, None], 0.0, probabilities)
    margin = np.argsort(trust - others.max(axis=1), kind="stable")
    worst = [records[index].source in flipped for index in margin[: len(flipped)]]
    print(f"ranked by normalised margin instead: precision {np.mean(worst):.3f} of the first {len(worst)}")
    order = np.argsort(trust, kind="stable")
    return [records[index] for index in order], int(is_doubted(probabilities, targets).sum())


def features(dataset: Dataset) -> NDArray[np.float32]:
    """What the ImageNet network makes of each image before its head: float32, N x 1280."""
    import torch

    from pelagia.images.preprocess import PreprocessSpec
    from pelagia_training.data.batches import load_fitted
    from pelagia_training.network.backbone import build_network, load_weights

    network = build_network(
        "mobilenetv2_100", 1000, pretrained=False, drop_rate=0.0, options={"pad_type": "same"}
    ).eval()
    load_weights(network, WEIGHTS)
    pixels = load_fitted(dataset, dataset.records, PreprocessSpec(size=128))
    found = []
    with torch.no_grad():
        for start in range(0, len(pixels), 64):
            batch = torch.from_numpy(pixels[start : start + 64]).permute(0, 3, 1, 2).float() / 127.5 - 1
            found.append(network.forward_head(network.forward_features(batch), pre_logits=True).numpy())
    return np.concatenate(found)


if __name__ == "__main__":
    main()
