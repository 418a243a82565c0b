"""`import_dataset`: chooses the importer for a source, and makes a dataset of what it finds.

A new kind of labelled data is a function that returns an `Import`, in a module of its own, and a branch of `_find_candidates`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pelagia.config import validate
from pelagia.dataset.schema import Dataset, SplitMeta
from pelagia.dataset.write import write_dataset
from pelagia.errors import InputError
from pelagia.system.console import ProgressCallback
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.importers import ecotaxa
from pelagia_labeling.importers.class_folders import from_class_folders
from pelagia_labeling.importers.imported import Import
from pelagia_labeling.importers.manifest import from_manifest

CONFLICTS = ("refuse", "drop")


def import_dataset(
    src: Path,
    out: Path,
    *,
    manifest: Path | None = None,
    group_column: str | None = None,
    class_column: str | None = None,
    taxonomy: Taxonomy | None = None,
    statuses: Collection[str] | None = None,
    licence: str = "",
    conflicts: Literal["refuse", "drop"] = "refuse",
    fractions: tuple[float, float, float] | None = None,
    seed: int = 0,
    join_near_duplicates: bool = True,
    progress: ProgressCallback = lambda done, total: None,
) -> Dataset:
    """Makes the dataset ``out`` from ``src``; the options are those of `pelagia dataset import`.

    Args:
        src: a folder of class folders, the folder of a manifest's images, or an EcoTaxa export (TSV beside images).
        manifest: CSV with a column ``path`` relative to ``src`` and a class column.
        group_column: images with the same value here, such as one station, stay in one split.
        class_column: the manifest's column of labels; by default ``class``, ``label`` or ``category``.
        statuses: EcoTaxa annotation statuses to take; by default ``validated``.
        fractions: shares of train, val and test, which sum to 1.
        progress: called with (images checked, all images).

    Raises:
        InputError, DatasetError: as `write_dataset`, and where ``src``, ``manifest`` or an option is wrong.
    """
    _check_options(src, manifest, class_column, statuses, conflicts)
    found = _find_candidates(src, manifest, group_column, class_column, statuses)
    candidates = [replace(entry, licence=licence) for entry in found.candidates] if licence else found.candidates
    return write_dataset(
        out,
        candidates,
        source=found.source,
        taxonomy=taxonomy,
        split=_split_settings(found.group_column, fractions, seed, join_near_duplicates),
        conflicts=conflicts,
        left_out=found.left_out,
        progress=_running_total(progress, len(candidates)),
    )


def _check_options(
    src: Path, manifest: Path | None, class_column: str | None, statuses: Collection[str] | None, conflicts: str
) -> None:
    if not src.is_dir():
        problem = "is not a folder" if src.exists() else "does not exist"
        raise InputError(f"{src} {problem}: name the folder that holds the images")
    if conflicts not in CONFLICTS:
        raise InputError(f"--conflicts must be {' or '.join(CONFLICTS)}, not '{conflicts}'")
    if class_column and manifest is None:
        raise InputError(f"--class-column {class_column} needs --manifest: only a manifest has columns")
    if statuses and (manifest is not None or not ecotaxa.find_tables(src)):
        raise InputError("--status is for EcoTaxa exports only: leave it out, or name a folder that holds ecotaxa*.tsv")


def _find_candidates(
    src: Path,
    manifest: Path | None,
    group_column: str | None,
    class_column: str | None,
    statuses: Collection[str] | None,
) -> Import:
    """What the importer for this source finds."""
    if manifest is not None:
        return from_manifest(src, manifest, group_column, class_column)
    if tables := ecotaxa.find_tables(src):
        statuses = statuses or ecotaxa.DEFAULT_STATUSES
        return ecotaxa.from_ecotaxa(src, tables, group_column or ecotaxa.GROUP_COLUMN, statuses)
    if group_column:
        raise InputError(f"--group-column {group_column} needs --manifest: class folders have no columns")
    return from_class_folders(src)


def _split_settings(
    group_column: str | None, fractions: Sequence[float] | None, seed: int, join_near_duplicates: bool
) -> SplitMeta:
    settings = {"group_column": group_column, "seed": seed, "join_near_duplicates": join_near_duplicates}
    if fractions:
        settings["fractions"] = fractions
    return validate(settings, SplitMeta, "the split")


def _running_total(progress: ProgressCallback, total: int) -> Callable[[int], None]:
    """A function that takes the images checked since its last call, and reports (images checked, ``total``)."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return advance
