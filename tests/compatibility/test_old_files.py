"""Files of earlier versions are read, and interrupted work is resumed, with the results that the old version gave.

A folder beside this file holds what one version made; its README says how. Probabilities that are computed here may
differ in their last digits on another processor, so they are compared to `TOLERANCE`; all else is compared exactly.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from pelagia.dataset.schema import Dataset
from pelagia.model.metadata import ModelFile
from pelagia.survey.journal import Survey
from pelagia.system.tables import write_table
from pelagia_inference.exports.results import CSV, write_results
from pelagia_inference.machine.verify import verify

OLD = Path(__file__).parent / "0.1"
TOLERANCE = 2e-4
NUMBERS = ("probability", "probability_2", "probability_3", "unknown_score")
ROWS_BEFORE_THE_KILL = 64
MARK = b"\xef\xbb\xbf"
"""Version 0.1 wrote tables without a mark, from which Excel cannot tell that they are UTF-8."""
RESUMED_RUN = (
    "dataset=dataset",
    "preprocess.size=32",
    "train.epochs=6",
    "train.warmup_epochs=1",
    "train.batch_size=4",
    "train.ema_decay=0",
    "model={backbone: test_resnet, options: {channels: [4, 4, 4, 4], stem_width: 4}}",
    "loggers=[]",
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the files that may be written to."""
    return shutil.copytree(OLD, tmp_path / "old")


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def require_same(found: Path, expected: Path, numbers: tuple[str, ...], tolerance: float) -> None:
    rows, wanted = table(found), table(expected)
    assert [list(row) for row in rows] == [list(row) for row in wanted]
    for row, other in zip(rows, wanted, strict=True):
        for name in numbers:
            number, old_number = row.pop(name), other.pop(name)
            assert bool(number) == bool(old_number), (row, name)
            assert not number or float(number) == pytest.approx(float(old_number), abs=tolerance), (row, name)
    assert rows == wanted


def test_a_model_gives_its_reference_answers() -> None:
    model = ModelFile.read(OLD / "model.onnx")
    assert verify(model).images == 4
    assert (model.metadata.name, model.metadata.pelagia_version) == ("tiny_cpu", "0.1.0")
    assert model.metadata.decider.decides


def test_a_dataset_is_read() -> None:
    dataset = Dataset.read(OLD / "dataset")
    assert [record.split for record in dataset.records].count("train") == 14
    assert {record.class_name for record in dataset.records} == {"copepod", "detritus", "dinoflagellate"}
    assert all((dataset.root / record.path).is_file() for record in dataset.records)


def test_a_finished_survey_is_exported_to_the_same_bytes(old: Path) -> None:
    expected = (OLD / "finished" / "predictions.csv").read_bytes()
    (old / "finished" / "predictions.csv").unlink()
    with Survey.open(old / "finished") as survey:
        assert len(survey) == 24
        files = write_results(survey, [CSV])
    assert files[CSV].read_bytes() == MARK + expected


def test_a_finished_survey_has_nothing_left_to_do(pelagia: Pelagia, old: Path) -> None:
    done = pelagia("classify", "model.onnx", "dataset/manifest.csv", "--out", "finished", cwd=old)
    assert done.returncode == 0, done.stderr
    expected = (OLD / "finished" / "predictions.csv").read_bytes()
    assert (old / "finished" / "predictions.csv").read_bytes() == MARK + expected


def test_a_killed_survey_is_resumed_to_the_table_of_an_unbroken_run(pelagia: Pelagia, old: Path) -> None:
    done = pelagia("classify", "model.onnx", "crops.zip", "--out", "killed", "--json", cwd=old)
    assert done.returncode == 0, done.stderr
    assert f'"before": {ROWS_BEFORE_THE_KILL}' in done.stdout
    require_same(old / "killed" / "predictions.csv", OLD / "killed-expected.csv", NUMBERS, TOLERANCE)


@pytest.fixture(scope="module")
def resumed(pelagia: Pelagia, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, with the interrupted training run resumed to its end."""
    pytest.importorskip("torch")
    folder = shutil.copytree(OLD, tmp_path_factory.mktemp("compatibility") / "old")
    settings = [part for setting in RESUMED_RUN for part in ("--set", setting)]
    done = pelagia("train", "tiny_cpu.yaml", *settings, "--no-export", "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_an_interrupted_training_run_is_resumed_to_the_metrics_of_an_unbroken_run(
    resumed: Path, tmp_path: Path
) -> None:
    before, after = (folder / "run" / "metrics.csv" for folder in (OLD, resumed))
    found = table(after)
    new = [row.pop("val_loss") for row in found]  # a column that the old version did not write
    kept = table(before)
    assert found[: len(kept)] == kept, "the epochs before the kill were not kept"
    assert [bool(text) for text in new] == [False] * len(kept) + [True] * (len(found) - len(kept))
    without = tmp_path / "metrics.csv"
    write_table(without, list(found[0]), (row.values() for row in found))
    require_same(without, OLD / "run-expected-metrics.csv", ("train_loss", "lr"), 1e-3)


def test_a_training_run_that_the_old_version_began_is_exported(pelagia: Pelagia, resumed: Path) -> None:
    done = pelagia("export", "run", "--out", "new.onnx", cwd=resumed)
    assert done.returncode == 0, done.stderr
    assert ModelFile.read(resumed / "new.onnx").metadata.name == "tiny_cpu"
