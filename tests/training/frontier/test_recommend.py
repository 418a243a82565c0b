"""Which points are on the frontier, and which one is recommended for a rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from model_fixtures import REPOSITORY, TINY
from pelagia.config import load_config
from pelagia_training.config import TrainConfig
from pelagia_training.ensemble.members import MemberRun
from pelagia_training.figures.bootstrap import Interval
from pelagia_training.frontier.candidates import Candidate, HeldOut
from pelagia_training.frontier.points import Choice, Figures, Point, frontier_of, with_decoding
from pelagia_training.frontier.recommend import Recommendation, answers, best_at, commands_for, in_words, recommend
from pelagia_training.runs.folder import RunState

CONFIG = load_config(REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, TINY)
TARGETS = np.tile(np.arange(4), 50)
VAL = HeldOut("val", (), TARGETS, [f"group {index // 10}" for index in range(200)])


def candidate(name: str) -> Candidate:
    return Candidate(name, MemberRun(Path("runs") / name, CONFIG, cast("RunState", None)), "0" * 64)


def point(rate: float, macro_f1: float, *names: str, views: int = 1, wrong: int = 0) -> Point:
    """A point whose first ``wrong`` images get another class; the macro-F1 is as given."""
    predicted = TARGETS.copy()
    predicted[:wrong] = (predicted[:wrong] + 1) % 4
    figures = Figures(macro_f1, macro_f1, Interval(macro_f1 - 0.1, macro_f1 + 0.1), predicted)
    members = tuple(map(candidate, names or ("a-32",)))
    return Point(Choice(members, views), rate, rate, True, figures, figures)


def test_a_point_that_another_one_beats_in_both_is_not_on_the_frontier() -> None:
    fast, slow, best = point(900, 0.5), point(800, 0.4), point(100, 0.9)
    equal, tied = point(300, 0.5), point(900, 0.3)
    assert frontier_of([slow, best, equal, tied, fast]) == [fast, best]


def test_the_best_point_that_reaches_the_rate_is_recommended() -> None:
    fast, middle, slow = point(900, 0.5), point(300, 0.7), point(60, 0.9)
    assert [best_at([slow, fast, middle], rate) for rate in (1000, 500, 300, 50)] == [None, fast, middle, slow]


def test_of_two_equally_good_points_the_faster_is_recommended() -> None:
    slow, fast = point(300, 0.7), point(400, 0.7)
    assert best_at([slow, fast], 200) == fast


def test_what_was_recommended_for_another_rate_is_not_repeated() -> None:
    fast, slow = point(900, 0.5), point(100, 0.9)
    rates = answers(recommend([fast, slow], [3000, 2000, 500, 90, 50], VAL, 4))
    said = [(rate, text.split(", ")[0], len(commands)) for rate, text, commands in rates]
    assert said == [
        ("3,000 images/s", "no point is fast enough; add smaller networks with --networks or smaller --sizes", 0),
        ("2,000 images/s", "the same as for 3,000 images/s", 0),
        ("500 images/s", "a-32", 4),
        ("90 images/s", "a-32", 4),
        ("50 images/s", "the same as for 90 images/s", 0),
    ]


def test_a_faster_point_that_may_be_as_good_is_named() -> None:
    fast, slow = point(900, 0.98, wrong=2), point(100, 1.0)
    (found,) = recommend([fast, slow], [50], VAL, 4)
    assert (found.point, found.faster) == (slow, fast)
    assert in_words(found).startswith(
        "a-32, 100 images/s, macro-F1 validation 1.0000, test 1.0000; a-32 is faster (900 images/s) and may be as good "
        "on the validation split (difference of the macro-F1 +0.0"
    )


def test_a_faster_point_that_is_worse_beyond_chance_is_not_named() -> None:
    fast, slow = point(900, 0.4, wrong=120), point(100, 1.0)
    (found,) = recommend([fast, slow], [50], VAL, 4)
    assert (found.point, found.faster) == (slow, None)


def test_a_rate_that_nothing_reaches_says_what_to_do() -> None:
    assert in_words(Recommendation(5000, None)) == (
        "no point is fast enough; add smaller networks with --networks or smaller --sizes"
    )


def test_recommendations_are_sorted_and_each_rate_is_given_once() -> None:
    assert [one.rate for one in recommend([point(900, 0.5)], [50, 500, 50], VAL, 4)] == [500, 50]


def test_the_commands_export_the_runs_and_train_on_all_images() -> None:
    lines = [line for _, line in commands_for(point(100, 0.9, "a-32", "b-32", views=8))]
    assert lines == [
        "pelagia export runs/a-32 runs/b-32 --orientations 8 --out a-32+b-32-x8.onnx",
        "pelagia train runs/a-32/config.yaml --folds 5 --out a-32-folds",
        "pelagia train --final a-32-folds --out a-32-final",
        "pelagia train runs/b-32/config.yaml --folds 5 --out b-32-folds",
        "pelagia train --final b-32-folds --out b-32-final",
        "pelagia export a-32-final b-32-final --orientations 8 --out a-32+b-32-x8-final.onnx",
    ]


def test_the_export_gives_the_measured_orientations_and_runs_of_one_name_get_folders_of_their_own() -> None:
    eight = CONFIG.model_copy(update={"model": CONFIG.model.model_copy(update={"orientations": 8})})
    state = cast("RunState", None)
    members = tuple(
        Candidate(name, MemberRun(Path(folder) / "net", eight, state), "0")
        for name, folder in [("net", "a"), ("b-net", "b")]
    )
    first = point(100, 0.9)
    lines = [line for _, line in commands_for(replace(first, choice=Choice(members, 1)))]
    assert lines[0] == "pelagia export a/net b/net --orientations 1 --out net+b-net.onnx"
    assert lines[-1] == "pelagia export net-final b-net-final --orientations 1 --out net+b-net-final.onnx"


def test_decoding_and_network_share_the_cores() -> None:
    assert with_decoding(100, 100) == pytest.approx(50)


def test_the_name_of_an_ensemble_says_that_all_its_networks_have_the_orientations() -> None:
    assert Choice((candidate("a-32"), candidate("b-32")), 8).name == "(a-32 + b-32) x 8"
    assert Choice((candidate("a-32"),), 2).name == "a-32 x 2"
