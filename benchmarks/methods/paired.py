"""Results of several methods over the same seeds: the lines of a file, and their table with paired differences.

A line is a dictionary with ``method``, ``seed`` and measures, written as JSON. A killed benchmark may have written a
part of the last line, which is left out, so this run is made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Line = Mapping[str, Any]


def finished(out: Path) -> list[dict[str, Any]]:
    """The complete lines of a file; none if there is no file."""
    if not out.is_file():
        return []
    whole = [text for text in out.read_text(encoding="utf-8").splitlines(keepends=True) if text.endswith("\n")]
    return [json.loads(text) for text in whole]


def add(out: Path, line: Line) -> None:
    """Appends a line to the file, which a kill cannot lose after the return."""
    kept = "".join(json.dumps(one) + "\n" for one in finished(out))
    with out.open("w", encoding="utf-8") as file:
        file.write(kept + json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def table(lines: Sequence[Line], measures: Sequence[str], against: Mapping[str, str]) -> Iterator[str]:
    """The lines of a Markdown table: mean and standard deviation over seeds, and the difference to another method.

    A difference is the mean of the differences between runs of the same seed, with its standard error.

    Args:
        measures: the keys to show, in percent.
        against: for each method, the method that it is compared with; its own name for none.
    """
    yield "| method | seeds | " + " | ".join(f"{name} | {name}, difference" for name in measures) + " |"
    yield "| --- | --- |" + " --- | --- |" * len(measures)
    by_method: dict[str, dict[int, Line]] = {}
    for line in lines:
        by_method.setdefault(line["method"], {})[line["seed"]] = line
    for method, runs in by_method.items():
        other = by_method.get(against.get(method, method), {}) if against.get(method, method) != method else {}
        cells = []
        for name in measures:
            cells.append(spread([run[name] for run in runs.values()]))
            cells.append(difference([(run[name], other[seed][name]) for seed, run in runs.items() if seed in other]))
        yield f"| {method} | {len(runs)} | " + " | ".join(cells) + " |"


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation of shares, in percent."""
    deviation = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{deviation}"


def difference(pairs: Sequence[tuple[float, float]]) -> str:
    """The mean difference of pairs of shares ± its standard error, in points; empty without pairs."""
    if not pairs:
        return ""
    gaps = [100 * (one - other) for one, other in pairs]
    error = f" ± {np.std(gaps, ddof=1) / np.sqrt(len(gaps)):.1f}" if len(gaps) > 1 else ""
    return f"{np.mean(gaps):+.1f}{error}"
