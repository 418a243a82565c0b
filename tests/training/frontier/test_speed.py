"""Images/s: what is added later is comparable with what was measured before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pelagia.images.preprocess import PreprocessSpec
from pelagia_training.frontier import speed
from pelagia_training.frontier.speed import Timed, decode_key, measure_speeds

SPEC, OTHER = PreprocessSpec(size=32), PreprocessSpec(size=48)
TRUE = {"a": 1000.0, "b": 400.0, "c": 50.0, decode_key(SPEC): 5000.0, decode_key(OTHER): 3000.0}


def timed(key: str, spec: PreprocessSpec = SPEC) -> Timed:
    return Timed(key, spec, (), bytes)


@pytest.fixture
def slowness(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How many times slower the machine is than it was, and how many measurements were made."""
    now = [1.0, 0.0]

    def steps(out: Path, networks: Any, known: Any, files: Any, progress: Any) -> dict[str, str]:
        keys = [decode_key(one.spec) for one in networks if decode_key(one.spec) not in known]
        return {key: key for key in [*keys, *(one.key for one in networks)]}

    def rates_of(measured: Any, seconds: float) -> list[float]:
        now[1] += len(measured)
        return [TRUE[key] / now[0] for key in measured]

    monkeypatch.setattr(speed, "_steps", steps)
    monkeypatch.setattr(speed, "rates_of", rates_of)
    return now


def measured(out: Path, *networks: Timed, beside: Any = ()) -> dict[str, float]:
    return measure_speeds(out, networks, [], lambda *done, **text: None, seconds=1.0, beside=beside, rounds=1).rates


def test_networks_that_are_added_on_a_slower_day_are_scaled(tmp_path: Path, slowness: list[float]) -> None:
    measured(tmp_path, timed("a"))
    slowness[0] = 2.5
    assert measured(tmp_path, timed("a"), timed("b")) == pytest.approx({"a": 1000, "b": 400, decode_key(SPEC): 5000})
    assert measured(tmp_path, timed("c", OTHER), beside=[timed("a")]) == pytest.approx(TRUE)


def test_nothing_is_measured_twice(tmp_path: Path, slowness: list[float]) -> None:
    measured(tmp_path, timed("a"), timed("b"))
    count = slowness[1]
    measured(tmp_path, timed("b"), timed("a"))
    assert slowness[1] == count


def test_a_lost_rate_of_the_decoding_is_measured_again(tmp_path: Path, slowness: list[float]) -> None:
    measured(tmp_path, timed("a"))
    file = tmp_path / "speed.json"
    file.write_text(file.read_text().replace(decode_key(SPEC), "decode-other"))
    assert measured(tmp_path, timed("a"))[decode_key(SPEC)] == 5000
