"""`pelagia frontier`: trains several networks and input sizes for the same time, and compares cost with accuracy.

Read `build` from top to bottom. Every step keeps its result in the folder (`pelagia_training.frontier.folder`), so the
same command resumes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pelagia.errors import InputError
from pelagia_training.config import MOST_ORIENTATIONS
from pelagia_training.data.batches import spread
from pelagia_training.data.splits import Splits, read_splits
from pelagia_training.devices import make_fabric, memory_kept, name_of
from pelagia_training.fit.context import Report
from pelagia_training.frontier.candidates import (
    Candidate,
    HeldOut,
    held_out_of,
    included_candidates,
    trained_candidates,
)
from pelagia_training.frontier.folder import open_frontier, write_plan
from pelagia_training.frontier.included import read_included
from pelagia_training.frontier.outputs import Logits, logits_of, network_of
from pelagia_training.frontier.plan import Order, Plan, planned, require_plannable
from pelagia_training.frontier.points import (
    Choice,
    Figures,
    Point,
    choices_of,
    figures_of,
    frontier_of,
    with_decoding,
)
from pelagia_training.frontier.recommend import Recommendation, recommend
from pelagia_training.frontier.speed import Speeds, Timed, decode_key, machine, measure_speeds
from pelagia_training.frontier.training import complete_plan, require_networks, train_runs
from pelagia_training.network.backbone import Deployed
from pelagia_training.network.ensemble import DeployedEnsemble
from pelagia_training.network.onnx_graph import to_onnx
from pelagia_training.runs.loggers import require_loggers
from pelagia_training.studies.folds import require_one_process

_FILES = 200
"""The number of validation images that are decoded to measure the speed."""
_PASSES = 3
"""How often ensembles that are new on the frontier are measured; others keep the sum of the times of their networks."""

Bar = Callable[[str], AbstractContextManager[Callable[..., None]]]


@contextmanager
def _no_bar(what: str) -> Iterator[Callable[..., None]]:
    yield lambda *done, **text: None


@contextmanager
def _silent_training() -> Iterator[Report]:
    yield lambda event: None


@dataclass(frozen=True)
class Shown:
    """How a frontier shows its progress: lines of text, bars with what is done, and the training."""

    note: Callable[[str], None] = lambda text: None
    bar: Bar = _no_bar
    training: Callable[[], AbstractContextManager[Report]] = _silent_training


@dataclass(frozen=True)
class Frontier:
    """The result: all points, those on the frontier (the fastest first), and what to use for each rate."""

    plan: Plan
    points: list[Point]
    best: list[Point]
    recommendations: list[Recommendation]
    speeds: Speeds
    splits: list[HeldOut]


def build(order: Order, out: Path, shown: Shown | None = None, *, show_plan: Callable[[Plan], None]) -> Frontier:
    """Plans, trains and measures what is missing in the folder ``out``, and compares all points.

    Args:
        show_plan: called with the plan before anything is trained.

    Raises:
        ConfigError, InputError, DatasetError, TrainingError: as `train`; also if ``out`` was made with other options.
    """
    shown = shown or Shown()
    splits, device = _checked(order)
    plan = planned(order, splits, f"{machine()}, {device}")
    require_networks(plan, splits)
    theirs = read_included(order.include, order.config, splits, out)
    included = included_candidates(theirs, [name for name, _, _ in plan.wanted])
    _require_orientations(order, included)
    with open_frontier(out, plan) as plan:
        if plan.missing:
            shown.note(f"measuring how fast {len(plan.missing)} networks train")
        with shown.bar("training speed") as update:
            plan = complete_plan(out, plan, splits, shown.note, update)
        write_plan(out, plan)
        show_plan(plan)
        with shown.training() as report:
            plan = train_runs(out, plan, report)
        candidates = [*trained_candidates(out, plan), *included]
        return _compared(_Measuring(order, out, splits, held_out_of(splits), candidates, shown), plan)


def _checked(order: Order) -> tuple[Splits, str]:
    """The images, and the device in words. Raises an error if the config has a fault that every run would have."""
    require_plannable(order.config)
    require_one_process(order.config)
    require_loggers(order.config.loggers)
    fabric = make_fabric(order.config.device, order.config.precision, order.config.devices, order.config.nodes)
    resplit = order.config.data.resplit
    splits = read_splits(order.config.dataset, order.config.data.exclude, resplit)
    if not splits.val:
        raise InputError("the config holds no validation image out (data.resplit.everything), so nothing is chosen")
    return splits, name_of(fabric)


def _require_orientations(order: Order, included: Sequence[Candidate]) -> None:
    """Raises InputError if no network can be measured with any of the orientations that are asked for."""
    flips = order.config.augment.flips
    most = MOST_ORIENTATIONS[flips]
    if min(order.orientations) > most and not any(one.views(order.orientations) for one in included):
        raise InputError(
            f"--orientations {','.join(map(str, order.orientations))}: with augment.flips={flips} a network learns at "
            f"most {most} of them: name numbers up to {most}, or set another augment.flips"
        )


# ---- what the trained networks are worth


@dataclass(frozen=True)
class _Measuring:
    """The trained networks, and the images that measure them."""

    order: Order
    out: Path
    splits: Splits
    held_out: list[HeldOut]
    candidates: list[Candidate]
    shown: Shown

    @property
    def files(self) -> list[Path]:
        return [self.splits.dataset.file(record) for record in spread(self.splits.val, _FILES)]


def _compared(work: _Measuring, plan: Plan) -> Frontier:
    choices = [*choices_of(work.candidates, work.order.orientations, work.order.ensembles)]
    logits = _logits(work)
    figures = _figures(work, choices, logits)
    singles = [_timed(choice) for choice in choices if len(choice.members) == 1]
    speeds = _speeds(work, singles)
    points = _points(choices, figures, speeds)
    for _ in range(_PASSES):
        new = [_timed(point.choice) for point in frontier_of(points) if not point.timed]
        if not new:
            break
        speeds = _speeds(work, new, singles)
        points = _points(choices, figures, speeds)
    advice = recommend(points, work.order.rates, work.held_out[0], len(work.splits.classes))
    return Frontier(plan, points, frontier_of(points), advice, speeds, work.held_out)


def _logits(work: _Measuring) -> dict[tuple[str, int], Logits]:
    """(Name of a network, number of orientations) -> its logits for the held-out images."""
    wanted = [(one, views) for one in work.candidates for views in one.views(work.order.orientations)]
    found = {}
    for number, (one, views) in enumerate(wanted, 1):
        with work.shown.bar(f"{one.name} x {views}, network {number} of {len(wanted)}") as update:
            dataset = work.splits.dataset
            found[one.name, views] = logits_of(one, views, dataset, work.held_out, work.out, update)
    return found


def _figures(
    work: _Measuring, choices: Sequence[Choice], logits: dict[tuple[str, int], Logits]
) -> list[tuple[Figures, Figures | None]]:
    """The figures of each choice on the validation split, and on the test split if there is one."""
    found: list[tuple[Figures, Figures | None]] = []
    with work.shown.bar("comparing points") as update:
        for number, choice in enumerate(choices):
            val, *test = (figures_of(choice, logits, split) for split in work.held_out)
            found.append((val, test[0] if test else None))
            update(number + 1, len(choices))
    return found


def _speeds(work: _Measuring, timed: Sequence[Timed], beside: Sequence[Timed] = ()) -> Speeds:
    with work.shown.bar("measuring images/s") as update:
        return measure_speeds(work.out, timed, work.files, update, beside=beside, seconds=work.order.seconds)


def _timed(choice: Choice) -> Timed:
    """The network of a choice, to be measured."""
    first = choice.members[0].member
    return Timed(_key(choice), first.config.preprocess, first.state.taxonomy.names, partial(_graph, choice))


def _key(choice: Choice) -> str:
    weights = ",".join(one.weights[:12] for one in choice.members)
    return f"{choice.name}@{weights}"


def _graph(choice: Choice) -> bytes:
    """The ONNX graph of a choice, without an out-of-distribution score."""
    parts = [Deployed(network_of(one, choice.views)) for one in choice.members]
    with memory_kept():
        network = parts[0] if len(parts) == 1 else DeployedEnsemble(parts, 1.0, "probabilities")
        return to_onnx(network, choice.size)


def _points(
    choices: Sequence[Choice], figures: Sequence[tuple[Figures, Figures | None]], speeds: Speeds
) -> list[Point]:
    found = []
    for choice, (val, test) in zip(choices, figures, strict=True):
        own = speeds.rates.get(_key(choice))
        parts = [speeds.rates[_key(Choice((one,), choice.views))] for one in choice.members]
        network = own or 1 / sum(1 / rate for rate in parts)
        decode = speeds.rates[decode_key(choice.members[0].member.config.preprocess)]
        found.append(Point(choice, network, with_decoding(network, decode), own is not None, val, test))
    return found
