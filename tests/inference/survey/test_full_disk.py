"""Disks that fill up and drives that go away, for real: a small tmpfs, and a bind mount that is taken off midway."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest

from benchmarks.untrained import write_tiny
from cli_fixtures import Pelagia
from disk_fixtures import Mounts, Result, fill
from pelagia.synthetic.survey import SimulatedSurvey

COPIES = 8


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def images(survey: SimulatedSurvey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of images, 1,920 in all."""
    folder = tmp_path_factory.mktemp("images") / "cruise"
    for copy in range(COPIES):
        shutil.copytree(survey.root / "images", folder / str(copy))
    return folder


@pytest.fixture(scope="module")
def expected(pelagia: Pelagia, tiny: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The CSV of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    done = pelagia("classify", tiny, images, "--out", out)
    assert done.returncode == 0, done.stderr
    return (out / "predictions.csv").read_text()


def assert_full(result: Result, code: int) -> None:
    [line] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "full: free some space and run the same command again" in line
    assert "Traceback" not in result.stderr
    assert result.returncode == code, result.stderr


@pytest.mark.parametrize("left", [0, 16, 200], ids=lambda left: f"{left} kB left")
def test_a_full_disk_is_one_line_and_the_same_command_resumes_when_there_is_space(
    mounts: Mounts, disk: Path, tiny: Path, images: Path, expected: str, left: int
) -> None:
    command = (tiny, images, "--out", disk / "out")
    fill(mounts, disk, left)
    assert_full(mounts.classify(*command), 5)
    mounts.must("rm", disk / "filler")
    again = mounts.classify(*command)
    assert again.returncode == 0, again.stderr
    assert mounts.must("cat", disk / "out" / "predictions.csv") == expected


def test_a_disk_that_is_full_when_the_csv_is_written_keeps_the_one_before(
    mounts: Mounts, disk: Path, tiny: Path, images: Path, expected: str
) -> None:
    """All rows are in the journal; only the CSV finds no room."""
    command = (tiny, images, "--out", disk / "out")
    table = disk / "out" / "predictions.csv"
    assert mounts.classify(*command).returncode == 0
    mounts.must("sh", "-c", f"echo before > {table}")
    fill(mounts, disk, 64)
    assert_full(mounts.classify(*command), 1)
    assert mounts.must("cat", table) == "before\n"
    assert not [name for name in mounts.must("ls", "-A", disk / "out").split() if ".partial" in name]
    mounts.must("rm", disk / "filler")
    again = mounts.classify(*command)
    assert again.returncode == 0, again.stderr
    assert mounts.must("cat", table) == expected


def test_a_drive_taken_off_midway_is_rows_and_the_next_start_reads_them(
    mounts: Mounts, tiny: Path, images: Path, expected: str, tmp_path: Path
) -> None:
    drive, out = tmp_path / "cruise", tmp_path / "out"
    drive.mkdir()
    mounts.must("mount", "--bind", images, drive)
    process = mounts.start(sys.executable, "-m", "pelagia.cli", "classify", tiny, drive, "--out", out, "--strict")
    log = out / "survey.sqlite-wal"
    until = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size > 60_000) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    mounts.must("umount", "--lazy", drive)
    _, said = process.communicate(timeout=120)
    assert "Traceback" not in said
    assert process.returncode == 8, said
    broken = (out / "predictions.csv").read_text()
    reasons = {line.split(",")[8] for line in broken.splitlines()[1:]}
    assert reasons - {""}
    assert reasons <= {"", "missing", "unreadable"}
    mounts.must("mount", "--bind", images, drive)
    again = mounts.classify(tiny, drive, "--out", out)
    assert again.returncode == 0, again.stderr
    assert (out / "predictions.csv").read_text() == expected
