"""Command lines that people copy."""

import shlex

import pytest

from pelagia.shell import command_line


def test_a_line_is_read_back_as_its_words() -> None:
    words = ("pelagia", "export", "my runs/first $1", "--out", "it's.onnx")
    assert shlex.split(command_line(*words)) == list(words)
    assert command_line("pelagia", "train", "a.yaml") == "pelagia train a.yaml"


def test_windows_has_its_own_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pelagia.shell.os.name", "nt")
    assert command_line("pelagia", "export", "my runs", "--out", "m.onnx") == 'pelagia export "my runs" --out m.onnx'
