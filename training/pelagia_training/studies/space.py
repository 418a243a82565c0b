"""The search space of `pelagia sweep --search`: keys of the config, and the values that each may take.

    train.lr=log:1e-4..3e-3             numbers on a logarithmic scale
    augment.strength=0..2               numbers; integers if the key holds integers
    train.long_tail=none,sqrt_sampling  one of these values

Invariant: one ConfigError lists all faults of a config and its search space, before torch is imported. The config
accepts both ends of each range and each choice by itself; whether it accepts a combination is known only when the
combination is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pelagia.config import altered, kinds_of, load_config
from pelagia.errors import ConfigError
from pelagia.system.yaml_text import parse_yaml
from pelagia_training.config import FREE_KEYS, TrainConfig

_FORM = "KEY=LOW..HIGH, KEY=log:LOW..HIGH or KEY=A,B,C"
_NOT_SEARCHED = {
    **dict.fromkeys((*FREE_KEYS, "name", "licence", "decision"), "the metrics do not depend on it"),
    **dict.fromkeys(("dataset", "data"), "metrics on different images cannot be compared"),
    "seed": "a lucky seed is not a better config",
}
"""Keys, or first parts of keys, that cannot be searched -> the reason."""


@dataclass(frozen=True)
class Span:
    """Numbers from ``low`` to ``high``, both included; integers if both are `int`.

    Attributes:
        low: the smallest number.
        high: the largest number.
        log: whether numbers are drawn on a logarithmic scale.
    """

    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        return f"{'log:' if self.log else ''}{self.low}..{self.high}"

    @property
    def ends(self) -> tuple[Any, ...]:
        return self.low, self.high

    def value(self, drawn: Any) -> Any:
        """The value that the config gets for a drawn number."""
        return drawn


@dataclass(frozen=True)
class Choice:
    """A list of values; each value is YAML text as the user wrote it, in the same form as after ``--set KEY=``."""

    texts: tuple[str, ...]

    def __str__(self) -> str:
        return ",".join(self.texts)

    @property
    def ends(self) -> tuple[Any, ...]:
        return tuple(map(self.value, self.texts))

    def value(self, drawn: Any) -> Any:
        """The value that the config gets for a drawn text."""
        return parse_yaml(drawn, "--search")


Space = dict[str, Span | Choice]
"""Dotted key -> the values to search."""


def load_search(path: Path, overrides: Sequence[str], searches: Sequence[str]) -> tuple[TrainConfig, Space]:
    """The config with the values of ``--set`` applied, and the search space.

    Args:
        path: the YAML file of the config.
        overrides: the values of ``--set``.
        searches: the values of ``--search``.

    Raises:
        InputError: the config cannot be read.
        ConfigError: the config or the search space has faults; the error lists all of them.
    """
    faults: list[str] = []
    space: Space = {}
    config = None
    try:
        config = load_config(path, TrainConfig, overrides)
    except ConfigError as error:
        faults += error.faults
    already = {override.partition("=")[0].strip() for override in overrides}
    for search in searches:
        key, equals, text = (part.strip() for part in search.partition("="))
        try:
            if not equals or not key or not text:
                raise ConfigError("--search", [f"'{search}' is not of the form {_FORM}"])
            if key in space or key in already:
                raise ConfigError("--search", [f"{key}: the key is given twice; give it once, by --search or --set"])
            space[key] = _read(key, text)
            if config is not None:
                _require_accepted(config, key, space[key])
        except ConfigError as error:
            faults += [fault for fault in error.faults if fault not in faults]
    if faults or config is None:
        raise ConfigError(str(path), faults)
    return config, space


def _read(key: str, text: str) -> Span | Choice:
    """The values of a key. Raises ConfigError if the key cannot be searched or ``text`` does not have the `_FORM`."""
    kinds = kinds_of(TrainConfig, key)
    for start, reason in _NOT_SEARCHED.items():
        if key == start or key.startswith(f"{start}."):
            raise ConfigError("--search", [f"{key} cannot be searched: {reason}; set it with --set"])
    if ".." in text:
        return _read_span(key, text, kinds)
    choices = tuple(part.strip() for part in text.split(","))
    if len(choices) < 2 or not all(choices) or len(set(choices)) < len(choices):
        raise ConfigError("--search", [f"{key}: '{text}' is not of the form {_FORM}, with two values or more"])
    for choice in choices:
        try:
            parse_yaml(choice, "--search")
        except ConfigError as error:
            raise ConfigError("--search", [f"{key}: '{choice}' is not valid YAML: {error.faults[0]}"]) from None
    return Choice(choices)


def _read_span(key: str, text: str, kinds: Sequence[Any]) -> Span:
    log = text.startswith("log:")
    ends = [part.strip() for part in text.removeprefix("log:").split("..")]
    if not {int, float, Any} & set(kinds):
        raise ConfigError("--search", [f"{key}: the key holds no number: list the values to try, {key}=A,B,C"])
    whole = int in kinds or (Any in kinds and all(map(_is_whole, ends)))
    try:
        low, high = map(int if whole else float, ends)
    except ValueError:
        wanted = "two whole numbers" if whole else "two numbers"
        raise ConfigError("--search", [f"{key}: '{text}' is not a range: give {wanted}, LOW..HIGH"]) from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError("--search", [f"{key}: '{text}' is not a range: LOW must be less than HIGH"])
    if log and low <= 0:
        raise ConfigError(
            "--search", [f"{key}: '{text}' begins at {low:g}: LOW of a logarithmic range must be greater than 0"]
        )
    return Span(low, high, log)


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _require_accepted(config: TrainConfig, key: str, values: Span | Choice) -> None:
    """Raises ConfigError with every fault that the config finds in the ends or choices of ``values``."""
    faults: list[str] = []
    for value in values.ends:
        try:
            altered(config, {key: value}, "--search")
        except ConfigError as error:
            faults += [fault for fault in error.faults if fault not in faults]
    if faults:
        raise ConfigError("--search", faults)
