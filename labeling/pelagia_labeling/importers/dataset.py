"""`import_dataset`: chooses the importer for a source, and makes a dataset of the images that the importer finds.

To support a new kind of labeled data, write a module with a function that returns an `Import`, and call this function
in `_find_candidates`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pelagia.config import validate
from pelagia.dataset.schema import Dataset, SplitMeta
from pelagia.dataset.write import write_dataset
from pelagia.errors import InputError
from pelagia.lineages import taxonomy_of_lineages
from pelagia.shell import command_line
from pelagia.sources import Listing, ListingOptions
from pelagia.sources import ecotaxa as ecotaxa_reader
from pelagia.sources.listing import archive_ending
from pelagia.system.console import ProgressCallback
from pelagia.system.files import printable
from pelagia.system.paths import StrPath
from pelagia.tables.reader import TABLE_ENDINGS
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.importers import ecotaxa
from pelagia_labeling.importers.camtrap import MEDIA, from_camtrap, is_camtrap
from pelagia_labeling.importers.class_folders import from_class_folders
from pelagia_labeling.importers.class_names import join_names
from pelagia_labeling.importers.coco import coco_files, from_coco
from pelagia_labeling.importers.imported import Import
from pelagia_labeling.importers.label_studio import from_label_studio, is_label_studio_export
from pelagia_labeling.importers.manifest import from_manifest
from pelagia_labeling.importers.own_dataset import from_dataset, is_dataset
from pelagia_labeling.importers.published_split import PublishedSplit, keep_or_mention


def import_dataset(
    src: StrPath,
    out: StrPath,
    *,
    manifest: StrPath | None = None,
    group_column: str | None = None,
    class_column: str | None = None,
    taxonomy: Taxonomy | None = None,
    statuses: Collection[str] | None = None,
    licence: str = "",
    conflicts: str = "refuse",
    fractions: tuple[float, float, float] | None = None,
    seed: int = 0,
    join_near_duplicates: bool = True,
    class_level: int | None = None,
    renames: Mapping[str, str] = MappingProxyType({}),
    published: PublishedSplit = PublishedSplit(),
    listing: ListingOptions = ListingOptions(),
    progress: ProgressCallback = lambda done, total: None,
) -> Dataset:
    """Makes the dataset folder ``out`` from ``src``.

    Args:
        src: class folders, a dataset of Pelagia, the folder of a manifest's images, or an EcoTaxa export.
        manifest: a table with a column of classes and a column of paths that are relative to ``src``.
        group_column: images with the same value in this column, such as one station, stay in one split.
        class_column: the manifest's column of labels; by default the first of `CLASS_COLUMNS`.
        taxonomy: the taxonomy of the dataset; by default it is made from the class names.
        statuses: EcoTaxa annotation statuses to take; by default ``validated``.
        licence: licence of the images, as an SPDX identifier.
        conflicts: what to do with one image under two classes: ``refuse`` the import, or ``drop`` all its copies.
        fractions: shares of the training, validation and test splits; their sum is 1.
        seed: seed of the random splits.
        join_near_duplicates: whether near-duplicates stay in one split.
        class_level: the level of the class folders; 1 is directly below ``src``. By default it is found.
        renames: old name -> new name of classes, which merges classes.
        published: whether the split that the source was published with is kept.
        listing: what decides how images are listed, such as whether links are followed.
        progress: called with (images checked, total images).

    Raises:
        InputError, DatasetError: as `write_dataset`; also if ``src``, ``manifest`` or an option is wrong.
    """
    src, out, manifest = Path(src), Path(out), Path(manifest) if manifest else None
    split = _split_settings(group_column, fractions, seed, join_near_duplicates, published)
    folders = FolderOptions(class_level, published.folders, listing)
    found = _find_candidates(src, manifest, group_column, class_column, statuses, folders)
    found = join_names(keep_or_mention(found, published), renames, taxonomy)
    return write_dataset(
        out,
        [replace(entry, licence=licence or entry.licence) for entry in found.candidates],
        source=found.source,
        taxonomy=taxonomy or _own_taxonomy(found, printable(out.absolute().name)),
        split=split.model_copy(update={"group_column": found.group_column}),
        conflicts=_parse_conflicts(conflicts),
        left_out=found.left_out,
        warnings=found.warnings,
        label_agreement=found.label_agreement,
        progress=_running_total(progress, len(found.candidates)),
    )


def _not_a_folder(src: Path) -> str:
    """Why a path that is neither a folder nor an EcoTaxa export cannot be imported, and what to do."""
    if src.is_file() and archive_ending(src.name):
        return (
            f"{src} is an archive, and not a complete EcoTaxa export: copy it again if it is one, otherwise unpack it, "
            "and name the folder"
        )
    problem = "is not a folder" if src.exists() else "does not exist"
    table = src.is_file() and src.suffix.lower() in TABLE_ENDINGS | {".json"}
    hint = f", and the table with --manifest {command_line(src)}" if table else ""
    return f"{src} {problem}: name the folder that holds the images{hint}"


def _find_candidates(
    src: Path,
    manifest: Path | None,
    group_column: str | None,
    class_column: str | None,
    statuses: Collection[str] | None,
    folders: FolderOptions,
) -> Import:
    """Chooses the importer for this source, and returns what it finds."""
    is_export = ecotaxa_reader.is_export(src)
    if not src.is_dir() and not is_export:
        raise InputError(_not_a_folder(src))
    if statuses and (manifest is not None or not is_export):
        raise InputError("--status is for EcoTaxa exports only: leave it out, or name a folder that holds ecotaxa*.tsv")
    if manifest is not None:
        folders.refuse("a manifest")
        return _from_table(src, manifest, group_column, class_column, Listing(folders.listing))
    if is_camtrap(src / MEDIA):
        folders.refuse("a Camtrap DP package")
        return from_camtrap(src, src, group_column, class_column, Listing(folders.listing))
    if coco := coco_files(src):
        folders.refuse("COCO-style JSON")
        return from_coco(src, coco, group_column, Listing(folders.listing))
    if class_column:
        raise InputError(f"--class-column {class_column} needs --manifest: only a manifest has columns")
    if is_export:
        folders.refuse("an EcoTaxa export")
        statuses = statuses or ecotaxa.DEFAULT_STATUSES
        return ecotaxa.from_ecotaxa(src, group_column or ecotaxa.GROUP_COLUMN, statuses, Listing(folders.listing))
    if is_dataset(src):
        folders.refuse("a dataset")
        return from_dataset(src, group_column)
    if group_column:
        raise InputError(f"--group-column {group_column} needs --manifest: class folders have no columns")
    return from_class_folders(src, Listing(folders.listing), folders.class_level, folders.split_folders)


def _from_table(src: Path, table: Path, group_column: str | None, class_column: str | None, listing: Listing) -> Import:
    """The images that a table names: a manifest, an export of Label Studio, COCO-style JSON, or Camtrap DP."""
    package = table if table.is_dir() else table.parent
    if is_camtrap(package / MEDIA) and (table.is_dir() or is_camtrap(table)):
        return from_camtrap(src, package, group_column, class_column, listing)
    if coco := coco_files(table):
        return from_coco(src, coco, group_column, listing)
    if is_label_studio_export(table):
        if group_column is not None:
            raise InputError(
                f"--group-column {group_column}: an export of Label Studio has no groups: leave it out, or write a "
                "manifest with the columns path, class and group"
            )
        return from_label_studio(src, table, class_column, listing)
    return from_manifest(src, table, group_column, class_column, listing)


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """What a person decides about class folders: their level, whether folders above them are a split, the listing."""

    class_level: int | None
    split_folders: bool
    listing: ListingOptions

    def refuse(self, kind: str) -> None:
        """Raises InputError if an option was given that only class folders have."""
        given = "--class-level" if self.class_level is not None else "--split-folders" if self.split_folders else ""
        if given:
            raise InputError(f"{given} is for class folders only, and the source is {kind}: leave it out")


def _own_taxonomy(found: Import, name: str) -> Taxonomy | None:
    """The taxonomy of a source that has one with all the classes, or that of the lineages of its classes."""
    classes = {entry.class_name for entry in found.candidates}
    if found.taxonomy is not None and classes <= set(found.taxonomy.names):
        return found.taxonomy
    return taxonomy_of_lineages(name, classes, found.lineages) if found.lineages else None


def _parse_conflicts(text: str) -> Literal["refuse", "drop"]:
    if text == "refuse":
        return "refuse"
    if text == "drop":
        return "drop"
    raise InputError(f"--conflicts must be refuse or drop, not '{text}'")


def _split_settings(
    group_column: str | None,
    fractions: Sequence[float] | None,
    seed: int,
    join_near_duplicates: bool,
    published: PublishedSplit,
) -> SplitMeta:
    if fractions and published.wanted:
        raise InputError("--fractions makes a new split: leave it out, or leave the published split out")
    if published.column and published.folders:
        raise InputError(f"--split-column {published.column} and --split-folders name two splits: leave one out")
    settings: dict[str, object] = {
        "group_column": group_column,
        "seed": seed,
        "join_near_duplicates": join_near_duplicates,
    }
    if fractions:
        settings["fractions"] = fractions
    if published.wanted:
        settings |= {"method": "published", "split_column": published.column or "folders"}
        settings["val_from_train"] = published.val_from_train
    return validate(settings, SplitMeta, "the split")


def _running_total(progress: ProgressCallback, total: int) -> Callable[[int], None]:
    """A function that takes the number of images checked since its last call, and reports (images checked, total)."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return advance
