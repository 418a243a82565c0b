"""The counts of a survey as a tidy table, as JSON, and as a short table on the terminal.

Invariant: one row for each sample and class or taxon, with the columns of `header`; `docs/reference/counts.md`
describes them. A value that is not known is an empty cell, and never 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pelagia.errors import InputError, MissingExtra
from pelagia.system.files import new_file, refuse_existing
from pelagia.system.tables import Cell, write_table
from pelagia.tables.excel import excel_cell
from pelagia_inference.counts.counts import Count, Counts
from pelagia_inference.counts.estimate import ORIGINS
from pelagia_inference.counts.samples import Sample

CONTEXT = ("eventDate", "decimalLatitude", "decimalLongitude", "minimumDepthInMeters", "maximumDepthInMeters")
"""Columns of the input that the table has, where all images of a sample have one value."""
ENDINGS = (".csv", ".xlsx", ".parquet")
_DIGITS = 6
_MOST_EXCEL_ROWS = 1_048_576
_COUNTS: Mapping[str, str] = {
    "kind": "kind",
    "name": "name",
    "rank": "rank",
    "raw": "raw",
    "confirmed": "confirmed",
    "counted_low": "counted_low",
    "counted_high": "counted_high",
    "corrected": "corrected",
    "corrected_low": "low",
    "corrected_high": "high",
    "organisms": "organisms",
    "per_liter": "per_liter",
    "per_liter_low": "per_liter_low",
    "per_liter_high": "per_liter_high",
    "per_cubic_meter": "per_liter",
    "per_cubic_meter_low": "per_liter_low",
    "per_cubic_meter_high": "per_liter_high",
    "cells": "cells",
    "cells_low": "cells_low",
    "cells_high": "cells_high",
    "cells_per_liter": "cells_per_liter",
    "cells_per_liter_low": "cells_per_liter_low",
    "cells_per_liter_high": "cells_per_liter_high",
    "cells_by_people": "cells_by_people",
    "cells_by_column": "cells_by_column",
    "cells_by_class": "cells_by_class",
    "cells_by_mean": "cells_by_mean",
    "measured": "measured",
    "biovolume_um3": "biovolume_um3",
    "biovolume_um3_low": "biovolume_um3_low",
    "biovolume_um3_high": "biovolume_um3_high",
    "biovolume_mm3_per_m3": "biovolume_mm3_per_m3",
    "biovolume_mm3_per_m3_low": "biovolume_mm3_per_m3_low",
    "biovolume_mm3_per_m3_high": "biovolume_mm3_per_m3_high",
    "carbon_pg": "carbon_pg",
    "carbon_pg_low": "carbon_pg_low",
    "carbon_pg_high": "carbon_pg_high",
    "carbon_ug_per_liter": "carbon_ug_per_liter",
    "carbon_ug_per_liter_low": "carbon_ug_per_liter_low",
    "carbon_ug_per_liter_high": "carbon_ug_per_liter_high",
}
"""Column -> field of `Count`."""
_SAMPLES: Mapping[str, str] = {
    "sample_images": "images",
    "sample_failed": "failed",
    "sample_excluded": "excluded",
    "sample_abstained": "abstained",
    "sample_unknown": "unknown",
    "sample_liters": "volume_l",
    "sample_fraction": "fraction",
    "no_volume": "no_volume",
    "sample_flags": "flags",
}
"""Column -> field of `Sample`."""
_WHOLE = frozenset({"raw", "confirmed", "measured", "images", "failed", "excluded", "abstained", "unknown", *ORIGINS})
_TEXT = frozenset({"kind", "name", "rank", "no_volume", "flags"})


def header(counts: Counts) -> list[str]:
    """The columns of the table, from left to right. A column of the input whose name is taken gets ``survey_``."""
    context = [name for name in CONTEXT if name not in counts.by]
    taken = {*_COUNTS, *_SAMPLES}
    key = [f"survey_{name}" if name in taken else name for name in counts.by if name != "sample"]
    return ["sample", *key, *context, *_COUNTS, *_SAMPLES]


def kinds(counts: Counts) -> dict[str, type]:
    """Column of `header` -> the type of its values: `str`, `int` or `float`."""
    fields = {name: _COUNTS.get(name) or _SAMPLES.get(name) or "name" for name in header(counts)}
    return {name: int if field in _WHOLE else str if field in _TEXT else float for name, field in fields.items()}


def rows(counts: Counts) -> Iterator[list[Cell]]:
    """The cells of each row, in the order of `header`. Numbers that are not whole have six digits."""
    samples = {sample.name: sample for sample in counts.samples}
    for count in counts.counts:
        sample = samples[count.sample]
        key = dict(zip(counts.by, sample.key, strict=True))
        named = [key[name] or None for name in counts.by if name != "sample"]
        context = [sample.columns.get(name) or None for name in CONTEXT if name not in counts.by]
        yield [sample.name, *named, *context, *_of_count(count), *_of_sample(sample)]


def _of_count(count: Count) -> Iterator[Cell]:
    for column, field in _COUNTS.items():
        value = getattr(count, field)
        if value is not None and column.startswith("per_cubic_meter"):
            value *= 1000
        yield _cell(value)


def _of_sample(sample: Sample) -> Iterator[Cell]:
    for field in _SAMPLES.values():
        yield _cell(getattr(sample, field))


def _cell(value: Any) -> Cell:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    return value if value != "" else None


def require_writable(out: Path) -> None:
    """Refuses a file that the table cannot be written to, before the counting begins.

    Raises:
        InputError: it exists, or has another ending than `ENDINGS`.
        MissingExtra: the package that writes it is not installed.
    """
    if out.suffix.lower() not in ENDINGS:
        raise InputError(f"--out {out}: name a file that ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    refuse_existing(out, "table")
    if out.is_dir():
        raise InputError(f"--out {out} is a folder: name a file in it, such as {out / 'counts.csv'}")
    for ending, extra, module in ((".xlsx", "excel", "openpyxl"), (".parquet", "parquet", "pyarrow")):
        if out.suffix.lower() == ending and find_spec(module) is None:
            raise MissingExtra(f"writing {out.name}", extra, module)


def write_counts(counts: Counts, out: Path) -> None:
    """Writes the table as CSV, Excel or Parquet, by the ending of the file. It is complete or absent.

    Raises:
        InputError: the table is too long for Excel.
        OSError: the disk is full or failing.
    """
    ending = out.suffix.lower()
    if ending == ".xlsx" and len(counts.counts) >= _MOST_EXCEL_ROWS:
        raise InputError(
            f"the table has {len(counts.counts)} rows, and a sheet of Excel holds {_MOST_EXCEL_ROWS}: name a file that "
            "ends in .csv or .parquet"
        )
    if ending == ".csv":
        write_table(out, header(counts), rows(counts), mark=True)
    elif ending == ".xlsx":
        _write_excel(counts, out)
    else:
        _write_parquet(counts, out)


def _write_excel(counts: Counts, out: Path) -> None:
    """One sheet. Text that begins like a formula stays text."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet("counts")
    sheet.append([excel_cell(sheet, name) for name in header(counts)])
    for row in rows(counts):
        sheet.append([excel_cell(sheet, value) for value in row])
    with new_file(out) as file:
        book.save(file)


