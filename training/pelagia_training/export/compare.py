"""Is a smaller model worth it? Speed and figures of both, measured on this machine in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from pelagia.dataset.schema import Dataset
from pelagia.images.preprocess import Fitted, load_sized
from pelagia.model.metadata import ModelFile
from pelagia.system.cores import usable_cores
from pelagia_inference.machine.session import Session, stacked
from pelagia_inference.machine.setting import DEFAULT_BATCH
from pelagia_training.evaluation.evaluate import Evaluation, evaluate

LEAST_SPEED = 1.15
MOST_LOSS = 0.01
_TIMED_IMAGES = 64
_ROUNDS = 9
_SECONDS = 0.3


@dataclass(frozen=True)
class Comparison:
    """A float model and the smaller one on a split.

    Attributes:
        speed: how many times as fast the smaller one is; None where it was not timed.
    """

    large: Evaluation
    small: Evaluation
    speed: float | None

    @property
    def change(self) -> float:
        """What the macro-F1 gained, or below 0 lost."""
        return self.small.metrics.macro_f1 - self.large.metrics.macro_f1

    @property
    def against(self) -> list[str]:
        """Why the smaller model is not worth it; empty where it is."""
        reasons = []
        if self.speed is not None and self.speed < LEAST_SPEED:
            reasons.append(f"it is {self.speed:.2f} times as fast here, and {LEAST_SPEED:g} is the least that pays")
        if self.change < -MOST_LOSS:
            reasons.append(f"it loses {-self.change:.4f} of macro-F1, and {MOST_LOSS:g} is the most")
        return reasons


def compare(
    large: ModelFile,
    small: ModelFile,
    dataset: Dataset,
    split: str,
    *,
    timed: bool = True,
    report: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Evaluates both models through the runner, and times them unless told not to.

    Raises:
        DatasetError: no image of the split can be compared.
    """
    report(f"both models over the split '{split}'")
    evaluations = evaluate(large, dataset, split), evaluate(small, dataset, split)
    if not timed:
        return Comparison(*evaluations, speed=None)
    report(f"speed: {_ROUNDS} rounds in turns, every core busy")
    fitted = [load_sized(reference.data, large.metadata.preprocess) for reference in large.metadata.references]
    images = [fitted[index % len(fitted)] for index in range(_TIMED_IMAGES)]
    return Comparison(*evaluations, speed=speed_ratio(large, small, images))


def speed_ratio(first: ModelFile, second: ModelFile, images: Sequence[Fitted]) -> float:
    """How many times as fast ``second`` is: the median over rounds in which both take turns on every core.

    Args:
        images: for both models; taken in batches of `DEFAULT_BATCH`.
    """
    batches = [stacked(images[start : start + DEFAULT_BATCH]) for start in range(0, len(images), DEFAULT_BATCH)]

    def seconds(sessions: list[Session], times: int) -> float:
        def work(session: Session) -> None:
            for _ in range(times):
                for batch in batches:
                    session.probabilities(*batch)

        began = perf_counter()
        list(pool.map(work, sessions))
        return perf_counter() - began

    one, other = ([Session(model) for _ in range(usable_cores())] for model in (first, second))
    with ThreadPoolExecutor(usable_cores()) as pool:
        for sessions in (other, one):
            warm = seconds(sessions, 1)
        times = max(1, round(_SECONDS / warm))
        return median(seconds(one, times) / seconds(other, times) for _ in range(_ROUNDS))
