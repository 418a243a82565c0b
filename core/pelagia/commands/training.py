"""`pelagia train`, `pelagia export` and `pelagia evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pelagia import console
from pelagia.commands.common import ModelPath, needs


def train(
    config: Annotated[Path, typer.Argument(help="A YAML file such as configs/training/baseline.yaml.")],
    out: Annotated[Path, typer.Option(help="Run folder to make; must not exist yet.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config.")
    ] = None,
) -> None:
    """Train a network on a dataset.

    \b
    pelagia train configs/training/baseline.yaml --set dataset=datasets/crops --out runs/first
    pelagia train configs/training/baseline.yaml --set dataset=datasets/crops --set train.epochs=30 --out runs/long
    """
    from pelagia.config import load_config

    needs("training", "train")
    from pelagia_training.config import TrainConfig

    settings = load_config(config, TrainConfig, set_ or [])  # a mistake is told before torch is imported
    from pelagia_training.console import show_training
    from pelagia_training.train import train as run_training

    with show_training() as report:
        state = run_training(settings, out, report)

    console.say(
        f"best validation macro-F1 {state.metrics['macro_f1']:.4f} (epoch {state.best_epoch}), {state.seconds:.0f} s"
    )
    console.say(f"next: pelagia export {out} --out {out.name}.onnx")


def export(
    run: Annotated[Path, typer.Argument(help="A run folder that `pelagia train` made.")],
    out: Annotated[Path, typer.Option(help="The .onnx file to make; must not exist yet.")],
    dataset: Annotated[Path | None, typer.Option(help="The run's dataset, where it was moved.")] = None,
) -> None:
    """Export a run's best weights as one .onnx file, if it gives the trainer's answers in ONNX Runtime."""
    needs("training", "export")
    from pelagia_training.export import export as run_export

    model = run_export(run, out, dataset=dataset, report=console.note)
    parity = model.metadata.parity
    console.say(
        f"parity gate passed: {parity.images} validation images at batch {' and '.join(map(str, parity.batch_sizes))}, "
        f"same top-1 on all, largest difference of a probability {parity.max_probability_difference:.2g}"
    )
    console.say(f"{out}: {len(model.data) / 1e6:.1f} MB, {len(model.metadata.classes)} classes")
    console.say(f"next: pelagia classify {out} IMAGES --out SURVEY")


def evaluate(
    model: ModelPath,
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Folder for metrics.json, the CSVs and confusion.png.")] = None,
) -> None:
    """Measure a model on a dataset's split, through the runner that the field uses."""
    needs("training", "evaluate")
    from pelagia.dataset import Dataset
    from pelagia.files import refuse_existing
    from pelagia.model import ModelFile
    from pelagia_training.evaluate import evaluate as run_evaluation
    from pelagia_training.evaluate import per_class, write_evaluation

    if out:
        refuse_existing(out, "evaluation")
    with console.progress_bar("classifying") as update:
        result = run_evaluation(ModelFile.read(model), Dataset.read(dataset), split, progress=update)
    console.table(("class", "precision", "recall", "F1", "support"), per_class(result))
    for name, count in result.unknown.items():
        console.note(f"left out: {count} images of '{name}', a class that the model does not know")
    if result.failed:
        console.note(f"left out: {result.failed} images that cannot be read")
    console.say(f"{result.images} images of {result.groups} groups in the split '{result.split}' of {result.dataset}")
    for name, value in result.metrics.headline.items():
        console.say(f"{name:18} {value:.4f}")
    if out:
        write_evaluation(result, out)
        console.say(f"written: {out}/metrics.json, per_class.csv, confusion.csv, confusion.png")
