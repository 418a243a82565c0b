"""Cells, volume and carbon of images whose numbers were worked out by hand."""

from pathlib import Path

import pytest

from counting import LITER, image, images, write_survey
from pelagia.errors import InputError
from pelagia.survey.additions import CountedCells, Measured, add_counted_cells, add_measures
from pelagia.survey.journal import Survey
from pelagia_inference.counts.cells import CellTable, read_cells
from pelagia_inference.counts.counts import Count, count_survey
from pelagia_inference.counts.table import about, summary

A = {**LITER, "sample": "A"}


def counted(folder: Path, cells: CellTable | None = None) -> dict[str, Count]:
    with Survey.open(folder) as survey:
        return {count.name: count for count in count_survey(survey, cells=cells).counts}


def table(path: Path, text: str) -> CellTable:
    path.write_text(text)
    return read_cells(path)


def test_cells_that_were_counted_on_each_image_are_added_up(tmp_path: Path) -> None:
    rows = [image(f"{cells}.png", "chaetoceros", {**A, "cells": str(cells)}) for cells in (2, 4, 12)]
    found = counted(write_survey(tmp_path / "s", rows))
    assert (found["chaetoceros"].cells, found["chaetoceros"].cells_per_liter) == (18.0, 9.0)  # in 2 liters
    assert found["Bacillariophyceae"].cells == 18.0
    assert found["calanus"].cells is None  # no image of it was counted


def test_an_image_without_cells_has_the_mean_of_the_others_of_its_class(tmp_path: Path) -> None:
    texts = enumerate(("2", "4", "", ""))
    rows = [image(f"{number}.png", "chaetoceros", {**A, "cells": cells}) for number, cells in texts]
    assert counted(write_survey(tmp_path / "s", rows))["chaetoceros"].cells == 4 * 3.0


def test_a_table_gives_the_cells_of_a_class_with_their_spread(tmp_path: Path) -> None:
    cells = table(tmp_path / "cells.csv", "class,cells,sd,images\nchaetoceros,5,2,16\ncalanus,1,,\n")
    found = counted(write_survey(tmp_path / "s", images("a", {"chaetoceros": 10, "calanus": 4}, A)), cells)
    diatom = found["chaetoceros"]
    assert diatom.cells == 50.0
    half = 10 * 1.644854 * (2**2 / 16 + 2**2 / 10) ** 0.5  # no error of the machine: that of the cells alone
    assert diatom.cells_low == pytest.approx(50 - half, rel=1e-5)
    assert diatom.cells_high == pytest.approx(50 + half, rel=1e-5)
    assert diatom.cells_per_liter == 25.0
    up = ((16.9622 - 10) / 2 * 5) ** 2 + (half / 2) ** 2  # the chance of the sample, and the cells
    assert diatom.cells_per_liter_high == pytest.approx(25 + up**0.5, rel=1e-4)
    assert (found["calanus"].cells, found["Animalia"].cells) == (4.0, 4.0)


def test_a_taxon_has_no_cells_if_a_class_of_it_has_none(tmp_path: Path) -> None:
    cells = table(tmp_path / "cells.csv", "class,cells\ncalanus,1\n")
    found = counted(write_survey(tmp_path / "s", images("a", {"acartia": 1, "calanus": 4}, A)), cells)
    assert (found["calanus"].cells, found["acartia"].cells, found["Copepoda"].cells) == (4.0, None, None)


def test_people_who_counted_the_cells_of_an_image_come_first(tmp_path: Path) -> None:
    cells = table(tmp_path / "cells.csv", "path,cells\n1.png,7\n")
    rows = [image("1.png", "chaetoceros", {**A, "cells": "2"}), image("2.png", "chaetoceros", {**A, "cells": "3"})]
    assert counted(write_survey(tmp_path / "s", rows), cells)["chaetoceros"].cells == 10.0


def origins(count: Count) -> tuple[int, int, int, int]:
    return count.cells_by_people, count.cells_by_column, count.cells_by_class, count.cells_by_mean


def test_people_then_the_column_then_the_number_of_the_class(tmp_path: Path) -> None:
    texts = ("2", "3", "", "")  # people counted 7 on the first
    rows = [image(f"{number}.png", "chaetoceros", {**A, "cells": cells}) for number, cells in enumerate(texts)]
    folder = write_survey(tmp_path / "s", rows)
    with Survey.open(folder, to_add=True) as survey:
        add_counted_cells(survey, [CountedCells("0.png", 7.0, "Ann", "a dataset")])
    found = counted(folder, table(tmp_path / "cells.csv", "class,cells,sd,images\nchaetoceros,6,2,16\n"))["chaetoceros"]
    assert found.cells == 7 + 3 + 2 * 6
    assert origins(found) == (1, 1, 2, 0)
    # half of the images were counted: mean 5, variance 8, 2 images; the others: mean 6, variance 4, 16 images
    half = 4 * 1.644854 * ((8 / 4 / 2 + 4 / 4 / 16) + (8 + 4) / 2 / 4) ** 0.5
    assert found.cells_high == pytest.approx(22 + half, rel=1e-5)
    without = counted(folder)["chaetoceros"]
    assert (without.cells, origins(without)) == (4 * 5, (1, 1, 0, 2))
    with Survey.open(folder) as survey:
        assert [text for text in about(count_survey(survey)) if text.startswith("cells")] == [
            "cells on an image: counted by people for 1 images, from the column cells of the input for 1 images, the "
            "mean of the counted images of the class for 2 images"
        ]


