"""A frontier of tiny networks: its points are what the runs say, and nothing is trained or measured twice."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from browser_fixtures import SCHEMES, Scheme, faults_of
from cli_fixtures import Pelagia
from model_fixtures import REPOSITORY, TINY
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import ConfigError, InputError, TrainingError
from pelagia_training.config import TrainConfig
from pelagia_training.evaluation.evaluate_torch import evaluate_run
from pelagia_training.figures.metrics import confusion_matrix, metrics_of
from pelagia_training.frontier import training
from pelagia_training.frontier.folder import PLAN_FILE, read_plan
from pelagia_training.frontier.frontier import Frontier, build
from pelagia_training.frontier.networks import Network, read_networks
from pelagia_training.frontier.page import write_page
from pelagia_training.frontier.plan import Order, Plan
from pelagia_training.frontier.shown import HEADER, write_csv
from pelagia_training.runs.folder import read_run

CONFIG = REPOSITORY / "configs/training/tiny_cpu.yaml"
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module", autouse=True)
def quick() -> object:
    """The speed of training is watched for a moment only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "SECONDS", 0.1)
        yield


def ordered(dataset: Dataset, *settings: str, include: tuple[Path, ...] = ()) -> Order:
    """Two epochs of one network, with one and two orientations."""
    config = load_config(CONFIG, TrainConfig, [f"dataset={dataset.root}", *TINY, "seed=1", *settings])
    return Order(
        config=config,
        networks=read_networks(["test_resnet"], config.model),
        sizes=(32,),
        orientations=(1, 2),
        minutes=0.001,
        most_epochs=9,
        include=include,
        rates=(1e7, 1),
        seconds=0.05,
    )


def made(order: Order, out: Path) -> Frontier:
    return build(order, out, show_plan=lambda plan: None)


@pytest.fixture(scope="module")
def order(dataset: Dataset, run: Path) -> Order:
    return ordered(dataset, include=(run,))


@pytest.fixture(scope="module")
def found(order: Order, tmp_path_factory: pytest.TempPathFactory) -> tuple[Frontier, Path]:
    out = tmp_path_factory.mktemp("frontiers") / "whole"
    plans: list[Plan] = []
    result = build(order, out, show_plan=plans.append)
    assert [run.epochs for run in plans[0].runs] == [2]  # the plan is shown, and holds for the training
    write_csv(result, out)
    write_page(result, out)
    return result, out


def named(result: Frontier) -> list[str]:
    return [point.choice.name for point in result.points]


def test_every_network_and_every_pair_is_a_point_at_every_orientation(found: tuple[Frontier, Path]) -> None:
    assert named(found[0]) == [
        *("test_resnet-32", "test_resnet-32 x 2", "tiny", "tiny x 2"),
        *("test_resnet-32 + tiny", "(test_resnet-32 + tiny) x 2"),
    ]


def test_the_planned_run_is_an_ordinary_run(found: tuple[Frontier, Path]) -> None:
    config, state = read_run(found[1] / "runs" / "test_resnet-32")
    assert (state.status, state.epoch, config.train.epochs) == ("finished", 2, 2)
    assert sorted(file.name for file in found[1].iterdir()) == [
        *(".lock", "frontier.csv", "frontier.html", "outputs", PLAN_FILE, "runs", "speed.json"),
    ]


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_figures_are_those_of_the_runs_and_of_their_mean(
    found: tuple[Frontier, Path], run: Path, split: str
) -> None:
    points = dict(zip(named(found[0]), found[0].points, strict=True))
    alone = [evaluate_run(found[1] / "runs" / "test_resnet-32", split), evaluate_run(run, split)]
    for name, one in zip(("test_resnet-32", "tiny"), alone, strict=True):
        figures = points[name].val if split == "val" else points[name].test
        assert figures is not None
        assert (figures.macro_f1, figures.accuracy) == pytest.approx((one.metrics.macro_f1, one.metrics.accuracy))
    predicted = np.mean([one.probabilities for one in alone], axis=0).argmax(axis=1)
    targets = np.array([alone[0].classes.index(record.class_name) for record in alone[0].records])
    expected = metrics_of(confusion_matrix(targets, predicted, len(alone[0].classes))).macro_f1
    pair = points["test_resnet-32 + tiny"]
    assert (pair.val if split == "val" else pair.test).macro_f1 == pytest.approx(expected)  # type: ignore[union-attr]


