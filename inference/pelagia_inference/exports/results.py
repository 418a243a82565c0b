"""Writes a survey as ``predictions.csv``, ``predictions.parquet``, or both, only from its journal.

Invariant: every format has the columns of `pelagia.survey.columns` and one row for each image, sorted by path. A file
is complete or does not exist. After a completed run, no file is older than the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pelagia.errors import InputError, MissingExtra, did_you_mean
from pelagia.model.decision import Decider
from pelagia.model.rules import rules_of
from pelagia.shell import command_line
from pelagia.survey.columns import VERDICT, ResultColumns
from pelagia.survey.journal import Prediction, Survey
from pelagia.survey.model_card import card_of_survey
from pelagia.system.files import new_file
from pelagia.system.tables import Cell, write_table

CSV, PARQUET = "csv", "parquet"
FILES = {CSV: "predictions.csv", PARQUET: "predictions.parquet"}
"""Name in ``--format`` -> name of the file."""
_ROWS_AT_ONCE = 4096


def formats_of(options: Iterable[str]) -> tuple[str, ...]:
    """The keys of `FILES` in options such as ``csv,parquet``, each once.

    Raises:
        InputError: an option names an unknown format, or no format.
    """
    names = [name.strip().lower() for option in options for name in option.split(",")]
    for name in names:
        if name not in FILES:
            raise InputError(f"there is no format '{name}'{did_you_mean(name, FILES)}: choose {' or '.join(FILES)}")
    return tuple(dict.fromkeys(names))


def formats_to_write(folder: Path, wanted: Sequence[str]) -> tuple[str, ...]:
    """``wanted``, and the formats that are in the survey's folder already, which would otherwise be out of date.

    Raises:
        MissingExtra: one of them needs pyarrow, which is not installed.
    """
    formats = tuple(name for name in FILES if name in wanted or (folder / FILES[name]).exists())
    if PARQUET in formats and find_spec("pyarrow") is None:
        raise MissingExtra(f"writing {FILES[PARQUET]}", "parquet", "pyarrow")
    return formats


def write_results(survey: Survey, formats: Iterable[str]) -> dict[str, Path]:
    """Writes the survey's files, and replaces older ones. Returns format -> path.

    A file that cannot be replaced, because Excel on Windows holds it open, stays. The new one gets another name, such
    as ``predictions (2).csv``, and `held_open` has a warning for it.

    Raises:
        SurveyError: the journal cannot be read.
        OSError: the disk is full or failing; an older file is unchanged.
    """
    return {name: _write(survey, name) for name in formats}


def held_open(files: Mapping[str, Path]) -> list[str]:
    """A warning for each file of `write_results` that could not get its own name."""
    return [
        f"{FILES[name]} is open in another program, so the results are in '{path.name}': close {FILES[name]}, and run "
        f"{command_line('pelagia', 'survey', 'export', path.parent, f'--format={name}')}"
        for name, path in files.items()
        if path.name != FILES[name]
    ]


def _write(survey: Survey, name: str) -> Path:
    write = write_csv if name == CSV else write_parquet
    target = survey.folder / FILES[name]
    try:
        write(survey, target)
    except PermissionError:
        if not target.exists():
            raise
        others = (target.with_stem(f"{target.stem} ({number})") for number in count(2))
        target = next(path for path in others if not path.exists())
        write(survey, target)
    return target


class ResultRows(Protocol):
    """Rows to write: those of a survey, or the same rows with other verdicts.

    Attributes:
        classes: the class names, in the order of the probabilities.
        decider: the rule that gave the verdicts; None if the columns have no `RULE`.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def decider(self) -> Decider | None: ...
    def columns(self) -> ResultColumns: ...
    def __iter__(self) -> Iterator[Prediction]: ...


class _Stored:
    """The rows of a survey as they are."""

    def __init__(self, survey: Survey) -> None:
        self._survey, self.classes, self._columns = survey, survey.classes, survey.columns()
        card = card_of_survey(survey) if self._columns.rules else None
        self.decider = None if card is None else card.decider

    def columns(self) -> ResultColumns:
        return self._columns

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self._survey)


