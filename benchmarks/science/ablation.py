"""Ablation study of the trainer's methods: variants of one config, over several seeds, tested on unseen stations.

.venv/bin/python -m benchmarks.science.ablation --out runs/ablation.jsonl --screen
.venv/bin/python -m benchmarks.science.ablation --out runs/ablation.jsonl --confirm --variants baseline size size+logit
.venv/bin/python -m benchmarks.science.ablation --out runs/ablation.jsonl --confirm --labels 0.1 0.5 1
.venv/bin/python -m benchmarks.science.ablation --out runs/ablation.jsonl --data fish4knowledge --confirm
.venv/bin/python -m benchmarks.science.ablation --out runs/ablation.jsonl --confirm --config strong
.venv/bin/python -m benchmarks.science.ablation --out runs/ablation.jsonl --table

A variant is a name in `VARIANTS`, a change such as train.lr=3e-4, or several of them joined by +. Each finished run is
one line of the file, and a folder beside the file keeps its probabilities; a finished run is not trained again.
--screen trains one seed for few epochs at 96 px, --confirm trains three seeds in full. Choose a variant by its
validation score (val), and report its test score.

"flips" averages the probabilities over the eight orientations of an image (fish: two), at eight (two) times the cost.
"together" is the test score of the mean probabilities of all seeds: an ensemble of as many networks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import DATA, REPOSITORY
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset, Record, class_counts, fingerprint, write_tables
from pelagia.taxonomy import load_taxonomy
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import load_fitted, sizes_of, targets_of
from pelagia_training.figures.metrics import confusion_matrix, metrics_of
from pelagia_training.fit.context import Step
from pelagia_training.network.backbone import Normalized
from pelagia_training.network.predict import predict
from pelagia_training.runs.folder import STATE_FILE, read_run, read_state
from pelagia_training.runs.load import load_trained
from pelagia_training.train import train

INSTRUMENT = tuple(
    f"augment.{key}" for key in ("illumination=0.3", "background=0.3", "clip=0.2", "bubbles=0.1", "blur=0.2")
)
VARIANTS: dict[str, tuple[str, ...]] = {
    "baseline": (),
    "size": ("model.size=true",),
    "logit": ("train.long_tail=logit_adjustment",),
    "balanced": ("train.long_tail=balanced_sampling",),
    "sqrt": ("train.long_tail=sqrt_sampling",),
    "focal": ("train.long_tail=focal",),
    "effective": ("train.long_tail=effective_number",),
    "instrument": INSTRUMENT,
    "half": (*INSTRUMENT, "augment.strength=0.5"),
    "double": (*INSTRUMENT, "augment.strength=2"),
    "colour": ("augment.colour=0.2",),
    "erase": ("augment.erase=0.3",),
    "mixup": ("train.mixup=0.5",),
    "cutmix": ("train.cutmix=0.5",),
    "mixed": ("train.mixup=0.3", "train.cutmix=0.3"),
    "stretch": ("preprocess.fit=stretch",),
    "no_smoothing": ("train.label_smoothing=0",),
    "layers": ("train.layer_decay=0.85",),
    "frozen": ("train.freeze_epochs=2",),
    "no_average": ("train.ema_decay=0",),
    "soup": ("train.soup=5",),
    "high": ("train.lr=2e-3",),
    "low": ("train.lr=5e-4",),
    "long": ("train.epochs=30",),
    "no_flips": ("augment.flips=none", "augment.rotate=0"),
}
_MODES = {
    "screen": (("preprocess.size=96", "train.epochs=6"), (0,)),
    "confirm": ((), (0, 1, 2)),
}
_GROUPS = {"flowcam_northsea": "station", "fish4knowledge": "track"}
_CONFIGS = {"flowcam_northsea": "baseline", "fish4knowledge": "fish"}
_LOCAL = (
    *("model.pretrained=false", f"model.weights={DATA / 'weights/mobilenetv2_100_imagenet.safetensors'}"),
    *("model.mean=[0.5,0.5,0.5]", "model.std=[0.5,0.5,0.5]", "model.options={pad_type: same}"),
)
"""Settings for the ImageNet weights in PELAGIA_DATA, instead of those of the hub."""


@dataclass(frozen=True)
class Plan:
    """A run to train; it becomes a line of the file when it is finished."""

    data: str
    config: str
    mode: str
    labels: float
    variant: str
    changes: tuple[str, ...]
    seed: int

    @property
    def key(self) -> str:
        parts = (self.data, self.config, self.mode, self.labels, self.changes, self.seed)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def changes_of(variant: str) -> tuple[str, ...]:
    """The overrides of a variant; where a key is given several times, the last value counts."""
    changes: list[str] = []
    for part in variant.split("+"):
        if part not in VARIANTS and "=" not in part:
            sys.exit(f"there is no variant '{part}': choose among {', '.join(VARIANTS)}, or give KEY=VALUE")
        changes += VARIANTS.get(part, (part,))
    return tuple(changes)


def source(data: str, folder: Path) -> Dataset:
    """The imported dataset, grouped by station or track; it is imported once."""
    if not (DATA / data).is_dir():
        sys.exit(f"there is no {DATA / data}: set PELAGIA_DATA to the folder that holds it")
    if (folder / data).is_dir():
        return Dataset.read(folder / data)
    return import_dataset(
        DATA / data,
        folder / data,
        manifest=DATA / data / "manifest.csv",
        group_column=_GROUPS[data],
        taxonomy=load_taxonomy(REPOSITORY / f"configs/taxonomy/{data}.yaml"),
    )


def with_labels(dataset: Dataset, share: float, seed: int, folder: Path) -> Dataset:
    """``dataset`` with a share of each class's training images, group by group in an order drawn with ``seed``."""
    if share >= 1:
        return dataset
    out = folder / f"{dataset.root.name}-{share:g}-{seed}"
    if not out.is_dir():
        train = [record for record in dataset.records if record.split == "train"]
        kept = _drawn(train, share, np.random.default_rng(seed))
        records = [record for record in dataset.records if record.split != "train" or record.path in kept]
        meta = dataset.meta.model_copy(
            update={
                "name": out.name,
                "fingerprint": fingerprint(records),
                "images": len(records),
                "counts": class_counts(records, dataset.class_names),
            }
        )
        out.mkdir()
        (out / "images").symlink_to(dataset.root.absolute() / "images")
        write_tables(out, meta, records)
    return Dataset.read(out)


