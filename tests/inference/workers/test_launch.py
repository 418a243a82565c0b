"""Worker processes that start before the command that uses them has imported its modules."""

import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import pelagia_inference
from cli_fixtures import Pelagia
from pelagia.model.metadata import ModelFile
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.exports.results import write_results
from pelagia_inference.machine.setting import Setting
from pelagia_inference.survey import runner
from pelagia_inference.workers import launch
from pelagia_inference.workers.pool import WorkerPool

MARK = "PELAGIA_TEST_MARK"


def workers(among: Iterable[psutil.Process] | None = None, mark: str | None = None) -> list[psutil.Process]:
    """The workers among these processes: of this process, or of those that have the mark in their environment."""
    found = []
    for one in psutil.Process().children() if among is None else among:
        with suppress(psutil.Error):  # it ends meanwhile, or nobody has taken notice of its end
            marked = mark is None or one.environ().get(MARK) == mark
            if marked and "pelagia_inference.workers.worker" in one.cmdline():
                found.append(one)
    return found


def test_a_pool_takes_prestarted_workers_and_ends_the_others(model: ModelFile) -> None:
    launch.prestart_workers(3, "cpu")
    prestarted = {one.pid for one in workers()}
    assert len(prestarted) == 3
    with WorkerPool(model, "cpu", Setting(1)) as pool:
        pool.ready()
        (used,) = workers()
        assert used.pid in prestarted
    assert not workers()


def test_they_are_gone_when_the_results_are_written(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []

    def write(*arguments: Any) -> dict[str, Path]:
        left.append(len(workers()))
        return write_results(*arguments)

    monkeypatch.setattr(runner, "write_results", write)
    runner.classify(model, [survey.root], tmp_path / "out")
    assert left == [0]


def test_one_that_died_before_it_was_needed_is_replaced(model: ModelFile) -> None:
    launch.prestart_workers(0, "cuda")
    (early,) = workers()
    early.kill()
    with WorkerPool(model, "cpu", Setting(1)) as pool:
        pool.ready()


def test_a_command_that_ends_before_it_needs_them_leaves_none_behind(pelagia: Pelagia, tmp_path: Path) -> None:
    mark = str(tmp_path)  # other tests, which run beside this one, have workers too
    done = pelagia("classify", tmp_path / "none.onnx", tmp_path, "--out", tmp_path / "out", env={MARK: mark})
    assert done.returncode == 4
    end = time.monotonic() + 10
    while left := workers(psutil.process_iter(), mark):
        assert time.monotonic() < end, left
        time.sleep(0.05)


def test_a_worker_imports_no_more_than_it_needs() -> None:
    heavy = "{'psutil', 'pydantic', 'yaml', 'typer', 'rich'}"
    code = f"import sys, pelagia_inference.workers.worker; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_each_public_name_is_found_however_often_it_is_used() -> None:
    for name in pelagia_inference.__all__:
        for _ in range(2):
            assert getattr(pelagia_inference, name).__name__ == name
