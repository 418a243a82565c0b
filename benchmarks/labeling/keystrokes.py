"""What labeling costs a person, without a person: times of actions, a model that is right in 90%, a person who errs.

`benchmarks.labeling.actions` and the benchmark of the desk use it, so that all rows of their table mean the same.

A way of labeling makes a `Tally` while a script clicks in a real browser: `Tally.click`, `Tally.key` and so on count
what the person would do, and `Tally.waited` counts the measured seconds for which the page was not ready. The seconds
of the actions follow the keystroke-level model (Card, Moran and Newell 1980): K for a key or the button of the mouse, P
for pointing at something, H for moving the hand between mouse and keys, M for a decision. That model has no time for
looking at an image. So `Tally.looked` counts the images that were looked at, and the time for it is a column of its
own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

K, P, H, M = 0.28, 1.1, 0.4, 1.35
"""Seconds: a key or a button, pointing, moving the hand to the mouse or back, a decision."""

EYE = 0.23
"""Seconds of one eye movement (Card, Moran and Newell 1983)."""

CROPS_AN_EYE_MOVEMENT = 3
"""How many crops of a grid are seen with one eye movement. An assumption, used only in the column with looking."""


@dataclass
class Tally:
    """What one person did with one way of labeling.

    Attributes:
        way: name of the way, as the table shows it.
        crops: number of crops that got a label.
        right: number of these whose label is the true class.
        keys, buttons, points, homings, decisions: numbers of the operators K (keys and buttons), P, H and M.
        looks: number of crops that were looked at, those of a grid and those alone on a page.
        waits: measured seconds for which the person had to wait for the page.
    """

    way: str
    crops: int = 0
    right: int = 0
    keys: int = 0
    buttons: int = 0
    points: int = 0
    homings: int = 0
    decisions: int = 0
    looks: float = 0.0
    waits: float = 0.0
    _hand_on_mouse: bool = False

    def click(self, times: int = 1, *, decide: bool = False) -> None:
        """Points at something and clicks. The hand moves to the mouse if it is on the keys."""
        self._move_hand(to_mouse=True)
        self.points += times
        self.buttons += times
        self.decisions += times if decide else 0

    def drag(self) -> None:
        """Points at something, and draws the mouse with its button down to something else."""
        self._move_hand(to_mouse=True)
        self.points += 2
        self.buttons += 1

    def key(self, times: int = 1, *, decide: bool = False) -> None:
        """Presses keys, one after the other; a key with Ctrl or Shift counts as two."""
        self._move_hand(to_mouse=False)
        self.keys += times
        self.decisions += 1 if decide else 0

    def decide(self, times: int = 1) -> None:
        """Decides something before the next action."""
        self.decisions += times

    def looked(self, crops: int, *, alone: bool = False) -> None:
        """Looked at ``crops`` crops of a grid; with ``alone``, at one after the other on a page each."""
        self.looks += crops if alone else crops / CROPS_AN_EYE_MOVEMENT

    @contextmanager
    def waited(self) -> Iterator[None]:
        """Counts the seconds of the block as waiting: put what makes the page load, and the wait for it, inside."""
        start = time.monotonic()
        yield
        self.waits += time.monotonic() - start

    def labeled(self, given: Mapping[str, str], truth: Mapping[str, str]) -> None:
        """Counts labels: path -> class that arrived in the dataset, path -> true class."""
        self.crops += len(given)
        self.right += sum(class_name == truth[path] for path, class_name in given.items())

    @property
    def actions(self) -> int:
        """Keys, clicks and drags."""
        return self.keys + self.buttons

    @property
    def seconds(self) -> float:
        """Seconds by the keystroke-level model, with the measured waits."""
        hands = K * (self.keys + self.buttons) + P * self.points + H * self.homings
        return hands + M * self.decisions + self.waits

    @property
    def seconds_with_looking(self) -> float:
        """`seconds`, and the eye movements to look at the crops."""
        return self.seconds + EYE * self.looks

    def _move_hand(self, *, to_mouse: bool) -> None:
        self.homings += self._hand_on_mouse != to_mouse
        self._hand_on_mouse = to_mouse


def table(tallies: Sequence[Tally]) -> str:
    """The table of figures, in Markdown."""
    head = (
        "way", "crops", "actions a crop", "waits a crop, s", "seconds a crop", "crops an hour",
        "seconds a crop with looking", "crops an hour with looking", "precision",
    )  # fmt: skip
    rows = [head, ("---", *["---:"] * (len(head) - 1))]
    for one in tallies:
        crops = max(one.crops, 1)
        pace, looking = one.seconds / crops, one.seconds_with_looking / crops
        figures = (
            f"{one.crops}", f"{one.actions / crops:.2f}", f"{one.waits / crops:.2f}", f"{pace:.2f}",
            f"{3600 / pace:,.0f}", f"{looking:.2f}", f"{3600 / looking:,.0f}", f"{one.right / crops:.3f}",
        )  # fmt: skip
        rows.append((one.way, *figures))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


@dataclass(frozen=True)
class Guess:
    """What a model says of a crop: the most probable class, and its probability."""

    class_name: str
    probability: float


def simulated_model(truth: Mapping[str, str], *, right: float = 0.9, seed: int = 0) -> dict[str, Guess]:
    """Guesses of a model that names the true class of a share ``right`` of the crops.

    A wrong guess is another class, drawn by how frequent the classes are. Wrong guesses are less sure: their
    probabilities are drawn from Beta(5, 3), those of right guesses from Beta(9, 1.5).

    Args:
        truth: path -> true class.
        right: share of right guesses, 0..1; it is exact up to rounding.
        seed: seed of the draws.
    """
    rng = np.random.default_rng(seed)
    paths = sorted(truth)
    wrong = set(rng.permutation(len(paths))[round(right * len(paths)) :].tolist())
    frequency = Counter(truth.values())
    guesses = {}
    for index, path in enumerate(paths):
        if index not in wrong:
            guesses[path] = Guess(truth[path], float(rng.beta(9, 1.5)))
            continue
        others = sorted(set(frequency) - {truth[path]})
        shares = np.array([frequency[name] for name in others], np.float64)
        guesses[path] = Guess(str(rng.choice(others, p=shares / shares.sum())), float(rng.beta(5, 3)))
    return guesses


class Person:
    """A simulated person, who errs.

    The person overlooks a wrong guess of the model with the chance ``overlooks``, takes a right one for wrong with
    ``doubts``, and with ``slips`` names a wrong class for a crop that the person looks at. The same seed and the same
    crop give the same answer in every way of labeling. People overlooked 14% of conspicuous things when 2% of the
    pictures had one (Rich and others, Journal of Vision 8(15), 2008); the other chances are
    assumptions.
    """

    def __init__(
        self,
        truth: Mapping[str, str],
        *,
        overlooks: float = 0.14,
        doubts: float = 0.005,
        slips: float = 0.05,
        seed: int = 0,
    ) -> None:
        self._truth = truth
        self._classes = sorted(set(truth.values()))
        self._chances = (overlooks, doubts, slips)
        self._draws = {path: np.random.default_rng([seed, row]).random(4) for row, path in enumerate(sorted(truth))}

    def finds_odd(self, path: str, suggested: str) -> bool:
        """Whether the person sees the crop as not of the suggested class."""
        overlooks, doubts, _ = self._chances
        draw = self._draws[path][0]
        return bool(draw < doubts if self._truth[path] == suggested else draw >= overlooks)

    def names(self, path: str) -> str:
        """The class that the person names after a look at the crop alone."""
        others = [name for name in self._classes if name != self._truth[path]]
        slip, which = self._draws[path][1:3]
        if others and slip < self._chances[2]:
            return others[int(which * len(others))]
        return self._truth[path]

    def labels(self, path: str, suggested: str) -> str:
        """The label that the crop gets if the person sees the suggestion: accepted, or another class."""
        return self.names(path) if self.finds_odd(path, suggested) else suggested