def write_csv(survey: Survey | ResultRows, target: Path, *, exact: bool = False) -> None:
    """Writes ``predictions.csv``, one row for each image, sorted by path. The same rows always give the same bytes.

    `pelagia.system.tables` says how the file is written; it begins with a mark, so that Excel reads letters with
    accents. Probabilities and scores have six decimals.

    Args:
        exact: for programs and not for Excel: no mark, and no apostrophe before a formula.
    """
    rows = _Stored(survey) if isinstance(survey, Survey) else survey
    columns = rows.columns()
    cells = (row for values in groups_of_values(rows, columns) for row in zip(*map(_cells, values), strict=True))
    write_table(target, columns.header, cells, guard_formulas=not exact, mark=not exact)


def write_parquet(survey: Survey | ResultRows, target: Path) -> None:
    """Writes ``predictions.parquet``, in groups of rows. Probabilities and scores are float32, all else is text.

    A cell that is empty in the CSV is null here. Text is exactly as in the survey, with no apostrophe before a formula.
    """
    import pyarrow
    from pyarrow import parquet

    rows = _Stored(survey) if isinstance(survey, Survey) else survey
    columns = rows.columns()
    floats = {name for _, name in columns.ranked} | ({VERDICT[-1]} if columns.decides else set())
    schema = pyarrow.schema(
        [(name, pyarrow.float32() if name in floats else pyarrow.string()) for name in columns.header]
    )
    with new_file(target) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for values in groups_of_values(rows, columns):
            arrays = [pyarrow.array(cells, type=kind) for cells, kind in zip(values, schema.types, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), row_group_size=_ROWS_AT_ONCE)


def groups_of_values(survey: Survey | ResultRows, columns: ResultColumns) -> Iterator[list[list[Any]]]:
    """Yields the rows of a survey in groups, in the form that `_values` returns."""
    rows = _Stored(survey) if isinstance(survey, Survey) else survey
    left = iter(rows)
    while group := list(islice(left, _ROWS_AT_ONCE)):
        yield _values(group, columns, rows.classes, rows.decider)


def _values(
    rows: Sequence[Prediction], columns: ResultColumns, classes: Sequence[str], decider: Decider | None
) -> list[list[Any]]:
    """The values of each column for some rows, in the order of the header. None is an empty cell."""
    return [
        [row.path for row in rows],
        ["ok" if row.ok else "failed" for row in rows],
        *_ranked(rows, columns.ranks, classes),
        *(_verdicts(rows) if columns.decides else []),
        *([] if decider is None else [_rules(rows, classes, decider)]),
        [row.reason or None for row in rows],
        [row.message or None for row in rows],
        *([row.columns.get(name) or None for row in rows] for name in columns.own),
    ]


def _ranked(rows: Sequence[Prediction], ranks: int, classes: Sequence[str]) -> list[list[Any]]:
    """The columns of the most likely class and its probability, of the next class and its probability, and so on."""
    ranked: list[list[Any]] = [[None] * len(rows) for _ in range(2 * ranks)]
    classified = [(number, row.probabilities) for number, row in enumerate(rows) if row.probabilities is not None]
    if not classified:
        return ranked
    probabilities = np.stack([row for _, row in classified])  # float32, images x classes
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :ranks]
    highest = np.take_along_axis(probabilities, best, axis=1).tolist()
    for (number, _), indices, values in zip(classified, best.tolist(), highest, strict=True):
        for rank, (index, value) in enumerate(zip(indices, values, strict=True)):
            ranked[2 * rank][number], ranked[2 * rank + 1][number] = classes[index], value
    return ranked


def _verdicts(rows: Sequence[Prediction]) -> list[list[Any]]:
    """The columns `VERDICT`."""
    names = ("decision", "name", "rank")
    return [*([getattr(row.verdict, name) or None for row in rows] for name in names), [row.unknown for row in rows]]


def _rules(rows: Sequence[Prediction], classes: Sequence[str], decider: Decider) -> list[str | None]:
    """The column `RULE`."""
    cells: list[str | None] = [None] * len(rows)
    decided = [(number, row) for number, row in enumerate(rows) if row.probabilities is not None]
    if not decided:
        return cells
    probabilities = np.stack([row.probabilities for _, row in decided if row.probabilities is not None])
    verdicts, scores = [row.verdict for _, row in decided], [row.unknown for _, row in decided]
    for (number, _), rule in zip(decided, rules_of(decider, classes, verdicts, probabilities, scores), strict=True):
        cells[number] = None if rule is None else rule.text
    return cells


def _cells(values: Sequence[Any]) -> list[Cell]:
    """The cells of a column of the CSV; numbers get six decimals."""
    return [f"{value:.6f}" if isinstance(value, float) else value for value in values]
