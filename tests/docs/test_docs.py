"""The pages are true: commands that they show exist, files that they name are there, and nothing is left out."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pelagia.cli import COMMANDS, app
from pelagia.model.metadata import ModelFile
from pelagia_labeling.studio.server import find_executable, stop_studio
from studio_fixtures import FOREIGN_VARIABLES

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "ARCHITECTURE.md",
    *(REPOSITORY / "docs").glob("*.md"),
]


def commands(table: dict[str, Any] | None = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command of `pelagia`, as words."""
    for name, entry in (COMMANDS if table is None else table).items():
        if isinstance(entry, dict):
            yield from commands(entry, (*path, name))
        elif name:
            yield (*path, name)


def command_of(words: list[str]) -> Any:
    """The Click command that the first of ``words`` name, which are taken away."""
    node: Any = typer.main.get_command(app)
    while words and hasattr(node, "get_command"):
        found = node.get_command(None, words.pop(0))
        assert found is not None
        node = found
    return node


def shown_commands() -> Iterator[tuple[str, str]]:
    """Lines of the pages' code blocks that call `pelagia`: (page, command)."""
    for page in PAGES:
        for block in re.findall(r"```(?:bash|console|sh)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                line = re.sub(r"\s+#.*", "", line).strip()
                if line.startswith("pelagia "):
                    yield page.name, line


def test_the_readme_opens_with_the_two_commands() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    first_block = re.search(r"```bash\n(.*?)```", text, re.DOTALL)
    assert first_block
    lines = [line.split("#")[0].strip() for line in first_block[1].splitlines() if line.strip()]
    assert lines == ["make demo", "make test"]


@pytest.mark.parametrize("command", sorted(commands()), ids=" ".join)
def test_every_command_is_documented_and_explains_itself(command: tuple[str, ...]) -> None:
    text = " ".join("\n".join(page.read_text(encoding="utf-8") for page in PAGES).split())
    assert f"pelagia {' '.join(command)}" in text
    shown = subprocess.run([sys.executable, "-m", "pelagia.cli", *command, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) > 5


@pytest.mark.parametrize(("page", "line"), sorted(set(shown_commands())))
def test_every_command_that_a_page_shows_can_be_parsed(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    node = command_of(words)
    known = {option for parameter in node.params for option in parameter.opts} | {"--help"}
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= known, f"{page}: {line}: unknown {used - known}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_every_named_file_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
    for target in re.findall(
        r"`((?:core|training|inference|labeling|configs|tests|docs|benchmarks|scripts)/[\w./-]+)`", text
    ):
        assert (REPOSITORY / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_a_gap(page: Path) -> None:
    assert not re.search(r"@@|TODO|TBD", page.read_text(encoding="utf-8"))


def test_make_help_lists_every_target() -> None:
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    phony = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)[0]
    shown = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"make ([\w-]+)", shown)) == set(phony.split())


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_opens_with_a_command(path: Path) -> None:
    head = "".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:6])
    assert re.search(r"^#.*pelagia (train|label push|dataset import)", head, re.MULTILINE)


def test_no_pin_names_an_address() -> None:
    pins = (REPOSITORY / name for name in ("constraints.txt", "constraints-studio.txt"))
    lines = [line for path in pins for line in path.read_text(encoding="utf-8").splitlines()]
    assert all(re.fullmatch(r"[\w.\[\]-]+==[\w.+!]+", line) for line in lines if line and not line.startswith("#"))


@pytest.mark.slow
@pytest.mark.studio
@pytest.mark.parametrize("page", ["biologists", "ml-engineers", "field-teams"])
def test_a_page_followed_to_the_letter_works(
    page: str, model: ModelFile, tmp_path: Path, studio_home: Path, pelagia_on_path: dict[str, str]
) -> None:
    """All bash blocks of a page, in order, in an empty folder that holds `configs/` and `model.onnx`."""
    text = (REPOSITORY / "docs" / f"{page}.md").read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    shutil.copy(model.path, tmp_path / "model.onnx")
    environment = {**pelagia_on_path, "PELAGIA_STUDIO_HOME": str(studio_home)}
    done = subprocess.run(["bash", "-euxc", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def studio_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of its own for the Label Studio that a page starts; it is stopped even where the page fails."""
    home = tmp_path_factory.mktemp("studio")
    yield home
    stop_studio(home)


@pytest.fixture
def pelagia_on_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which `pelagia` is this tree's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "pelagia"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pelagia.cli "$@"\n')
    script.chmod(0o755)
    named = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
    named["PELAGIA_LABEL_STUDIO"] = str(find_executable())
    return {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES} | named
