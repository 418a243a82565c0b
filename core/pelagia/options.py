"""Options and small functions that the commands of several parts share."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.errors import MissingExtra
from pelagia.system import console

if TYPE_CHECKING:
    from pelagia.dataset.schema import Dataset

Out = Annotated[Path, typer.Option(help="The folder or file to make. It must not exist yet.")]
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A model that `pelagia export` made.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the split into train, val and test.")]

NearDuplicates = Annotated[
    bool,
    typer.Option("--near-duplicates/--no-near-duplicates", help="Put images that look the same into one split."),
]

PathColumn = Annotated[
    str, typer.Option(help="Column of a table that holds the paths of images; path, file_name, image, ... by default.")
]
FollowLinks = Annotated[
    bool, typer.Option("--follow-links", help="Follow links to folders, and links that lead out of a table's folder.")
]
AllRanks = Annotated[
    bool, typer.Option("--all-ranks", help="Take all images of an EcoTaxa object, not only that of the lowest rank.")
]

EXTRAS = {
    "inference": ("onnxruntime",),
    "labeling": ("label_studio_sdk",),
    "report": ("jinja2",),
    "sweep": ("optuna",),
    "training": (
        "torch",
        "timm",
        "albumentations",
        "lightning_fabric",
        "safetensors",
        "tensorboard",
        "onnx",
        "onnxscript",
        "onnxruntime",
        "matplotlib",
        "jinja2",
    ),
}
"""For each extra, the packages that the code imports."""


def needs(extra: str, command: str) -> None:
    """Raises MissingExtra if a package of the extra is not installed; the message has the command that installs it."""
    for module in EXTRAS[extra]:
        if find_spec(module) is None:
            raise MissingExtra(f"`pelagia {command}`", extra, module)


def show_dataset(dataset: Dataset) -> None:
    """Prints the classes, splits and groups of a dataset, and warnings about them."""
    from pelagia.dataset.check import split_warnings
    from pelagia.dataset.parents import counts_of_parent
    from pelagia.dataset.schema import left_out_in_words
    from pelagia.dataset.splits import SPLITS
    from pelagia.images.remarks import RemarkCounts

    meta = dataset.meta
    console.table(
        ("class", *SPLITS), [(name, *(counts[split] for split in SPLITS)) for name, counts in meta.counts.items()]
    )
    for line in _about_splits(dataset):
        console.say(line)
    for parent in meta.parents:
        changes = ", ".join(f"{count} {text}" for text, count in counts_of_parent(parent).items()) or "the same images"
        console.say(f"made from {parent.path} ({parent.fingerprint[:12]}, {parent.images} images): {changes}")
    for line in left_out_in_words(meta.left_out):
        console.say(f"left out: {line}")
    remarks = RemarkCounts(meta.remarks).warnings()
    for warning in (*remarks, *meta.warnings, *split_warnings(dataset.records, meta.split)):
        console.note(f"warning: {warning}")
    if meta.split.group_column is None:
        console.note(
            "warning: no groups: images of one sample may be in two splits, and metrics will be optimistic; give the "
            "column of the sample or station with --group-column"
        )
    if (people := meta.label_agreement) is not None and people.alpha is not None:
        console.say(
            f"{people.images} images were labeled by two or more people: they agree on {people.agreement:.1%} "
            f"(Krippendorff's alpha {people.alpha:.3f})"
        )
    console.say(f"fingerprint {meta.fingerprint[:12]}, {dataset.root}")


def _about_splits(dataset: Dataset) -> Iterator[str]:
    """How many groups each split has, and how the splits were made."""
    from pelagia.dataset.splits import SPLITS

    meta = dataset.meta
    groups = {split: len({record.group for record in dataset.records if record.split == split}) for split in SPLITS}
    by = f"by {meta.split.group_column}" if meta.split.group_column else "by image"
    yield f"{meta.images} images; groups ({by}): " + ", ".join(f"{count} {split}" for split, count in groups.items())
    if meta.split.method == "published":
        yield f"the splits are those of the source ({meta.split.split_column})"
    elif meta.split.near_duplicates:
        largest = f"; the largest joined group has {meta.split.largest_joined} images" * bool(meta.split.largest_joined)
        yield f"near-duplicate pairs across two groups: {meta.split.near_duplicates}; these groups were joined{largest}"