def test_the_table_has_every_point(found: tuple[Frontier, Path]) -> None:
    result, out = found
    with (out / "frontier.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == HEADER
    assert sorted(row["point"] for row in rows) == sorted(named(result))
    best = {point.choice.name for point in result.best}
    assert {row["point"] for row in rows if row["on_frontier"] == "yes"} == best
    pair = next(row for row in rows if row["point"] == "test_resnet-32 + tiny")
    assert (pair["networks"], pair["size"], pair["epochs"]) == ("test_resnet + test_resnet", "32", "2 + 2")
    for row in rows:
        assert 0 < float(row["images_per_s"]) < float(row["network_images_per_s"])
        assert float(row["test_macro_f1_low"]) <= float(row["test_macro_f1"]) <= float(row["test_macro_f1_high"]) + 1e-3
        assert row["speed"] == "measured" or (" + " in row["point"] and row["on_frontier"] == "no")


def test_the_recommendation_is_the_best_on_the_validation_split(found: tuple[Frontier, Path]) -> None:
    nothing, best = found[0].recommendations
    assert nothing.point is None
    assert best.point is not None
    assert best.point.val.macro_f1 == max(point.val.macro_f1 for point in found[0].points)


def test_the_same_order_trains_and_measures_nothing_again(
    found: tuple[Frontier, Path], order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, out = found

    def forbidden(*arguments: object, **options: object) -> object:
        raise AssertionError("this was done before")

    for place in ("training.train", "outputs.outputs", "speed.rates_of"):
        monkeypatch.setattr(f"pelagia_training.frontier.{place}", forbidden)
    again = made(replace(order, rates=(1,)), out)
    assert [(one.rate, one.val.macro_f1) for one in again.points] == [
        (one.rate, one.val.macro_f1) for one in result.points
    ]


def test_another_training_time_is_refused(found: tuple[Frontier, Path], order: Order) -> None:
    with pytest.raises(InputError) as caught:
        made(replace(order, minutes=5), found[1])
    assert str(caught.value) == (
        f"the frontier {found[1]} was started with other options, so its runs could not be compared:\n"
        "  - --minutes: was 0.001, is now 5\n"
        "give the old options again, or choose another --out; networks, sizes, orientations, ensembles, rates and "
        "included runs may be added"
    )


def test_the_page_shows_names_as_text(found: tuple[Frontier, Path], tmp_path: Path) -> None:
    result, _ = found
    first, *others = result.points
    member = replace(first.choice.members[0], name=EVIL)
    evil = replace(first, choice=replace(first.choice, members=(member,)))
    points = [evil, *others]
    best = [evil if point is first else point for point in result.best]
    write_page(replace(result, points=points, best=best), tmp_path)
    page = (tmp_path / "frontier.html").read_text()
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.browser
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_no_fault_on_the_page(chromium: Browser, found: tuple[Frontier, Path], scheme: Scheme) -> None:
    assert faults_of(chromium, found[1] / "frontier.html", scheme) == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_a_phone_and_a_laptop(chromium: Browser, found: tuple[Frontier, Path], width: int) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 800})
    page.goto((found[1] / "frontier.html").as_uri())
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("svg").count() == 2
    page.close()


# ---- what is wrong is said before anything is trained


