"""The field laptop: the extra `inference` alone, in an environment of its own, with no torch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pelagia.model.metadata import ModelFile
from pelagia.synthetic.survey import SimulatedSurvey

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "torchvision", "timm", "albumentations", "label_studio_sdk", "onnx", "matplotlib", "scipy")


@pytest.fixture(scope="module")
def lean_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that holds `pelagia[inference]` from a wheel of this tree."""
    uv = shutil.which("uv") or next((str(path) for path in REPOSITORY.glob(".tools/bin/uv")), None)
    if uv is None:
        pytest.skip("needs uv: run the tests with `make test`")
    folder = tmp_path_factory.mktemp("lean")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*command: object) -> None:
        done = subprocess.run(list(map(str, command)), cwd=REPOSITORY, env=environment, capture_output=True, text=True)
        if done.returncode and "CI" not in os.environ and "network" in done.stderr.lower():
            pytest.skip(f"needs a package registry: {done.stderr.splitlines()[-1]}")
        assert done.returncode == 0, done.stderr

    call(uv, "build", "--quiet", "--wheel", "--out-dir", folder, REPOSITORY)
    [wheel] = folder.glob("*.whl")
    call(uv, "venv", "--quiet", "--python", sys.executable, folder / "venv")
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    call(uv, "pip", "install", "--quiet", "--python", python, "--constraint", "constraints.txt", f"{wheel}[inference]")
    return python


def in_lean(python: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, *map(str, arguments)], env=environment, cwd=python.parent, capture_output=True, text=True
    )


@pytest.mark.slow
def test_classify_and_verify_work_and_nothing_heavy_is_there(
    lean_python: Path, model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    for name in HEAVY:
        assert in_lean(lean_python, "-c", f"import {name}").returncode == 1, f"{name} is installed"
    classified = in_lean(
        lean_python, "-m", "pelagia.cli", "classify", model.path, survey.manifest, "--out", tmp_path / "out"
    )
    assert classified.returncode == 0, classified.stderr
    assert len((tmp_path / "out" / "predictions.csv").read_text().splitlines()) == survey.images + 1
    verified = in_lean(lean_python, "-m", "pelagia.cli", "model", "verify", model.path)
    assert verified.returncode == 0, verified.stderr


@pytest.mark.slow
def test_it_is_small(lean_python: Path) -> None:
    """A ship downloads it over a satellite: the environment, unpacked, with numpy, OpenCV and ONNX Runtime."""
    megabytes = sum(path.stat().st_size for path in lean_python.parent.parent.rglob("*") if path.is_file()) / 1e6
    print(f"the inference environment takes {megabytes:.0f} MB")
    assert megabytes < 500


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("train", "x.yaml", "--out", "run"), "training"),
        (("export", "run", "--out", "m.onnx"), "training"),
        (("studio", "doctor"), "labeling"),
        (("label", "pull", "--project", "p", "--out", "d"), "labeling"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_the_other_commands_name_the_extra_that_they_need(
    lean_python: Path, command: tuple[str, ...], extra: str
) -> None:
    result = in_lean(lean_python, "-m", "pelagia.cli", *command)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "; install it with: " in result.stderr
    assert result.stderr.endswith(f"[{extra}]'\n")
    assert len(result.stderr.splitlines()) == 1
