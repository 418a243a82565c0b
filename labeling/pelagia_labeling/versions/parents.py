"""The parent of a pull: named by a person, or found beside the new dataset and said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pelagia.dataset.schema import META_FILE, Dataset
from pelagia.errors import InputError, PelagiaError, first_few
from pelagia.shell import command_line


def find_parent(out: Path, project: str) -> Dataset | None:
    """The latest dataset beside ``out`` that was made from this project of Label Studio, or from such a dataset.

    Args:
        out: the dataset folder to make.
        project: title of the project.

    Raises:
        InputError: several datasets could be the parent, because none of them was made from the others.
    """
    found = [
        dataset for dataset in datasets_in(out.absolute().parent) if project in set(_projects(dataset.meta.source))
    ]
    older = {root for dataset in found for root in _roots_of_parents(dataset, found)}
    latest = {dataset.meta.fingerprint: dataset for dataset in found if dataset.root.resolve() not in older}
    if len(latest) > 1:
        names = [str(dataset.root) for dataset in latest.values()]
        raise InputError(
            f"{len(names)} datasets of the project '{project}' could be the parent: {first_few(names)}; name one with "
            f"{command_line('--parent', names[0])}, or make a new split with --no-parent"
        )
    return next(iter(latest.values()), None)


def _roots_of_parents(dataset: Dataset, among: Sequence[Dataset]) -> Iterator[Path]:
    """The folders of a dataset's parents: by their path, or by their fingerprint if they were moved."""
    roots = {one.root.resolve() for one in among}
    for parent in dataset.meta.parents:
        root = (dataset.root / parent.path).resolve()
        if root in roots:
            yield root
        else:
            moved = (one for one in among if one.meta.fingerprint == parent.fingerprint and one is not dataset)
            yield from (one.root.resolve() for one in moved)


def datasets_in(folder: Path) -> Iterator[Dataset]:
    """The datasets directly in a folder, by name; folders that cannot be read are passed over."""
    try:
        below = sorted(
            path for path in folder.iterdir() if not path.name.startswith(".") and (path / META_FILE).is_file()
        )
    except OSError:
        return
    for path in below:
        try:
            yield Dataset.read(path)
        except PelagiaError:
            continue


def _projects(source: Mapping[str, Any]) -> Iterator[str]:
    """The titles of the projects that a dataset comes from, also through corrections and other versions."""
    if source.get("kind") == "label_studio" and "project" in source:
        yield str(source["project"])
    if isinstance(source.get("origin"), Mapping):
        yield from _projects(source["origin"])
