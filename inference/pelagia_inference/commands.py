"""`pelagia classify` and `pelagia model`: what a laptop at sea needs."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.options import ModelPath, needs
from pelagia.system import console
from pelagia.system.checks import show_checks

if TYPE_CHECKING:
    from pelagia.model.metadata import ModelMetadata
    from pelagia_inference.survey.runner import Classified, Progress

Provider = Annotated[
    str,
    typer.Option(
        metavar="[auto|cpu|cuda|directml|openvino|coreml]",
        help="What computes the network. auto: of cuda, directml and openvino the first that is installed, starts and "
        "gives the trainer's answers; else cpu. A survey that is continued keeps its own.",
    ),
]

Formats = Annotated[
    list[str], typer.Option("--format", metavar="csv|parquet", help="What to write; csv,parquet for both.")
]

_SOME_FAILED = 8
_NOT_FIT = 9


def classify(
    model: ModelPath,
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...", help="Folders, images, patterns, manifests, archives, IFCB bins, EcoTaxa exports."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Survey folder; an unfinished one is continued.")],
    workers: Annotated[
        int, typer.Option(min=0, help="Sessions side by side; by default as `bench --apply` found.")
    ] = 0,
    batch: Annotated[int, typer.Option(min=0, max=256, help="Images that a session takes at once.")] = 0,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads of a session; sessions x threads should be the cores.")
    ] = 0,
    provider: Provider = "auto",
    formats: Formats = ["csv"],  # noqa: B006 - typer copies it
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Do failed images again.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 8 where any image failed.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Progress and summary as JSON lines on stdout.")] = False,
) -> None:
    """Classify images into a survey folder. Broken off, it goes on where it stopped when started again.

    \b
    pelagia classify model.onnx crops/ --out survey
    pelagia classify model.onnx crops/manifest.csv --out survey     carries the manifest's columns along
    """
    needs("inference", "classify")
    from pelagia_inference.workers.launch import prestart_workers

    prestart_workers(workers, provider)
    from pelagia.model.metadata import ModelFile
    from pelagia_inference.exports.results import formats_of
    from pelagia_inference.machine.setting import Setting
    from pelagia_inference.survey.runner import classify as run_classify

    file = ModelFile.read(model)
    words = ["classify", str(model), *map(str, inputs), "--out", str(out)]
    words += [] if formats == ["csv"] else [f"--format={','.join(formats)}"]
    try:
        with _shown(inputs, quiet, as_json) as update:
            result = run_classify(
                file,
                inputs,
                out,
                setting=Setting(workers, threads, batch),
                provider=provider,
                formats=formats_of(formats),
                retry_failed=retry_failed,
                progress=update,
                note=lambda text: console.note(f"warning: {text}"),
            )
    except (KeyboardInterrupt, SystemExit):
        console.note(f"what is done is kept. It goes on with: {shlex.join(['pelagia', *words])}")
        raise
    _summarise(result, quiet, as_json)
    if not result.counts:
        console.note("warning: no image could be classified; is the drive there?")
    if result.failures:
        console.note(f"try the failed ones again with: {shlex.join(['pelagia', *words, '--retry-failed'])}")
        if strict:
            raise typer.Exit(_SOME_FAILED)


@contextmanager
def _shown(inputs: list[Path], quiet: bool, as_json: bool) -> Iterator[Callable[[Progress], None]]:
    """How far a run is: a bar on a terminal, a JSON line a second, or nothing."""
    if quiet or not (as_json or console.on_terminal()):
        yield lambda at: None
    elif as_json:
        last = time.monotonic()

        def line(at: Progress) -> None:
            nonlocal last
            if time.monotonic() - last >= 1:
                last = time.monotonic()
                console.say(json.dumps({"event": "progress", **_as_json(at)}))

        yield line
    else:
        from pelagia_inference.survey.counting import count_in_background

        with console.progress_bar("classifying") as update, count_in_background(inputs) as total:
            yield lambda at: update(
                at.done + at.before, total(), f"{at.rate:.0f} images/s, {at.failed} failed, {at.current}"
            )


def _summarise(result: Classified, quiet: bool, as_json: bool) -> None:
    from pelagia.sources import LEFT_OUT

    at = result.progress
    if as_json:
        ends = {"provider": result.provider, **{name: str(path) for name, path in result.files.items()}}
        decided = {"decisions": _decisions(result)} if result.verdicts else {}
        console.say(json.dumps({"event": "finished", **_as_json(at), **ends, **decided}))
    if as_json or quiet:
        return
    _show_counts(result)
    rate = f", {at.rate:.0f} images/s" if at.done else ""
    before = f", {at.before} were done before" if at.before else ""
    console.say(f"{at.done} images in {at.seconds:.1f} s{rate} ({result.setting}) on {result.provider}{before}")
    for reason, count in result.failures.items():
        console.say(f"failed, {reason}: {count}")
    for key, count in result.left_out.items():
        console.say(f"{count} {LEFT_OUT[key]}")
    console.say(f"results: {', '.join(map(str, result.files.values()))}")


def _show_counts(result: Classified) -> None:
    """Images by their likeliest class; of a model that decides, also how many are sure, and what became of the rest."""
    if not result.verdicts:
        console.counts_table(result.counts, ("class", "images"))
        return
    from pelagia.model.decision import ACCEPTED, DECISIONS, ROLLED_UP

    sure = {said.name: count for said, count in result.verdicts.items() if said.decision == ACCEPTED}
    rows = [(name, count, sure.get(name, 0)) for name, count in result.counts.most_common()]
    console.table(("class", "likeliest", "accepted"), rows)
    taxa = [(one.name, one.rank, count) for one, count in result.verdicts.most_common() if one.decision == ROLLED_UP]
    if taxa:
        console.table(("rolled up to", "rank", "images"), taxa)
    counts = _decisions(result)
    whole = sum(counts.values())
    console.say(
        ", ".join(f"{name.replace('_', ' ')} {counts[name]} ({counts[name] / whole:.1%})" for name in DECISIONS)
    )


def _decisions(result: Classified) -> dict[str, int]:
    """Images by what was decided."""
    from pelagia.model.decision import DECISIONS

    counts = dict.fromkeys(DECISIONS, 0)
    for said, count in result.verdicts.items():
        counts[said.decision] += count
    return counts


def _as_json(at: Progress) -> dict[str, float | int | str]:
    figures = {"done": at.done, "failed": at.failed, "before": at.before}
    return {**figures, "seconds": round(at.seconds, 2), "rate": round(at.rate, 1), "current": at.current}


def survey_export(
    survey: Annotated[Path, typer.Argument(metavar="SURVEY", help="A folder that `pelagia classify` made.")],
    formats: Formats = ["csv"],  # noqa: B006 - typer copies it
) -> None:
    """Write a survey's results again, or in another format. Needs neither its images nor its model.

    \b
    pelagia survey export survey --format parquet
    """
    from pelagia.survey.journal import Survey
    from pelagia_inference.exports.results import formats_of, formats_to_write, write_results

    wanted = formats_to_write(survey, formats_of(formats))
    with Survey.open(survey) as opened:
        files = write_results(opened, wanted)
        console.say(f"{len(opened)} images: {', '.join(map(str, files.values()))}")


def bench(
    model: ModelPath,
    inputs: Annotated[
        list[Path] | None, typer.Argument(metavar="INPUT...", help="Images; a drawn survey by default.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each measurement runs, in each round.")] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often all is measured; the medians count.")] = 3,
    apply: Annotated[
        bool, typer.Option("--apply", help="Remember the best setting, for classify on this machine.")
    ] = False,
) -> None:
    """Measure what this machine can do with a model, and what the runner gets out of it.

    \b
    pelagia bench model.onnx                     on a drawn survey
    pelagia bench model.onnx crops/ --apply      on your own images; classify then uses the best setting
    """
    needs("inference", "bench")
    from tempfile import TemporaryDirectory

    from pelagia.model.metadata import ModelFile
    from pelagia.synthetic.survey import simulate_survey
    from pelagia.system.cores import usable_cores
    from pelagia_inference.machine.bench import bench as run_bench
    from pelagia_inference.machine.setting import store_setting

    file = ModelFile.read(model)
    with TemporaryDirectory(prefix="pelagia-bench-") as folder:
        images = inputs or [simulate_survey(Path(folder, "drawn")).root]
        result = run_bench(file, images, seconds=seconds, rounds=rounds, report=console.note)
    console.table(
        ("sessions", "threads", "batch", "network alone, images/s"),
        [(one.workers, one.threads, one.batch, f"{rate:.0f}") for one, rate in result.network.items()],
    )
    console.say(f"decode and fit alone      {result.decode:8.0f} images/s on {usable_cores()} cores")
    console.say(f"network alone, at best    {result.network[result.best]:8.0f} images/s, {result.best}")
    console.say(f"ideal of both             {result.ideal:8.0f} images/s")
    console.say(f"classify, start to CSV    {result.end_to_end:8.0f} images/s over {result.images} images")
    console.say(f"efficiency                {result.efficiency:8.3f}")
    if apply:
        console.say(f"remembered in {store_setting(file.sha256, result.best)}")


def doctor(
    model: Annotated[Path | None, typer.Argument(metavar="MODEL.onnx", help="Prove this model as well.")] = None,
    out: Annotated[Path, typer.Option(help="Folder where surveys are to go.")] = Path(),
) -> None:
    """Look at this machine before it goes to sea, and say what to mend. Exits with 9 where something is wrong."""
    needs("inference", "doctor")
    from pelagia_inference.machine.doctor import examine

    if not show_checks(examine(out, model)):
        raise typer.Exit(_NOT_FIT)


def model_show(model: ModelPath) -> None:
    """Print what a model is: classes, preprocessing, data, figures, licence."""
    from pelagia.model.metadata import ModelFile

    file = ModelFile.read(model)
    data = file.metadata
    fitting = data.preprocess
    small = data.quantisation
    rows = [
        ("name", data.name),
        ("file", f"{len(file.data) / 1e6:.1f} MB, sha256 {file.sha256}"),
        ("made", f"{data.created} by pelagia {data.pelagia_version}"),
        ("licence", data.licence or "not stated"),
        ("network", data.training["model"]["backbone"]),
        ("input", f"uint8 N x {fitting.size} x {fitting.size} x 3, {fitting.colour}, {fitting.fit}"),
        ("dataset", f"{data.dataset['name']}, fingerprint {data.dataset['fingerprint'][:12]}"),
        (
            "parity gate",
            f"{data.parity.images} images, largest difference {data.parity.max_probability_difference:.2g}",
        ),
        *((name, f"{value:.4f}") for name, value in data.metrics.items()),
        *_limits(data),
    ]
    if small is not None:
        agreement = f"same top-1 on {small.top1_agreement:.1%} of {small.images} images of {small.dataset}"
        rows.append((small.kind, f"{agreement}; macro-F1 there {small.macro_f1:.4f}, float {small.float_macro_f1:.4f}"))
        rows.append(("made of", f"the float model with sha256 {small.float_sha256}; the figures above are its"))
    for name, value in rows:
        console.say(f"{name:22} {value}")
    counts = data.dataset["counts"]
    lineages = (" > ".join(taxon.name for taxon in data.taxonomy.lineage(name)) for name in data.classes)
    console.table(
        ("class", "training images", "taxa"),
        [(name, counts[name]["train"], taxa or "-") for name, taxa in zip(data.classes, lineages, strict=True)],
    )


def _limits(data: ModelMetadata) -> list[tuple[str, str]]:
    """What a model knows of its own limits, measured on validation images."""
    rows = []
    if (fit := data.calibration) is not None:
        errors = f"{fit.error_before:.4f} before, {fit.error:.4f} after; {fit.error_by_chance:.4f} would be chance"
        rows.append(("calibration error", f"{errors}, over {fit.images} images"))
    if (reached := data.decision.by_roll_up) is not None and reached.precision is not None:
        names = f"{reached.accepted:.1%} named, {reached.precision:.1%} of them rightly"
        rows.append(("decision", f"{names}; thresholds for {data.decision.target_precision:.0%}"))
    if data.unknown is not None:
        passed = f"{data.unknown.known_share:.0%} of known images pass"
        rows.append(("unknown", f"a score above {data.unknown.threshold:.3f}, where {passed}"))
    return rows


def model_verify(
    model: ModelPath,
    provider: Annotated[str, typer.Option(help="What computes the network: cpu, or as for classify.")] = "cpu",
) -> None:
    """Prove that this machine gets the numbers that the trainer got, on the images inside the model."""
    needs("inference", "model verify")
    from pelagia.model.metadata import ModelFile
    from pelagia_inference.machine.verify import verify

    result = verify(ModelFile.read(model), provider)
    console.say(
        f"{model} works here on {provider}: {result.images} reference images, largest difference of a probability "
        f"{result.max_probability_difference:.2g}"
    )