def _drawn(records: Sequence[Record], share: float, random: np.random.Generator) -> set[str]:
    """Paths of the training images to keep."""
    by_class: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        by_class[record.class_name][record.group].append(record.path)
    kept: set[str] = set()
    for _, groups in sorted(by_class.items()):
        names = sorted(groups)
        paths = [path for index in random.permutation(len(names)) for path in groups[names[index]]]
        kept.update(paths[: max(2, round(share * len(paths)))])
    return kept


def run(plan: Plan, base: Dataset, folder: Path) -> dict[str, Any]:
    """Trains and evaluates a run. Returns its line of the file, and writes the probabilities to ``folder``/key.npz."""
    dataset = with_labels(base, plan.labels, plan.seed, folder)
    overrides = [f"dataset={dataset.root}", f"seed={plan.seed}", *_LOCAL, *plan.changes]
    config = load_config(REPOSITORY / f"configs/training/{plan.config}.yaml", TrainConfig, overrides)
    out = folder / plan.key
    if not (out / STATE_FILE).is_file() or read_state(out).status != "finished":
        train(config, out, _progress(plan))
    _, state = read_run(out)
    network = load_trained(out, *read_run(out))
    network.orientations = 1  # `turned` averages over orientations, as a separate score
    scores: dict[str, Any] = {}
    answers: dict[str, NDArray[np.float32]] = {}
    for split in ("val", "test"):
        records = list(base.split(split))
        targets = targets_of(records, state.taxonomy.names)
        images, sizes = load_fitted(base, records, config.preprocess), sizes_of(records) if config.model.size else None
        for name, turns in (("", 1), ("_flips", 8 if config.augment.flips == "all" else 2)):
            answers[split + name] = turned(network, images, sizes, turns)
            scores[split + name] = _macro_f1(answers[split + name], targets)
        answers[split + "_targets"] = targets
        scores[split + "_accuracy"] = float((answers[split].argmax(1) == targets).mean())
    np.savez(folder / f"{plan.key}.npz", **answers)
    effort = {"best_epoch": state.best_epoch, "epochs": state.epoch, "seconds": round(state.seconds, 1)}
    return {"key": plan.key, **vars(plan), "size": config.preprocess.size, **scores, **effort}


def turned(
    network: Normalized, images: NDArray[np.uint8], sizes: NDArray[np.float32] | None, turns: int
) -> NDArray[np.float32]:
    """Mean probabilities, float32, N x C, over some orientations of each image.

    Args:
        network: takes ``images``, and ``sizes`` where they are not None.
        images: uint8, N x size x size x 3, RGB, 0..255.
        sizes: float32, N x 3.
        turns: 1 for the image alone, 2 with its mirror image, 8 with the quarter turns of both.
    """
    quarters, steps = {1: ((0,), (1,)), 2: ((0,), (1, -1)), 8: ((0, 1, 2, 3), (1, -1))}[turns]
    views = [np.rot90(images, quarter, (1, 2))[:, :, ::step] for quarter in quarters for step in steps]
    parts = [torch.from_numpy(predict(network, np.ascontiguousarray(view), sizes)) for view in views]
    mean: NDArray[np.float32] = torch.stack([torch.softmax(part, 1) for part in parts]).mean(0).numpy()
    return mean


