"""The DATASET: a folder with `dataset.yaml`, `manifest.csv` and `images/`. This module is its only definition.

Invariant: a dataset is written once, complete, and never edited: a new version is a new folder. The fingerprint, a hash
of the sorted (sha256, class, split) rows, identifies its content; models cite it. `pelagia.dataset.write` makes a
dataset from the candidates of an importer; `Dataset.read` opens one; `pelagia.dataset.check` looks for faults.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

from pydantic import Field, field_validator

from pelagia.config import Strict, dump_yaml, load_config
from pelagia.dataset.soft_labels import SOFT_LABEL, require_soft_labels
from pelagia.dataset.splits import DEFAULT_FRACTIONS, SPLITS
from pelagia.errors import DatasetError, InputError
from pelagia.shell import command_line
from pelagia.sources.listing import LEFT_OUT, left_out_lines
from pelagia.system.paths import StrPath
from pelagia.system.tables import write_table
from pelagia.taxonomy import Taxonomy

SCHEMA_VERSION: Literal[1] = 1
META_FILE = "dataset.yaml"
MANIFEST_FILE = "manifest.csv"
DROPPED_FILE = "dropped.csv"
NEAR_DUPLICATES_FILE = "near_duplicates.csv"
MANIFEST_COLUMNS = (
    "path",
    "sha256",
    "width",
    "height",
    "class",
    "group",
    "split",
    "annotators",
    "agreement",
    "source",
    "licence",
)


_LEFT_OUT = {
    "no_class": "without a class",
    "no_group": "without a group",
    "no_split": "without a value in the column of the split",
    "skipped": "skipped by the people who labelled",
    "unsure": "marked as unsure",
    "unlabelled": "not labelled yet",
    "too_fast": "submitted faster than a person can look",
    "no_choice": "submitted without a class",
    "disputed": "without a majority of labels",
    "sheet_refused": "on sheets that were submitted with an empty crop, or too soon to be seen",
    "inside_a_bin": "images inside a file of an instrument",
    "duplicate": "exact copies of other images",
    "conflict": "images with two classes",
    "missing": "images that are not there",
    "empty": "files without bytes",
    "undecodable": "images that cannot be decoded",
    "unreadable": "images that cannot be read",
    "unsupported": "images of a kind that is not supported",
    "too_large": "images that are too large",
}
"""Reason in ``left_out`` of `dataset.yaml` -> what was left out, in words that follow a number."""


_STATUS = "status_"


class SplitMeta(Strict):
    """How the dataset was split into train, val and test."""

    method: Literal["group", "published"] = Field(default="group", description="published: the source's own split")
    split_column: str | None = Field(default=None, description="the column, or the level of folders, of that split")
    val_from_train: float = Field(default=0, ge=0, lt=1, description="the share of its train that became val")
    group_column: str | None = Field(default=None, description="null: every image was its own group")
    fractions: tuple[float, float, float] = DEFAULT_FRACTIONS
    seed: int = Field(default=0, ge=0)
    join_near_duplicates: bool = Field(default=True, description="whether images that look the same share a group")
    near_duplicates: int = Field(default=0, ge=0, description="pairs across two groups, or two published splits")
    largest_joined: int = Field(default=0, ge=0, description="images in the largest group that was joined from others")

    @field_validator("fractions")
    @classmethod
    def _shares(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if not (all(0 <= share <= 1 for share in fractions) and fractions[0] > 0 and abs(sum(fractions) - 1) < 1e-6):
            raise ValueError(f"train, val and test must be shares that sum to 1, with train above 0, not {fractions}")
        return fractions


Interval = tuple[float, float] | None
"""The ends of a 95% interval; None if there is none."""


class LabelAgreement(Strict):
    """How far the people agree who labeled a dataset: what a model's metrics can be compared with.

    The figures include images that people disagreed on, which are not in the dataset.
    """

    images: int = Field(ge=1, description="images that two or more people labeled")
    people: int = Field(ge=2, description="people who labeled one of them")
    groups: int = Field(ge=1, description="groups of these images; the intervals come from drawing groups")
    agreement: float = Field(description="mean share of pairs of labels of one image that are the same class")
    agreement_interval: Interval = None
    alpha: float | None = Field(
        default=None, description="Krippendorff's nominal alpha; null: everybody named one class"
    )
    alpha_interval: Interval = None
    weighted_alpha: float | None = Field(default=None, description="the alpha weighted by taxonomic distance")
    weighted_alpha_interval: Interval = None
    macro_f1: float | None = Field(default=None, description="macro-F1 of one person measured against another")
    macro_f1_interval: Interval = None


class ParentMeta(Strict):
    """A dataset that this one was made from, and what changed. The counts are numbers of images (same SHA-256)."""

    path: str = Field(description="the parent's folder, relative to the folder of this dataset, with /")
    name: str
    fingerprint: str
    images: int = Field(ge=0)
    added: int = Field(ge=0, description="images that the parent does not have")
    removed: int = Field(ge=0, description="images of the parent that this dataset does not have")
    relabeled: int = Field(ge=0, description="images whose class is another one")
    moved: int = Field(ge=0, description="images that are in another split")


class DatasetMeta(Strict):
    """`dataset.yaml`. ``counts``: class -> split -> images; ``left_out``: reason -> images (`left_out_in_words`)."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    created: str = Field(description="ISO 8601, UTC")
    created_by: str
    source: dict[str, Any]
    parents: tuple[ParentMeta, ...] = Field(default=(), description="the datasets that this one was made from")
    split: SplitMeta
    fingerprint: str
    images: int
    counts: dict[str, dict[str, int]]
    left_out: dict[str, int] = Field(default={})
    remarks: dict[str, int] = Field(default={}, description="remark on images that were taken -> number of images")
    warnings: tuple[str, ...] = Field(default=(), description="what was assumed or looked wrong, one sentence each")
    label_agreement: LabelAgreement | None = Field(default=None, description="null: no image was labeled by two people")
    taxonomy: Taxonomy


