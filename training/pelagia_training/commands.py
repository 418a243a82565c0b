"""The commands `pelagia train`, `sweep`, `leak`, `suspects` and `export`.

Each command reads its options, calls one function of the package, and shows the result.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.errors import InputError, Interrupted
from pelagia.options import Out, needs
from pelagia.system import console

if TYPE_CHECKING:
    from pelagia.model.metadata import ModelFile
    from pelagia_training.config import TrainConfig
    from pelagia_training.runs.folder import RunState

_NOTICEABLE = 5e-5
"""A smaller difference of two metrics does not show in four digits."""

SetKeys = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config.")]


def train(
    config: Annotated[Path, typer.Argument(help="A YAML file such as configs/training/baseline.yaml.")],
    out: Annotated[Path | None, typer.Option(help="New run folder, or that of an interrupted run to resume.")] = None,
    set_: SetKeys = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Number of folds for cross-validation by group.")] = None,
    export: Annotated[
        bool,
        typer.Option(
            help="Check before the training that the network can be exported, and export the model into the run folder "
            "at the end; --no-export skips both."
        ),
    ] = True,
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

    The second command with --out runs/first trains that run longer, to 30 epochs.
    """
    from pelagia.config import load_config

    needs("training", "train")
    from pelagia_training.config import TrainConfig
    from pelagia_training.runs.check import require_trainable

    held_out = [f"data.resplit.test_groups={json.dumps(test_groups)}"] if test_groups else []
    settings = load_config(config, TrainConfig, [*(set_ or []), *held_out])
    if show_augmentations is not None:
        _show_augmentations(settings, show_augmentations)
        return
    if out is None:
        raise InputError("no run folder is given: name one with --out RUN")
    if folds and test_groups:
        raise InputError("--folds holds out each group once, and --test-groups names the held-out groups: give one")
    require_trainable(settings, None if folds else out, resume)  # a mistake is reported before torch is imported
    if folds:
        _cross_validate(settings, folds, out, resume)
    else:
        _train_one(settings, out, resume, export)


def _train_one(settings: TrainConfig, out: Path, resume: bool, export: bool) -> None:
    from pelagia_training.devices import end_other_processes, is_first
    from pelagia_training.fit.console import show_training
    from pelagia_training.train import train as run_training

    try:
        with show_training() as report:
            state = run_training(settings, out, report, resume=resume, dry_export=export)
    except (KeyboardInterrupt, SystemExit, Interrupted) as error:
        if is_first() and out.exists():
            console.note(f"the run {out} is not finished: run the same command again to resume it")
        if isinstance(error, Interrupted):
            end_other_processes()
        raise
    end_other_processes()
    best = f"macro-F1 {state.metrics['macro_f1']:.4f} (epoch {state.best_epoch})"
    console.say(f"best validation {best}, {state.seconds:.0f} s")
    _deliver(out, state, export)


def _deliver(run: Path, state: RunState, export: bool) -> None:
    from pelagia_training.export.finish import deliver, report_without_model
    from pelagia_training.runs.folder import MODEL_FILE

    if not export:
        report_without_model(run)
        console.say(f"report on the val split: {run}/report.html")
        if (run / MODEL_FILE).exists():
            console.note(f"warning: {run / MODEL_FILE} is of an earlier training: export the run again")
        console.say_next("pelagia", "export", run, "--out", f"{run.name}.onnx")
        return
    model = deliver(run, console.note)
    of_model, of_run = model.metadata.metrics["val_macro_f1"], state.metrics["macro_f1"]
    if abs(of_model - of_run) > _NOTICEABLE:
        console.say(
            f"the model's macro-F1 on the same images is {of_model:.4f}, because its temperatures change the most "
            "likely class of some images"
        )
    _show_calibration(model)
    console.say(f"report on the val split: {run}/report.html; the model: {model.path}")
    console.say_next("pelagia", "evaluate", model.path, state.dataset, "--run", run, "--out", f"{run}-test")


def _show_calibration(model: ModelFile) -> None:
    from pelagia_inference.counts.correction import summary
    from pelagia_training.evaluation.assess import NO_TEMPERATURES

    fit = model.metadata.calibration
    if fit is not None and set(fit.temperatures) == {1.0}:
        console.say(f"calibration error {fit.error:.4f} {NO_TEMPERATURES}")
    elif fit is not None:
        console.say(
            f"calibration error {fit.error_before:.4f} before the temperatures, {fit.error:.4f} with them, on held-out "
            "validation images"
        )
    if model.counting is not None:
        console.say(summary(model.counting))


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


