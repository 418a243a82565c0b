"""Hostile names on a terminal: nothing in a name is taken for markup, and no control character reaches the terminal."""

import os
import pty
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pelagia.system.files import printable

MODEL = Path(__file__).resolve().parents[1] / "compatibility" / "0.1" / "model.onnx"
ESCAPE = "\x1b]2;HOSTILE\x07"
NAMES = [
    "cast[/1].png",
    "[bold red]x[/bold red].png",
    "[link=x]x.png",
    f"a{ESCAPE}.png",
    "new\nline.png",
    "\u202egnp.exe.png",
    "\u200frtl.png",
    os.fsdecode(b"caf\xe9.png"),
    ":smile:.png",
    "n" * 250 + ".png",
]
LONG = "/".join(["d" * 200] * 19) + "/end.png"


def on_a_terminal(*arguments, cwd):
    """Runs `pelagia ARGUMENTS` on a pseudo-terminal; its exit code and what it wrote there."""
    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "pelagia.cli", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    written = b""
    while True:
        try:
            piece = os.read(master, 1 << 16)
        except OSError:  # Linux says so when the other end is closed
            break
        if not piece:
            break
        written += piece
    os.close(master)
    return process.wait(timeout=60), written.decode("utf-8", "replace")


def is_harmless(text):
    return not re.search("HOSTILE\x07|\x1b\\]|\u202e|Traceback", text)


@pytest.fixture
def folder(tmp_path, encode):
    for number, name in enumerate(NAMES):
        path = tmp_path / "in" / "copepod" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(seed=number))
    (tmp_path / "in" / "copepod" / f"b{ESCAPE}.png").write_bytes(b"no image")
    return tmp_path


def test_classify_shows_and_stores_hostile_names(folder, encode):
    with zipfile.ZipFile(folder / "cast.zip", "w") as archive:
        archive.writestr(LONG, encode(seed=100))
        archive.writestr(f"z{ESCAPE}[/b].png", encode(seed=101))
    code, text = on_a_terminal("classify", MODEL, "in", "cast.zip", "--out", "out", cwd=folder)
    assert code == 0, text
    assert is_harmless(text)
    csv, log = ((folder / "out" / name).read_text() for name in ("predictions.csv", "pelagia.log"))
    assert is_harmless(csv)
    assert is_harmless(log)
    for name in NAMES:
        assert f"in/copepod/{printable(name)}," in csv
    assert f"cast.zip/{LONG}," in csv
    code, text = on_a_terminal("classify", MODEL, "in", "cast.zip", "--out", "out", cwd=folder)
    assert code == 0
    assert "0 images in" in text  # every name is found again


def test_import_and_show_show_hostile_names(folder):
    code, text = on_a_terminal("dataset", "import", "in", "--out", f"data{ESCAPE}[bold]", cwd=folder)
    assert code == 0, text
    assert is_harmless(text)
    (made,) = folder.glob("data*")
    assert all(is_harmless(file.read_text()) for file in made.iterdir() if file.is_file())
    code, text = on_a_terminal("dataset", "show", made.name, cwd=folder)
    assert code == 0, text
    assert is_harmless(text)
    (folder / "in" / f"class{ESCAPE}").mkdir()
    shutil.copy(folder / "in" / "copepod" / ":smile:.png", folder / "in" / f"class{ESCAPE}")
    code, text = on_a_terminal("dataset", "import", "in", "--out", "other", cwd=folder)
    assert is_harmless(text)


def test_an_error_shows_a_hostile_name(tmp_path):
    for command in (("classify", MODEL, f"x{ESCAPE}[/]", "--out", "o"), ("dataset", "show", f"x{ESCAPE}[/]")):
        code, text = on_a_terminal(*command, cwd=tmp_path)
        assert code in (2, 3)
        assert is_harmless(text)
        assert "x\\x1b]2;HOSTILE\\x07[/]" in text


def test_model_show_shows_a_hostile_name(tmp_path):
    name = f"model{ESCAPE}[bold].onnx"
    shutil.copy(MODEL, tmp_path / name)
    code, text = on_a_terminal("model", "show", name, cwd=tmp_path)
    assert code == 0, text
    assert is_harmless(text)
