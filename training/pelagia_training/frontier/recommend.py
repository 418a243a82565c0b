"""Which point to use for a rate, and the commands to type next.

The best point is the one with the best macro-F1 on the validation split among those that are fast enough. If a faster
point of the frontier may be as good, so that the difference may be chance, it is named as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pelagia.shell import command_line
from pelagia_training.figures.paired import Difference, paired_differences
from pelagia_training.frontier.candidates import HeldOut
from pelagia_training.frontier.points import Point, frontier_of
from pelagia_training.runs.folder import CONFIG_FILE

FOLDS = 5


@dataclass(frozen=True)
class Recommendation:
    """What to use for a rate.

    Attributes:
        rate: images/s that are wanted.
        point: the point to use; None if none is fast enough.
        faster: the fastest point whose validation macro-F1 may be as good; None if there is none.
        difference: of the macro-F1 on the validation split, from ``faster`` to ``point``.
    """

    rate: float
    point: Point | None
    faster: Point | None = None
    difference: Difference | None = None


def recommend(points: Sequence[Point], rates: Sequence[float], val: HeldOut, classes: int) -> list[Recommendation]:
    """A recommendation for each rate, the fastest first."""
    return [_for_rate(points, rate, val, classes) for rate in sorted(set(rates), reverse=True)]


def _for_rate(points: Sequence[Point], rate: float, val: HeldOut, classes: int) -> Recommendation:
    best = best_at(points, rate)
    if best is None:
        return Recommendation(rate, None)
    for faster in frontier_of(points):
        if faster.rate <= best.rate:
            break
        predicted = faster.val.predicted, best.val.predicted
        difference = paired_differences(val.targets, predicted, val.groups, classes)["macro_f1"]
        if not difference.is_better:
            return Recommendation(rate, best, faster, difference)
    return Recommendation(rate, best)


def best_at(points: Sequence[Point], rate: float) -> Point | None:
    """The point with the best validation macro-F1 that reaches ``rate``, the fastest of several; None if none does."""
    fast = [point for point in points if point.rate >= rate]
    return max(fast, key=lambda point: (point.val.macro_f1, point.rate), default=None)


def in_words(one: Recommendation) -> str:
    """The recommendation in words, without the rate that is wanted."""
    if one.point is None:
        return "no point is fast enough; add smaller networks with --networks or smaller --sizes"
    point, val, test = one.point, one.point.val, one.point.test
    measured = f", test {test.macro_f1:.4f}" if test else ""
    text = f"{point.choice.name}, {point.rate:.0f} images/s, macro-F1 validation {val.macro_f1:.4f}{measured}"
    if one.faster is None or one.difference is None:
        return text
    interval, faster = one.difference.interval, one.faster
    if interval is None:
        why = "all validation images are of one group, so chance cannot be ruled out"
    else:
        why = (
            f"difference of the macro-F1 {one.difference.value:+.4f}, 95% interval {interval.low:+.4f} to "
            f"{interval.high:+.4f}"
        )
    return (
        f"{text}; {faster.choice.name} is faster ({faster.rate:.0f} images/s) and may be as good on the validation "
        f"split ({why})"
    )


def answers(found: Sequence[Recommendation]) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """For each rate: the rate and the recommendation in words, and the commands to type next.

    What was recommended before is only referred to, without its commands.
    """
    seen: list[Recommendation] = []
    for one in found:
        rate = f"{one.rate:,.10g} images/s"
        same = [other for other in seen if other.point is one.point]
        if same:
            yield rate, f"the same as for {same[0].rate:,.10g} images/s", []
        else:
            yield rate, in_words(one), commands_for(one.point) if one.point else []
            seen.append(one)


def commands_for(point: Point) -> list[tuple[str, str]]:
    """The commands to type next, each with what it does.

    First the export of the runs as they are; then the longer way to a model that is trained on all images.
    """
    members = point.choice.members
    trained = {one.member.config.model.orientations for one in members}
    views = () if trained == {point.choice.views} else ("--orientations", point.choice.views)
    name = "+".join(one.name for one in members) if len(members) < 3 else f"{members[0].name}+{len(members) - 1}"
    file = Path(_file_name(name) + (f"-x{point.choice.views}" if point.choice.views > 1 else ""))
    runs = [one.member.folder for one in members]
    found = [("the model of these runs", command_line("pelagia", "export", *runs, *views, "--out", f"{file}.onnx"))]
    finals = []
    for one in members:
        config, base = one.member.folder / CONFIG_FILE, _file_name(one.name)
        folds, final = f"{base}-folds", f"{base}-final"
        line = command_line("pelagia", "train", config, "--folds", FOLDS, "--out", folds)
        found.append((f"cross-validation of {one.name}", line))
        found.append((f"{one.name} on all images", command_line("pelagia", "train", "--final", folds, "--out", final)))
        finals.append(final)
    last = command_line("pelagia", "export", *finals, *views, "--out", f"{file}-final.onnx")
    return [*found, ("the model of all images", last)]


def _file_name(name: str) -> str:
    """The name of a network, which may be a path, as the name of a file."""
    return name.strip("/").replace("/", "-")
