"""`pelagia classify` and `pelagia model`: what a laptop at sea needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia import console
from pelagia.commands.common import ModelPath, needs

if TYPE_CHECKING:
    from pelagia_inference.classify import Progress


def classify(
    model: ModelPath,
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...", help="Folders, images, patterns, manifests, archives, IFCB bins, EcoTaxa exports."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Survey folder; an unfinished one is continued.")],
    workers: Annotated[int, typer.Option(min=0, help="Threads; 0 is one a core.")] = 0,
    provider: Annotated[str, typer.Option(help="cpu, or cuda where onnxruntime-gpu is installed.")] = "cpu",
) -> None:
    """Classify images into a survey folder. Broken off, it goes on where it stopped when started again.

    \b
    pelagia classify model.onnx crops/ --out survey
    pelagia classify model.onnx crops/manifest.csv --out survey     carries the manifest's columns along
    """
    needs("inference", "classify")
    from pelagia.model import ModelFile
    from pelagia_inference.classify import classify as run_classify

    file = ModelFile.read(model)
    try:
        with console.progress_bar("classifying") as update:
            result = run_classify(
                file, inputs, out, workers=workers, provider=provider, progress=lambda at: update(*_line(at))
            )
    except KeyboardInterrupt:
        console.note(f"stopped; what is done is kept in {out}. The same command goes on where it stopped.")
        raise
    console.counts_table(result.counts, ("class", "images"))
    at = result.progress
    rate = f", {at.done / at.seconds:.0f} images/s" if at.done else ""
    before = f", {at.before} were done before" if at.before else ""
    console.say(f"{at.done} images in {at.seconds:.1f} s{rate}{before}")
    for reason, count in result.failures.items():
        console.say(f"failed, {reason}: {count}")
    console.say(f"results: {result.csv}")


def _line(at: Progress) -> tuple[int, None, str]:
    rate = at.done / at.seconds if at.seconds else 0.0
    return at.done + at.before, None, f"{rate:.0f} images/s, {at.failed} failed"


def model_show(model: ModelPath) -> None:
    """Print what a model is: classes, preprocessing, data, figures, licence."""
    from pelagia.model import ModelFile

    file = ModelFile.read(model)
    data = file.metadata
    fitting = data.preprocess
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
    ]
    for name, value in rows:
        console.say(f"{name:22} {value}")
    counts = data.dataset["counts"]
    lineages = (" > ".join(taxon.name for taxon in data.taxonomy.lineage(name)) for name in data.classes)
    console.table(
        ("class", "training images", "taxa"),
        [(name, counts[name]["train"], taxa or "-") for name, taxa in zip(data.classes, lineages, strict=True)],
    )


def model_verify(model: ModelPath) -> None:
    """Prove that this machine gets the numbers that the trainer got, on the images inside the model."""
    needs("inference", "model verify")
    from pelagia.model import ModelFile
    from pelagia_inference.verify import verify

    result = verify(ModelFile.read(model))
    console.say(
        f"{model} works here: {result.images} reference images, largest difference of a probability "
        f"{result.max_probability_difference:.2g}"
    )
