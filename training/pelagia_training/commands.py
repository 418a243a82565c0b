"""The commands `pelagia train`, `sweep`, `leak`, `suspects`, `export`, `evaluate` and `quantize`.

Each command reads its options, calls one function of the package, and shows the result.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.errors import InputError, Interrupted, TrainingError
from pelagia.options import ModelPath, Out, needs
from pelagia.system import console

if TYPE_CHECKING:
    from pelagia.model.metadata import ModelFile
    from pelagia_training.config import TrainConfig
    from pelagia_training.evaluation.evaluate import Evaluation
    from pelagia_training.export.compare import Comparison
    from pelagia_training.studies.sweep import Sweep

SetKeys = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config.")]


def train(
    config: Annotated[Path, typer.Argument(help="A YAML file such as configs/training/baseline.yaml.")],
    out: Annotated[Path | None, typer.Option(help="New run folder, or that of an interrupted run to resume.")] = None,
    set_: SetKeys = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Number of folds for cross-validation by group.")] = None,
    export: Annotated[
        bool,
        typer.Option(
            help="Also export the model into the run folder; --no-export also skips the check before the training that "
            "this network can be exported."
        ),
    ] = True,
    resume: Annotated[bool, typer.Option(help="Resume an interrupted run; --no-resume refuses it.")] = True,
    show_augmentations: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Only draw augmented training images; do not train.")
    ] = None,
) -> None:
    """Train a network on a dataset. The same command resumes an interrupted run.

    \b
    pelagia train configs/training/baseline.yaml --set dataset=datasets/crops --out runs/first
    pelagia train configs/training/baseline.yaml --set dataset=datasets/crops --set train.epochs=30 --out runs/long
    """
    from pelagia.config import load_config

    needs("training", "train")
    from pelagia_training.config import TrainConfig

    settings = load_config(config, TrainConfig, set_ or [])  # a mistake is reported before torch is imported
    if show_augmentations is not None:
        _show_augmentations(settings, show_augmentations)
    elif out is None:
        raise InputError("no run folder is given: name one with --out RUN")
    elif folds:
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
    _deliver(out, state.dataset, export)


def _deliver(run: Path, dataset: Path, export: bool) -> None:
    from pelagia_training.export.finish import deliver, report_without_model

    if not export:
        report_without_model(run)
        console.say(f"report on the val split: {run}/report.html")
        console.say(f"next: pelagia export {run} --out {run.name}.onnx")
        return
    model = deliver(run, console.note)
    console.say(f"report on the val split: {run}/report.html; the model: {model.path}")
    console.say(f"next: pelagia evaluate {model.path} {dataset} --run {run} --out {run}-test")


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

    with show_training() as report:
        found = cross_validate(settings, folds, out, report, resume=resume)
    names = tuple(found.together.headline)
    rows = [
        (str(number), fold.groups, fold.images, *(f"{fold.headline[name]:.4f}" for name in names))
        for number, fold in enumerate(found.folds, 1)
    ]
    console.table(("fold", "groups", "images", *names), rows)
    for name in names:
        average, deviation = found.spread(name)
        interval = found.together.intervals.headline[name]
        between = f", {interval.low:.4f} to {interval.high:.4f}" if interval else ""
        console.say(
            f"{name:18} mean {average:.4f}, standard deviation {deviation:.4f}; "
            f"all images together {found.together.headline[name]:.4f}{between}"
        )
    console.say(f"written: {out}/report.html, folds.json, out_of_fold; next: pelagia suspects {out} --out SUSPECTS")


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

    settings, space = load_search(config, set_ or [], search)  # a mistake is reported before torch is imported
    from pelagia_training.fit.console import show_training
    from pelagia_training.studies.sweep import sweep as run_sweep

    with show_training() as report:
        found = run_sweep(settings, space, out, trials=trials, prune=prune, report=report)
    _show_sweep(found, out)


def _show_sweep(found: Sweep, out: Path) -> None:
    from pelagia_training.studies.sweep import BEST_CONFIG_FILE, run_of, values_of

    ranked = sorted(found.trials, key=lambda trial: (trial.state != "complete", -(trial.macro_f1 or 0)))
    rows = [
        (
            *(str(trial.number), *values_of(trial).values()),
            *("" if trial.macro_f1 is None else f"{trial.macro_f1:.4f}", trial.epochs, trial.state),
        )
        for trial in ranked
    ]
    console.table(("trial", *found.search, "macro-F1", "epochs", "state"), rows)
    if found.importance:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in found.importance.items())
        console.say(f"keys whose values distinguish the best quarter of the trials from the others: {shares}")
    best = found.best
    if best is None:
        raise TrainingError(f"none of {len(found.trials)} trials was completed; the last one: {found.trials[-1].fault}")
    console.say(
        f"best validation macro-F1 {best.macro_f1:.4f}, trial {best.number}: "
        "it was chosen for this value, so the value is optimistic"
    )
    console.say(f"written: {out}/sweep.json, sweep.csv, {BEST_CONFIG_FILE}")
    console.say(f"next: pelagia export {run_of(out, best)} --out {out.name}.onnx")
    console.say(
        f"or train its config again with other settings: pelagia train {out / BEST_CONFIG_FILE} --out {out}-best"
    )


def leak(
    run: Annotated[Path, typer.Argument(help="A finished run; its dataset must be split by group.")],
    out: Annotated[Path, typer.Option(help="New run folder for the same training on a random split.")],
) -> None:
    """Measure how optimistic a random split is: train a run's config on one, and compare the metrics."""
    needs("training", "leak")
    from pelagia_training.fit.console import show_training
    from pelagia_training.studies.leak import measure_leak

    with show_training() as report:
        found = measure_leak(run, out, report)
    both = found.by_group, found.at_random
    rows = []
    for name in found.by_group.headline:
        intervals = [one.intervals.headline[name] for one in both]
        texts = (f"{one.low:.4f} to {one.high:.4f}" if one else "" for one in intervals)
        rows.append(
            (
                name,
                *(cell for one, text in zip(both, texts, strict=True) for cell in (f"{one.headline[name]:.4f}", text)),
            )
        )
    console.table(("test split", "by group", "95%", "at random", "95%"), rows)
    difference = found.at_random.headline["macro_f1"] - found.by_group.headline["macro_f1"]
    console.say(
        f"the macro-F1 on the random split differs by {difference:+.4f}: report the macro-F1 of the split by group"
    )


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
    console.say(f'next: pelagia label push {out}/suspects.csv --project "Second look" --taxonomy {out}/taxonomy.yaml')


