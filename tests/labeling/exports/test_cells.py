"""The cells of an image by class, from the images of a dataset that people counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from pelagia.dataset.schema import Dataset
from pelagia.errors import InputError
from pelagia_inference.counts.cells import CellsPerImage, read_cells
from pelagia_labeling.exports.cells import cells_by_class, write_cells
from pelagia_labeling.importers.dataset import import_dataset

ROWS = """path,class,cells_counted,cells
0000.png,chain,4,9
0001.png,chain,6,9
0002.png,chain,8.5,9
0003.png,chain,,9
0004.png,single,1,1
0005.png,medusa,,0
0006.png,chain,0,9
"""


@pytest.fixture
def dataset(tmp_path: Path, make_images: Callable[..., Path]) -> Dataset:
    images = make_images(7)
    (images / "labels.csv").write_text(ROWS)
    return import_dataset(images, tmp_path / "dataset", manifest=images / "labels.csv")


def test_mean_and_spread_are_those_of_the_counted_images(dataset: Dataset, tmp_path: Path) -> None:
    found = cells_by_class(dataset)
    write_cells(found, tmp_path / "cells.csv")
    assert (tmp_path / "cells.csv").read_text().splitlines() == [
        "class,cells,sd,images",
        "chain,6.16667,2.25462,3",
        "single,1.0,,1",
    ]
    read = read_cells(tmp_path / "cells.csv").classes
    assert read == {"chain": CellsPerImage(6.16667, 2.25462, 3), "single": CellsPerImage(1.0, 0.0, 1)}
    said = "\n".join(found.lines())
    zero = next(record.path for record in dataset.records if record.extra["cells_counted"] == "0")
    assert f"1 numbers are not used, because they are not from 1 to 10000: {zero} (0)" in said
    assert "no image was counted of medusa: not in the table" in said
    assert "not all images were counted of chain (3 of 5)" in said
    assert "fewer than 10 images were counted of chain (3), single (1)" in said


def test_another_column_is_used_only_if_it_is_named(dataset: Dataset) -> None:
    assert [one.counted.count for one in cells_by_class(dataset, "cells").classes] == [5, 0, 1]
    bare = replace(dataset, records=tuple(replace(one, extra={"cells": "4"}) for one in dataset.records))
    with pytest.raises(InputError, match="has no column 'cells_counted'.*name a column with --column; it has: cells"):
        cells_by_class(bare)
    empty = replace(dataset, records=tuple(replace(one, extra={"cells_counted": ""}) for one in dataset.records))
    with pytest.raises(InputError, match="has a number of cells in the column 'cells_counted': let people count"):
        cells_by_class(empty)


def test_the_command_writes_what_counts_read_and_says_what_to_type_next(
    dataset: Dataset, tmp_path: Path, pelagia: Pelagia
) -> None:
    done = pelagia("dataset", "cells", dataset.root, "--out", tmp_path / "c.csv")
    assert done.returncode == 0
    assert "chain" in done.stdout
    assert f"pelagia counts SURVEY --cells {tmp_path / 'c.csv'}" in done.stdout
    again = pelagia("dataset", "cells", dataset.root, "--out", tmp_path / "c.csv")
    assert again.returncode == 2
