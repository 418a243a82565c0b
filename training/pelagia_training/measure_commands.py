"""The commands `pelagia evaluate` and `pelagia quantize`, which measure a model on a dataset.

Each command reads its options, calls one function of the package, and shows the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.errors import InputError
from pelagia.options import ModelPath, needs
from pelagia.system import console

if TYPE_CHECKING:
    from pelagia.dataset.schema import Dataset
    from pelagia.model.metadata import ModelFile
    from pelagia_training.evaluation.evaluate import Evaluation
    from pelagia_training.evaluation.stress import Stressed
    from pelagia_training.export.compare import Comparison


def evaluate(
    model: ModelPath,
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    split: Annotated[str, typer.Option(help="train, val, test or all.")] = "test",
    test_groups: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="Only images of this group, such as a station; repeat for several."),
    ] = None,
    report_by: Annotated[
        str, typer.Option(metavar="COLUMN", help="Also show the metrics for each value of a column of the manifest.")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="New folder for report.html, metrics.json and the tables.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="The model's run folder: adds its learning curves to the report.")
    ] = None,
    stress: Annotated[
        bool, typer.Option("--stress", help="Also classify the images when they are worse; 20 times as slow.")
    ] = False,
) -> None:
    """Measure a model on a split of a dataset, with the program that also classifies surveys.

    \b
    pelagia evaluate first.onnx datasets/crops --out evaluation
    pelagia evaluate first.onnx datasets/crops --stress --out evaluation

    \b
    The 95% interval after each metric is estimated from bootstrap samples of the groups (stations, tracks).
    OUT/report.html is one page with all results, to open in a browser and to send to others.
    """
    needs("training", "evaluate")
    from pelagia.dataset.schema import Dataset
    from pelagia.model.metadata import ModelFile
    from pelagia.system.files import refuse_existing
    from pelagia_training.evaluation.by_value import by_column, require_column
    from pelagia_training.evaluation.evaluate import evaluate as run_evaluation
    from pelagia_training.evaluation.folder import per_class, write_evaluation
    from pelagia_training.evaluation.shown import show_evaluation
    from pelagia_training.runs.logs import read_curves

    if out:
        refuse_existing(out, "evaluation")
    if run and not out:
        raise InputError("--run is only used in the report: name a folder for the report with --out")
    curves = read_curves(run) if run else None
    compared = Dataset.read(dataset)
    if report_by:
        require_column(compared.records, report_by)  # a mistake is reported before the images are classified
    with console.progress_bar("classifying") as update:
        result = run_evaluation(
            ModelFile.read(model), compared, split, progress=update, test_groups=tuple(test_groups or ())
        )
    console.table(("class", "precision", "recall", "F1", "support"), per_class(result))
    by = by_column(result, report_by) if report_by else None
    show_evaluation(result, by)
    stressed = _stress(model, compared, result) if stress else []
    if out:
        write_evaluation(result, compared, out, curves, by, stressed)
        console.say(f"written: {out}/report.html, {_tables(report_by, stressed)}")


def _tables(report_by: str, stressed: Sequence[Stressed]) -> str:
    """The names of the files that `--out` has besides the report."""
    from pelagia_training.evaluation.folder import STRESS_FILE, csv_by

    files = ["metrics.json", "per_class.csv", "confusion.csv", "confusion.png"]
    files += [csv_by(report_by)] if report_by else []
    return ", ".join([*files, *([STRESS_FILE] if stressed else [])])


def _stress(model: Path, dataset: Dataset, evaluation: Evaluation) -> list[Stressed]:
    """Measures the model on disturbed images, and prints the table."""
    from pelagia.model.metadata import ModelFile
    from pelagia_training.evaluation.stress import stress
    from pelagia_training.evaluation.stress_page import TEXT_COLUMNS, text_rows

    with console.progress_bar("classifying disturbed images") as update:
        found = stress(ModelFile.read(model), dataset, evaluation, update)
    console.table(TEXT_COLUMNS, text_rows(found))
    return found


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
    from pelagia_training.data.resplit import learned_everything

    large, dataset = ModelFile.read(model), Dataset.read(calibration)
    dataset.split(split)  # a mistake is reported before torch is imported
    refuse_model(out)
    learned = learned_everything(dataset, large.metadata)
    split = "train" if learned else split
    from pelagia_training.export.compare import compare
    from pelagia_training.export.quantize import quantize as run_quantization

    small = run_quantization(large, dataset, out, kind="fp16" if fp16 else "int8", report=console.note)
    _show_comparison(large, small, learned, compare(large, small, dataset, split, timed=not fp16, report=console.note))


def _show_comparison(large: ModelFile, small: ModelFile, learned: bool, result: Comparison) -> None:
    """Prints the comparison; ``learned``: the models were trained on the images on which they are compared."""
    measured = small.metadata.quantisation
    assert measured is not None  # noqa: S101 - `quantize` has just set it
    gate = f"{measured.images} {'training' if learned else 'validation'} images"
    console.say(
        f"{measured.kind} gate passed: same top-1 on {measured.top1_agreement:.1%} of {gate}, "
        f"macro-F1 {measured.float_macro_f1:.4f} -> {measured.macro_f1:.4f}"
    )
    speed = (
        "not measured, because this model is for a GPU"
        if result.speed is None
        else f"{result.speed:.2f} times as fast on this CPU"
    )
    console.say(f"speed     {speed}")
    console.say(f"size      {len(large.data) / 1e6:.1f} -> {len(small.data) / 1e6:.1f} MB")
    scores = f"{result.large.metrics.macro_f1:.4f} -> {result.small.metrics.macro_f1:.4f} ({result.change:+.4f})"
    images = "images that both were trained on" if learned else f"images of the split '{result.small.split}'"
    console.say(f"macro-F1  {scores} on {result.small.images} {images}")
    advice = "use it" if result.speed is not None else "use it on a GPU"
    if result.against:
        advice = f"do not use it: {'; '.join(result.against)}"
    console.say(f"written: {small.path}; {advice}")
