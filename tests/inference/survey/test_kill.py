"""Kills while `pelagia classify` works: the short form of `benchmarks/robustness/kill.py`, over simulated images."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pelagia.synthetic.survey import SimulatedSurvey

pytest.importorskip("onnx")

from benchmarks.harness import classify_command, environment, rows
from benchmarks.kinds import make_kinds
from benchmarks.robustness.kill import Trial
from benchmarks.untrained import write_tiny
from cli_fixtures import Pelagia

IMAGES = 3000
MOST_KILLS = 8
posix = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL, SIGSTOP and process groups are POSIX")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def made(survey: SimulatedSurvey, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    crops = sorted(survey.root.rglob("*.jpg"))
    return make_kinds(crops, IMAGES, tmp_path_factory.mktemp("kinds"))


@pytest.mark.slow
@posix
@pytest.mark.parametrize("kind", ["folder", "zip", "tar.gz", "IFCB bins"])
def test_killed_at_random_moments_the_result_is_that_of_an_uninterrupted_run(
    made: dict[str, list[str]], tiny: Path, tmp_path: Path, kind: str
) -> None:
    """Kills a worker, the main process, and its group; then resumes the run to its end and compares the results."""
    trial = Trial(kind, tiny, made[kind], tmp_path, random.Random(kind))
    trial.start()
    for victim in ("worker", "main", "group"):
        trial.kill(victim)
    while not trial.midway and trial.kills.total() < MOST_KILLS:
        trial.kill("main")
    trial.finish()
    assert trial.faults == []
    assert trial.midway, "no kill left some rows and not all: more images are needed"


@posix
def test_a_second_process_on_the_same_survey_is_refused_and_harms_nothing(
    pelagia: Pelagia, made: dict[str, list[str]], tiny: Path, tmp_path: Path
) -> None:
    """The first process is stopped meanwhile, so that it cannot end too early."""
    command = classify_command(tiny, made["folder"], tmp_path / "out", "--quiet")
    first = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    try:
        while not (tmp_path / "out" / "survey.sqlite-wal").exists() and first.poll() is None:
            time.sleep(0.002)
        first.send_signal(signal.SIGSTOP)
        second = pelagia(*command[3:])
        first.send_signal(signal.SIGCONT)
        assert second.returncode == 5, second.stderr
        assert f"error: another process is writing to {tmp_path / 'out'}: wait for it" in second.stderr
        assert first.wait(120) == 0
    finally:
        first.kill()
    assert len(rows(tmp_path / "out")) == IMAGES
