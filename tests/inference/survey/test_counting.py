"""The count beside a run, and the line that a person at a terminal sees."""

import os
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pelagia.model.metadata import ModelFile
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.survey.counting import count_in_background


def soon(total: Callable[[], int | None], seconds: float = 30.0) -> int | None:
    end = time.monotonic() + seconds
    while total() is None and time.monotonic() < end:
        time.sleep(0.01)
    return total()


def test_a_folders_images_are_counted(survey: SimulatedSurvey) -> None:
    with count_in_background([survey.root]) as total:
        assert soon(total) == survey.images


def test_what_must_be_unpacked_to_be_listed_is_not_counted(survey: SimulatedSurvey, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "crops.tar.gz", "w:gz") as tar:
        tar.add(survey.root, "crops")
    with count_in_background([tmp_path / "crops.tar.gz"]) as total:
        assert soon(total, 2.0) is None


def test_a_wrong_input_is_left_to_the_run(tmp_path: Path) -> None:
    with count_in_background([tmp_path / "nowhere"]) as total:
        assert soon(total, 1.0) is None


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_terminal_shows_how_many_of_how_many_and_the_rate(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    import pty

    shown = bytearray()

    def keep(descriptor: int) -> bytes:
        data = os.read(descriptor, 4096)
        shown.extend(data)
        return data

    command = [sys.executable, "-m", "pelagia.cli", "classify", model.path, survey.root, "--out", tmp_path / "out"]
    os.environ["COLUMNS"] = "200"
    try:
        status = pty.spawn(list(map(str, command)), keep)
    finally:
        del os.environ["COLUMNS"]
    text = shown.decode(errors="replace")
    assert os.waitstatus_to_exitcode(status) == 0, text
    assert f"/{survey.images}" in text
    assert "images/s, 0 failed" in text
