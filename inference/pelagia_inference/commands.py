"""`pelagia classify`, `bench`, `doctor`, `model` and `survey`: the commands that a laptop at sea needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pelagia.options import AllRanks, FollowLinks, ModelPath, PathColumn, needs
from pelagia.system import console
from pelagia.system.checks import show_checks

Inputs = Annotated[
    list[Path],
    typer.Argument(
        metavar="INPUT...",
        help="Folders, images, patterns, manifests, archives, IFCB bins, FlowCam runs, EcoTaxa exports.",
    ),
]
SurveyOut = Annotated[Path, typer.Option(help="Folder for the results. A survey that is in it already is resumed.")]
Workers = Annotated[
    int, typer.Option(min=0, help="Number of sessions; default: what `bench --apply` stored, or cores.")
]
Batch = Annotated[int, typer.Option(min=0, max=256, help="Images that a session computes at once.")]
Threads = Annotated[
    int, typer.Option(min=0, help="Threads of each session; sessions x threads should equal the cores.")
]
Provider = Annotated[
    str,
    typer.Option(
        metavar="[auto|cpu|cuda|directml|openvino|coreml]",
        help="What computes the network. auto: the first of cuda, directml and openvino that is installed, starts and "
        "gives the trainer's results; else cpu. A survey that is resumed keeps its provider.",
    ),
]
Formats = Annotated[
    list[str], typer.Option("--format", metavar="csv|parquet", help="Format of the results; csv,parquet for both.")
]
WithEmbeddings = Annotated[
    bool,
    typer.Option(
        "--embeddings",
        help="Also write embeddings.parquet, of a model that was exported with --embedding. A survey that has "
        "embeddings keeps having them.",
    ),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try the failed images of earlier runs again.")]
StrictExit = Annotated[bool, typer.Option("--strict", help="Exit with code 8 if any image failed.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors and warnings.")]
Json = Annotated[bool, typer.Option("--json", help="Print progress and summary as JSON lines.")]

_SOME_FAILED = 8
_NOT_FIT = 9


def classify(
    model: ModelPath,
    inputs: Inputs,
    out: SurveyOut,
    workers: Workers = 0,
    batch: Batch = 0,
    threads: Threads = 0,
    provider: Provider = "auto",
    formats: Formats = ["csv"],  # noqa: B006 - typer copies it
    retry_failed: RetryFailed = False,
    embeddings: WithEmbeddings = False,
    path_column: PathColumn = "",
    follow_links: FollowLinks = False,
    all_ranks: AllRanks = False,
    strict: StrictExit = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Classify images into a survey folder. The same command resumes an interrupted run.

    \b
    pelagia classify model.onnx crops/ --out survey
    pelagia classify model.onnx crops/manifest.csv --out survey     the results have the manifest's columns as well
    pelagia classify model.onnx crops/ --out survey --embeddings    also embeddings.parquet
    """
    needs("inference", "classify")
    from pelagia_inference.workers.launch import prestart_workers

    prestart_workers(workers, provider)  # they import their modules while this process does
    from pelagia.sources.listing import ListingOptions
    from pelagia_inference import ModelFile, Setting, show
    from pelagia_inference.exports.results import formats_of
    from pelagia_inference.survey import runner

    file = ModelFile.read(model)
    listing = ListingOptions(path_column, follow_links, all_ranks)
    resume = runner.resume_command(model, inputs, out, formats, listing=listing, embeddings=embeddings)
    with show.resume_hint(resume), show.progress_of_run(inputs, quiet, as_json, listing) as progress:
        result = runner.classify(
            file,
            inputs,
            out,
            setting=Setting(workers, threads, batch),
            provider=provider,
            formats=formats_of(formats),
            retry_failed=retry_failed,
            embeddings=embeddings,
            listing=listing,
            progress=progress,
            note=show.warning,
        )
    show.result(result, resume, quiet, as_json)
    if strict and result.failures:
        raise typer.Exit(_SOME_FAILED)


def bench(
    model: ModelPath,
    inputs: Annotated[
        list[Path] | None, typer.Argument(metavar="INPUT...", help="Images; by default a simulated survey.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of each measurement, in each round.")] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="Number of rounds of measurement; the medians are reported.")] = 3,
    apply: Annotated[
        bool, typer.Option("--apply", help="Store the fastest setting for `classify` on this machine.")
    ] = False,
) -> None:
    """Measure how fast this machine runs a model, and how close `classify` comes to it.

    \b
    pelagia bench model.onnx                     on a simulated survey
    pelagia bench model.onnx crops/ --apply      on your own images; `classify` then uses the fastest setting
    """
    needs("inference", "bench")
    from tempfile import TemporaryDirectory

    from pelagia.model.metadata import ModelFile
    from pelagia.synthetic.survey import simulate_survey
    from pelagia_inference import show
    from pelagia_inference.machine.bench import bench as run_bench
    from pelagia_inference.machine.setting import store_setting

    file = ModelFile.read(model)
    with TemporaryDirectory(prefix="pelagia-bench-") as folder:
        images = inputs or [simulate_survey(Path(folder, "simulated")).root]
        result = run_bench(file, images, seconds=seconds, rounds=rounds, report=console.note)
    show.bench(result)
    if apply:
        console.say(f"stored in {store_setting(file.sha256, result.best)}")


def doctor(
    model: Annotated[Path | None, typer.Argument(metavar="MODEL.onnx", help="Verify this model as well.")] = None,
    out: Annotated[Path, typer.Option(help="Folder where you will write surveys.")] = Path(),
) -> None:
    """Check that this machine is ready for the field, and say what to fix. Exits with code 9 if something is wrong."""
    needs("inference", "doctor")
    from pelagia_inference.machine.doctor import examine

    if not show_checks(examine(out, model)):
        raise typer.Exit(_NOT_FIT)


def model_show(model: ModelPath) -> None:
    """Print what is in a model file: its classes, preprocessing, data, metrics, licence."""
    from pelagia.model.metadata import ModelFile
    from pelagia_inference.machine.describe import class_rows, model_facts

    file = ModelFile.read(model)
    for name, value in model_facts(file):
        console.say(f"{name:22} {value}")
    console.table(("class", "training images", "taxa"), class_rows(file.metadata))


def model_verify(
    model: ModelPath,
    provider: Annotated[str, typer.Option(help="What computes the network: cpu, or a provider of `classify`.")] = "cpu",
) -> None:
    """Check that this machine gives the same predictions as the trained network, on images inside the model file."""
    needs("inference", "model verify")
    from pelagia.model.metadata import ModelFile
    from pelagia_inference.machine.verify import verify

    result = verify(ModelFile.read(model), provider)
    console.say(
        f"{model} works here on {provider}: {result.images} reference images, largest difference of a probability "
        f"{result.max_probability_difference:.2g}"
    )
