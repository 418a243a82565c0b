"""The DATASET: a folder with `dataset.yaml`, `manifest.csv` and `images/`, and its only definition.

Invariant: a dataset is written whole, once, and never edited: a new version is a new folder. The fingerprint, a hash of
the sorted (sha256, class, split) rows, names its content; models cite it. `write_dataset` makes one from candidates
that any importer yields; `Dataset.read` opens one; `check` compares one with itself.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

from pydantic import Field, field_validator

from pelagia.config import Strict, dump_yaml, load_config
from pelagia.dataset.near_duplicates import FITTED, SIGNATURE_BYTES, find_near_duplicates, signature_of
from pelagia.dataset.splits import DEFAULT_FRACTIONS, SPLITS, classes_missing_from_splits
from pelagia.errors import DatasetError, InputError, PelagiaError, first_few
from pelagia.images.preprocess import ImageError, load
from pelagia.system.cores import thread_pool
from pelagia.system.files import sha256_of_file
from pelagia.system.tables import write_table
from pelagia.taxonomy import Taxonomy

SCHEMA_VERSION: Literal[1] = 1
META_FILE = "dataset.yaml"
MANIFEST_FILE = "manifest.csv"
DROPPED_FILE = "dropped.csv"
NEAR_DUPLICATES_FILE = "near_duplicates.csv"
COLUMNS = (
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


class SplitMeta(Strict):
    """How train, val and test came about."""

    method: Literal["group"] = "group"
    group_column: str | None = Field(default=None, description="null: every image was its own group")
    fractions: tuple[float, float, float] = DEFAULT_FRACTIONS
    seed: int = Field(default=0, ge=0)
    join_near_duplicates: bool = Field(default=True, description="whether pairs that look the same share a group")
    near_duplicates: int = Field(default=0, ge=0, description="pairs in two groups, which were joined for that")

    @field_validator("fractions")
    @classmethod
    def _shares(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if not (all(0 <= share <= 1 for share in fractions) and fractions[0] > 0 and abs(sum(fractions) - 1) < 1e-6):
            raise ValueError(f"train, val and test must be shares that sum to 1, train's above 0, not {fractions}")
        return fractions


class DatasetMeta(Strict):
    """`dataset.yaml`. ``counts`` is class -> split -> images; ``left_out`` is reason -> images."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    created: str = Field(description="ISO 8601, UTC")
    created_by: str
    source: dict[str, Any]
    split: SplitMeta
    fingerprint: str
    images: int
    counts: dict[str, dict[str, int]]
    left_out: dict[str, int] = Field(default={})
    taxonomy: Taxonomy


@dataclass(frozen=True, slots=True)
class Record:
    """One row of `manifest.csv`: one image. ``extra`` holds the survey's own columns as text."""

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
        """The record under the names of the manifest's columns."""
        identity = (self.path, self.sha256, self.width, self.height, self.class_name, self.group, self.split)
        provenance = (self.annotators, self.agreement, self.source, self.licence)
        columns: dict[str, str | int] = dict(zip(COLUMNS, identity + provenance, strict=True))
        return columns | self.extra


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk, its metadata and its rows. Images are read when they are needed."""

    root: Path
    meta: DatasetMeta
    records: tuple[Record, ...]

    @classmethod
    def read(cls, root: Path) -> Dataset:
        """Opens a dataset folder.

        Raises:
            DatasetError: not a dataset, or its two files are wrong or do not agree.
        """
        if not root.is_dir():
            raise DatasetError(
                f"there is no dataset at {root}: make one with `pelagia dataset import SRC --out {root}`"
            )
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
                f"says {meta.fingerprint[:12]}): restore it, or make a new dataset of it with "
                "`pelagia dataset import --manifest`"
            )
        return cls(root, meta, records)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.meta.taxonomy.names

    def split(self, name: str) -> tuple[Record, ...]:
        """Rows of ``train``, ``val`` or ``test``; ``all`` for every row.

        Raises:
            InputError: another name.
            DatasetError: a split without images.
        """
        if name not in (*SPLITS, "all"):
            raise InputError(f"there is no split '{name}': choose train, val, test or all")
        records = tuple(record for record in self.records if name in (record.split, "all"))
        if not records:
            raise DatasetError(
                f"the split '{name}' of {self.root} holds no image: it has too few groups; import it again with a "
                "--group-column of more values"
            )
        return records

    def file(self, record: Record) -> Path:
        return self.root / record.path


def fingerprint(records: Iterable[Record]) -> str:
    """SHA-256 over the sorted ``sha256,class,split`` rows: the content that a model depends on."""
    rows = sorted(f"{record.sha256},{record.class_name},{record.split}\n" for record in records)
    return hashlib.sha256("".join(rows).encode()).hexdigest()


def class_counts(records: Iterable[Record], class_names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Class -> split -> number of images, for all classes and splits."""
    found = Counter((record.class_name, record.split) for record in records)
    return {name: {split: found[name, split] for split in SPLITS} for name in class_names}


