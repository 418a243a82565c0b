"""The command `pelagia retrain`. It imports torch only after the options, the datasets and the config are checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    from pelagia_training.studies.champion import RUN_FOLDER, find_dataset, find_run, hold_out, lost_exclusions

    model, new = ModelFile.read(champion), Dataset.read(dataset)
    run = find_run(model)
    trained_on = find_dataset(model, run, champion_dataset, new)
    held_out = hold_out(model, trained_on, new)
    settings = _settings(model, run, new, config, set_ or [])
    _require_comparable(model, settings, held_out.dataset)
    if not is_finished(out / RUN_FOLDER, settings):
        require_trainable(settings, out / RUN_FOLDER)  # a mistake is reported before torch is imported
    from pelagia_training.fit.console import show_training
    from pelagia_training.studies.challenge import challenge

    is_copied = config is None and not any(change.split("=")[0].strip() == "data.exclude" for change in set_ or ())
    lost = lost_exclusions(model, trained_on, new) if is_copied else {}
    for text in _about_exclusions(settings.data.exclude, lost):
        console.note(text)
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
    from pelagia.config import altered, load_config, overridden
    from pelagia_training.config import TrainConfig
    from pelagia_training.studies.champion import config_of_challenger

    if config is not None:
        settings = load_config(config, TrainConfig, changes)
    else:
        settings = overridden(config_of_challenger(model, run, new), changes, "--set")
    settings = altered(settings, {"dataset": str(new.root)}, "--dataset")
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


def _about_exclusions(excluded: Sequence[str], lost: Mapping[str, Sequence[str]]) -> list[str]:
    """The classes that the challenger is trained without, and those that `lost_exclusions` found."""
    from pelagia_training.data.splits import without_classes

    notes = []
    if excluded:
        told = f"note: the challenger is trained without {', '.join(excluded)}, as data.exclude says"
        notes.append(f"{told}; to train it on all classes, add {without_classes([])}")
    for name, now in lost.items():
        images = f": its images are now {', '.join(now)}" if now else ""
        notes.append(
            f"warning: the champion was trained without {name}, and the new dataset has no class of this name{images}"
        )
    if lost:
        renamed = dict.fromkeys(one for now in lost.values() for one in now) or ["NEW NAME"]
        notes.append(
            "the challenger learns this class if it has another name now; to train without it, add "
            + without_classes([*excluded, *renamed])
        )
    return notes


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