def test_a_sample_without_counted_images_has_the_number_of_the_class(tmp_path: Path) -> None:
    rows = [image("a.png", "chaetoceros", {**A, "cells": "9"}), image("b.png", "chaetoceros", {**A, "sample": "B"})]
    folder = write_survey(tmp_path / "s", rows)
    cells = table(tmp_path / "cells.csv", "class,cells\nchaetoceros,6\n")
    with Survey.open(folder) as survey:
        found = count_survey(survey, cells=cells)
        assert (summary(found)[0][-1], summary(found)[1][0][-1]) == ("cells per liter", "3 to 4.5")  # in 2 liters each
        counts = [one for one in found.counts if one.name == "chaetoceros"]
        assert {one.sample: (one.cells, origins(one)) for one in counts} == {
            "A": (9.0, (0, 1, 0, 0)),
            "B": (6.0, (0, 0, 1, 0)),
        }


def test_counts_without_cells_say_nothing_of_them(tmp_path: Path) -> None:
    with Survey.open(write_survey(tmp_path / "s", images("a", {"calanus": 2}, A))) as survey:
        found = count_survey(survey)
    assert not [text for text in about(found) if text.startswith("cells")]
    assert origins(found.counts[0]) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("class,number\nx,1\n", "has the columns class, cells"),
        ("class,cells\nx,many\n", "line 2: cells 'many' is not a number from 0 to 1,000,000,000"),
        ("class,cells\nx,1e308\n", "line 2: cells '1e308' is not a number from 0 to 1,000,000,000"),
        ("class,cells\nx,1\nx,2\n", "line 3: the class 'x' is in the table twice"),
        ("path,cells\na.png,2\na.png,3\n", "line 3: 3 cells for 'a.png', but 2 in a row above"),
        ("path,cells\n,2\n", "line 2: a number of cells, but no path"),
        ("class,cells,carbon\nx,1,tree\n", "line 2: carbon 'tree' is not one of diatom, protist, none"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        table(tmp_path / "cells.csv", text)


def test_names_of_the_table_that_are_not_in_the_survey_are_said(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "s", [image("1.png", "chaetoceros", A)])
    by_image = table(tmp_path / "images.csv", "path,cells\n1.png,7\n1.png,7\nimages/1.png,7\n")
    by_class = table(tmp_path / "classes.csv", "class,cells\nChaetoceros,7\n")
    with Survey.open(folder) as survey:
        said = [count_survey(survey, cells=cells).warnings[-1] for cells in (by_image, by_class)]
    assert said == [
        "--cells: 1 of the 2 images in the table are not in the survey, and are not used: images/1.png; a path must "
        "be that of predictions.csv",
        "--cells: the table has classes that the survey does not have: 'Chaetoceros' (did you mean 'chaetoceros'?)",
    ]


def test_the_volume_of_a_class_is_the_mean_of_its_measured_images_times_their_number(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"chaetoceros": 4}, A))
    with Survey.open(folder, to_add=True) as survey:
        measured = {"a_chaetoceros_0.png": 1000.0, "a_chaetoceros_1.png": 3000.0}
        add_measures(survey, [Measured(path, {"biovolume_um3": volume}) for path, volume in measured.items()])
    found = counted(folder)["Bacillariophyceae"]
    assert (found.measured, found.biovolume_um3) == (2, 8000.0)
    assert found.biovolume_mm3_per_m3 == pytest.approx(4000 * 1e-9 / 1e-3)  # 8,000 um3 in 2 liters


def test_the_carbon_of_a_chain_is_that_of_its_cells(tmp_path: Path) -> None:
    pytest.importorskip("pelagia_inference.checks.shape")
    folder = write_survey(tmp_path / "s", images("a", {"chaetoceros": 2, "calanus": 1}, A))
    with Survey.open(folder, to_add=True) as survey:
        measured = {"a_chaetoceros_0.png": 4000.0, "a_chaetoceros_1.png": 4000.0, "a_calanus_0.png": 1e9}
        add_measures(survey, [Measured(path, {"biovolume_um3": volume}) for path, volume in measured.items()])
    cells = table(tmp_path / "cells.csv", "class,cells\nchaetoceros,4\ncalanus,1\n")
    found = counted(folder, cells)
    carbon = 2 * 4 * 0.288 * 1000**0.811  # two chains of four cells of 1,000 um3 (Menden-Deuer and Lessard 2000)
    assert found["chaetoceros"].carbon_pg == pytest.approx(carbon)
    assert found["chaetoceros"].carbon_ug_per_liter == pytest.approx(carbon / 2 * 1e-6)
    assert found["calanus"].carbon_pg is None  # no formula for animals
    with Survey.open(folder) as survey:
        said = [text for text in count_survey(survey).warnings if "is that of one cell" in text]
    assert len(said) == 1
    assert "the carbon of chaetoceros is" in said[0]
