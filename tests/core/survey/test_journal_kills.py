"""Several processes at one survey, and kills while one writes."""

import os
import signal

import pytest

from pelagia.errors import SurveyError
from pelagia.survey.journal import JOURNAL_FILE, Prediction, Survey

WRITER = """
import os, signal, sys
import numpy as np
from pathlib import Path
from pelagia.survey.journal import Prediction, Survey

def batch(start):
    sure = np.array([1, 0], np.float32)
    return [Prediction(f"{at:04}.png", "/f", "s", probabilities=sure) for at in range(start, start + 100)]

survey = Survey.open_for_writing(Path(sys.argv[1]), model_sha256="m", classes=("a", "b"), settings={})
"""


def resumed(folder):
    return Survey.open_for_writing(folder, model_sha256="m", classes=("a", "b"), settings={})


def test_two_processes_cannot_write_to_one_survey(tmp_path, start):
    process = start(WRITER + "survey.add(batch(0)); print('open', flush=True); input()", tmp_path / "s")
    assert process.stdout.readline() == "open\n"
    expected = f"another process is writing to {tmp_path / 's'}: wait for it, or stop it"
    for action in (resumed, Survey.open):
        with pytest.raises(SurveyError) as caught:
            action(tmp_path / "s")
        assert str(caught.value) == expected
    process.communicate("\n")


@pytest.mark.parametrize("committed", [0, 1, 3])
def test_a_kill_in_the_middle_of_a_batch_loses_that_batch_alone(tmp_path, start, committed):
    process = start(
        WRITER + f"for at in range({committed}): survey.add(batch(100 * at))\n"
        "rows = [survey._row(one) for one in batch(5000)]\n"
        "survey._db.execute('BEGIN')\n"
        "survey._db.executemany(f\"INSERT INTO images VALUES ({','.join('?' * 10)})\", rows)\n"
        "os.kill(os.getpid(), signal.SIGKILL)",
        tmp_path / "s",
    )
    assert process.wait() == -signal.SIGKILL
    with Survey.open(tmp_path / "s") as read:
        assert len(read) == 100 * committed
    with resumed(tmp_path / "s") as again:
        assert again.done(["0000.png", "5000.png"]) == ({"0000.png"} if committed else set())
        again.add([Prediction("bad.png", "/f", reason="undecodable", message="a truncated PNG")])
        assert len(again) == 100 * committed + 1
    assert f"{JOURNAL_FILE}-wal" not in os.listdir(tmp_path / "s")


def test_kills_at_any_moment_leave_whole_batches(tmp_path, start):
    found = 0
    for _ in range(4):
        process = start(
            WRITER + "start = len(survey); print('open', flush=True)\n"
            "for at in range(100_000): survey.add(batch(start + 100 * at))",
            tmp_path / "s",
        )
        assert process.stdout.readline() == "open\n"
        with pytest.raises(Exception, match="timed out"):
            process.wait(0.2)
        process.kill()
        process.wait()
        with Survey.open(tmp_path / "s") as read:
            count = len(read)
        assert count > found
        assert count % 100 == 0
        found = count
