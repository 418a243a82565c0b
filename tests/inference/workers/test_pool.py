"""Worker processes that die, hang, and are killed. The culprits are real: a reader that aborts ends its process."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from cli_fixtures import Pelagia
from pelagia.errors import InputError, ModelError, PelagiaError
from pelagia.model.metadata import ModelFile
from pelagia.sources import SourceImage
from pelagia.sources.image import Fault, Held
from pelagia.survey.journal import Prediction
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.machine.session import Session
from pelagia_inference.machine.setting import Setting
from pelagia_inference.survey.pipeline import _requests, predict, predict_with
from pelagia_inference.workers.pool import WorkerPool
from pelagia_inference.workers.protocol import Reader, Request, Response

SETTING = Setting(2, 1, 4)


def drawn(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


def images_with(culprits: dict[int, Callable[[], bytes]], count: int = 24) -> list[SourceImage]:
    readers = {number: Held(drawn(number)) for number in range(count)} | culprits
    return [SourceImage(f"{number:02d}.png", "x", {}, readers[number]) for number in range(count)]


def classified(images: list[SourceImage], model: ModelFile, timeout: float = 60) -> list[Prediction]:
    with WorkerPool(model, "cpu", SETTING, timeout) as pool:
        return [one for batch in predict_with(pool, images, SETTING, decider=model.metadata.decider) for one in batch]


def assert_same_but(found: list[Prediction], expected: list[Prediction], culprits: dict[int, str]) -> None:
    assert [one.path for one in found] == [one.path for one in expected]
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.reason == culprits.get(number, ""), one.message
        if number not in culprits:
            assert one.probabilities is not None
            assert other.probabilities is not None
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
            assert one.sha256 == other.sha256


def test_an_image_that_crashes_its_process_costs_that_image_alone(model: ModelFile) -> None:
    culprits = {5: os.abort, 6: os.abort, 23: partial(os._exit, 3)}
    found = classified(images_with(culprits), model)
    assert_same_but(found, classified(images_with({}), model), dict.fromkeys(culprits, "crashed"))
    assert "SIGABRT" in found[5].message
    assert "exit code 3" in found[23].message


def test_an_image_that_hangs_costs_that_image_alone(model: ModelFile) -> None:
    found = classified(images_with({9: partial(time.sleep, 1000)}), model, timeout=3)
    assert_same_but(found, classified(images_with({}), model), {9: "timed_out"})
    assert found[9].message == "no answer within 3 s"


def test_requests_and_answers_larger_than_a_pipe_block_nobody(model: ModelFile) -> None:
    wordy = [SourceImage(f"{n:03}", "x", {}, Fault("undecodable", "x" * 3000)) for n in range(512)]
    found = classified(wordy, model, timeout=20)
    assert [one.message for one in found] == ["x" * 3000] * 512


def test_a_hang_is_noticed_while_a_request_larger_than_the_pipe_waits(model: ModelFile) -> None:
    heavy = [SourceImage(f"{n:03}", "x", {}, Held(bytes(50_000))) for n in range(200)]
    heavy[3] = SourceImage("003", "x", {}, partial(time.sleep, 1000))
    found = classified(heavy, model, timeout=3)
    assert [one.reason for one in found] == ["undecodable"] * 3 + ["timed_out"] + ["undecodable"] * 196


@pytest.mark.timeout(120)  # not the timeout of 600 s
@pytest.mark.parametrize("slow", [0, 40])
def test_an_unexpected_error_of_a_reader_is_a_damaged_image(model: ModelFile, slow: int) -> None:
    slowly = partial(subprocess.check_output, ["sh", "-c", "sleep 0.02; echo no image"])
    readers: list[Reader] = [*[slowly] * slow, partial(int, "x")]  # a request each: some are found to be slow
    with WorkerPool(model, "cpu", Setting(1), timeout=600) as pool:
        futures = [pool.submit([[(reader, 0.0)]]) for reader in readers]
        (outcome,) = futures[-1].result().outcomes
    assert (outcome.reason, "invalid literal for int" in outcome.message) == ("damaged", True)


def test_a_session_that_fails_is_one_line(model: ModelFile) -> None:
    session = Session(model)
    with pytest.raises(ModelError, match=r"ONNX Runtime fails on 1 images with .*; try --batch 1 and --workers 1"):
        session.probabilities(np.zeros((1, 5, 5, 3), np.uint8))


def test_images_that_travel_with_their_bytes_are_bounded_by_bytes() -> None:
    light = [SourceImage(str(n), "x") for n in range(100)]
    heavy = [SourceImage(str(n), "x", {}, Held(bytes(1_000_000))) for n in range(100)]
    assert [[len(batch) for batch in request] for request in _requests(light, 8)] == [[8] * 8, [8] * 4 + [4]]
    assert [[len(batch) for batch in request] for request in _requests(heavy, 8)] == [[8]] * 12 + [[4]]


def test_what_is_skipped_moves_no_other_image_to_another_batch(model: ModelFile) -> None:
    asked: list[list[int]] = []

    class Listening(WorkerPool):
        def submit(self, request: Request) -> Future[Response]:
            asked.append([len(batch) for batch in request])
            return super().submit(request)

    with Listening(model, "cpu", SETTING) as pool:
        skip = lambda images: [one for one in images if not "05" <= one.path[:2] < "10"]  # noqa: E731
        found = [
            one
            for batch in predict_with(pool, images_with({}), SETTING, skip, decider=model.metadata.decider)
            for one in batch
        ]
    assert asked == [[4, 1, 2, 4, 4, 4]]
    assert len(found) == 19


def test_a_crash_gives_the_others_the_numbers_of_a_run_where_the_culprit_is_undecodable(model: ModelFile) -> None:
    crashed = classified(images_with({5: os.abort}), model)
    undecodable = classified(images_with({5: Held(b"text")}), model)
    for one, other in zip(crashed, undecodable, strict=True):
        assert (one.probabilities is None) == (other.probabilities is None)
        assert one.probabilities is None or np.array_equal(one.probabilities, other.probabilities)


def test_a_batch_may_take_longer_than_the_timeout_where_each_image_does_not(model: ModelFile, tmp_path: Path) -> None:
    big = tmp_path / "big.png"
    cv2.imwrite(str(big), np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), dtype=np.uint8))
    slowly = partial(subprocess.check_output, ["sh", "-c", f"sleep 0.7; cat '{big}'"])
    slow_to_read = [SourceImage(f"{number}.png", big, {}, slowly) for number in range(6)]
    slow_to_decode = [SourceImage(f"b{number}.png", big) for number in range(50)]
    with WorkerPool(model, "cpu", Setting(1, 1, 56), timeout=2) as pool:
        [found] = predict_with(
            pool, [*slow_to_read, *slow_to_decode], Setting(1, 1, 56), decider=model.metadata.decider
        )
    assert [one.reason for one in found] == [""] * 56


def test_a_provider_that_is_not_installed_is_refused_before_any_image(model: ModelFile) -> None:
    with pytest.raises(InputError, match="the provider 'cuda' is not installed"):
        next(predict(images_with({}), model, provider="cuda"))


def test_a_process_that_does_not_start_is_one_line(
    model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('DLL load failed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        PelagiaError, match=r"a worker process does not start: .*exit code 1: ImportError: DLL load failed"
    ):
        next(predict(images_with({}), model))


def test_an_interruption_leaves_no_process_behind(model: ModelFile) -> None:
    predictions = predict(images_with({}, count=200), model, setting=SETTING)
    next(predictions)
    children = [one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE]
    workers = [one for one in children if "pelagia_inference.workers.worker" in one.cmdline()]
    assert len(workers) == SETTING.workers
    predictions.close()
    assert not psutil.wait_procs(workers, timeout=10)[1]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_workers_that_are_killed_from_outside_change_no_byte(
    pelagia: Pelagia, model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    assert pelagia("classify", model.path, survey.root, "--out", tmp_path / "whole").returncode == 0
    command = [sys.executable, "-m", "pelagia.cli", "classify", model.path, survey.root, "--out", tmp_path / "killed"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    kills = 0
    while process.poll() is None:
        workers = [one for one in psutil.Process(process.pid).children() if one.status() != psutil.STATUS_ZOMBIE]
        if workers and kills < 2 and (tmp_path / "killed" / "survey.sqlite").exists():
            workers[kills % len(workers)].send_signal(signal.SIGSEGV)
            kills += 1
        time.sleep(0.02)
    assert process.returncode == 0
    assert kills
    csv = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("whole", "killed")]
    assert csv[0] == csv[1]
    with sqlite3.connect(tmp_path / "killed" / "survey.sqlite") as journal:
        assert journal.execute("SELECT COUNT(*) FROM images WHERE status = 'ok'").fetchone() == (survey.images,)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_workers_do_not_outlive_a_killed_parent(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pelagia.cli", "classify", model.path, survey.root, "--out", tmp_path / "out"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    workers: list[psutil.Process] = []
    while not workers:
        workers = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    assert not psutil.wait_procs(workers, timeout=20)[1]
