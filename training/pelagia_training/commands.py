"""The commands `pelagia sweep`, `leak`, `suspects` and `export`.

Each command reads its options, calls one function of the package, and shows the result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pelagia.options import Out, needs
from pelagia.system import console

SetKeys = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config.")]


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
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="A run folder that `pelagia train` made; several become one model."),
    ],
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
        Path | None,
        typer.Option(
            help="A folder of `pelagia train --folds`: all its predictions correct counts. For a run of `train "
            "--final`: its cross-validation, if it was moved."
        ),
    ] = None,
) -> None:
    """Export a run or several as one ONNX file, if it gives the same predictions as the trained network.

    The file holds the weights of the best epoch or, of a run on all images, those of the last.

    \b
    pelagia export runs/first --out first.onnx
    pelagia export runs/first --embedding --out first.onnx    for `pelagia embed` and `classify --embeddings`
    pelagia export runs/first --folds runs/cv --out first.onnx    for better corrected counts
    pelagia export runs/first runs/second --out both.onnx    one model of two networks, half as fast

    Several runs must be of one dataset, classes, split and preprocessing; networks, recipes and seeds may differ. On
    images that none of them was trained on, the mean of their probabilities is compared with the mean of their logits,
    and the better one is exported.
    """
    needs("training", "export")
    from pelagia_training.ensemble.export import export_ensemble
    from pelagia_training.export.export import export as run_export
    from pelagia_training.export.shown import show_figures, show_gate, show_members

    given: dict[str, Any] = {"dataset": dataset, "orientations": orientations, "embedding": embedding, "folds": folds}
    with console.progress_bar("images through the network") as update:
        given |= {"report": console.note, "progress": update}
        model = run_export(runs[0], out, **given) if len(runs) == 1 else export_ensemble(runs, out, **given)
    show_gate(model)
    show_members(model)
    gives = f", embeddings of {model.embedding.dimensions} numbers" if model.embedding else ""
    console.say(f"{out}: {len(model.data) / 1e6:.1f} MB, {len(model.metadata.classes)} classes{gives}")
    show_figures(model)
    console.say_next("pelagia", "classify", out, "IMAGES", "--out", "SURVEY")
