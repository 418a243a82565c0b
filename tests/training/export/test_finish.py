"""The last step of a training: the exported model and its report."""

import shutil
from pathlib import Path

import pytest

from pelagia.dataset.schema import Dataset
from pelagia.errors import DatasetError
from pelagia.model.metadata import ModelFile
from pelagia_inference.machine.verify import verify
from pelagia_training.evaluation.evaluate import evaluate
from pelagia_training.evaluation.evaluate_torch import evaluate_run
from pelagia_training.export import finish
from pelagia_training.export.finish import deliver, report_without_model


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "run")


def test_a_run_leaves_its_model_and_a_report_of_it_on_the_val_split(copy: Path, dataset: Dataset) -> None:
    model = deliver(copy)
    assert model.path == copy / "model.onnx"
    verify(ModelFile.read(model.path))
    page = (copy / "report.html").read_text(encoding="utf-8")
    assert "split val" in page
    assert "The best epoch, the temperatures and the thresholds were chosen by these images" in page
    assert "Learning curves" in page
    assert "by thresholds" in page
    assert f"{evaluate(model, dataset, 'val').metrics.macro_f1:.3f}" in page


def test_delivering_again_replaces_the_model(copy: Path) -> None:
    (copy / "model.onnx").write_bytes(b"of older weights")
    deliver(copy)
    verify(ModelFile.read(copy / "model.onnx"))


def test_without_a_model_the_report_is_of_the_network(copy: Path) -> None:
    report_without_model(copy)
    page = (copy / "report.html").read_text(encoding="utf-8")
    assert f"{evaluate_run(copy, 'val').metrics.macro_f1:.3f}" in page
    assert "by thresholds" not in page
    assert not (copy / "model.onnx").exists()


def test_a_model_that_cannot_be_made_leaves_the_run_and_its_report(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: object, **named: object) -> ModelFile:
        raise DatasetError("the gate did not open")

    monkeypatch.setattr(finish, "export_run", refused)
    before = (copy / "best.safetensors").read_bytes()
    with pytest.raises(DatasetError, match="the gate did not open"):
        deliver(copy)
    assert (copy / "report.html").is_file()
    assert (copy / "best.safetensors").read_bytes() == before
