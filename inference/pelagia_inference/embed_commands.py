"""The command `pelagia embed`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.options import AllRanks, FollowLinks, PathColumn, needs
from pelagia.system import console
from pelagia_inference.commands import Batch, Inputs, Provider, Quiet, Workers

if TYPE_CHECKING:
    from pelagia_inference.survey.embed import EmbedResult


def embed(
    inputs: Inputs,
    model: Annotated[
        Path,
        typer.Option(
            metavar="MODEL.onnx",
            help="A model that `pelagia export --embedding` made, or one that `pelagia embedder` made.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.parquet", help="The file to make. It must not exist yet.")],
    workers: Workers = 0,
    batch: Batch = 0,
    provider: Provider = "auto",
    path_column: PathColumn = "",
    follow_links: FollowLinks = False,
    all_ranks: AllRanks = False,
    quiet: Quiet = False,
) -> None:
    """Compute the embeddings of images: numbers that are similar for similar images. No survey is made.

    \b
    pelagia embedder --backbone tf_efficientnet_lite0 --out embedder.onnx     before there is a model
    pelagia embed crops/ --model embedder.onnx --out crops.parquet
    pelagia label select crops/ --embeddings crops.parquet --strategy clusters --budget 200 --out first.csv

    If an interrupted run must be resumed, use `pelagia classify --embeddings` instead.
    """
    needs("inference", "embed")
    from pelagia.model.embedder import read_embedding_model
    from pelagia.sources.listing import ListingOptions
    from pelagia_inference import Setting, show
    from pelagia_inference.survey.counting import count_in_background
    from pelagia_inference.survey.embed import embed as run_embed

    listing = ListingOptions(path_column, follow_links, all_ranks)
    file = read_embedding_model(model)
    with console.progress_bar("embedding") as update, count_in_background(inputs, listing) as total:
        result = run_embed(
            file,
            inputs,
            out,
            setting=Setting(workers, 0, batch),
            provider=provider,
            listing=listing,
            progress=lambda done: update(done, total()),
            note=show.warning,
        )
    _note_left_out(result)
    if not quiet:
        console.say(f"{result.images} images, {result.dimensions} numbers each: {out}")


def _note_left_out(result: EmbedResult) -> None:
    from pelagia.sources import left_out_lines

    for path, message in result.failed:
        console.note(f"left out: {path}: {message}")
    for reason, count in result.failures.items():
        console.note(f"left out, {reason}: {count}")
    for line in (*left_out_lines(result.left_out), *result.warnings):
        console.note(line)
