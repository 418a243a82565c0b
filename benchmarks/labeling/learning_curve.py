"""Does the forecast of `pelagia label status` hold? A part of the FlowCam labels predicts the macro-F1 of all of them.

.venv/bin/python -m benchmarks.labeling.learning_curve [--seeds 10] [--out FOLDER]

For each seed, 25% and 50% of the labels are drawn at random. The forecast from them, with its 95% interval, is compared
with the macro-F1 that the same classifier has with all labels, on groups that it has not seen. It should be inside in
most seeds (target: 9 of 10). A second table does the same for random stations and the option `--new-groups`.
Embeddings are those of an ImageNet mobilenetv2_100 at 128 px, which has seen none of the images.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.harness import DATA, REPOSITORY, pelagia
from pelagia.dataset.schema import Dataset
from pelagia.embeddings import read_embeddings, writing_embeddings
from pelagia.images.preprocess import PreprocessSpec, load
from pelagia.system.files import sha256_of_file
from pelagia_labeling.progress.forecast import forecast
from pelagia_labeling.progress.probe import Labels, learning_curve
from pelagia_labeling.progress.status import images_of, labels_with_embeddings

SHARES = (0.25, 0.5)
TARGET = 0.9


def main() -> None:
    """Runs the benchmark and prints one line for each forecast."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--kinds", nargs="+", default=["images", "stations"], help="what is drawn at random")
    parser.add_argument("--out", type=Path, default=None, help="folder for the dataset and the embeddings")
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp(prefix="pelagia-curve-"))
    labels = flowcam_labels(out)
    began = time.monotonic()
    whole = [forecast(learning_curve(labels, seed=seed), 500) for seed in (0, 1)]
    truth = float(np.mean([one.scores[-1] for one in whole]))
    seconds = (time.monotonic() - began) / 2
    scores = ", ".join(
        f"{count:.0f}: {score:.3f}" for count, score in zip(whole[0].labels, whole[0].scores, strict=True)
    )
    print(f"all {len(labels.classes)} labels: macro-F1 {truth:.4f}, {seconds:.1f} s; {scores}")
    print(whole[0].summary)
    covered = {kind: coverage(labels, truth, options.seeds, kind) for kind in options.kinds}
    if missed := {kind: share for kind, share in covered.items() if share < TARGET}:
        sys.exit(f"target missed: share of the intervals that hold the truth: {missed}")


def coverage(labels: Labels, truth: float, seeds: int, kind: str) -> float:
    """Prints each forecast from a part of the labels; returns the share of the intervals that hold the truth."""
    inside = []
    for share in SHARES:
        hits, errors, widths = [], [], []
        for seed in range(seeds):
            part = drawn(labels, share, seed, kind)
            found = forecast(learning_curve(part, seed=seed), len(labels.classes) - len(part.classes))
            then = found.then
            hits.append(then.low <= truth <= then.high)
            errors.append(then.value - truth)
            widths.append(then.high - then.low)
            mark = "holds it" if hits[-1] else "misses it"
            print(
                f"  {share:.0%} of {kind}, seed {seed}: {len(part.classes)} labels, {found.now.value:.3f} -> "
                f"{then.value:.3f} ({then.low:.3f} to {then.high:.3f}) {mark}; warnings: {len(found.warnings)}",
                flush=True,
            )
        inside += hits
        print(
            f"{share:.0%} of {kind}: {sum(hits)} of {seeds} intervals hold {truth:.3f}; mean error "
            f"{np.mean(errors):+.3f}, mean absolute {np.mean(np.abs(errors)):.3f}, mean width {np.mean(widths):.3f}"
        )
    return float(np.mean(inside))


def drawn(labels: Labels, share: float, seed: int, kind: str) -> Labels:
    """A part of the labels: of random images, or all images of random stations."""
    random = np.random.default_rng((77, seed))
    groups = np.asarray(labels.groups, object)
    if kind == "images":
        chosen = np.sort(random.permutation(len(groups))[: round(share * len(groups))])
    else:
        names = random.permutation(sorted(set(labels.groups)))
        chosen = np.flatnonzero(np.isin(groups.astype(str), names[: round(share * len(names))]))
    classes = [labels.classes[one] for one in chosen]
    return Labels(labels.vectors[chosen], classes, groups[chosen].tolist(), new_groups=kind == "stations")


def flowcam_labels(out: Path) -> Labels:
    """The labels of FlowCam with embeddings; both are made in ``out`` if they are not there."""
    source = DATA / "flowcam_northsea"
    if not source.is_dir():
        sys.exit(f"there is no {source}: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    if not (out / "dataset").is_dir():
        taxonomy = REPOSITORY / "configs/taxonomy/flowcam_northsea.yaml"
        grouped = ("--manifest", source / "manifest.csv", "--group-column", "station", "--taxonomy", taxonomy)
        pelagia("dataset", "import", source, *grouped, "--out", out / "dataset")
    dataset = Dataset.read(out / "dataset")
    if not (out / "embeddings.parquet").is_file():
        embed(dataset, out / "embeddings.parquet")
    return labels_with_embeddings(images_of(dataset), read_embeddings(out / "embeddings.parquet"))[0]


def embed(dataset: Dataset, file: Path) -> None:
    """Writes the embeddings of a network with ImageNet weights."""
    import timm
    import torch
    from safetensors.torch import load_file

    weights = DATA / "weights" / "mobilenetv2_100_imagenet.safetensors"
    network = timm.create_model("mobilenetv2_100", pad_type="same", num_classes=1000)
    network.load_state_dict(load_file(weights))
    network.reset_classifier(0)  # type: ignore[operator]
    network.eval()
    spec = PreprocessSpec(size=128)
    with writing_embeddings(file, sha256_of_file(weights)) as sink, torch.inference_mode():
        for start in range(0, len(dataset.records), 64):
            records = dataset.records[start : start + 64]
            pixels = np.stack([load(dataset.file(record).read_bytes(), spec) for record in records])
            images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
            sink.add([one.path for one in records], [one.sha256 for one in records], network(images).numpy())


if __name__ == "__main__":
    main()
