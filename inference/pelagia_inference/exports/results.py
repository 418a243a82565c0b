"""A survey written out: ``predictions.csv``, ``predictions.parquet``, or both, from its journal alone.

Invariant: every format has the columns of `pelagia.survey.columns` and a row for each image, by path; a file is whole or
absent; and a run that ends well leaves none behind that knows less than the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pelagia.errors import InputError, MissingExtra, did_you_mean
from pelagia.survey.columns import VERDICT, Columns
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import new_file
from pelagia.system.tables import Cell, write_table

CSV, PARQUET = "csv", "parquet"
FILES = {CSV: "predictions.csv", PARQUET: "predictions.parquet"}
"""What ``--format`` takes -> the name of the file."""
_ROW_GROUP = 4096


def formats_of(words: Iterable[str]) -> tuple[str, ...]:
    """Keys of `FILES`, each once, of words such as ``csv,parquet``.

    Raises:
        InputError: there is no such format, or none is named.
    """
    named = [name.strip().lower() for word in words for name in word.split(",")]
    for name in named:
        if name not in FILES:
            raise InputError(f"there is no format '{name}'{did_you_mean(name, FILES)}: choose {' or '.join(FILES)}")
    return tuple(dict.fromkeys(named))


def formats_to_write(folder: Path, wanted: Sequence[str]) -> tuple[str, ...]:
    """``wanted``, and those that lie in the survey's folder already, which would otherwise be out of date.

    Raises:
        MissingExtra: one of them needs pyarrow, which is not installed.
    """
    formats = tuple(name for name in FILES if name in wanted or (folder / FILES[name]).exists())
    if PARQUET in formats and find_spec("pyarrow") is None:
        raise MissingExtra(f"writing {FILES[PARQUET]}", "parquet", "pyarrow")
    return formats


def write_results(survey: Survey, formats: Iterable[str]) -> dict[str, Path]:
    """Writes the survey's files anew; the path of each by its format.

    Raises:
        SurveyError: the journal cannot be read.
        OSError: the disk is full or failing; what stood there before is as it was.
    """
    return {name: write_csv(survey) if name == CSV else write_parquet(survey) for name in formats}


def write_csv(survey: Survey) -> Path:
    """Writes ``predictions.csv``, one row an image, by path: the same rows always give the same bytes.

    RFC 4180 but for the line ends, which are Unix's; UTF-8. Probabilities have six decimals. Text that a spreadsheet
    would take for a formula is given a leading ``'`` (OWASP, "CSV Injection").
    """
    columns = survey.columns()
    target = survey.folder / FILES[CSV]
    rows = (row for values in _groups(survey, columns) for row in zip(*map(_cells, values), strict=True))
    write_table(target, columns.header, rows)
    return target


def write_parquet(survey: Survey) -> Path:
    """Writes ``predictions.parquet``, some rows at a time. Probabilities and scores are float32, all else is text.

    What is empty in the CSV is null here. Text is as the survey has it: no apostrophe guards a formula.
    """
    import pyarrow
    from pyarrow import parquet

    columns = survey.columns()
    floats = {name for _, name in columns.ranked} | ({VERDICT[-1]} if columns.decides else set())
    schema = pyarrow.schema(
        [(name, pyarrow.float32() if name in floats else pyarrow.string()) for name in columns.header]
    )
    target = survey.folder / FILES[PARQUET]
    with new_file(target) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for values in _groups(survey, columns):
            arrays = [pyarrow.array(one, type=kind) for one, kind in zip(values, schema.types, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), row_group_size=_ROW_GROUP)
    return target


def _groups(survey: Survey, columns: Columns) -> Iterator[list[list[Any]]]:
    """The survey, some rows at a time, as `_values`."""
    rows = iter(survey)
    while group := list(islice(rows, _ROW_GROUP)):
        yield _values(group, columns, survey.classes)


def _values(group: Sequence[Prediction], columns: Columns, classes: Sequence[str]) -> list[list[Any]]:
    """The values of each column of some rows, in the order of the header; None where there is nothing to say."""
    classified = [(place, one.probabilities) for place, one in enumerate(group) if one.probabilities is not None]
    ranked: list[list[Any]] = [[None] * len(group) for _ in range(2 * columns.ranks)]
    if classified:
        found = np.stack([probabilities for _, probabilities in classified])  # float32, images x classes
        best = np.argsort(-found, axis=1, kind="stable")[:, : columns.ranks]
        sure = np.take_along_axis(found, best, axis=1).tolist()
        for (place, _), indices, values in zip(classified, best.tolist(), sure, strict=True):
            for rank, (index, value) in enumerate(zip(indices, values, strict=True)):
                ranked[2 * rank][place], ranked[2 * rank + 1][place] = classes[index], value
    first = [[one.path for one in group], ["ok" if one.ok else "failed" for one in group]]
    verdict: list[list[Any]] = []
    if columns.decides:
        said = [one.verdict for one in group]
        verdict = [[getattr(one, name) or None for one in said] for name in ("decision", "name", "rank")]
        verdict.append([one.unknown for one in group])
    last = [[one.reason or None for one in group], [one.message or None for one in group]]
    return [
        *first,
        *ranked,
        *verdict,
        *last,
        *([one.columns.get(name) or None for one in group] for name in columns.own),
    ]


def _cells(values: Sequence[Any]) -> list[Cell]:
    """A column of the CSV: numbers with six decimals."""
    return [f"{value:.6f}" if isinstance(value, float) else value for value in values]
