"""The learning rate of each step, as a factor of the highest learning rate.

Invariant: the factor follows from the step alone, so a checkpoint stores no learning rate. That is why timm's scheduler
`plateau`, which waits for the metrics of a run, is not offered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from timm.scheduler import create_scheduler_v2

from pelagia.errors import ConfigError, first_line

Rate = Callable[[int], float]
"""A function: step, counted from 0 over the entire run -> factor of the learning rate."""


def build_schedule(
    name: str, options: Mapping[str, Any], *, epochs: int, warmup_epochs: float, steps: int, lr: float
) -> Rate:
    """The schedule of a run, by its name in timm.

    The learning rate rises linearly over the first ``warmup_epochs``; the rest of ``epochs`` belongs to the schedule.
    cosine without options is computed by `warmup_cosine`, which equals timm's to the last digits.

    Args:
        name: a name of `pelagia_training.config.Scheduler`.
        options: arguments of `timm.scheduler.create_scheduler_v2`; learning rates are absolute, as there.
        steps: the number of steps per epoch.
        lr: the highest learning rate.

    Raises:
        ConfigError: timm does not take the options.
    """
    if name == "none":
        return lambda step: 1.0
    if name == "cosine" and not options:
        return warmup_cosine(warmup_epochs * steps, epochs * steps)
    return _timms_schedule(name, options, max(epochs - warmup_epochs, 1 / steps), warmup_epochs, steps, lr)


def _timms_schedule(
    name: str, options: Mapping[str, Any], length: float, warmup_epochs: float, steps: int, lr: float
) -> Rate:
    """A scheduler of timm over ``length`` epochs after the warm-up; other arguments as in `build_schedule`."""
    given = {key: value / lr if key in ("min_lr", "warmup_lr") else value for key, value in options.items()}
    defaults = {
        "decay_epochs": length / 3 if name == "step" else None,
        "decay_milestones": [length / 2, length * 3 / 4],
        "warmup_lr": 1 / (warmup_epochs * steps + 1),
    }
    carrier = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)  # timm's schedulers set an optimizer's rate
    shape = {"num_epochs": length, "warmup_epochs": warmup_epochs, "warmup_prefix": True}
    unit = {"step_on_epochs": False, "updates_per_epoch": steps}
    try:
        schedule, _ = create_scheduler_v2(carrier, name, **{**defaults, **given}, **shape, **unit)
        schedule.step_update(0)
    except (AssertionError, AttributeError, ArithmeticError, TypeError, ValueError) as error:
        fault = f"timm's '{name}' does not take {dict(options)}: {first_line(error)}"
        raise ConfigError("train.scheduler_options", [fault]) from None

    def rate(step: int) -> float:
        schedule.step_update(step)
        return float(carrier.param_groups[0]["lr"])

    return rate


def warmup_cosine(warmup: float, total: int) -> Rate:
    """The learning rate factor of a step: it rises linearly from 0 over ``warmup`` steps, then falls as a half cosine
    to 0 at step ``total``."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, total - warmup))))

    return factor


def restarted(rate: Rate, begin: int, warmup: float) -> Rate:
    """``rate`` with a second linear warm-up over ``warmup`` steps from step ``begin``, for a run that was prolonged."""

    def factor(step: int) -> float:
        return rate(step) * min(1.0, (step - begin + 1) / (warmup + 1)) if step >= begin else rate(step)

    return factor