def _write_parquet(counts: Counts, out: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    types = {int: pyarrow.int64(), str: pyarrow.string(), float: pyarrow.float64()}
    columns = kinds(counts)
    table = list(rows(counts))
    arrays = [pyarrow.array([row[index] for row in table], types[kind]) for index, kind in enumerate(columns.values())]
    with new_file(out) as file:
        parquet.write_table(pyarrow.Table.from_arrays(arrays, names=list(columns)), file, compression="zstd")


def as_json(counts: Counts) -> dict[str, Any]:
    """The counts as values of JSON; null where a value is not known."""
    return {
        "by": list(counts.by),
        "method": counts.method,
        "warnings": list(counts.warnings),
        "samples": [{**asdict(sample), "columns": dict(sample.columns)} for sample in counts.samples],
        "counts": [asdict(count) for count in counts.counts],
    }


SUMMARY = ("class", "machine", "people", "corrected", "interval", "samples", "per liter", "cells per liter")


def summary(counts: Counts) -> tuple[list[str], list[list[object]]]:
    """The columns and rows of a short table: each class with images, as sums over all samples, the commonest first.

    Columns without a value are left out. Concentrations are the lowest and the highest of the samples. The ends of the
    intervals are added up, which makes the interval of a sum wider than need be.
    """
    by_class: dict[str, list[Count]] = {}
    for count in counts.counts:
        if count.kind != "taxon":
            by_class.setdefault(count.name, []).append(count)
    found = [_summary_of(name, group) for name, group in by_class.items()]
    seen = sorted((row for row in found if row[1] or row[2]), key=lambda row: -int(str(row[1])) - int(str(row[2])))
    used = [index for index, name in enumerate(SUMMARY) if index < 2 or any(row[index] for row in seen)]
    return [SUMMARY[index] for index in used], [[row[index] for index in used] for row in seen]


def _summary_of(name: str, group: Sequence[Count]) -> list[object]:
    raw, confirmed = sum(one.raw for one in group), sum(one.confirmed for one in group)
    corrected = interval = ""
    if all(one.corrected is not None for one in group):
        corrected, low, high = (
            _images_text(sum(getattr(one, name) or 0 for one in group)) for name in ("corrected", "low", "high")
        )
        interval = f"{low} to {high}"
    samples = sum(1 for one in group if one.raw + one.confirmed)
    water = [_in_water(group, name) for name in ("per_liter", "cells_per_liter")]
    return [name, raw, confirmed, corrected, interval, samples, *water]


def _images_text(images: float) -> str:
    return f"{images:.1f}" if images < 9.95 else f"{images:,.0f}"


def amount(value: float) -> str:
    """A concentration as people write it: whole from 100 on, else three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _in_water(group: Sequence[Count], field: str) -> str:
    """A concentration of one sample with its interval, or the lowest and the highest of several; empty: not known.

    It is 0 where the corrected number of images is shown as 0.0: an estimate is never exactly 0.
    """
    known = [one for one in group if getattr(one, field) is not None]
    found = [0.0 if one.corrected is not None and one.corrected < 0.05 else getattr(one, field) for one in known]
    if len(group) == 1 and found:
        ends = [amount(getattr(group[0], f"{field}_{end}")) for end in ("low", "high")]
        return f"{amount(found[0])} ({ends[0]} to {ends[1]})"
    if not found:
        return ""
    return f"{amount(min(found))} to {amount(max(found))}" if max(found) else "0"


def about(counts: Counts) -> Iterator[str]:
    """What the short table shows, one sentence each."""
    images, by = sum(sample.images for sample in counts.samples), ", ".join(counts.by) or "no column"
    samples = len(counts.samples)
    found = f"{images} images in {samples} sample{'' if samples == 1 else 's'} (by {by})"
    yield "; ".join([found, *_how_to_read(counts)])
    if len(counts.samples) > 1 and any(count.corrected is not None for count in counts.counts):
        yield (
            "the ends of the 90% intervals are added up as well, as if the model erred in the same way in all samples: "
            "the interval of the sum is narrower than that, or as wide"
        )
    apart = any(count.kind == "not_named" for count in counts.counts)
    unsure = [sum(getattr(sample, name) for sample in counts.samples) for name in ("abstained", "unknown")]
    if any(unsure) and not apart:
        yield (
            f"the model abstained from {unsure[0]} of them, and took {unsure[1]} for none of its classes: they count "
            "as their likeliest class (--count accepted counts them apart)"
        )
    if text := about_cells(counts):
        yield text
    if counts.method:
        yield f"correction: {counts.method}"


def _how_to_read(counts: Counts) -> list[str]:
    """What the numbers of the short table are."""
    if len(counts.samples) == 1:
        return ["intervals are 90% intervals"]
    water = any(one.per_liter is not None or one.cells_per_liter is not None for one in counts.counts)
    return ["the table adds up all samples", *(["per liter: the lowest and the highest sample"] if water else [])]


def about_cells(counts: Counts) -> str:
    """Where the cells of images come from, in one sentence; empty if no image has any."""
    images = sum(sample.images for sample in counts.samples)
    by = [sum(getattr(one, origin) for one in counts.counts if one.kind == "class") for origin in ORIGINS]
    if not any(by):
        return ""
    numbers = zip((*_CELLS_FROM, "not known"), (*by, images - sum(by)), strict=True)
    return "cells on an image: " + ", ".join(f"{words} for {number} images" for words, number in numbers if number)


_CELLS_FROM = (
    "counted by people",
    "from the column cells of the input",
    "the number of the class (--cells)",
    "the mean of the counted images of the class",
)
"""The words for each of `ORIGINS`."""
