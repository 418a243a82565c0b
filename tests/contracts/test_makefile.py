"""The variables of `make` that hold several settings."""

import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def words(tmp_path: Path, target: str, **variables: str) -> list[str]:
    """The arguments that `pelagia` gets from a target of the Makefile."""
    program = tmp_path / "pelagia"
    program.write_text("#!/bin/bash\nprintf '%s\\n' \"$@\"\n")
    program.chmod(0o755)
    ready = ["--assume-old=setup", f"PELAGIA={program}"]
    given = [f"{name}={value}" for name, value in variables.items()]
    command = ["make", "--no-print-directory", target, *ready, *given]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_value_of_set_may_hold_spaces(tmp_path: Path) -> None:
    value = "model.mean=[0.5, 0.5, 0.5] train.lr=3e-4 model={backbone: x, options: {a: 1}}"
    found = words(tmp_path, "train", SET=value)
    assert [word for word in found if word.startswith("--set=")] == [
        "--set=model.mean=[0.5, 0.5, 0.5]",
        "--set=train.lr=3e-4",
        "--set=model={backbone: x, options: {a: 1}}",
    ]
    assert not any(word.startswith("--set=") for word in words(tmp_path, "train"))


def test_a_search_has_several_keys(tmp_path: Path) -> None:
    found = words(tmp_path, "sweep", SEARCH="train.lr=log:1e-4..3e-3 augment.strength=0..2")
    assert found[4:6] == ["--search=train.lr=log:1e-4..3e-3", "--search=augment.strength=0..2"]
