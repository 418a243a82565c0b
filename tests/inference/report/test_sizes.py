"""The size spectrum of a survey: of the images that are counted, and per liter only if all of the water was imaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from counting import LITER, images, write_survey
from pelagia.survey.additions import Flag, Measured, add_measures, set_flags
from pelagia.survey.journal import Survey
from pelagia_inference.counts.counts import count_survey
from pelagia_inference.report.sizes import size_charts


def charts(folder: Path, excluded: frozenset[str] = frozenset()) -> list[str]:
    with Survey.open(folder, to_add=True) as survey:
        sizes = {f"a_calanus_{number}.png": 10.0 ** (2 + number) for number in range(4)}
        add_measures(survey, [Measured(path, {"esd_um": v**0.3, "biovolume_um3": v}) for path, v in sizes.items()])
        set_flags(survey, [Flag(path, "blurred") for path in excluded])
        counts = count_survey(survey, exclude_flags=["blurred"] if excluded else [])
        return [chart.caption for chart in size_charts(survey, counts.samples, excluded)]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, "divided by the octave's width and the volume of water."),
        ({"acq_sub_part": "4"}, "only a part was imaged, so it is that of the images"),
        ({"sampleSizeValue": ""}, "The volume of water is not known for every sample."),
    ],
)
def test_the_spectrum_is_per_liter_only_if_all_of_the_water_was_imaged(
    tmp_path: Path, columns: dict[str, str], said: str
) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"calanus": 4}, {**LITER, **columns}))
    assert said in charts(folder)[1]


def test_images_that_are_not_counted_have_no_size_on_the_page(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"calanus": 4}))
    assert "of 4 objects" in charts(folder)[0]
    assert "of 3 objects" in charts(folder, frozenset({"a_calanus_0.png"}))[0]
