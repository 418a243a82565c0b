"""The command `pelagia label select`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.errors import InputError, did_you_mean
from pelagia.options import needs
from pelagia.system import console

if TYPE_CHECKING:
    from pelagia_labeling.selection.pool import Pool
    from pelagia_labeling.selection.select import Chosen, Options

_DEFAULT = "margin-clusters"
_SHOWN = 10


def label_select(
    src: Annotated[
        Path,
        typer.Argument(metavar="SURVEY|DATASET|SRC", help="A survey, a dataset, or images with --embeddings."),
    ],
    budget: Annotated[int, typer.Option(min=1, help="The number of images to choose.")],
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="The manifest to make, for `pelagia label push`.")],
    strategy: Annotated[
        str,
        typer.Option(
            help="margin-clusters (unsure and different), clusters (needs no model), k-centre, margin, entropy, rare, "
            "unknown, disagreement, or random."
        ),
    ] = _DEFAULT,
    embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Embeddings of `pelagia embed`; default: those of the survey.")
    ] = None,
    labeled: Annotated[
        list[Path] | None, typer.Option(metavar="DATASET", help="Images that have a label already; repeat for several.")
    ] = None,
    former: Annotated[
        Path | None, typer.Option(metavar="SURVEY", help="A former model's survey, for --strategy disagreement.")
    ] = None,
    per_station: Annotated[int | None, typer.Option(min=1, help="Most images of one station.")] = None,
    station_column: Annotated[
        str, typer.Option(help="Column of the stations; default: group, station, sample or track.")
    ] = "",
    near_duplicates: Annotated[
        bool, typer.Option("--near-duplicates", help="Also choose images that look like another chosen image.")
    ] = False,
    sheet: Annotated[int, typer.Option(min=1, help="Images of a cluster (column cluster), on average.")] = 36,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random numbers: the same seed, the same choice.")] = 0,
) -> None:
    """Choose the images whose labels are worth most: a manifest for `pelagia label push`, with copies of its images.

    \b
    pelagia label select survey --budget 500 --labeled datasets/plankton --out next.csv
    pelagia label select crops/ --embeddings crops.parquet --strategy clusters --budget 300 --out first.csv

    Use --strategy random for images on which a model is measured: the others are chosen because they are hard.
    """
    needs("labeling", "label select")
    from pelagia_labeling.selection.select import Options, select
    from pelagia_labeling.selection.source import Wanted, read_pool
    from pelagia_labeling.selection.strategies import STRATEGIES

    if strategy not in STRATEGIES:
        names = ", ".join(STRATEGIES)
        raise InputError(f"there is no strategy '{strategy}'{did_you_mean(strategy, STRATEGIES)}: choose from {names}")
    if former is not None and strategy != "disagreement":
        raise InputError("--former is only used with --strategy disagreement")
    with console.waiting("reading the images"):
        vectors = embeddings is not None or "vectors" in STRATEGIES[strategy].needs
        pool, images = read_pool(src, Wanted(embeddings, labeled or (), former, vectors))
    column = station_column or _station_column(pool)
    options = Options(budget, strategy, per_station, column, not near_duplicates, sheet, seed)
    with console.decoder_messages_hidden(), console.progress_bar("choosing") as update:
        chosen = select(pool, images, options, out, update)
    _show(pool, chosen, options, out)


def _station_column(pool: Pool) -> str:
    """The first of the columns that `pelagia label pull` groups by, if the images have one."""
    from pelagia_labeling.labels.pull import GROUP_COLUMNS

    columns = {name for one in pool.candidates for name in one.columns}
    return next((name for name in GROUP_COLUMNS if name in columns), "")


def _show(pool: Pool, chosen: Chosen, options: Options, out: Path) -> None:
    from pelagia_labeling.selection.select import images_folder

    for path, fault in chosen.unusable[:_SHOWN]:
        console.note(f"left out: {path}: {fault}")
    if len(chosen.unusable) > _SHOWN:
        console.note(f"left out: {len(chosen.unusable) - _SHOWN} more images that cannot be read")
    for reason, count in pool.left_out.items():
        console.say(f"left out: {count} {reason}")
    for reason, count in chosen.passed.items():
        console.say(f"passed over: {count} {reason}")
    if len(chosen.rows) < options.budget:
        console.note(f"warning: only {len(chosen.rows)} of {options.budget} images could be chosen")
    if options.strategy == "random" and options.per_station is not None:
        console.note(
            "warning: with --per-station, images of small stations are chosen more often: weigh by station what you "
            "measure on them"
        )
    clusters = f" (groups in the column cluster: {len(set(chosen.clusters))})" if chosen.clusters else ""
    console.say(f"{len(chosen.rows)} of {len(pool)} images chosen by {options.strategy}{clusters}")
    console.say(f"written: {out}, {images_folder(out)}")
    console.say_next("pelagia", "label", "push", out, "--project", "NAME", "--taxonomy", "TAXONOMY.yaml")
