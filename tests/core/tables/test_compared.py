"""The table reader compared with pandas, which is told how each file was written, over 1,000 generated odd files."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pelagia.errors import InputError
from pelagia.tables.reader import table_of

pandas = pytest.importorskip("pandas")

COLUMNS = ("path", "label", " Station ", "depth, m", "note;x", "a|b", 'net 5"', "né", "#id", "lat", "img_file_name")
PLAIN = (
    "a.png",
    "x/b.png",
    "",
    "0",
    "-1.5",
    "43,5",
    "NA",
    "copepod",
    " two words ",
    "été",
    "Œuvre",
    "a'b",
    "C:\\x\\",
    "#",
)
QUOTES = ('5" net', '"Tara" leg 2', 'say "hi"', '"', '""', 'a"', '"x')
SEPARATORS = ("a,b", "a;b;c", "x\ty", "p|q", ",", '"a,b" c')
LINES = ("two\nlines", "a,\nb", "\n", 'q"\n"r')
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252")
outcomes: Counter[str] = Counter()


@dataclass(frozen=True)
class Odd:
    """A file, and what pandas has to be told to read it."""

    data: bytes
    encoding: str
    separator: str
    quoting: int
    escape: str | None
    skipped: int


def cells_for(quoting: str) -> st.SearchStrategy[str]:
    """Cells that a program which quotes in this way can write: one that never quotes cannot write a separator."""
    if quoting == "never":
        return st.sampled_from((*PLAIN, '5" net', '"Tara" leg 2'))
    return st.sampled_from(PLAIN + QUOTES + SEPARATORS + LINES)


@st.composite
def files(draw: st.DrawFn) -> Odd:
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    quoting = draw(st.sampled_from(["minimal", "minimal", "all", "never", "R"]))
    columns = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=5, unique=True))
    width = len(columns)
    rows = draw(st.lists(st.lists(cells_for(quoting), min_size=width, max_size=width), min_size=1, max_size=7))
    if quoting == "never":
        columns = [name.replace(separator, "_") for name in columns]
        rows = [[cell.replace(separator, "_") for cell in row] for row in rows]
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    lines = [written(row, separator, quoting) for row in [columns, *rows]]
    if separator != "\t" or quoting != "never":  # rows that are cut after their last value, as some programs do
        lines = [line.rstrip(separator) if draw(st.booleans()) and quoting != "all" else line for line in lines]
    if draw(st.integers(0, 4)) == 0:
        lines.insert(draw(st.integers(1, len(lines))), "")
    told = draw(st.sampled_from(["", "", "", "", f"sep={separator}", "# made by a program"]))
    encoding = draw(st.sampled_from(ENCODINGS))
    text = end.join([told, *lines] if told else lines) + draw(st.sampled_from([end, ""]))
    quotes = csv.QUOTE_NONE if quoting == "never" else csv.QUOTE_MINIMAL
    return Odd(text.encode(encoding), encoding, separator, quotes, "\\" if quoting == "R" else None, int(bool(told)))


def written(row: list[str], separator: str, quoting: str) -> str:
    """A line as csv writes it, or as R's write.table does, which writes a backslash before a quote."""
    if quoting == "never":
        return separator.join(row)
    if quoting == "R":
        return separator.join('"' + cell.replace("\\", "/").replace('"', '\\"') + '"' for cell in row)
    text = io.StringIO()
    quotes = csv.QUOTE_ALL if quoting == "all" else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=separator, quoting=quotes, lineterminator="\r\n").writerow(row)
    return text.getvalue().removesuffix("\r\n")


def with_pandas(odd: Odd) -> list[dict[str, str]]:
    frame = pandas.read_csv(
        io.BytesIO(odd.data), sep=odd.separator, encoding=odd.encoding, quoting=odd.quoting, escapechar=odd.escape,
        doublequote=odd.escape is None, skiprows=odd.skipped, dtype=str, keep_default_na=False, index_col=False,
    )  # fmt: skip
    frame.columns = [str(name).strip() for name in frame.columns]
    rows = [dict(row) for row in frame.fillna("").to_dict("records")]
    return [row for row in rows if any(map(str.strip, row.values()))]


@settings(
    max_examples=1000, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(files())
def compare(odd: Odd) -> None:
    warnings: list[str] = []
    try:
        table = table_of("t.csv", lambda: io.BytesIO(odd.data), warn=warnings.append, known={"path", "label"})
        ours = [row for _, row in table.rows()]
    except InputError:
        outcomes["refused"] += 1
        return
    try:
        theirs = with_pandas(odd)
    except (ValueError, pandas.errors.ParserError, pandas.errors.EmptyDataError):
        outcomes["pandas refused"] += 1
        return
    if ours == theirs:
        outcomes["same"] += 1
    elif warnings:
        outcomes["warned"] += 1
    else:
        raise AssertionError(f"{odd}\nours   {ours}\npandas {theirs}")


def test_a_thousand_odd_files_are_read_as_pandas_reads_them_or_refused_or_warned_of():
    outcomes.clear()
    compare()
    print(dict(outcomes))
    assert outcomes.total() >= 1000
    assert outcomes["same"] > 0.75 * outcomes.total()
