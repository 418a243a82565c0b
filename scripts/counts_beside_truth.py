"""Prints the counts of a simulated survey beside what was drawn. `scripts/demo.sh` ends with it.

    python scripts/counts_beside_truth.py COUNTS.csv TRUTH.csv

COUNTS.csv is the table of `pelagia counts --by station`, TRUTH.csv that of `pelagia simulate`. The truth of a class is
the number of its images that were drawn. So it is compared with the interval of the corrected count, which holds the
errors of the model. The interval per liter is wider, because it also holds the chance of which organisms of the water
are in the sample; the simulation draws no water, so nothing can be said of how often it holds the truth.

Exit code 1 if the counts are not corrected.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from pelagia.system import console


@dataclass(frozen=True)
class Compared:
    """A class at a station: its row of the table of counts, and the number of images that were drawn."""

    row: dict[str, str]
    drawn: int

    def number(self, name: str) -> float:
        """A number of the row."""
        return float(self.row[name])

    @property
    def held(self) -> bool:
        """Whether the interval of the corrected count holds the truth."""
        return self.number("corrected_low") <= self.drawn <= self.number("corrected_high")


def compared(counts: Path, truth: Path) -> list[Compared]:
    """The classes at all stations. Ends the program if their counts are not corrected."""
    drawn: dict[str, Counter[str]] = defaultdict(Counter)
    for row in _rows(truth):
        drawn[row["station"]][row["class"]] += 1
    rows = [row for row in _rows(counts) if row["kind"] == "class"]
    if not rows or any(not row["corrected"] for row in rows):
        sys.exit(f"the counts in {counts} are not corrected: the model has no statistics for it")
    return [Compared(row, drawn[row["station"]][row["name"]]) for row in rows]


def main(counts: Path, truth: Path) -> None:
    """Prints the comparison."""
    found = compared(counts, truth)
    largest = max(found, key=lambda one: one.number("sample_images")).row
    console.say(f"at {largest['station']}, the station with the most images ({largest['sample_images']}):")
    console.table(
        ("class", "drawn", "corrected", "90% interval", "per liter", "90% interval"),
        [_shown(one) for one in found if one.row["station"] == largest["station"]],
    )
    console.say("the first interval holds the errors of the model, the second also the chance of a small sample")
    present, absent = ([one for one in found if bool(one.drawn) == there] for there in (True, False))
    held, held_absent = (sum(one.held for one in some) for some in (present, absent))
    console.say(
        f"the interval of the corrected count holds the number that was drawn for {held} of {len(present)} stations "
        f"and classes that are present ({held / len(present):.0%}; it is made for 90%), and for {held_absent} of "
        f"{len(absent)} that are absent"
    )
    exact = sum(one.number("raw") == one.drawn for one in present)
    console.say(f"the likeliest class alone gives the number that was drawn for {exact} of these {len(present)}")
    for name, column in (("the likeliest class", "raw"), ("the corrected count", "corrected")):
        mean = sum(abs(one.number(column) - one.drawn) for one in found) / len(found)
        console.say(f"mean error of {name}: {mean:.2f} images of a station and class")


def _shown(one: Compared) -> tuple[str, ...]:
    corrected, low, high = (f"{one.number(f'corrected{end}'):.1f}" for end in ("", "_low", "_high"))
    liter, liter_low, liter_high = (f"{one.number(f'per_liter{end}'):.3g}" for end in ("", "_low", "_high"))
    return one.row["name"], str(one.drawn), corrected, f"{low} to {high}", liter, f"{liter_low} to {liter_high}"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