def sweep(
    config: Annotated[Path, typer.Argument(help="A YAML file such as configs/training/baseline.yaml.")],
    search: Annotated[
        list[str], typer.Option(metavar="KEY=VALUES", help="A key to search, with its values; repeat it for more keys.")
    ],
    out: Annotated[Path, typer.Option(help="New sweep folder, or that of an interrupted sweep to resume.")],
    set_: SetKeys = None,
    trials: Annotated[int, typer.Option(min=1, help="Total number of trials; a larger number extends a sweep.")] = 20,
    prune: Annotated[bool, typer.Option(help="Stop a trial early if it is below the median of the others.")] = True,
) -> None:
    """Search keys of a config for the best macro-F1 on the val split: each trial is one run with its own values.

    \b
    --search train.lr=log:1e-4..3e-3             numbers, on a logarithmic scale
    --search augment.strength=0..2               numbers, or integers if the key is an integer
    --search train.long_tail=none,sqrt_sampling  one of these values

    \b
    pelagia sweep configs/training/baseline.yaml --set dataset=datasets/crops \\
        --search train.lr=log:1e-4..3e-3 --search augment.strength=0..2 --trials 20 --out runs/sweep

    The same command resumes an interrupted sweep. Only one process at a time can work on a sweep.
    """
    needs("training", "sweep")
    needs("sweep", "sweep")
    from pelagia_training.studies.space import load_search

    settings, space = load_search(config, set_ or [], search)
    from pelagia_training.runs.check import require_trainable

    require_trainable(settings)  # a mistake is reported before torch is imported
    from pelagia_training.fit.console import show_training
    from pelagia_training.studies.shown import show_sweep
    from pelagia_training.studies.sweep import sweep as run_sweep

    with show_training() as report:
        found = run_sweep(settings, space, out, trials=trials, prune=prune, report=report)
    show_sweep(found, out)


def leak(
    run: Annotated[Path, typer.Argument(help="A finished run; its dataset must be split by group.")],
    out: Annotated[Path, typer.Option(help="New run folder for the same training on a random split.")],
) -> None:
    """Measure how optimistic a random split is: train a run's config on one, and compare the metrics."""
    needs("training", "leak")
    from pelagia_training.fit.console import show_training
    from pelagia_training.studies.leak import measure_leak
    from pelagia_training.studies.shown import show_leak

    with show_training() as report:
        found = measure_leak(run, out, report)
    show_leak(found)


def suspects(
    run: Annotated[Path, typer.Argument(help="A folder that `pelagia train --folds` made.")],
    out: Out,
    dataset: Annotated[Path | None, typer.Option(help="The run's dataset, if it was moved.")] = None,
    most: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of images to list; default: estimated from the data.")
    ] = None,
) -> None:
    """List the labels that are most likely wrong, so that people can check them: as a web page and a manifest to push.

    They are the labels that cross-validation disagrees with most.

    \b
    pelagia suspects runs/cv --out suspects
    pelagia label push suspects/suspects.csv --project "Second look" --taxonomy suspects/taxonomy.yaml
    """
    needs("training", "suspects")
    from pelagia.dataset.schema import Dataset
    from pelagia.system.files import refuse_existing
    from pelagia_training.studies.folds import dataset_folder
    from pelagia_training.studies.suspects import find_suspects, write_suspects

    refuse_existing(out, "folder of suspects")
    opened = Dataset.read(dataset or dataset_folder(run))
    found = find_suspects(run, opened, most)
    write_suspects(found, run, opened, out)
    console.say(f"{len(found)} of {len(opened.records)} labels to check again: {out}/suspects.html, suspects.csv")
    push = ("pelagia", "label", "push", out / "suspects.csv", "--project", "Second look")
    console.say_next(*push, "--taxonomy", out / "taxonomy.yaml")


def export(
    run: Annotated[Path, typer.Argument(help="A run folder that `pelagia train` made.")],
    out: Annotated[Path, typer.Option(help="New .onnx file; it must not exist yet.")],
    dataset: Annotated[Path | None, typer.Option(help="The run's dataset, if it was moved.")] = None,
    orientations: Annotated[
        int | None,
        typer.Option(help="Average over 1, 2, 4 or 8 mirrored and rotated views; the model is slower by this factor."),
    ] = None,
    embedding: Annotated[
        bool | None,
        typer.Option(
            "--embedding/--no-embedding",
            help="The model also gives the embedding of an image; by default the run's config decides.",
        ),
    ] = None,
    folds: Annotated[
        Path | None, typer.Option(help="A folder of `pelagia train --folds`: all its predictions correct counts.")
    ] = None,
) -> None:
    """Export a run as one ONNX file, if it gives the same predictions as the trained network.

    The file holds the weights of the best epoch.

    \b
    pelagia export runs/first --out first.onnx
    pelagia export runs/first --embedding --out first.onnx    for `pelagia embed` and `classify --embeddings`
    pelagia export runs/first --folds runs/cv --out first.onnx    for better corrected counts
    """
    needs("training", "export")
    from pelagia_training.export.export import export as run_export

    model = run_export(
        run, out, dataset=dataset, orientations=orientations, embedding=embedding, folds=folds, report=console.note
    )
    parity = model.metadata.parity
    console.say(
        f"parity gate passed: {parity.images} validation images at batch {' and '.join(map(str, parity.batch_sizes))}, "
        f"same top-1 on all, largest probability difference {parity.max_probability_difference:.2g}"
    )
    gives = f", embeddings of {model.embedding.dimensions} numbers" if model.embedding else ""
    console.say(f"{out}: {len(model.data) / 1e6:.1f} MB, {len(model.metadata.classes)} classes{gives}")
    _show_calibration(model)
    console.say_next("pelagia", "classify", out, "IMAGES", "--out", "SURVEY")