def _macro_f1(probabilities: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    return metrics_of(confusion_matrix(targets, probabilities.argmax(1), probabilities.shape[1])).macro_f1


def _progress(plan: Plan) -> Callable[[str | Step], None]:
    """Prints the validation macro-F1 after each epoch."""

    def report(event: str | Step) -> None:
        if isinstance(event, Step) and event.validation is not None:
            score = f"val {event.validation.macro_f1:.4f}"
            print(f"  {plan.variant} seed {plan.seed}: epoch {event.epoch} of {event.epochs}, {score}", flush=True)

    return report


def table(lines: Sequence[dict[str, Any]], folder: Path) -> Iterator[str]:
    """The lines of a Markdown table for each dataset, mode and share of labels, with mean and standard deviation."""
    sections: dict[tuple[Any, ...], dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        sections[line["data"], line["mode"], line["labels"]][line["variant"]].append(line)
    for (data, mode, labels), variants in sections.items():
        yield f"\n{data}, {mode}, {labels:g} of the labels; macro-F1\n"
        yield "| variant | seeds | val | test | test, flips | together | seconds |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        ranked = sorted(variants.items(), key=lambda item: -np.mean([line["val"] for line in item[1]]))
        for variant, runs in ranked:
            scores = " | ".join(_mean([run[name] for run in runs]) for name in ("val", "test", "test_flips"))
            seconds = np.mean([run["seconds"] for run in runs])
            yield f"| {variant} | {len(runs)} | {scores} | {_together(runs, folder)} | {seconds:.0f} |"


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"


def _together(runs: Sequence[dict[str, Any]], folder: Path) -> str:
    files = [folder / f"{run['key']}.npz" for run in runs]
    if len(files) < 2 or not all(file.is_file() for file in files):
        return ""
    loaded = [np.load(file) for file in files]
    return f"{_macro_f1(np.mean([answers['test'] for answers in loaded], axis=0), loaded[0]['test_targets']):.4f}"


def plans(options: argparse.Namespace, mode: str) -> Iterator[Plan]:
    """The runs, seed by seed, so that an interrupted benchmark has the same seeds for all variants."""
    settings, seeds = _MODES[mode]
    usual = _CONFIGS[options.data]
    config = options.config or usual
    variants = options.variants or (["baseline"] if options.config else list(VARIANTS))
    for seed in options.seeds or seeds:
        for labels in options.labels:
            for variant in variants:
                changes = (*settings, *changes_of(variant), *options.set)
                parts = [] if config == usual else [config]
                parts += [variant] if variant != "baseline" or not parts else []
                name = "+".join((*parts, *options.set))
                yield Plan(options.data, config, mode, labels, name, changes, seed)


def main() -> None:
    """Trains the runs that are not in the file yet, then prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a .jsonl file; each finished run adds a line")
    parser.add_argument("--data", choices=sorted(_GROUPS), default="flowcam_northsea")
    modes = parser.add_mutually_exclusive_group(required=True)
    modes.add_argument(
        "--screen", action="store_const", dest="mode", const="screen", help="one seed, few epochs, 96 px"
    )
    modes.add_argument("--confirm", action="store_const", dest="mode", const="confirm", help="three seeds in full")
    modes.add_argument("--table", action="store_const", dest="mode", const="", help="train nothing, print the tables")
    parser.add_argument("--config", help="a name in configs/training, instead of baseline (for fish: fish)")
    parser.add_argument("--variants", nargs="+", default=[], help="by default all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[])
    parser.add_argument("--labels", nargs="+", type=float, default=[1.0], help="shares of the training images to use")
    parser.add_argument("--set", action="append", default=[], help="a change of every variant, such as train.epochs=4")
    parser.add_argument("--keep", action="store_true", help="keep the run folders, as teachers for distillation")
    options = parser.parse_args()
    folder = options.out.with_suffix(".runs").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if options.mode:
        make(options, folder)
    for line in table(finished(options.out), folder):
        print(line)


def make(options: argparse.Namespace, folder: Path) -> None:
    """Trains the runs that are not in the file yet."""
    base = source(options.data, folder)
    done = {line["key"] for line in finished(options.out)}
    todo = [plan for plan in plans(options, options.mode) if plan.key not in done]
    for number, plan in enumerate(todo, start=1):
        print(
            f"run {number} of {len(todo)}: {plan.variant}, seed {plan.seed}, {plan.labels:g} of the labels", flush=True
        )
        line = run(plan, base, folder)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if not options.keep:
            shutil.rmtree(folder / plan.key)


def finished(out: Path) -> list[dict[str, Any]]:
    """The complete lines of the file; a killed process may have written a part of the last line."""
    if not out.is_file():
        return []
    whole = [text for text in out.read_text(encoding="utf-8").splitlines(keepends=True) if text.endswith("\n")]
    return [json.loads(text) for text in whole]


if __name__ == "__main__":
    main()