@dataclass(frozen=True, slots=True)
class Record:
    """One row of `manifest.csv`: one image. ``extra`` holds the survey's other columns as text."""

    path: str
    sha256: str
    width: int
    height: int
    class_name: str
    group: str
    split: str
    annotators: str = ""
    agreement: str = ""
    source: str = ""
    licence: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    def row(self) -> dict[str, str | int]:
        """The values of the record by column of the manifest."""
        identity = (self.path, self.sha256, self.width, self.height, self.class_name, self.group, self.split)
        provenance = (self.annotators, self.agreement, self.source, self.licence)
        columns: dict[str, str | int] = dict(zip(MANIFEST_COLUMNS, identity + provenance, strict=True))
        return columns | self.extra


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk: its folder, metadata and rows. Images are not read until they are needed."""

    root: Path
    meta: DatasetMeta
    records: tuple[Record, ...]

    @classmethod
    def read(cls, root: StrPath) -> Dataset:
        """Opens a dataset folder.

        Raises:
            DatasetError: ``root`` is not a dataset, one of its two files is wrong, or they contradict each other.
        """
        root = Path(root)
        if not root.is_dir():
            make = command_line("pelagia", "dataset", "import", "SRC", "--out", root)
            raise DatasetError(f"there is no dataset at {root}: make one with `{make}`")
        if not (root / META_FILE).is_file():
            raise DatasetError(
                f"{root} is not a dataset: it has no {META_FILE}; make one with `pelagia dataset import`"
            )
        try:
            meta = load_config(root / META_FILE, DatasetMeta)
        except InputError as error:
            raise DatasetError(str(error)) from None
        records = tuple(_read_manifest(root / MANIFEST_FILE))
        found = fingerprint(records)
        if found != meta.fingerprint:
            raise DatasetError(
                f"{root / MANIFEST_FILE} was edited after the dataset was made (fingerprint {found[:12]}, {META_FILE} "
                f"says {meta.fingerprint[:12]}): restore it, or make a new dataset from it with "
                "`pelagia dataset import --manifest`"
            )
        check_soft_labels(records, meta.taxonomy, root / MANIFEST_FILE)
        return cls(root, meta, records)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names, in the order of the taxonomy."""
        return self.meta.taxonomy.names

    def split(self, name: str) -> tuple[Record, ...]:
        """Rows of ``train``, ``val`` or ``test``; ``all`` for every row.

        Raises:
            InputError: there is no split ``name``.
            DatasetError: the split has no images.
        """
        if name not in (*SPLITS, "all"):
            raise InputError(f"there is no split '{name}': choose train, val, test or all")
        records = tuple(record for record in self.records if name in (record.split, "all"))
        if not records:
            raise DatasetError(f"the split '{name}' of {self.root} has no images: {self._why_empty(name)}")
        return records

    def _why_empty(self, name: str) -> str:
        split = self.meta.split
        if split.method == "published":
            return "the published split has none; import again with --val-from-train, or without the published split"
        if name in SPLITS and split.fractions[SPLITS.index(name)] == 0:
            shares = ",".join(f"{share:g}" for share in split.fractions)
            return f"it was made with --fractions {shares}; name another dataset or another split"
        return "there are too few groups; import again with a --group-column that has more values"

    def file(self, record: Record) -> Path:
        """The path of the image of a row."""
        return self.root / record.path


