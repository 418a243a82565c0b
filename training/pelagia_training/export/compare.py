"""Compares the speed and the metrics of a float model and a smaller model, both measured on this machine in one run."""

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
"""Least speed-up that makes a smaller model worth using."""
MOST_LOSS = 0.01
"""Largest loss of macro-F1 that is allowed for a smaller model."""
_TIMED_IMAGES = 64
_ROUNDS = 9
_SECONDS = 0.3


@dataclass(frozen=True)
class Comparison:
    """The results of a float model and of a smaller model on one split.

    Attributes:
        large: evaluation of the float model.
        small: evaluation of the smaller model.
        speed: time of the float model divided by the time of the smaller model; None if the speed was not measured.
    """

    large: Evaluation
    small: Evaluation
    speed: float | None

    @property
    def change(self) -> float:
        """Macro-F1 of the smaller model minus that of the float model."""
        return self.small.metrics.macro_f1 - self.large.metrics.macro_f1

    @property
    def against(self) -> list[str]:
        """Reasons not to use the smaller model; empty if it is worth using."""
        reasons = []
        if self.speed is not None and self.speed < LEAST_SPEED:
            reasons.append(
                f"it is only {self.speed:.2f} times as fast on this machine (at least {LEAST_SPEED:g} is needed)"
            )
        if self.change < -MOST_LOSS:
            reasons.append(f"it loses {-self.change:.4f} of macro-F1 (at most {MOST_LOSS:g} is allowed)")
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
    """Evaluates both models through the runner, and measures their speed.

    Args:
        large: the float model.
        small: the smaller model that was made from the float model.
        dataset: the dataset on which both models are evaluated.
        split: train, val, test or all.
        timed: whether to measure the speed.
        report: called with a line of text for people.

    Raises:
        DatasetError: no image of the split can be compared.
    """
    report(f"evaluating both models on the split '{split}'")
    evaluations = evaluate(large, dataset, split), evaluate(small, dataset, split)
    if not timed:
        return Comparison(*evaluations, speed=None)
    report(f"measuring the speed: {_ROUNDS} rounds in which the models take turns, on all cores")
    fitted = [load_sized(reference.data, large.metadata.preprocess) for reference in large.metadata.references]
    images = [fitted[index % len(fitted)] for index in range(_TIMED_IMAGES)]
    return Comparison(*evaluations, speed=speed_ratio(large, small, images))


def speed_ratio(first: ModelFile, second: ModelFile, images: Sequence[Fitted]) -> float:
    """The time of ``first`` divided by the time of ``second``: above 1 if ``second`` is faster.

    It is the median over several rounds. In each round the models run one after the other, on all cores.

    Args:
        first: a model.
        second: another model.
        images: the input of both models; it is split into batches of `DEFAULT_BATCH`.
    """
    batches = [stacked(images[start : start + DEFAULT_BATCH]) for start in range(0, len(images), DEFAULT_BATCH)]

    def seconds(sessions: list[Session], times: int) -> float:
        def run_batches(session: Session) -> None:
            for _ in range(times):
                for batch in batches:
                    session.probabilities(*batch)

        began = perf_counter()
        list(pool.map(run_batches, sessions))
        return perf_counter() - began

    first_sessions, second_sessions = ([Session(model) for _ in range(usable_cores())] for model in (first, second))
    with ThreadPoolExecutor(usable_cores()) as pool:
        for sessions in (second_sessions, first_sessions):
            warm = seconds(sessions, 1)
        times = max(1, round(_SECONDS / warm))
        return median(seconds(first_sessions, times) / seconds(second_sessions, times) for _ in range(_ROUNDS))