@pytest.mark.parametrize(
    ("networks", "sizes", "message"),
    [
        (["resnet1O"], (32,), "--networks, --sizes: resnet1O-32: model.backbone: timm .* has no 'resnet1O'"),
        (["vit_tiny_patch16_224"], (40,), "vit_tiny_patch16_224-40: preprocess.size: .*40 is not a multiple of 16"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(
    dataset: Dataset, tmp_path: Path, networks: list[str], sizes: tuple[int, ...], message: str
) -> None:
    order = ordered(dataset)
    named = read_networks(networks, order.config.model)
    with pytest.raises(ConfigError, match=message):
        made(replace(order, networks=named, sizes=sizes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_weights_file_is_named_once(dataset: Dataset, tmp_path: Path) -> None:
    order = ordered(dataset)
    model = order.networks[0].model.model_copy(update={"weights": tmp_path / "none.pth"})
    with pytest.raises(ConfigError) as caught:
        made(replace(order, networks=(Network(name="a", model=model),), sizes=(32, 48)), tmp_path / "out")
    assert str(caught.value) == (
        f"--networks, --sizes: a: there is no weights file {tmp_path}/none.pth: correct its path in the list"
    )


def test_a_folder_that_is_no_frontier_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=f"{tmp_path} is no frontier, because it has no plan.json"):
        made(ordered(dataset), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_damaged_plan_is_named(order: Order, tmp_path: Path) -> None:
    (tmp_path / PLAN_FILE).write_text("{")
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / PLAN_FILE} is damaged")):
        made(order, tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("run.json", '"fingerprint": "', '"fingerprint": "0', "it was trained on another dataset, 'drawn'"),
        ("run.json", '"status": "finished"', '"status": "running"', "it was interrupted after epoch 2"),
        ("config.yaml", "resplit: null", "resplit: {seed: 3}", "it was trained on another split"),
    ],
)
def test_a_run_that_cannot_be_compared_is_not_included(
    dataset: Dataset, run: Path, tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    text = (copy / file).read_text()
    assert old in text
    (copy / file).write_text(text.replace(old, new))
    with pytest.raises(InputError, match=re.escape(f"--include {copy}: {message}")):
        made(ordered(dataset, include=(copy,)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_a_copy_and_damaged_weights_are_not_included(
    dataset: Dataset, run: Path, tmp_path: Path
) -> None:
    damaged = shutil.copytree(run, tmp_path / "damaged")
    (damaged / "best.safetensors").write_bytes(b"short")
    copy = shutil.copytree(run, tmp_path / "copy")
    folds, nothing = tmp_path / "folds", tmp_path / "nothing"
    shutil.copytree(run, folds / "fold-1")
    nothing.mkdir()
    for include, message in [
        ((nothing,), f"--include {nothing}: this is no training run: name a folder that `pelagia train` wrote"),
        ((damaged,), f"--include {damaged}: {damaged}/best.safetensors is missing or damaged"),
        ((folds,), f"--include {folds}: {folds} is a cross-validation of 1 runs"),
        ((run, copy), f"--include {copy}: it has the same weights as {run}: name each network once"),
    ]:
        with pytest.raises(InputError, match=re.escape(message)):
            made(ordered(dataset, include=include), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_of_the_frontier_itself_is_not_included(found: tuple[Frontier, Path], order: Order) -> None:
    own = found[1] / "runs" / "test_resnet-32"
    with pytest.raises(InputError, match=re.escape(f"--include {own}: it is a run of this frontier already")):
        made(replace(order, include=(own,)), found[1])


def test_first_weights_of_another_network_are_refused_before_anything_is_measured(
    dataset: Dataset, run: Path, tmp_path: Path
) -> None:
    order = ordered(dataset)
    model = order.networks[0].model.model_copy(update={"weights": run, "backbone": "resnet18"})
    with pytest.raises(ConfigError, match="--networks, --sizes: w-32: model.weights: backbone is test_resnet in the"):
        made(replace(order, networks=(*order.networks, Network(name="w", model=model))), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_with_other_classes_is_not_included(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    order = ordered(dataset, f"data.exclude=[{dataset.class_names[0]}]", include=(run,))
    with pytest.raises(InputError, match=f"it knows other classes .the difference: {dataset.class_names[0]}"):
        made(order, tmp_path / "out")


def test_orientations_that_no_network_has_seen_are_refused(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    order = replace(ordered(dataset, "augment.flips=none"), orientations=(2,))
    with pytest.raises(
        InputError,
        match="--orientations 2: with augment.flips=none a network learns at most 1 of them: name numbers up to 1",
    ):
        made(order, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_runs_whose_loss_diverges_are_named_and_not_trained_again(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = training.train

    def diverges(config: TrainConfig, out: Path, *arguments: object, **options: object) -> object:
        if out.name == training.TRIAL_FOLDER:
            return real(config, out, *arguments, **options)  # type: ignore[arg-type]
        raise TrainingError("the loss diverges")

    monkeypatch.setattr(training, "train", diverges)
    with pytest.raises(TrainingError, match="none of the 1 runs could be trained; test_resnet-32: the loss diverges"):
        made(ordered(dataset), tmp_path / "out")
    assert read_plan(tmp_path / "out").failed == {"test_resnet-32": "the loss diverges"}


# ---- the command


def words(dataset: Dataset, out: Path, *more: object) -> list[str]:
    settings = [f"dataset={dataset.root}", *TINY, "train.checkpoint_minutes=0"]
    sets = [word for setting in settings for word in ("--set", setting)]
    given = ["frontier", CONFIG, *sets, "--minutes", 0.001, "--out", out, *more]
    return [str(word) for word in given]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_frontier_that_was_ended_resumes(
    dataset: Dataset, tmp_path: Path, pelagia: Pelagia, kind: signal.Signals
) -> None:
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "pelagia.cli", *words(dataset, out)]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=-1, stderr=-1)
    while process.poll() is None and not (out / "runs/test_resnet-32/checkpoint.safetensors").exists():
        time.sleep(0.01)
    process.send_signal(kind)
    _, told = process.communicate()
    resumes = f"the frontier {out} is not finished: run the same command again to resume it"
    assert (resumes in told.decode()) == (kind is signal.SIGTERM)
    plan = read_plan(out)
    done = pelagia(*words(dataset, out, "--rates", 1))
    assert done.returncode == 0, done.stderr
    assert read_plan(out) == plan
    assert "longer than --minutes, because 2 epochs are the least: test_resnet-32; give more minutes" in done.stdout
    assert read_run(out / "runs/test_resnet-32")[1].status == "finished"
    assert f"pelagia export {out}/runs/test_resnet-32 --out test_resnet-32.onnx" in done.stdout
    assert json.loads((out / "speed.json").read_text())["rates"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--sizes", "32,x"],
            "--sizes needs numbers with commas between them, such as 96,128,160, each above 0, not '32,x'",
        ),
        (["--sizes", "0"], "--sizes needs numbers with commas between them, such as 96,128,160, each above 0, not '0'"),
        (["--sizes", "8"], "--sizes: 8 pixels are too few: name at least 16"),
        (["--networks", "a,b"], "--networks a,b: a name has no comma: repeat --networks for each network"),
        (["--sizes", "32,9999"], "--sizes: 9999 pixels are too many: name at most 4096"),
        (["--orientations", "1,3"], "--orientations: a network averages 1, 2, 4 or 8 orientations, not 3"),
        (["--minutes", "0"], "--minutes is 0: give the training time of each network, such as --minutes 10"),
        (["--networks", "none.yaml"], "there is no list of networks at none.yaml"),
    ],
)
def test_a_wrong_option_is_one_line(
    dataset: Dataset, tmp_path: Path, pelagia: Pelagia, more: list[str], message: str
) -> None:
    done = pelagia(*words(dataset, tmp_path / "out", *more))
    assert (done.returncode, done.stderr) == (2, f"error: {message}\n")
