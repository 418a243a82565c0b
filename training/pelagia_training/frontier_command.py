"""The command `pelagia frontier`.

It imports torch only after the options, the config, the dataset, the folder and the included runs are checked. The
networks, their first weights and the weights of included runs are checked with torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, get_args

import typer

from pelagia.errors import InputError, Interrupted
from pelagia.options import needs
from pelagia.system import console
from pelagia_training.commands import SetKeys

if TYPE_CHECKING:
    from pelagia_training.frontier.plan import Order

Number = TypeVar("Number", int, float)
_SMALLEST_SIZE, _LARGEST_SIZE = 16, 4096
_LONGEST = 60 * 24 * 365

Networks = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|FILE.yaml",
        help="A backbone of timm, or a YAML list of networks; repeat. Default: the network of the config.",
    ),
]
Sizes = Annotated[
    list[str] | None,
    typer.Option(metavar="A,B,C", help="Sides of the images in pixels. Default: that of the config."),
]
Orientations = Annotated[
    list[str] | None,
    typer.Option(metavar="A,B,C", help="Numbers of mirrored and rotated views to average: 1, 2, 4, 8. Default: 1."),
]
Rates = Annotated[
    list[str] | None,
    typer.Option(metavar="A,B,C", help="Images/s for which a model is recommended. Default: 500,200,50."),
]
Include = Annotated[
    list[Path] | None,
    typer.Option(metavar="RUN", help="A finished run of the same dataset and split, to compare as well; repeat."),
]


def frontier(
    config: Annotated[Path, typer.Argument(help="A YAML file such as configs/training/baseline.yaml.")],
    out: Annotated[Path, typer.Option(help="New folder, or that of an interrupted frontier to resume.")],
    minutes: Annotated[float, typer.Option(help="Training time of each network on this machine.")],
    set_: SetKeys = None,
    networks: Networks = None,
    sizes: Sizes = None,
    orientations: Orientations = None,
    most_epochs: Annotated[
        int | None, typer.Option(min=2, help="Most epochs of a run. Default: train.epochs of the config.")
    ] = None,
    include: Include = None,
    ensembles: Annotated[int, typer.Option(min=1, help="Most networks in an ensemble; 1: no ensembles.")] = 2,
    rates: Rates = None,
) -> None:
    """Compare cost with accuracy: train several networks and sizes for the same time, and measure their speed.

    \b
    pelagia frontier configs/training/baseline.yaml --set dataset=datasets/crops \\
        --networks resnet10t --networks tf_efficientnet_lite0 --sizes 96,128 --minutes 10 --out frontier
    pelagia frontier configs/training/baseline.yaml --set dataset=datasets/crops --networks networks.yaml \\
        --sizes 96,128,160 --orientations 1,2,8 --minutes 30 --include runs/first --out frontier

    A YAML list gives a network its first weights and options:

    \b
    - backbone: mobilenetv2_100
      weights: weights/mobilenetv2_100.safetensors
      options: {pad_type: same}
    - backbone: resnet10t
      name: small

    The speed of training is measured first, and the number of epochs follows from --minutes. The plan is printed
    before anything is trained. The same command resumes; networks, sizes and orientations may be added.

    Each network with each number of orientations is a point, and so is each ensemble of two networks. Points are
    chosen on the val split, and measured on the test split. OUT/frontier.html shows them, and what to type next.
    """
    needs("training", "frontier")
    from pelagia.config import load_config
    from pelagia_training.config import TrainConfig
    from pelagia_training.frontier.folder import resumable
    from pelagia_training.frontier.included import read_included
    from pelagia_training.frontier.networks import read_networks
    from pelagia_training.frontier.plan import Order, planned, require_plannable
    from pelagia_training.runs.check import require_trainable

    _require_minutes(minutes)
    settings = load_config(config, TrainConfig, set_ or [])
    named = read_networks(networks or [], settings.model)
    sides, views, wanted = _sizes(sizes, settings.preprocess.size), _orientations(orientations), _rates(rates)
    most = most_epochs or max(2, settings.train.epochs)
    order = Order(settings, named, sides, views, minutes, most, tuple(include or ()), ensembles, wanted)
    splits = require_trainable(settings)  # a mistake is reported before torch is imported
    require_plannable(settings)
    resumable(out, planned(order, splits, machine=""))
    read_included(order.include, settings, splits, out)
    _build(order, out)


def _build(order: Order, out: Path) -> None:
    from pelagia_training.fit.console import show_training
    from pelagia_training.frontier.folder import PLAN_FILE
    from pelagia_training.frontier.frontier import Shown, build
    from pelagia_training.frontier.page import write_page
    from pelagia_training.frontier.shown import show_frontier, show_plan, write_csv

    shown = Shown(console.note, console.progress_bar, show_training)
    try:
        found = build(order, out, shown, show_plan=show_plan)
    except (KeyboardInterrupt, SystemExit, Interrupted):
        if (out / PLAN_FILE).is_file():
            console.note(f"the frontier {out} is not finished: run the same command again to resume it")
        raise
    write_csv(found, out)
    write_page(found, out)
    show_frontier(found, out)


def _require_minutes(minutes: float) -> None:
    if not 0 < minutes <= _LONGEST:
        raise InputError(f"--minutes is {minutes:g}: give the training time of each network, such as --minutes 10")


def _sizes(given: Sequence[str] | None, of_config: int) -> tuple[int, ...]:
    found = _numbers("--sizes", given or [str(of_config)], int, "96,128,160")
    if found[0] < _SMALLEST_SIZE:
        raise InputError(f"--sizes: {found[0]} pixels are too few: name at least {_SMALLEST_SIZE}")
    if found[-1] > _LARGEST_SIZE:
        raise InputError(f"--sizes: {found[-1]} pixels are too many: name at most {_LARGEST_SIZE}")
    return found


def _orientations(given: Sequence[str] | None) -> tuple[int, ...]:
    from pelagia_training.config import Orientations as Possible

    found = _numbers("--orientations", given or ["1"], int, "1,2,8")
    if other := [number for number in found if number not in get_args(Possible)]:
        raise InputError(f"--orientations: a network averages 1, 2, 4 or 8 orientations, not {other[0]}")
    return found


def _rates(given: Sequence[str] | None) -> tuple[float, ...]:
    return _numbers("--rates", given or ["500,200,50"], float, "500,200,50")


def _numbers(option: str, given: Sequence[str], kind: type[Number], example: str) -> tuple[Number, ...]:
    """Positive numbers with commas between them, in ascending order, each once."""
    text = ",".join(given)
    try:
        found = {kind(part) for part in text.split(",")}
    except ValueError:
        found = set()
    if not found or not all(0 < number < float("inf") for number in found):
        raise InputError(
            f"{option} needs numbers with commas between them, such as {example}, each above 0, not '{text}'"
        )
    return tuple(sorted(found))
