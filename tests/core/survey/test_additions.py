"""What is added to a survey after the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pelagia.survey.additions import (
    Confirmed,
    Flag,
    Measured,
    add_confirmed,
    add_measures,
    confirmed_label,
    confirmed_of,
    image_flags,
    measures_of,
    sample_flags,
    set_flags,
)
from pelagia.survey.journal import Prediction, Survey


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Survey.open_for_writing(tmp_path / "s", model_sha256="a" * 64, classes=["a", "b"], settings={}) as survey:
        survey.add([Prediction("x.png", "/x.png", "c" * 64, probabilities=np.array([0.9, 0.1], np.float32))])
    return tmp_path / "s"


def test_what_is_added_is_read_back_and_a_later_row_replaces_an_earlier_one(folder: Path) -> None:
    with Survey.open(folder, to_add=True) as survey:
        add_confirmed(survey, [Confirmed("x.png", "a", "Ada")])
        add_confirmed(survey, [Confirmed("x.png", "b", "Ben", "2024-05-01", "one")])
        set_flags(survey, [Flag("x.png", "blurred", "3")], [Flag("S1", "no_volume")])
        add_measures(survey, [Measured("x.png", {"area_px": 7.0})])
    with Survey.open(folder) as survey:
        label = Confirmed("x.png", "b", "Ben", "2024-05-01", "one")
        assert confirmed_of(survey) == {"x.png": label}
        assert (confirmed_label(survey, "x.png"), confirmed_label(survey, "y.png")) == (label, None)
        assert list(image_flags(survey)) == [Flag("x.png", "blurred", "3")]
        assert list(sample_flags(survey)) == [Flag("S1", "no_volume")]
        assert list(measures_of(survey)) == [Measured("x.png", {"area_px": 7.0})]


def test_labels_of_people_alone_make_a_survey_neither_checked_nor_measured(folder: Path) -> None:
    with Survey.open(folder, to_add=True) as survey:
        add_confirmed(survey, [Confirmed("x.png", "a")])
    with Survey.open(folder) as survey:
        assert [name for name in ("confirmed", "flags", "sample_flags", "measures") if survey.has_table(name)] == [
            "confirmed"
        ]


def test_a_check_that_ends_midway_leaves_the_flags_of_the_one_before(folder: Path) -> None:
    def interrupted() -> Iterator[Flag]:
        yield Flag("x.png", "clipped")
        raise KeyboardInterrupt

    with Survey.open(folder, to_add=True) as survey:
        set_flags(survey, [Flag("x.png", "blurred")], [Flag("S1", "no_volume")])
        with pytest.raises(KeyboardInterrupt):
            set_flags(survey, interrupted())
    with Survey.open(folder) as survey:
        assert (list(image_flags(survey)), list(sample_flags(survey))) == (
            [Flag("x.png", "blurred")],
            [Flag("S1", "no_volume")],
        )


def test_a_check_that_finds_nothing_leaves_its_tables(folder: Path) -> None:
    with Survey.open(folder, to_add=True) as survey:
        set_flags(survey, ())
    with Survey.open(folder) as survey:
        assert survey.has_table("flags")
        assert survey.has_table("sample_flags")
        assert list(image_flags(survey)) == []
