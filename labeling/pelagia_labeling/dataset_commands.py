"""`pelagia dataset`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from pelagia.errors import InputError
from pelagia.options import NearDuplicates, Out, Seed, show_dataset
from pelagia.system import console


def dataset_import(
    src: Annotated[
        Path, typer.Argument(help="Folder of class folders, of a manifest's images, or of an EcoTaxa export.")
    ],
    out: Out,
    manifest: Annotated[
        Path | None, typer.Option(help="CSV with the columns path (relative to SRC) and class.")
    ] = None,
    group_column: Annotated[str | None, typer.Option(help="Column that a split must not cut, such as station.")] = None,
    class_column: Annotated[
        str | None, typer.Option(help="Column of labels; class, label or category by default.")
    ] = None,
    taxonomy: Annotated[Path | None, typer.Option(help="Taxonomy YAML; made from the class names by default.")] = None,
    status: Annotated[list[str] | None, typer.Option(help="EcoTaxa statuses to take; validated by default.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the images, as an SPDX identifier.")] = "",
    conflicts: Annotated[
        str, typer.Option(help="One image under two classes: refuse, or drop all its copies.")
    ] = "refuse",
    near_duplicates: NearDuplicates = True,
    seed: Seed = 0,
) -> None:
    """Make a dataset: every image checked, duplicates found, split by group.

    \b
    pelagia dataset import crops/ --out datasets/crops
    pelagia dataset import crops/ --manifest crops/labels.csv --group-column station --out datasets/crops
    pelagia dataset import ecotaxa_export/ --out datasets/zooscan
    """
    from pelagia.taxonomy import load_taxonomy
    from pelagia_labeling.importers.dataset import import_dataset

    if status and (manifest is not None or not any(src.glob("ecotaxa*.tsv"))):
        raise InputError("--status is for EcoTaxa exports: there is no ecotaxa*.tsv here to read it from")
    if conflicts not in ("refuse", "drop"):
        raise InputError(f"--conflicts takes refuse or drop, not '{conflicts}'")
    with console.decoder_messages_hidden(), console.progress_bar("checking images") as update:
        made = import_dataset(
            src,
            out,
            manifest=manifest,
            group_column=group_column,
            class_column=class_column,
            taxonomy=load_taxonomy(taxonomy) if taxonomy else None,
            statuses=frozenset(status or ["validated"]),
            licence=licence,
            conflicts=conflicts,  # type: ignore[arg-type]  # checked above
            seed=seed,
            join_near_duplicates=near_duplicates,
            progress=update,
        )
    show_dataset(made)


def dataset_correct(
    dataset: Annotated[Path, typer.Argument(help="A dataset folder.")],
    review: Annotated[Path, typer.Option(help="A dataset of some of its images, labelled again.")],
    out: Out,
) -> None:
    """Make a dataset with the labels of a review; images, groups and splits stay as they are.

    \b
    pelagia label pull --project "Second look" --out datasets/second_look
    pelagia dataset correct datasets/crops --review datasets/second_look --out datasets/crops_2
    """
    from pelagia.dataset.schema import Dataset
    from pelagia_labeling.importers.corrections import correct

    found = correct(Dataset.read(dataset), Dataset.read(review), out)
    for path, before, after in found.changed:
        console.say(f"{path}: {before} -> {after}")
    console.say(f"{len(found.changed)} labels changed, {found.confirmed} confirmed")
    if found.left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
        console.note(f"left out of the review, so that they keep the label they had: {reasons}")
    show_dataset(found.dataset)


def dataset_show(dataset: Annotated[Path, typer.Argument(help="A dataset folder.")]) -> None:
    """Print a dataset's classes, splits, groups and what was left out."""
    from pelagia.dataset.schema import Dataset

    show_dataset(Dataset.read(dataset))


def dataset_check(dataset: Annotated[Path, typer.Argument(help="A dataset folder.")]) -> None:
    """Compare a dataset with itself: every file, hash, class and group. Exits with 3 where something is wrong.

    Near-duplicates that stand in two splits are listed as well; they are a leak, but no damage.
    """
    from pelagia.dataset.check import check, leaks
    from pelagia.dataset.schema import MANIFEST_FILE, META_FILE, Dataset

    opened = Dataset.read(dataset)
    faults = check(dataset)
    for fault in faults:
        console.say(fault)
    if faults:
        raise typer.Exit(3)
    console.say(f"{dataset} is whole")
    with console.decoder_messages_hidden():
        found = leaks(opened)
    for one, other in found:
        console.say(f"near-duplicates in two splits: {one.path} ({one.split}), {other.path} ({other.split})")
    if found:
        command = ["pelagia", "dataset", "import", str(dataset), "--manifest", str(dataset / MANIFEST_FILE)]
        command += ["--group-column", "group"]
        console.note(
            f"warning: {len(found)} near-duplicates in two splits make figures flatter; a new import puts each pair "
            "into one: " + shlex.join([*command, "--taxonomy", str(dataset / META_FILE), "--out", "NEW"])
        )
