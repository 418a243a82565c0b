"""Prints the counts of a simulated survey beside what was drawn. `scripts/demo.sh` ends with it.

    python scripts/counts_beside_truth.py COUNTS.csv TRUTH.csv

COUNTS.csv is the table of `pelagia counts --by station`, TRUTH.csv that of `pelagia simulate`. The truth of a class is
the number of its images that were drawn, divided by the volume of the sample.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter, defaultdict
from pathlib import Path

from pelagia.system import console


def main(counts: Path, truth: Path) -> None:
    """Prints the comparison."""
    drawn: dict[str, Counter[str]] = defaultdict(Counter)
    for row in _rows(truth):
        drawn[row["station"]][row["class"]] += 1
    rows = [row for row in _rows(counts) if row["kind"] == "class" and row["per_liter"]]
    errors: dict[str, list[float]] = {"the likeliest class": [], "the corrected count": []}
    inside = 0
    for row in rows:
        number, liters = drawn[row["station"]][row["name"]], float(row["sample_liters"])
        inside += float(row["per_liter_low"]) <= number / liters <= float(row["per_liter_high"])
        errors["the likeliest class"].append(abs(int(row["raw"]) - number))
        if row["corrected"]:
            errors["the corrected count"].append(abs(float(row["corrected"]) - number))
    largest = max(drawn, key=lambda station: drawn[station].total())
    shown = [_shown(row, drawn[largest][row["name"]]) for row in rows if row["station"] == largest]
    console.say(f"organisms per liter at {largest}, the station with the most images ({drawn[largest].total()}):")
    console.table(("class", "drawn", "counted", "90% interval"), shown)
    console.say(f"the interval holds what was drawn for {inside} of {len(rows)} stations and classes")
    for name, found in errors.items():
        if found:
            console.say(f"mean error of {name}: {sum(found) / len(found):.2f} images of a station and class")


def _shown(row: dict[str, str], number: int) -> tuple[str, ...]:
    drawn, counted, low, high = (
        f"{value:.3g}"
        for value in (
            number / float(row["sample_liters"]),
            *(float(row[name]) for name in ("per_liter", "per_liter_low", "per_liter_high")),
        )
    )
    return row["name"], drawn, counted, f"{low} to {high}"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