def left_out_in_words(left_out: Mapping[str, int]) -> list[str]:
    """``left_out`` of `dataset.yaml` in words, such as ``2 without a class``, one line for each reason."""
    statuses = {key: f"with the status {key.removeprefix(_STATUS)}" for key in left_out if key.startswith(_STATUS)}
    return left_out_lines(left_out, LEFT_OUT | _LEFT_OUT | statuses)


def fingerprint(records: Iterable[Record]) -> str:
    """SHA-256 of the sorted ``sha256,class,split`` rows, 64 hex digits: the content that a model depends on.

    A row with a soft label ends with it.
    """
    rows = sorted(f"{record.sha256},{record.class_name},{record.split}{_soft(record)}\n" for record in records)
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def _soft(record: Record) -> str:
    text = record.extra.get(SOFT_LABEL, "")
    return f",{text}" if text else ""


def check_soft_labels(records: Sequence[Record], taxonomy: Taxonomy, where: Path | str) -> None:
    """Raises DatasetError if a row has a soft label that cannot be used; ``where`` names the table."""
    cells = ((f"{where}, {one.path}", one.extra.get(SOFT_LABEL, ""), one.class_name) for one in records)
    require_soft_labels(cells, taxonomy.names)


def class_counts(records: Iterable[Record], class_names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Class -> split -> number of images, for all classes and splits."""
    found = Counter((record.class_name, record.split) for record in records)
    return {name: {split: found[name, split] for split in SPLITS} for name in class_names}


def _read_manifest(path: Path) -> Iterable[Record]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="", strict=True)
            missing = [name for name in MANIFEST_COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise DatasetError(f"{path} lacks the columns {', '.join(missing)}: restore it, or import again")
            for row in reader:
                yield _record(row, f"{path}, line {reader.line_num}")
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from None
    except csv.Error as error:
        raise DatasetError(f"{path}, after line {reader.line_num}: {error}; restore it, or import again") from None
    except UnicodeDecodeError:
        raise DatasetError(f"{path} is not UTF-8 text: restore it, or import again") from None


def _record(row: dict[str, str], where: str) -> Record:
    try:
        width, height = int(row["width"]), int(row["height"])
    except ValueError:
        raise DatasetError(
            f"{where}: width and height must be whole numbers: restore the file, or import again"
        ) from None
    if row["split"] not in SPLITS:
        raise DatasetError(f"{where}: the split must be train, val or test, not '{row['split']}'")
    path = PureWindowsPath(row["path"])  # the rules of Windows are stricter: they know drives and backslashes
    if path.drive or path.root or ".." in path.parts or "\0" in row["path"]:
        raise DatasetError(f"{where}: the path '{row['path']}' points outside the dataset")
    return Record(
        path=row["path"],
        sha256=row["sha256"],
        width=width,
        height=height,
        class_name=row["class"],
        group=row["group"],
        split=row["split"],
        annotators=row["annotators"],
        agreement=row["agreement"],
        source=row["source"],
        licence=row["licence"],
        extra={key: value for key, value in row.items() if key not in MANIFEST_COLUMNS and key is not None},
    )


def write_tables(folder: Path, meta: DatasetMeta, records: Sequence[Record]) -> None:
    """Writes `dataset.yaml` and `manifest.csv` into a dataset folder that is not finished yet."""
    columns = [*MANIFEST_COLUMNS, *sorted({name for record in records for name in record.extra})]
    rows = ([row.get(name, "") for name in columns] for row in (record.row() for record in records))
    write_table(folder / MANIFEST_FILE, columns, rows, guard_formulas=False)
    header = (
        "# A Pelagia dataset. Never edited: a new version is a new folder. `pelagia dataset check DATASET` proves it.\n"
    )
    (folder / META_FILE).write_text(header + dump_yaml(meta), encoding="utf-8")
