"""Measuring a machine: rates that agree with each other, not rates that are high."""

import pytest

from cli_fixtures import Pelagia
from pelagia.model.metadata import ModelFile
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.machine.bench import Bench, bench
from pelagia_inference.machine.setting import Setting


def test_the_ideal_shares_decoding_and_the_network_over_the_cores() -> None:
    measured = Bench(decode=300.0, network={Setting(2): 600.0, Setting(1, 2): 100.0}, end_to_end=190.0, images=1000)
    assert measured.best == Setting(2)
    assert measured.ideal == pytest.approx(200.0)
    assert measured.efficiency == pytest.approx(0.95)


def test_every_setting_is_measured_and_all_images_are_classified(model: ModelFile, survey: SimulatedSurvey) -> None:
    measured = bench(model, [survey.root], seconds=0.1, rounds=1)
    assert all(rate > 0 for rate in measured.network.values())
    assert measured.decode > 0
    assert measured.end_to_end > 0
    assert measured.images == survey.images


def test_apply_is_stored_and_printed_by_classify(
    pelagia: Pelagia, model: ModelFile, survey: SimulatedSurvey, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bench")
    own = {"PELAGIA_CONFIG_HOME": str(folder)}
    shown = pelagia("bench", model.path, survey.root, "--seconds", "0.1", "--rounds", "1", "--apply", env=own)
    assert shown.returncode == 0, shown.stderr
    assert f"stored in {folder / 'bench.json'}" in shown.stdout
    lines = shown.stdout.splitlines()
    [best] = [line.split("images/s, ")[1] for line in lines if line.startswith("only the network, fastest")]
    assert f"({best})" in pelagia("classify", model.path, survey.root, "--out", folder / "out", env=own).stdout
