"""The command `pelagia train`. It imports torch only after the options, the config and the folders are checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.errors import InputError, Interrupted
from pelagia.options import needs
from pelagia.system import console
from pelagia_training.commands import SetKeys

if TYPE_CHECKING:
    from pelagia_training.config import TrainConfig
    from pelagia_training.runs.folder import FinalFit, RunState

_NOTICEABLE = 5e-5
"""A smaller difference of two metrics does not show in four digits."""


def train(
    config: Annotated[
        Path | None, typer.Argument(help="A YAML file such as configs/training/baseline.yaml; not with --final.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="New run folder, or that of an interrupted run to resume.")] = None,
    set_: SetKeys = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Number of folds for cross-validation by group.")] = None,
    final: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A folder of `train --folds`: train its config on all labeled images."),
    ] = None,
    export: Annotated[
        bool,
        typer.Option(
            help="Check before the training that the network can be exported, and export the model into the run folder "
            "at the end; --no-export skips both."
        ),
    ] = True,
    head_only: Annotated[
        bool,
        typer.Option("--head-only", help="Fit only the last layer, in seconds (train.head_only): for few labels."),
    ] = False,
    test_groups: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="A group, such as a station or camera, to hold out as test split; repeat."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Resume an interrupted run; --no-resume refuses it.")] = True,
    show_augmentations: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Only draw augmented training images; do not train.")
    ] = None,
) -> None:
    """Train a network on a dataset. The same command resumes an interrupted run.

    \b
    pelagia train configs/training/baseline.yaml --set dataset=datasets/crops --out runs/first
    pelagia train configs/training/baseline.yaml --set dataset=datasets/crops --set train.epochs=30 --out runs/long
    pelagia train configs/training/baseline.yaml --set dataset=datasets/crops --head-only --out runs/head

    The second command with --out runs/first trains that run longer, to 30 epochs.

    \b
    pelagia train configs/training/baseline.yaml --set dataset=datasets/crops --folds 5 --out runs/cv
    pelagia train --final runs/cv --out runs/final    the model for the field, trained on all labeled images
    """
    needs("training", "train")
    from pelagia_training.runs.check import require_trainable

    _refuse_contradiction(final, folds, test_groups)
    changes = [*(set_ or []), *["train.head_only=true"] * head_only]
    settings, fit = _settings(config, changes, test_groups or [], final)
    if show_augmentations is not None:
        _show_augmentations(settings, show_augmentations)
        return
    if out is None:
        raise InputError("no run folder is given: name one with --out RUN")
    require_trainable(settings, None if folds else out, resume, fit)  # a mistake is reported before torch is imported
    if folds:
        _cross_validate(settings, folds, out, resume)
    else:
        _train_one(settings, out, resume, export, fit)


def _refuse_contradiction(final: Path | None, folds: int | None, test_groups: list[str] | None) -> None:
    if final and (folds or test_groups):
        raise InputError("--final holds no image out, so it excludes --folds and --test-groups")
    if folds and test_groups:
        raise InputError("--folds holds out each group once, and --test-groups names the held-out groups: give one")


def _settings(
    config: Path | None, changes: list[str], test_groups: list[str], final: Path | None
) -> tuple[TrainConfig, FinalFit | None]:
    """The config of the run and, of a run on all images, what it has from its cross-validation."""
    from pelagia.config import load_config
    from pelagia_training.config import TrainConfig

    if final is not None:
        from pelagia_training.runs.final import plan_final

        if config is not None:
            raise InputError(f"--final takes the config of the cross-validation {final}: leave out {config}")
        return plan_final(final, changes)
    if config is None:
        raise InputError(
            "no config is given: name a YAML file such as configs/training/baseline.yaml, or a cross-validation with "
            "--final"
        )
    held_out = [f"data.resplit.test_groups={json.dumps(test_groups)}"] if test_groups else []
    return load_config(config, TrainConfig, [*changes, *held_out]), None


def _train_one(settings: TrainConfig, out: Path, resume: bool, export: bool, final: FinalFit | None) -> None:
    from pelagia_training.devices import end_other_processes, is_first
    from pelagia_training.fit.console import show_training
    from pelagia_training.train import train as run_training

    try:
        with show_training() as report:
            state = run_training(settings, out, report, resume=resume, dry_export=export, final=final)
    except (KeyboardInterrupt, SystemExit, Interrupted) as error:
        if is_first() and out.exists():
            console.note(f"the run {out} is not finished: run the same command again to resume it")
        if isinstance(error, Interrupted):
            end_other_processes()
        raise
    end_other_processes()
    if state.final is None:
        macro_f1, epoch = state.metrics["macro_f1"], f" (epoch {state.best_epoch})"
        best = "validation" if state.head else "best validation"
        console.say(f"{best} macro-F1 {macro_f1:.4f}{'' if state.head else epoch}, {state.seconds:.0f} s")
        _deliver(out, state, export)
    else:
        console.say(f"trained on all labeled images, {state.epoch} epochs, {state.seconds:.0f} s")
        console.say(state.final.not_measured)
        _deliver_final(out, export)


def _deliver(run: Path, state: RunState, export: bool) -> None:
    from pelagia_training.export.finish import deliver, report_without_model
    from pelagia_training.export.shown import show_figures
    from pelagia_training.runs.folder import MODEL_FILE

    if not export:
        report_without_model(run)
        console.say(f"report on the val split: {run}/report.html")
        if (run / MODEL_FILE).exists():
            console.note(f"warning: {run / MODEL_FILE} is of an earlier training: export the run again")
        console.say_next("pelagia", "export", run, "--out", f"{run.name}.onnx")
        return
    with console.progress_bar("images through the network") as update:
        model = deliver(run, console.note, update)
    of_model, of_run = model.metadata.metrics["val_macro_f1"], state.metrics["macro_f1"]
    if abs(of_model - of_run) > _NOTICEABLE:
        console.say(
            f"the model's macro-F1 on the same images is {of_model:.4f}, because its temperatures change the most "
            "likely class of some images"
        )
    show_figures(model)
    console.say(f"report on the val split: {run}/report.html; the model: {model.path}")
    console.say_next("pelagia", "evaluate", model.path, state.dataset, "--run", run, "--out", f"{run}-test")


def _deliver_final(run: Path, export: bool) -> None:
    from pelagia_training.export.finish import deliver
    from pelagia_training.export.shown import show_figures
    from pelagia_training.runs.folder import MODEL_FILE

    if not export:
        if (run / MODEL_FILE).exists():
            console.note(f"warning: {run / MODEL_FILE} is of an earlier training: export the run again")
        console.say_next("pelagia", "export", run, "--out", f"{run.name}.onnx")
        return
    with console.progress_bar("images through the network") as update:
        model = deliver(run, console.note, update)
    show_figures(model)
    console.say(f"report of the out-of-fold predictions: {run}/report.html; the model: {model.path}")
    console.say_next("pelagia", "classify", model.path, "IMAGES", "--out", "SURVEY")


def _show_augmentations(settings: TrainConfig, out: Path) -> None:
    from pelagia_training.studies.contact_sheet import DRAWS, show_augmentations

    sheet = show_augmentations(settings, out)
    console.say(f"written: {out}; {sheet.rows} images, each first unchanged, then augmented {DRAWS} times")
    for kind, columns in sheet.mixed.items():
        share = f"train.{kind}, {getattr(settings.train, kind):.0%} of images"
        console.say(f"columns {columns[0]} to {columns[-1]}: the image is mixed with that of another row ({share})")


def _cross_validate(settings: TrainConfig, folds: int, out: Path, resume: bool) -> None:
    from pelagia_training.fit.console import show_training
    from pelagia_training.studies.folds import cross_validate
    from pelagia_training.studies.shown import show_folds

    with show_training() as report:
        found = cross_validate(settings, folds, out, report, resume=resume)
    show_folds(found, out)