def export(
    run: Annotated[Path, typer.Argument(help="A run folder that `pelagia train` made.")],
    out: Annotated[Path, typer.Option(help="New .onnx file; it must not exist yet.")],
    dataset: Annotated[Path | None, typer.Option(help="The run's dataset, if it was moved.")] = None,
    orientations: Annotated[
        int | None,
        typer.Option(help="Average over 1, 2, 4 or 8 mirrored and rotated views; the model is slower by this factor."),
    ] = None,
) -> None:
    """Export a run as one ONNX file, if it gives the same predictions as the trained network.

    The file holds the weights of the best epoch."""
    needs("training", "export")
    from pelagia_training.export.export import export as run_export

    model = run_export(run, out, dataset=dataset, orientations=orientations, report=console.note)
    parity = model.metadata.parity
    console.say(
        f"parity gate passed: {parity.images} validation images at batch {' and '.join(map(str, parity.batch_sizes))}, "
        f"same top-1 on all, largest probability difference {parity.max_probability_difference:.2g}"
    )
    console.say(f"{out}: {len(model.data) / 1e6:.1f} MB, {len(model.metadata.classes)} classes")
    console.say(f"next: pelagia classify {out} IMAGES --out SURVEY")


def evaluate(
    model: ModelPath,
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "test",
    out: Annotated[Path | None, typer.Option(help="New folder for report.html, metrics.json and the tables.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="The model's run folder: adds its learning curves to the report.")
    ] = None,
) -> None:
    """Measure a model on a split of a dataset, with the program that also classifies surveys.

    \b
    The 95% interval after each metric is estimated from bootstrap samples of the groups (stations, tracks).
    OUT/report.html is one page with all results, to open in a browser and to send to others.
    """
    needs("training", "evaluate")
    from pelagia.dataset.schema import Dataset
    from pelagia.model.metadata import ModelFile
    from pelagia.system.files import refuse_existing
    from pelagia_training.evaluation.evaluate import evaluate as run_evaluation
    from pelagia_training.evaluation.folder import per_class, write_evaluation
    from pelagia_training.runs.logs import read_curves

    if out:
        refuse_existing(out, "evaluation")
    if run and not out:
        raise InputError("--run is only used in the report: name a folder for the report with --out")
    curves = read_curves(run) if run else None
    compared = Dataset.read(dataset)
    with console.progress_bar("classifying") as update:
        result = run_evaluation(ModelFile.read(model), compared, split, progress=update)
    console.table(("class", "precision", "recall", "F1", "support"), per_class(result))
    _show_evaluation(result)
    if out:
        write_evaluation(result, compared, out, curves)
        console.say(f"written: {out}/report.html, metrics.json, per_class.csv, confusion.csv, confusion.png")


def _show_evaluation(result: Evaluation) -> None:
    from pelagia_training.figures.bootstrap import FEW_GROUPS

    for name, count in result.unknown.items():
        console.note(f"left out: {count} images of '{name}', because it is not a class of the model")
    if result.failed:
        console.note(
            f"left out: {result.failed} images that cannot be read; `pelagia dataset check DATASET` lists them"
        )
    console.say(f"{result.images} images of {result.groups} groups in the split '{result.split}' of {result.dataset}")
    for name, value in result.headline.items():
        interval = result.intervals.headline[name]
        between = (
            f"  {interval.low:.4f} to {interval.high:.4f}"
            if interval
            else "  no interval, because there is only one group"
        )
        console.say(f"{name:18} {value:.4f}{between}")
    for name, text in result.assessment.lines() if result.assessment else ():
        console.say(f"{name:18} {text}")
    if result.groups < FEW_GROUPS:
        console.note(
            f"warning: there are only {result.groups} groups, so the intervals are too narrow: do not rely on them"
        )


def quantize(
    model: ModelPath,
    calibration: Annotated[
        Path,
        typer.Option(
            metavar="DATASET", help="Dataset folder: its train split calibrates, its val split checks the result."
        ),
    ],
    out: Annotated[Path, typer.Option(help="New .onnx file; it must not exist yet.")],
    split: Annotated[
        str, typer.Option(help="Split on which both models are compared: train, val, test or all.")
    ] = "test",
    fp16: Annotated[bool, typer.Option("--fp16", help="Half precision for a GPU instead of int8 for a CPU.")] = False,
) -> None:
    """Make a smaller model, and compare it with the original: its metrics, and its speed on this machine.

    \b
    pelagia quantize model.onnx --calibration datasets/crops --out model.int8.onnx
    pelagia quantize model.onnx --calibration datasets/crops --out model.fp16.onnx --fp16
    """
    needs("training", "quantize")
    from pelagia.dataset.schema import Dataset
    from pelagia.model.metadata import ModelFile, refuse_model

    large, dataset = ModelFile.read(model), Dataset.read(calibration)
    dataset.split(split)  # a mistake is reported before torch is imported
    refuse_model(out)
    from pelagia_training.export.compare import compare
    from pelagia_training.export.quantize import quantize as run_quantization

    small = run_quantization(large, dataset, out, kind="fp16" if fp16 else "int8", report=console.note)
    _show_comparison(large, small, compare(large, small, dataset, split, timed=not fp16, report=console.note))


def _show_comparison(large: ModelFile, small: ModelFile, result: Comparison) -> None:
    measured = small.metadata.quantisation
    assert measured is not None  # noqa: S101 - `quantize` has just set it
    console.say(
        f"{measured.kind} gate passed: same top-1 on {measured.top1_agreement:.1%} of {measured.images} validation "
        f"images, macro-F1 {measured.float_macro_f1:.4f} -> {measured.macro_f1:.4f}"
    )
    speed = (
        "not measured, because this model is for a GPU"
        if result.speed is None
        else f"{result.speed:.2f} times as fast on this CPU"
    )
    console.say(f"speed     {speed}")
    console.say(f"size      {len(large.data) / 1e6:.1f} -> {len(small.data) / 1e6:.1f} MB")
    scores = f"{result.large.metrics.macro_f1:.4f} -> {result.small.metrics.macro_f1:.4f} ({result.change:+.4f})"
    console.say(f"macro-F1  {scores} on {result.small.images} images of the split '{result.small.split}'")
    advice = "use it" if result.speed is not None else "use it on a GPU"
    if result.against:
        advice = f"do not use it: {'; '.join(result.against)}"
    console.say(f"written: {small.path}; {advice}")
