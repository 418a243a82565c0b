"""What the trials of a sweep draw, and the file that keeps them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from model_fixtures import REPOSITORY
from pelagia.errors import DiskFullError
from pelagia_training.studies.space import load_search
from pelagia_training.studies.sweep import STUDY_FILE
from pelagia_training.studies.trials import open_trial_store

CONFIG = REPOSITORY / "configs/training/tiny_cpu.yaml"
SEARCH = ("train.lr=log:1e-4..1e-2", "augment.strength=0..2", "train.long_tail=none,sqrt_sampling")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_combination_is_drawn_twice(tmp_path: Path, seed: int) -> None:
    _, space = load_search(CONFIG, [], ["train.long_tail=none,focal,sqrt_sampling", "train.soup=2..3"])
    drawn = []
    with open_trial_store(tmp_path / STUDY_FILE, space) as store:
        while trial := store.next(seed):
            drawn.append(tuple(trial.values.values()))
            store.end(trial.number, "complete", 0.5)
    assert len(drawn) == len(set(drawn)) == 6


def test_what_is_drawn_depends_on_the_seed_and_neither_on_restarts_nor_on_the_order_of_the_keys(
    tmp_path: Path,
) -> None:
    def drawn(folder: str, seed: int, starts: int, search: tuple[str, ...]) -> list[dict[str, object]]:
        space = load_search(CONFIG, [], search)[1]
        (tmp_path / folder).mkdir()
        for _ in range(starts):
            with open_trial_store(tmp_path / folder / STUDY_FILE, space) as store:
                for _ in range(12 // starts):  # after ten of them, TPE no longer draws at random
                    trial = store.next(seed)
                    assert trial is not None
                    assert store.next(seed) == trial
                    store.end(trial.number, "complete", -abs(trial.values["augment.strength"] - 1))
                values = [one.values for one in store.trials()]
        return values

    once = drawn("once", 0, 1, SEARCH)
    assert drawn("often", 0, 4, SEARCH[::-1]) == once
    assert drawn("other", 1, 1, SEARCH) != once


@pytest.mark.slow
def test_the_key_that_decides_is_named_once_twenty_trials_are_complete(tmp_path: Path) -> None:
    _, space = load_search(CONFIG, [], ["augment.light=0..1", "augment.noise=0..1"])
    with open_trial_store(tmp_path / STUDY_FILE, space) as store:
        for number in range(1, 21):
            assert store.importance() == {}, number
            trial = store.next(0)
            assert trial is not None
            store.end(number, "complete", -abs(trial.values["augment.light"] - 0.5))
        assert next(iter(store.importance())) == "augment.light"


def test_a_full_disk_is_known_by_the_error_code_of_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, space = load_search(CONFIG, [], SEARCH)
    with open_trial_store(tmp_path / STUDY_FILE, space) as store:
        assert store.next(0) is not None
    connect = sqlite3.connect

    def connect_to_a_full_disk(file: Path, timeout: float) -> sqlite3.Connection:
        connection = connect(file, timeout=timeout)
        connection.execute("PRAGMA max_page_count = 1")  # the file keeps its size and cannot grow
        return connection

    def store_a_long_fault() -> None:
        with open_trial_store(tmp_path / STUDY_FILE, space) as store:
            store.end(1, "failed", fault="x" * 1_000_000)

    monkeypatch.setattr("pelagia_training.studies.trials.sqlite3.connect", connect_to_a_full_disk)
    with pytest.raises(DiskFullError, match=r"the disk of .* is full: free some space, .*; the sweep resumes"):
        store_a_long_fault()


def test_whole_numbers_are_drawn_where_a_key_holds_them(tmp_path: Path) -> None:
    search = ("train.micro_batch=1..8", "train.lr=1e-4..1", "model.options.width=1..3", "model.size=true,false")
    config, space = load_search(CONFIG, [], search)
    with open_trial_store(tmp_path / STUDY_FILE, space) as store:
        trial = store.next(config.seed)
    assert trial is not None
    assert {key: type(value) for key, value in trial.values.items()} == {
        "model.options.width": int,
        "model.size": str,
        "train.micro_batch": int,
        "train.lr": float,
    }
    assert space["model.size"].value("true") is True
