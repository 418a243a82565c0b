"""A machine that is checked before it goes to sea."""

from pathlib import Path

from cli_fixtures import Pelagia
from pelagia.model.metadata import ModelFile
from pelagia_inference.machine.doctor import examine


def test_a_healthy_machine_passes_and_is_left_as_it_was(model: ModelFile, tmp_path: Path) -> None:
    checks = {check.name: check for check in examine(tmp_path / "not" / "yet", model.path)}
    assert set(checks) == {"software", "processor", "memory", "providers", "disk", "file locking", "model"}
    assert checks["file locking"].found == f"works at {tmp_path}"
    assert checks["model"].ok
    assert checks["providers"].found.startswith("cpu")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_model_is_found(model: ModelFile, tmp_path: Path) -> None:
    (tmp_path / "damaged.onnx").write_bytes(model.data[:-1])
    [check] = [check for check in examine(tmp_path, tmp_path / "damaged.onnx") if check.name == "model"]
    assert not check.ok
    assert "damaged" in check.found


def test_a_folder_that_cannot_be_written_is_found() -> None:
    [check] = [check for check in examine(Path("/proc/self")) if check.name == "file locking"]
    assert check.remedy == "choose a folder that you may write to"


def test_the_command_exits_with_9_where_something_is_wrong(pelagia: Pelagia, model: ModelFile, tmp_path: Path) -> None:
    assert pelagia("doctor", model.path, "--out", tmp_path).returncode == 0
    (tmp_path / "no.onnx").write_bytes(b"no")
    bad = pelagia("doctor", tmp_path / "no.onnx", "--out", tmp_path)
    assert bad.returncode == 9
    assert "BAD   model: " in bad.stdout
