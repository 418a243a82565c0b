"""The comparison with which the demo ends; `make demo` itself is run by CI."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.counts_beside_truth import main

COLUMNS = ("kind", "station", "name", "sample_images", "raw", "corrected", "corrected_low", "corrected_high")
COLUMNS += ("per_liter", "per_liter_low", "per_liter_high")


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def compare(folder: Path, *rows: Sequence[object]) -> None:
    """Two stations: A with three copepods, B with one copepod."""
    counts = [("class", station, name, images, raw, *found, 5, 4, 6) for station, name, images, raw, *found in rows]
    counts.append(("taxon", "A", "Copepoda", 3, 3, 9, 8, 10, 5, 4, 6))
    truth = [("A", "copepod")] * 3 + [("B", "copepod")]
    main(
        write(folder / "counts.csv", COLUMNS, counts),
        write(folder / "truth.csv", ("station", "class"), truth),
    )


def test_only_classes_that_were_drawn_count_and_absent_ones_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(
        tmp_path,
        ("A", "copepod", 4, 3, 3.1, 2.5, 4.0),
        ("A", "medusa", 4, 1, 0.9, 0.4, 1.4),
        ("B", "copepod", 1, 2, 1.8, 1.2, 2.4),
        ("B", "medusa", 1, 0, 0.0, 0.0, 0.5),
    )
    said = capsys.readouterr().out
    assert "holds the number that was drawn for 1 of 2 stations and classes that are present (50%;" in said
    assert "and for 1 of 2 that are absent" in said
    assert "gives the number that was drawn for 1 of these 2" in said
    assert "mean error of the likeliest class: 0.50" in said
    assert "mean error of the corrected count: 0.45" in said
    assert "at A, the station with the most images (4)" in said


def test_counts_that_are_not_corrected_end_the_demo(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="are not corrected"):
        compare(tmp_path, ("A", "copepod", 4, 3, "", "", ""))