def _read_manifest(path: Path) -> Iterable[Record]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="", strict=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
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
        raise DatasetError(f"{where}: width and height must be whole numbers") from None
    if row["split"] not in SPLITS:
        raise DatasetError(f"{where}: the split must be train, val or test, not '{row['split']}'")
    path = PureWindowsPath(row["path"])  # the strictest reading: drives and backslashes as well
    if path.drive or path.root or ".." in path.parts or "\0" in row["path"]:
        raise DatasetError(f"{where}: the path '{row['path']}' leads out of the dataset")
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
        extra={key: value for key, value in row.items() if key not in COLUMNS and key is not None},
    )


def write_tables(folder: Path, meta: DatasetMeta, records: Sequence[Record]) -> None:
    """Writes `dataset.yaml` and `manifest.csv` into a folder that is still being made."""
    columns = [*COLUMNS, *sorted({name for record in records for name in record.extra})]
    rows = ([row.get(name, "") for name in columns] for row in (record.row() for record in records))
    write_table(folder / MANIFEST_FILE, columns, rows, guard_formulas=False)
    header = (
        "# A Pelagia dataset. Never edited: a new version is a new folder. `pelagia dataset check DATASET` proves it.\n"
    )
    (folder / META_FILE).write_text(header + dump_yaml(meta), encoding="utf-8")


def check(root: Path) -> list[str]:
    """Everything that is wrong with a dataset, one sentence each; empty where it is whole. Reads every image."""
    try:
        dataset = Dataset.read(root)
    except PelagiaError as error:
        return [str(error)]
    faults = []
    if dataset.meta.counts != class_counts(dataset.records, dataset.class_names):
        faults.append(f"the counts in {META_FILE} are not those of {MANIFEST_FILE}")
    splits_of: dict[str, set[str]] = defaultdict(set)
    for record in dataset.records:
        splits_of[record.group].add(record.split)
        if record.class_name not in dataset.class_names:
            faults.append(f"{record.path}: the class '{record.class_name}' is not in the taxonomy")
        try:
            if sha256_of_file(dataset.file(record)) != record.sha256:
                faults.append(f"{record.path}: the image's bytes have changed")
        except FileNotFoundError:
            faults.append(f"{record.path}: the image is missing")
        except OSError as error:
            faults.append(f"{record.path}: the image cannot be read ({error.strerror})")
    cut = sorted(group for group, splits in splits_of.items() if len(splits) > 1)
    if cut:
        faults.append(f"groups that stand in more than one split: {first_few(cut)}")
    return faults


def leaks(dataset: Dataset) -> list[tuple[Record, Record]]:
    """Pairs of near-duplicates that stand in two splits. Reads every image, and passes over what cannot be read."""

    def look(record: Record) -> bytes:
        try:
            return signature_of(load(dataset.file(record).read_bytes(), FITTED))
        except (OSError, ImageError):
            return bytes(SIGNATURE_BYTES)

    with thread_pool() as pool:
        looks = list(pool.map(look, dataset.records))
    twins = find_near_duplicates(looks, [record.split for record in dataset.records])
    return [(dataset.records[pair.first], dataset.records[pair.second]) for pair in twins]


def split_warnings(records: Sequence[Record]) -> list[str]:
    """What a reader of figures made on this dataset must know about its splits, one sentence each."""
    columns = [[getattr(record, name) for record in records] for name in ("class_name", "group", "split")]
    empty = [split for split in SPLITS if split not in columns[2]]
    if empty:
        groups = len(set(columns[1]))
        return [
            f"{' and '.join(empty)} hold no image: there are only {groups} group{'s' * (groups != 1)}; "
            "name a column with more values as --group-column"
        ]
    return [
        f"class '{name}' has {groups} group{'s' * (groups != 1)}: none of it in {' and '.join(lacking)}"
        for name, (groups, lacking) in classes_missing_from_splits(*columns).items()
    ]
