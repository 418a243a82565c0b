"""The cells on the page of a survey."""

from pathlib import Path

from counting import LITER, image, images, write_survey
from pelagia.survey.journal import Survey
from pelagia_inference.counts.counts import count_survey
from pelagia_inference.report.composition import totals_table

A = {**LITER, "sample": "A"}


def test_the_table_of_classes_has_cells_if_any_are_known(tmp_path: Path) -> None:
    rows = [image("chain.png", "chaetoceros", {**A, "cells": "7"}), *images("a", {"calanus": 2}, A)]
    with Survey.open(write_survey(tmp_path / "s", rows)) as survey:
        table = totals_table(count_survey(survey))
    column = table.columns.index("Cells")
    assert {row[0].text: row[column].text for row in table.rows} == {"chaetoceros": "7", "calanus": ""}
    with Survey.open(write_survey(tmp_path / "t", images("a", {"calanus": 2}, A))) as survey:
        assert "Cells" not in totals_table(count_survey(survey)).columns
