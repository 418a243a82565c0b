import json
import os
import pickle
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pelagia.errors import (
    ConfigError,
    DatasetError,
    DiskFullError,
    InputError,
    MissingExtra,
    ModelError,
    ParityError,
    PelagiaError,
    StudioError,
    SurveyError,
    TrainingError,
    did_you_mean,
    first_few,
    newer_schema,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PelagiaError, 1),
        (InputError, 2),
        (ConfigError, 2),
        (MissingExtra, 2),
        (DatasetError, 3),
        (ModelError, 4),
        (ParityError, 4),
        (SurveyError, 5),
        (StudioError, 6),
        (TrainingError, 7),
        (DiskFullError, 7),
    ],
)
def test_every_error_has_the_exit_code_that_the_tree_draws(error, code):
    assert issubclass(error, PelagiaError)
    assert error.exit_code == code


def test_one_fault_of_a_config_is_one_line():
    assert str(ConfigError("a.yaml", ["the key 'x' is missing"])) == "a.yaml: the key 'x' is missing"


def test_several_faults_of_a_config_are_listed():
    error = ConfigError("a.yaml", ["one", "two"])
    assert str(error) == "a.yaml: 2 faults\n  - one\n  - two"
    assert error.faults == ("one", "two")


def installed_from(monkeypatch: pytest.MonkeyPatch, url: str, pip: bool = True, **more: object) -> None:
    """As if Pelagia had been installed from ``url``; empty: from an index."""
    text = json.dumps({"url": url, **more}) if url else None
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: SimpleNamespace(read_text=lambda file: text))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if pip else None)
    monkeypatch.setattr("sys.executable", "/env/bin/python")


@pytest.mark.parametrize(
    ("url", "pip", "more", "command"),
    [
        ("", True, {}, "/env/bin/python -m pip install 'pelagia[training]'"),
        ("", False, {}, "uv pip install --python /env/bin/python 'pelagia[training]'"),
        (
            "file:///home/ana/my%20copy",
            False,
            {},
            "uv pip install --python /env/bin/python '/home/ana/my copy[training]'",
        ),
        (
            "file:///home/ana/copy",
            True,
            {"dir_info": {"editable": True}},
            "/env/bin/python -m pip install --editable '/home/ana/copy[training]'",
        ),
        (
            "file:///tmp/pelagia-0.1.0-py3-none-any.whl",
            True,
            {"archive_info": {}},
            "/env/bin/python -m pip install '/tmp/pelagia-0.1.0-py3-none-any.whl[training]'",
        ),
    ],
)
def test_a_missing_extra_names_the_command_that_installs_it_here(
    monkeypatch: pytest.MonkeyPatch, url: str, pip: bool, more: dict[str, object], command: str
) -> None:
    installed_from(monkeypatch, url, pip, **more)
    assert str(MissingExtra("`pelagia train`", "training", "torch")) == (
        f"`pelagia train` needs the package 'torch', which is not installed; install it with: {command}"
    )


@pytest.mark.parametrize("error", [MissingExtra("x", "training", "torch"), ConfigError("a.yaml", ["one", "two"])])
def test_an_error_survives_pickling(error: PelagiaError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)


def test_a_later_schema_is_said_to_be_of_a_newer_pelagia() -> None:
    assert newer_schema(3, (1, 2)) == (
        "was made by a newer Pelagia: it has schema 3, and this Pelagia reads 1 and 2; update Pelagia"
    )
    assert [newer_schema(found, (1, 2)) for found in (1, 2, "2", 0, None, "x", -1)] == [""] * 7


def test_a_close_word_is_suggested():
    assert did_you_mean("copepd", ["detritus", "copepod"]) == " (did you mean 'copepod'?)"


def test_a_far_word_is_not_suggested():
    assert did_you_mean("whale", ["detritus", "copepod"]) == ""


def test_a_long_list_is_cut_and_the_rest_counted():
    assert first_few("abcdefg") == "a, b, c, d, e and 2 more"


def test_a_short_list_is_whole():
    assert first_few(iter("abcde")) == "a, b, c, d, e"


ENDED_IN_A_CALLBACK = """
import os, signal
from pydantic import BaseModel, field_serializer
from pelagia import cli

class Said(BaseModel):
    text: str

    @field_serializer("text")
    def told(self, text: str) -> str:
        os.kill(os.getpid(), signal.{name})
        return text

cli.app = lambda: Said(text="").model_dump_json()
cli.main()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_an_end_that_comes_within_a_library_is_an_end_and_no_error(name: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDED_IN_A_CALLBACK.format(name=name)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.stderr == "stopped\n"
    assert done.returncode == code
