"""What computes the network: chosen at the start, checked, and kept."""

import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from cli_fixtures import Pelagia
from pelagia.errors import InputError, ModelError, SurveyError
from pelagia.model.metadata import TOLERANCE, ModelFile
from pelagia.shell import package_with
from pelagia.survey.journal import JOURNAL_FILE, Survey
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia.system.cores import usable_cores
from pelagia_inference.machine import doctor, providers
from pelagia_inference.machine.providers import AUTO, CPU, PROVIDERS, choose_provider, installed
from pelagia_inference.machine.session import Answers, Session
from pelagia_inference.machine.setting import Setting, complete_setting, default_setting, store_setting
from pelagia_inference.machine.verify import verify
from pelagia_inference.survey.runner import classify

REAL = [name for name in installed() if name != CPU]


@pytest.fixture
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Acts like onnxruntime-gpu without a GPU: CUDA is listed, and a session falls back to the CPU."""
    if "cuda" in installed():
        try:
            providers.open_session(doctor._RELU_MODEL, "cuda", 1)
        except InputError:
            return
        pytest.skip("CUDA starts here")
    else:
        names = [*ort.get_available_providers(), "CUDAExecutionProvider"]
        monkeypatch.setattr(providers.ort, "get_available_providers", lambda: names)


@pytest.fixture(params=REAL or [""])
def accelerator(request: pytest.FixtureRequest) -> str:
    """Each accelerator that this environment has and that starts here."""
    if not request.param:
        pytest.skip("no accelerator is installed: run this in an environment with pelagia[inference-openvino]")
    try:
        providers.open_session(doctor._RELU_MODEL, request.param, 1)
    except InputError as error:
        pytest.skip(str(error))
    return str(request.param)


# Choosing


def test_auto_is_the_cpu_where_no_accelerator_is(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    if REAL:
        pytest.skip(f"this environment has {', '.join(REAL)}")
    notes: list[str] = []
    assert classify(model, [survey.root], tmp_path / "out", note=notes.append).provider == CPU
    assert notes == []
    with Survey.open(tmp_path / "out") as opened:
        assert json.loads(opened.meta["settings"])["provider"] == CPU


def chosen(wanted: str, working: set[str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    monkeypatch.setattr(providers, "installed", lambda: list(PROVIDERS))
    notes: list[str] = []

    def check(name: str) -> None:
        if name not in working:
            raise ModelError(f"no {name}")

    return choose_provider(wanted, check, notes.append), notes


@pytest.mark.parametrize(
    ("working", "name", "passed_over"),
    [
        ({"cuda", "openvino", "cpu"}, "cuda", []),
        ({"openvino", "directml", "cpu"}, "directml", ["cuda"]),
        ({"openvino", "coreml", "cpu"}, "openvino", ["cuda", "directml"]),
        ({"coreml", "cpu"}, "cpu", ["cuda", "directml", "openvino"]),
    ],
)
def test_auto_takes_the_first_that_passes_and_reports_the_others(
    working: set[str], name: str, passed_over: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen(AUTO, working, monkeypatch) == (name, [f"no {one}" for one in passed_over])


def test_a_provider_that_is_named_is_taken_or_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen("coreml", {"coreml"}, monkeypatch) == ("coreml", [])
    with pytest.raises(ModelError, match="no cuda"):
        chosen("cuda", {"cpu"}, monkeypatch)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cpuu", "there is no provider 'cpuu' (did you mean 'cpu'?): choose auto or cpu or cuda or directml or "
                 "openvino or coreml"),
        ("directml", "the provider 'directml' is not installed: run pip install "
                     f"{package_with('inference-directml')} in a new environment, or use --provider cpu"),
    ],
)  # fmt: skip
def test_a_provider_that_is_not_there_is_one_line(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path, name: str, message: str
) -> None:
    if name in REAL:
        pytest.skip(f"{name} is installed")
    with pytest.raises(InputError) as caught:
        classify(model, [survey.root], tmp_path / "out", provider=name)
    assert str(caught.value) == message
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("with_cuda")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_one_that_is_installed_and_does_not_start_is_an_error_where_named_and_passed_over_by_auto(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    message = r"the provider 'cuda' is installed but does not start.*: it needs an NVIDIA GPU, .*or use --provider cpu"
    with pytest.raises(InputError) as caught:
        Session(model, "cuda")
    assert re.fullmatch(message, str(caught.value))
    notes: list[str] = []
    assert classify(model, [survey.root], tmp_path / "out", note=notes.append).provider != "cuda"
    assert re.fullmatch(message, notes[0])
    assert capfd.readouterr() == ("", "")  # neither does ONNX Runtime itself say anything


@pytest.mark.usefixtures("with_cuda")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_damaged_model_is_not_blamed_on_the_provider(model: ModelFile) -> None:
    with pytest.raises(ModelError, match="ONNX Runtime cannot load"):
        Session(replace(model.graph, data=model.data[:2000]), "cuda")


def test_a_provider_with_other_results_is_refused(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROVIDERS, "odd", PROVIDERS[CPU])
    right = Session.answers

    def wrong(self: Session, *inputs: Any) -> Answers:
        found = right(self, *inputs)
        return replace(found, probabilities=found.probabilities + np.float32(0.001))

    monkeypatch.setattr(Session, "answers", wrong)
    with pytest.raises(ModelError, match=r"the provider odd's probabilities differ by 0.001 .*: use --provider cpu$"):
        verify(model, "odd")


def test_two_runtimes_in_one_environment_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime", "onnxruntime_gpu"):
        (tmp_path / f"{name}-1.0.dist-info").mkdir()
        (tmp_path / f"{name}-1.0.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    [check] = [check for check in doctor.examine(tmp_path) if check.name == "providers"]
    assert check.found == "several ONNX Runtimes are in one environment: onnxruntime, onnxruntime-gpu"


# A survey keeps its own


def test_a_survey_is_not_continued_on_another_provider(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    classify(model, [survey.root], tmp_path / "out", provider=CPU)
    with pytest.raises(SurveyError) as caught:
        classify(model, [survey.root], tmp_path / "out", provider="cuda")
    assert str(caught.value) == (
        f"the survey {tmp_path / 'out'} was started with the provider cpu, but this run names cuda: leave --provider "
        "out, or choose a new --out folder"
    )
    assert classify(model, [survey.root], tmp_path / "out").provider == CPU


def test_a_survey_whose_provider_is_gone_is_not_resumed_with_another(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    classify(model, [survey.root], tmp_path / "out")
    with sqlite3.connect(tmp_path / "out" / JOURNAL_FILE) as db:
        db.execute("UPDATE meta SET value = json_set(value, '$.provider', 'directml') WHERE key = 'settings'")
    db.close()
    if "directml" in REAL:
        pytest.skip("directml is installed")
    with pytest.raises(InputError, match="the provider 'directml' is not installed"):
        classify(model, [survey.root], tmp_path / "out")


# Settings


def test_a_gpu_is_fed_by_one_session_with_larger_batches_and_cores_by_one_each() -> None:
    assert default_setting(CPU) == default_setting("openvino") == Setting(usable_cores())
    for name in ("cuda", "directml", "coreml"):
        assert default_setting(name).workers == 1
        assert default_setting(name).batch > default_setting(CPU).batch


def test_what_is_not_specified_is_the_providers_default() -> None:
    assert complete_setting(Setting(0, 0, 4), CPU) == Setting(usable_cores(), 1, 4)
    assert complete_setting(Setting(0, usable_cores(), 0), CPU) == Setting(1, usable_cores())
    assert complete_setting(Setting(0, 0, 64), "cuda") == Setting(1, usable_cores(), 64)
    assert complete_setting(Setting(3, 2, 0), "cuda").workers == 3


def test_a_setting_changes_only_what_it_specifies() -> None:
    survey, stored = Setting(0, 1, 16), Setting(usable_cores(), 1, 4)
    assert complete_setting(Setting(1, 0, 0), CPU, [survey, stored]) == Setting(1, 1, 16)
    assert complete_setting(Setting(0, 0, 0), CPU, [survey, stored]) == Setting(usable_cores(), 1, 16)
    assert complete_setting(Setting(0, 0, 0), CPU, [Setting(0, usable_cores(), 8), stored]) == Setting(
        1, usable_cores(), 8
    )


# Real accelerators, where there are some


def test_an_accelerator_gives_the_trainers_answers_at_every_batch(model: ModelFile, accelerator: str) -> None:
    assert verify(model, accelerator).max_probability_difference <= TOLERANCE
    pixels = np.random.default_rng(0).integers(0, 256, (33, 32, 32, 3), dtype=np.uint8)
    ours, theirs = Session(model), Session(model, accelerator, usable_cores())
    for batch in (1, 2, 7, 8, 33):
        difference = np.abs(ours.probabilities(pixels[:batch]) - theirs.probabilities(pixels[:batch])).max()
        assert difference <= TOLERANCE


def test_auto_takes_the_accelerator_and_the_survey_says_so(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path, accelerator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if accelerator not in providers.AUTO_ORDER:
        pytest.skip(f"{accelerator} must be named")
    monkeypatch.setenv("PELAGIA_CONFIG_HOME", str(tmp_path / "config"))
    store_setting(model.sha256, Setting(usable_cores(), 1, 3))  # what was measured on the CPU says nothing of this
    result = classify(model, [survey.root], tmp_path / "out")
    assert (result.provider, result.setting) == (accelerator, default_setting(accelerator))
    with Survey.open(tmp_path / "out") as ours, Survey.open(on_cpu(model, survey, tmp_path)) as theirs:
        assert json.loads(ours.meta["settings"])["provider"] == accelerator
        for one, other in zip(ours, theirs, strict=True):
            assert one.probabilities is not None
            assert other.probabilities is not None
            assert np.abs(one.probabilities - other.probabilities).max() <= TOLERANCE
    assert classify(model, [survey.root], tmp_path / "out").progress.done == 0


def on_cpu(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> Path:
    return classify(model, [survey.root], tmp_path / "cpu", provider=CPU).csv.parent


def test_the_commands_say_what_computed(pelagia: Pelagia, model: ModelFile, tmp_path: Path, accelerator: str) -> None:
    shown = pelagia("doctor", model.path, "--out", tmp_path)
    assert f"ok    providers: cpu, {accelerator}" in shown.stdout
    assert f"on cpu, {verify(model, accelerator).max_probability_difference:.2g} on {accelerator}" in shown.stdout
    verified = pelagia("model", "verify", model.path, "--provider", accelerator)
    assert f"works here on {accelerator}: " in verified.stdout
