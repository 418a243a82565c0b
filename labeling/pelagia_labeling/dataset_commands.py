"""`pelagia dataset`: the commands read their options, call one function, and print what it returns.

These commands do not need label-studio-sdk, because people who only train use them too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pelagia.errors import InputError
from pelagia.options import AllRanks, FollowLinks, NearDuplicates, Out, PathColumn, Seed, show_dataset
from pelagia.shell import command_line
from pelagia.system import console

DatasetFolder = Annotated[Path, typer.Argument(help="A dataset folder.")]
Source = Annotated[
    Path, typer.Argument(help="Class folders, a dataset, the folder of a manifest's images, or an EcoTaxa export.")
]
Manifest = Annotated[
    Path | None,
    typer.Option(help="Table with columns of paths (relative to SRC) and classes; Label Studio's export; Camtrap DP."),
]
GroupColumn = Annotated[
    str | None, typer.Option(help="Images with the same value in this column, such as station, stay in one split.")
]
ClassColumn = Annotated[str | None, typer.Option(help="Column of labels; class, label, category, ... by default.")]
TaxonomyFile = Annotated[Path | None, typer.Option(help="Taxonomy YAML; made from the class names by default.")]
Statuses = Annotated[list[str] | None, typer.Option(help="EcoTaxa statuses to take; validated by default.")]
Licence = Annotated[str, typer.Option(help="Licence of the images, as an SPDX identifier.")]
Conflicts = Annotated[
    str, typer.Option(help="What to do with one image under two classes: refuse the import, or drop all its copies.")
]
ClassLevel = Annotated[
    int | None, typer.Option(min=1, help="Level of the class folders: 1 is directly below SRC. Found by default.")
]
SplitColumn = Annotated[str | None, typer.Option(help="Keep the published split in this column: train, val and test.")]
SplitFolders = Annotated[
    bool, typer.Option("--split-folders", help="Keep the published split in folders named train, val and test.")
]
ValFromTrain = Annotated[
    float, typer.Option(min=0, max=0.9, help="Share of the published train that becomes val, if there is no val.")
]
Fractions = Annotated[
    str | None, typer.Option(help="Shares of train, val and test, such as 0.9,0.1,0; 0.7,0.15,0.15 by default.")
]
Rename = Annotated[
    list[str] | None, typer.Option(metavar="OLD=NEW", help="Rename a class, or merge it into another one.")
]
Review = Annotated[Path, typer.Option(help="A dataset with some of the same images, labeled again.")]


def dataset_import(
    src: Source,
    out: Out,
    manifest: Manifest = None,
    group_column: GroupColumn = None,
    class_column: ClassColumn = None,
    path_column: PathColumn = "",
    taxonomy: TaxonomyFile = None,
    status: Statuses = None,
    licence: Licence = "",
    conflicts: Conflicts = "refuse",
    near_duplicates: NearDuplicates = True,
    seed: Seed = 0,
    all_ranks: AllRanks = False,
    class_level: ClassLevel = None,
    follow_links: FollowLinks = False,
    split_column: SplitColumn = None,
    split_folders: SplitFolders = False,
    val_from_train: ValFromTrain = 0.0,
    fractions: Fractions = None,
    rename: Rename = None,
) -> None:
    """Make a dataset: check every image, find duplicates, split by group.

    \b
    pelagia dataset import crops/ --out datasets/crops
    pelagia dataset import crops/ --manifest crops/labels.csv --group-column station --out datasets/crops
    pelagia dataset import ecotaxa_export.zip --out datasets/zooscan
    pelagia dataset import published/ --split-folders --out datasets/published
    """
    from pelagia.sources import ListingOptions
    from pelagia.taxonomy import load_taxonomy
    from pelagia_labeling.importers.class_names import parse_renames
    from pelagia_labeling.importers.dataset import import_dataset
    from pelagia_labeling.importers.published_split import PublishedSplit

    with console.decoder_messages_hidden(), console.progress_bar("checking images") as update:
        dataset = import_dataset(
            src,
            out,
            manifest=manifest,
            group_column=group_column,
            class_column=class_column,
            taxonomy=load_taxonomy(taxonomy) if taxonomy else None,
            statuses=status,
            licence=licence,
            conflicts=conflicts,
            seed=seed,
            join_near_duplicates=near_duplicates,
            fractions=_parse_fractions(fractions),
            class_level=class_level,
            renames=parse_renames(rename or []),
            published=PublishedSplit(split_column or "", split_folders, val_from_train),
            listing=ListingOptions(path_column, follow_links, all_ranks),
            progress=update,
        )
    show_dataset(dataset)


def _parse_fractions(text: str | None) -> tuple[float, float, float] | None:
    """The shares of train, val and test in ``0.9,0.1,0``."""
    if text is None:
        return None
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"--fractions needs three numbers for train, val and test, such as 0.9,0.1,0, not '{text}'"
        ) from None
    return train, val, test


def dataset_correct(dataset: DatasetFolder, review: Review, out: Out) -> None:
    """Make a dataset with the labels of a review; images, groups and splits stay as they are.

    \b
    pelagia label pull --project "Second look" --out datasets/second_look
    pelagia dataset correct datasets/crops --review datasets/second_look --out datasets/crops_2
    """
    from pelagia.dataset.schema import Dataset
    from pelagia_labeling.importers.corrections import correct

    result = correct(Dataset.read(dataset), Dataset.read(review), out)
    for path, before, after in result.changed:
        console.say(f"{path}: {before} -> {after}")
    console.say(f"{len(result.changed)} labels changed, {result.confirmed} confirmed")
    if result.left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in result.left_out.items())
        console.note(f"images without a label in the review keep the label that they had: {reasons}")
    show_dataset(result.dataset)


def dataset_cells(
    dataset: DatasetFolder,
    out: Annotated[Path, typer.Option(help="Write the table to this file, which ends in .csv.")],
    column: Annotated[str, typer.Option(help="Column of the manifest with the cells of an image.")] = "cells_counted",
) -> None:
    """Make the table of cells of an image by class, from images that people counted.

    It holds the mean and the spread (standard deviation) of each class. The counts of `label push --count-cells` and
    `label pull` are in the column cells_counted.

    \b
    pelagia dataset cells datasets/chains --out cells.csv
    pelagia counts survey --cells cells.csv
    """
    from pelagia.dataset.schema import Dataset
    from pelagia.system.files import require_new_file
    from pelagia_labeling.exports.cells import cells_by_class, write_cells

    require_new_file(out, "table", ".csv")
    found = cells_by_class(Dataset.read(dataset), column)
    write_cells(found, out)
    rows = zip(found.counted, found.rows(), strict=True)
    console.table(
        ("class", "images", "counted", "cells of an image", "standard deviation"),
        [[one.name, one.images, counted, cells, "" if sd is None else sd] for one, (_, cells, sd, counted) in rows],
    )
    for line in found.lines():
        console.note(f"warning: {line}")
    console.say_next("pelagia", "counts", "SURVEY", "--cells", out)


def dataset_show(dataset: DatasetFolder) -> None:
    """Print a dataset's classes, splits and groups, and what was left out."""
    from pelagia.dataset.schema import Dataset

    show_dataset(Dataset.read(dataset))


def dataset_check(dataset: DatasetFolder) -> None:
    """Check every file, hash, class and group of a dataset. Exits with 3 if something is wrong.

    Near-duplicates in two different splits are listed too: test results are then too optimistic, but nothing is
    damaged.
    """
    from pelagia.dataset.check import check, leaks
    from pelagia.dataset.schema import Dataset

    opened = Dataset.read(dataset)
    faults = check(dataset)
    for fault in faults:
        console.say(fault)
    if faults:
        raise typer.Exit(3)
    console.say(f"{dataset} is complete and unchanged")
    with console.decoder_messages_hidden():
        pairs = leaks(opened)
    for first, second in pairs:
        console.say(f"near-duplicates in two splits: {first.path} ({first.split}), {second.path} ({second.split})")
    if pairs:
        console.note(
            f"warning: {len(pairs)} pairs of near-duplicates are in two splits, so metrics will be too optimistic; "
            f"a new import puts each pair into one: {_import_again(dataset)}"
        )


def _import_again(dataset: Path) -> str:
    """The command that makes a new version of a dataset, with new splits."""
    return command_line("pelagia", "dataset", "import", dataset, "--out", "NEW")
