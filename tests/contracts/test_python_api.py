"""The Python API: the page's program runs, the public names have types, and importing a package stays cheap."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "reference" / "python-api.md"
USER = Path(__file__).with_name("typed_user.py")
PACKAGES = {
    "pelagia": "Dataset ModelFile PelagiaError Survey Taxonomy __version__ load_taxonomy simulate_survey",
    "pelagia_inference": "ModelFile Prediction Session Setting SourceImage Survey SurveyProgress SurveyResult classify "
    "list_images load load_sized predict stacked verify write_results",
    "pelagia_labeling": "connect import_dataset pull push start_studio stop_studio",
    "pelagia_training": "TrainConfig cross_validate evaluate export export_ensemble load_config plan_final quantize "
    "train",
}
HEAVY = ("torch", "timm", "onnxruntime", "label_studio_sdk", "cv2", "numpy", "pydantic")


def python(program: str, **variables: str) -> str:
    """What a new interpreter prints when it runs ``program``."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | variables
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_the_program_on_the_page_runs_and_has_no_more_than_fifteen_lines(tmp_path: Path) -> None:
    program = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert len([line for line in program.splitlines() if line]) <= 15
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts, headline = done.stdout.splitlines()
    assert sum(map(int, re.findall(r": (\d+)", counts))) == 240
    assert "macro_f1" in headline
    assert {path.name for path in tmp_path.iterdir()} == {"survey", "crops", "run", "model.onnx", "results"}


@pytest.mark.slow
def test_a_users_program_passes_mypy_strict_and_a_misspelt_name_does_not(tmp_path: Path) -> None:
    """The second file shows that the lazy imports do not turn the names into Any."""
    (tmp_path / "misspelt.py").write_text("from pelagia_training import trian\n", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(USER), str(tmp_path / "misspelt.py")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    [error] = done.stdout.splitlines()
    assert re.search(r'misspelt\.py:1: error: Module "pelagia_training" has no attribute "trian"', error)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_can_be_imported_and_is_listed(package: str) -> None:
    names = PACKAGES[package].split()
    module = import_module(package)
    assert sorted(module.__all__) == names
    assert set(names) <= set(dir(module))
    for name in names:
        if name != "__version__":
            assert inspect.getdoc(getattr(module, name)), name
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'trian'"):
        module.trian  # noqa: B018 - the access is what is tested


@pytest.mark.parametrize("package", PACKAGES)
def test_the_type_checker_is_told_of_the_names_that_exist(package: str) -> None:
    text = Path(import_module(package).__file__ or "").read_text(encoding="utf-8")
    typed = re.findall(r"from \S+ import (\w+) as (\w+)", text)
    assert all(name == alias for name, alias in typed)
    assert sorted(name for name, _ in typed) == PACKAGES[package].split()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_documents_every_public_name(package: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    documented = set(re.findall(r"^::: \S+\.(\w+)$", page, re.MULTILINE)) | {"__version__"}
    assert set(PACKAGES[package].split()) <= documented


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_imports_nothing_heavy(package: str) -> None:
    heavy = python(f"import sys, {package}; print([name for name in {HEAVY} if name in sys.modules])")
    assert heavy == "[]"


def test_training_lets_waiting_threads_sleep_before_torch_is_imported() -> None:
    program = "import os, pelagia_training; print(os.environ['OMP_WAIT_POLICY'])"
    assert python(program) == "PASSIVE"
    assert python(program, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"


def test_importing_training_asks_no_server_for_a_newer_version() -> None:
    program = "import socket\nsocket.getaddrinfo = lambda *given, **named: print('asked', given)\n"
    assert python(program + "import pelagia_training.data.augment") == ""


@pytest.mark.parametrize("order", ["{package}, {package}.{name}", "{package}.{name}, {package}"])
def test_a_function_keeps_its_name_although_a_module_has_the_same(order: str) -> None:
    program = ""
    for name in ("train", "export"):
        program += "import " + order.format(package="pelagia_training", name=name) + "\n"
        program += f"before = pelagia_training.{name}\nfrom pelagia_training import {name}\n"
        program += f"from pelagia_training.{name} import __name__ as module\n"
        program += f"print(type(before).__name__, before is {name} is pelagia_training.{name}, module)\n"
    assert python(program).splitlines() == [
        "function True pelagia_training.train",
        "function True pelagia_training.export",
    ]


def test_every_path_may_be_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With real calls for what is quick; and by the types of the arguments for every public name."""
    import pelagia
    import pelagia_inference
    import pelagia_labeling

    monkeypatch.chdir(tmp_path)
    drawn = pelagia.simulate_survey("survey", images=60)
    classes = pelagia.load_taxonomy("survey/taxonomy.yaml")
    assert classes == pelagia.load_taxonomy(drawn.taxonomy)
    made = pelagia_labeling.import_dataset("survey", "crops", manifest="survey/truth.csv", taxonomy=classes)
    assert pelagia.Dataset.read("crops").meta == made.meta
    model = pelagia.ModelFile.read(str(REPOSITORY / "tests" / "compatibility" / "0.1" / "model.onnx"))
    done = pelagia_inference.classify(model, "survey/images", "out")
    with pelagia.Survey.open("out") as survey:
        assert len(survey) == sum(done.counts.values()) == 60
        assert pelagia_inference.write_results(survey, ["csv"])["csv"] == Path("out/predictions.csv")
    listed = [image.path for image in pelagia_inference.list_images("survey/images")]
    assert listed == [image.path for image in pelagia_inference.list_images([Path("survey/images")])]
    assert not pelagia_labeling.stop_studio("home")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_function_takes_only_path_objects(package: str) -> None:
    module = import_module(package)
    functions = {
        f"{name}.{method}" if method else name: value
        for name in PACKAGES[package].split()
        for method in ("", "read", "open", "open_for_writing")
        if inspect.isroutine(value := getattr(getattr(module, name), method, None) if method else getattr(module, name))
    }
    for name, function in functions.items():
        for parameter in inspect.signature(function).parameters.values():
            assert not re.search(r"\bPath\b", str(parameter.annotation)), f"{name}({parameter})"


def test_a_model_shows_itself_in_a_line() -> None:
    from pelagia import ModelFile

    model = ModelFile.read(str(REPOSITORY / "tests" / "compatibility" / "0.1" / "model.onnx"))
    for shown in (repr(model), repr(model.graph)):
        assert len(shown) < 2000
    assert re.fullmatch(r"ModelFile\('.*model\.onnx', name='\w+', classes=\d+, sha256='[0-9a-f]{12}'\)", repr(model))
