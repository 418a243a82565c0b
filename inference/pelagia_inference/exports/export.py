"""`pelagia survey export --to`: a survey in the formats of databases and of other programs.

To support another format, write a module with a function that takes an `Exporting`, writes below its folder, and
returns what a person should know, one sentence each; and add a line to `FORMATS`. What is left out is counted in
`Exporting.left_out`.

Invariant: the folder of an export is complete or absent, and nothing is overwritten. `RECORD_FILE` in it says what was
exported, with which program and model, and what was left out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from pelagia.errors import InputError, MissingExtra, did_you_mean
from pelagia.survey.journal import Survey
from pelagia.system.console import ProgressCallback
from pelagia.system.files import new_folder, printable, refuse_existing, write_text
from pelagia.system.paths import StrPath
from pelagia_inference.counts.counts import require_flags
from pelagia_inference.counts.options import OPTIONS
from pelagia_inference.exports.exporting import Exporting
from pelagia_inference.exports.exporting import ExportOptions as ExportOptions

RECORD_FILE = "pelagia-export.json"
EXPORTS_FOLDER = "exports"
"""The folder in a survey's folder in which exports are made if the user names no other place."""


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        writer: the function that writes it.
        help: one line of help.
        uses: the fields of `ExportOptions` that it uses; `_EVERY` are used by all.
        extra, package: the extra and the package that it needs.
    """

    writer: str
    help: str
    uses: tuple[str, ...] = ()
    extra: str = ""
    package: str = ""


_HERE = "pelagia_inference.exports"
_EVERY = ("exclude_flags", "model", "part_bytes")
_SAMPLES = ("by", "depth_bins")
_COUNTS = (*_SAMPLES, "count_as", "cells", "correct")
_TABLES = (*_COUNTS, "people")
FORMATS = {
    "csv": Format(f"{_HERE}.tidy:write_csv", "tables of counts, samples and images as CSV", _TABLES),
    "xlsx": Format(
        f"{_HERE}.workbook:write", "the same tables as sheets of an Excel workbook", _TABLES, "excel", "openpyxl"
    ),
    "parquet": Format(f"{_HERE}.tidy:write_parquet", "the same tables as Parquet", _TABLES, "parquet", "pyarrow"),
    "geojson": Format(f"{_HERE}.geojson:write", "a map layer: one point for each sample, with its counts", _COUNTS),
    "ecotaxa": Format(
        f"{_HERE}.ecotaxa:write",
        "zips of images and tables that EcoTaxa imports as new objects",
        (*_SAMPLES, "people"),
    ),
    "ecotaxa-update": Format(
        f"{_HERE}.ecotaxa_update:write", "a table that updates the objects which came from EcoTaxa", ("people",)
    ),
    "ifcb": Format(f"{_HERE}.ifcb_scores:write", "class scores of each IFCB bin, version 3 (.h5)", (), "hdf5", "h5py"),
    "ifcb-csv": Format(f"{_HERE}.ifcb_scores:write_csv", "class scores of each IFCB bin as CSV"),
    "seabass": Format(
        f"{_HERE}.seabass:write",
        "SeaBASS files of plankton imagery, one for each sample",
        (*_SAMPLES, "metadata", "media_url"),
    ),
    "camtrap-dp": Format(
        f"{_HERE}.camtrap:write",
        "a Camtrap DP package, for fish and other animals on cameras",
        (*_SAMPLES, "metadata", "media_url", "people"),
    ),
    "dwc": Format(
        f"{_HERE}.dwc.export:write",
        "a Darwin Core Archive for OBIS and GBIF",
        (*_COUNTS, "metadata", "people", "taxonomy", "absences", "incomplete"),
    ),
    "datapackage": Format(
        f"{_HERE}.datapackage.write:write",
        "a Frictionless data package of the whole survey",
        (*_COUNTS, "metadata", "people"),
    ),
    "label-studio": Format(
        f"{_HERE}.label_studio:write", "tasks with predictions, which Label Studio imports", ("media_url",)
    ),
}
"""Name in ``--to`` -> the format."""


@dataclass(frozen=True)
class Exported:
    """An export: its format and folder, what a person should know, and what was left out."""

    to: str
    out: Path
    notes: tuple[str, ...] = field(default=())
    left_out: dict[str, int] = field(default_factory=dict)


def formats_to_export(options: Sequence[str]) -> tuple[str, ...]:
    """The formats that options such as ``csv,geojson`` name, each once.

    Raises:
        InputError: there is no such format.
        MissingExtra: a format needs a package that is not installed.
    """
    names = [name.strip().lower() for option in options for name in option.split(",")]
    for name in names:
        if name not in FORMATS:
            meant = did_you_mean(name, FORMATS)
            raise InputError(f"--to {name}: there is no such format{meant}; there are: {', '.join(FORMATS)}")
        entry = FORMATS[name]
        if entry.package and find_spec(entry.package) is None:
            raise MissingExtra(f"--to {name}", entry.extra, entry.package)
    return tuple(dict.fromkeys(names))


def folders_of(survey: Path, formats: Sequence[str], out: StrPath | None = None) -> dict[str, Path]:
    """Format -> the folder to make for it.

    Args:
        survey: the survey's folder.
        formats: the formats.
        out: the folder of one format, or the folder that holds a folder for each of several formats; by default
            ``exports`` in the survey's folder.

    Raises:
        InputError: one of the folders exists.
    """
    if out is not None and len(formats) == 1:
        folders = {formats[0]: Path(out)}
    else:
        parent = Path(survey) / EXPORTS_FOLDER if out is None else Path(out)
        folders = {name: parent / name for name in formats}
    for folder in folders.values():
        refuse_existing(folder, "export")
    return folders


def export_survey(
    survey: Survey,
    out: StrPath,
    to: str,
    options: ExportOptions = ExportOptions(),  # noqa: B008 - it is frozen
    progress: ProgressCallback = lambda done, total: None,
) -> Exported:
    """Writes a survey in one format.

    Args:
        survey: the open survey.
        out: the folder to make.
        to: a format of `FORMATS`.
        options: what the user chooses.
        progress: called with (rows done, total rows).

    Raises:
        InputError: ``out`` exists, there is no such format, the format needs metadata that is missing, or the survey
            has nothing that the format can hold.
        SurveyError: the journal cannot be read.
    """
    [name] = formats_to_export([to])
    require_flags(survey, options.exclude_flags)
    module, _, function = FORMATS[name].writer.partition(":")
    out = Path(out)
    with new_folder(out, "export") as folder:
        work = Exporting(survey, folder, printable(out.absolute().name), options, progress)
        notes = (*_unused(name, options), *getattr(import_module(module), function)(work))
        left_out = dict(sorted((+work.left_out).items()))
        done = Exported(name, out, notes, left_out)
        write_text(folder / RECORD_FILE, _record(work, done))
    return done


def _unused(name: str, options: ExportOptions) -> list[str]:
    """Which options the format does not use, in words; empty if it uses all that were given."""
    used = {*FORMATS[name].uses, *_EVERY}
    given = [one.name for one in fields(options) if getattr(options, one.name) != one.default]
    unused = [OPTIONS.get(field, f"--{field.replace('_', '-')}") for field in given if field not in used]
    return [f"this format does not use {', '.join(unused)}"] if unused else []


def _record(work: Exporting, done: Exported) -> str:
    record = asdict(done) | {
        "out": work.name,
        "program": work.program,
        "model": work.model_text,
        "model_sha256": work.survey.meta.get("model_sha256", ""),
        "counting": work.options.chosen(),
        "survey_created": work.survey.meta.get("created", ""),
    }
    return json.dumps(record, ensure_ascii=False, indent=1) + "\n"
