"""The command `pelagia retrain`. It imports torch only after the options, the datasets and the config are checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.errors import ConfigError, InputError, Interrupted
from pelagia.options import needs
from pelagia.system import console
from pelagia_training.commands import SetKeys

if TYPE_CHECKING:
    from pelagia.dataset.schema import Dataset
    from pelagia.model.metadata import ModelFile
    from pelagia_training.config import TrainConfig
    from pelagia_training.studies.challenge import Challenge


def retrain(
    champion: Annotated[Path, typer.Option(metavar="MODEL.onnx", help="The model in use. It is never changed.")],
    dataset: Annotated[Path, typer.Option(help="The new version of the dataset.")],
    out: Annotated[Path, typer.Option(help="New folder, or that of an interrupted retraining to resume.")],
    config: Annotated[
        Path | None, typer.Option(help="Config of the challenger; by default the champion's, from its weights.")
    ] = None,
    set_: SetKeys = None,
    champion_dataset: Annotated[
        Path | None, typer.Option(help="The dataset that the champion was trained on; found by default.")
    ] = None,
) -> None:
    """Train a new model on a new dataset, and keep it only if it is better than the model in use.

    \b
    pelagia retrain --champion runs/first/model.onnx --dataset datasets/second --out runs/second

    Both are measured on the test images of the new dataset that the champion has not seen. OUT/current.onnx is a copy
    of the model to use, and OUT/report.html compares both. The same command resumes an interrupted training.
    """
    needs("training", "retrain")
    from pelagia.dataset.schema import Dataset
    from pelagia.model.metadata import ModelFile
    from pelagia_training.runs.check import is_finished, require_trainable
    from pelagia_training.studies.champion import RUN_FOLDER, find_dataset, find_run, hold_out

    model, new = ModelFile.read(champion), Dataset.read(dataset)
    run = find_run(model)
    held_out = hold_out(model, find_dataset(model, run, champion_dataset, new), new)
    settings = _settings(model, run, new, config, set_ or [])
    _require_comparable(model, settings, held_out.dataset)
    if not is_finished(out / RUN_FOLDER, settings):
        require_trainable(settings, out / RUN_FOLDER)  # a mistake is reported before torch is imported
    from pelagia_training.fit.console import show_training
    from pelagia_training.studies.challenge import challenge

    if left := [name for name in settings.data.exclude if name in new.class_names]:
        told = f"note: the challenger is trained without {', '.join(left)}, as data.exclude says"
        console.note(f"{told}; to train it on all classes, add --set 'data.exclude=[]'")
    groups = len({record.group for record in held_out.dataset.records})
    console.say(
        f"held out: {len(held_out.dataset.records)} test images of {groups} groups that the champion has not seen"
    )
    try:
        with show_training() as report:
            found = challenge(model, run, held_out, settings, out, report)
    except (KeyboardInterrupt, SystemExit, Interrupted):
        console.note(f"the retraining {out} is not finished: run the same command again to resume it")
        raise
    _show(found, out)


def _settings(model: ModelFile, run: Path | None, new: Dataset, config: Path | None, changes: list[str]) -> TrainConfig:
    """The config of the challenger."""
    from pelagia.config import load_config, overridden
    from pelagia_training.config import TrainConfig
    from pelagia_training.studies.champion import config_of_challenger

    if config is not None:
        settings = load_config(config, TrainConfig, [*changes, f"dataset={new.root}"])
    else:
        settings = overridden(config_of_challenger(model, run, new), changes, "--set")
    if settings.data.resplit is not None:
        raise ConfigError("data.resplit", ["the challenger uses the splits of its dataset: remove this key"])
    return settings


def _require_comparable(model: ModelFile, settings: TrainConfig, held_out: Dataset) -> None:
    """Raises InputError if the champion and the challenger share no class that has held-out images."""
    learned = set(held_out.class_names) - set(settings.data.exclude)
    shared = learned & set(model.metadata.classes)
    if not any(record.class_name in shared for record in held_out.records):
        raise InputError(
            f"{model.path} and the dataset {held_out.root} share no class that has held-out images, so the models "
            "cannot be compared: were the classes renamed? `pelagia dataset rename-class` renames them"
        )


def _show(found: Challenge, out: Path) -> None:
    from pelagia_training.studies.challenge import notes_of

    rows = [
        (name, f"{first:.4f}", f"{second:.4f}", f"{second - first:+.4f}") for name, (first, second) in found.f1.items()
    ]
    console.table(("F1", "champion", "challenger", "difference"), rows)
    for note in notes_of(found):
        console.note(note)
    for name, one in found.differences.items():
        between = f"  {one.interval.low:+.4f} to {one.interval.high:+.4f}" if one.interval else ""
        console.say(f"{name:18} {one.first:.4f}  {one.second:.4f}  {one.value:+.4f}{between}")
    console.say(f"{found.images} images of {found.groups} groups, {len(found.classes)} classes that both models know")
    console.say(found.summary)
    console.say(f"written: {out}/current.onnx, report.html, retrain.json")
    console.say_next("pelagia", "classify", out / "current.onnx", "IMAGES", "--out", "SURVEY")
