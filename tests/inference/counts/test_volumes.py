"""Volumes and sub-sampling that cannot be right, or that can be read in two ways."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from counting import LITER, images, write_survey
from pelagia.survey.journal import Survey
from pelagia_inference.counts.counts import Counts, count_survey
from pelagia_inference.counts.volumes import effort_of


def counted(folder: Path) -> Counts:
    with Survey.open(folder) as survey:
        return count_survey(survey)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"subsample_fraction": "1/0"}, "the fraction '1/0' is not above 0 and at most 1"),
        ({"subsample_fraction": "1e-320"}, "an image would stand for inf organisms, which is not plausible"),
        ({"acq_sub_part": "1e300"}, "an image would stand for 1e+300 organisms, which is not plausible"),
        ({"sampleSizeValue": "1e-320"}, "a volume of '1e-320 litre' is not plausible"),
        ({"sampleSizeValue": "1e308"}, "a volume of '1e308 litre' is not plausible"),
        (
            {"acq_imaged_volume": "5", "sample_concentrated_sample_volume": "2"},
            "more was imaged than there was: an image would stand for 0.4 organisms",
        ),
    ],
)
def test_an_effort_that_cannot_be_right_gives_no_concentration(columns: dict[str, str], why: str) -> None:
    found = effort_of({**LITER, **columns})
    assert why in found.fault
    assert found.liters is None


@pytest.mark.parametrize("volume", ["1e-320", "1e308"])
def test_a_volume_that_cannot_be_right_is_one_warning(pelagia: Pelagia, tmp_path: Path, volume: str) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"calanus": 4}, {**LITER, "sampleSizeValue": volume}))
    done = pelagia("counts", folder, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "is not plausible" in json.loads(done.stdout)["samples"][0]["no_volume"]


@pytest.mark.parametrize(("text", "said"), [("1,000", True), ("12,500", True), ("0,125", False), ("1,0", False)])
def test_a_comma_that_may_separate_thousands_is_warned_of(tmp_path: Path, text: str, said: bool) -> None:
    counts = counted(write_survey(tmp_path / "s", images("a", {"calanus": 4}, {**LITER, "sampleSizeValue": text})))
    assert any(f"the volume '{text}' was read with a decimal comma" in text_ for text_ in counts.warnings) is said
    assert counts.samples[0].volume_l == float(text.replace(",", "."))


def test_samples_with_one_kind_of_fault_are_one_warning(tmp_path: Path) -> None:
    rows = [
        row
        for number in range(7)
        for row in images(
            f"{number}", {"calanus": 1}, {**LITER, "sample": f"S{number}", "sampleSizeValue": f"-{number}"}
        )
    ]
    [said] = [text for text in counted(write_survey(tmp_path / "s", rows)).warnings if "no concentration" in text]
    assert said.startswith("7 of 7 samples have no concentration: the volume '-0' is not a number above 0")
    assert said.endswith("and others like it: S0, S1, S2, S3, S4 and 2 more")


def test_many_names_that_differ_only_in_capitals_are_one_warning(tmp_path: Path) -> None:
    rows = [row for name in "aAbBcCdD" for row in images(f"x{ord(name)}", {"calanus": 1}, {**LITER, "sample": name})]
    [said] = [text for text in counted(write_survey(tmp_path / "s", rows)).warnings if "capitals" in text]
    assert "the names of the samples 'A' and 'a', 'B' and 'b', 'C' and 'c' and 1 more differ only" in said
