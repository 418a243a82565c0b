"""The command `pelagia embedder`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pelagia.errors import InputError
from pelagia.options import needs
from pelagia.system import console


def embedder(
    backbone: Annotated[str, typer.Option(help="A network of timm, such as tf_efficientnet_lite0.")],
    out: Annotated[Path, typer.Option(metavar="FILE.onnx", help="The file to make. It must not exist yet.")],
    weights: Annotated[
        Path | None,
        typer.Option(help="A .safetensors, .pth or .pt file; default: timm's hub, by the internet."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, max=1024, help="Side of the images in pixels; default: that of the weights.")
    ] = None,
) -> None:
    """Make a file for `pelagia embed` from a network of timm, before there is a model of your own.

    \b
    pelagia embedder --backbone tf_efficientnet_lite0 --out embedder.onnx
    pelagia embedder --backbone tf_efficientnet_lite0 --weights lite0.safetensors --out embedder.onnx

    It knows no classes, so `pelagia classify` refuses it. From a run of yours, `pelagia export --embedding` makes a
    model that gives both.
    """
    needs("training", "embedder")
    from pelagia_training.export.embedder import make_embedder

    try:
        made = make_embedder(backbone, out, weights=weights, size=size, report=console.note)
    except InputError as error:
        raise InputError(_in_options(str(error))) from None
    pixels = made.graph.preprocess.size
    console.say(f"{out}: {made.embedding.dimensions} numbers for each image of {pixels} x {pixels} pixels")
    console.say_next("pelagia", "embed", "IMAGES", "--model", out, "--out", "embeddings.parquet")


def _in_options(message: str) -> str:
    """A message about keys of a config, which this command does not have, with its options instead."""
    names = {"preprocess.size": "--size", "model.backbone": "--backbone", "model.weights": "--weights"}
    for key, option in names.items():
        message = message.replace(key, option)
    return message
