"""Learning rates by the names of timm's schedulers."""

import math

import pytest

from pelagia.errors import ConfigError
from pelagia_training.fit.schedule import build_schedule, restarted, warmup_cosine

SHAPE = {"epochs": 10, "warmup_epochs": 2, "steps": 5, "lr": 1e-3}


def test_the_default_is_unchanged_and_equals_timms_cosine() -> None:
    ours, timms = build_schedule("cosine", {}, **SHAPE), build_schedule("cosine", {"min_lr": 0.0}, **SHAPE)
    was = warmup_cosine(10, 50)
    for step in range(50):
        assert ours(step) == was(step)
        assert timms(step) == pytest.approx(was(step), abs=1e-9), step


@pytest.mark.parametrize("name", ["tanh", "step", "multistep", "poly", "wsd", "rsqrt", "constant"])
def test_a_schedule_warms_up_and_never_exceeds_the_highest_rate(name: str) -> None:
    rate = build_schedule(name, {}, **SHAPE)
    values = [rate(step) for step in range(50)]
    assert values[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert max(values) == pytest.approx(1.0, abs=0.02)
    assert values[-1] <= values[10]
    assert [rate(step) for step in range(50)] == values  # it follows from the step alone


def test_step_decays_within_the_training_and_none_is_constant() -> None:
    assert {round(build_schedule("step", {}, **SHAPE)(step), 6) for step in range(10, 50)} == {1.0, 0.1, 0.01}
    assert {build_schedule("none", {}, **SHAPE)(step) for step in range(50)} == {1.0}


def test_learning_rates_of_the_options_are_absolute() -> None:
    rate = build_schedule("cosine", {"min_lr": 1e-4}, **SHAPE)
    assert rate(49) * SHAPE["lr"] == pytest.approx(1e-4, rel=0.05)


def test_options_that_timm_does_not_know_are_one_line() -> None:
    with pytest.raises(ConfigError, match=r"train.scheduler_options: timm's 'cosine' does not take {'lr_min': 1}: "):
        build_schedule("cosine", {"lr_min": 1}, **SHAPE)


def test_a_restarted_schedule_warms_up_again() -> None:
    rate = restarted(lambda step: 0.5, 20, 4)
    assert [rate(step) for step in (19, 20, 22, 24, 30)] == pytest.approx([0.5, 0.1, 0.3, 0.5, 0.5])
    assert math.isclose(restarted(lambda step: 0.5, 20, 0)(20), 0.5)
