"""The pages are true: commands that they show exist, files that they name are there, and nothing is left out."""

import csv
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli_fixtures import Pelagia
from model_fixtures import REPOSITORY
from pelagia import errors
from pelagia.cli import COMMANDS, app
from pelagia.model.metadata import ModelFile
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_labeling.studio.server import find_executable, stop_studio
from scripts.docs_hooks import GENERATED, all_commands
from studio_fixtures import FOREIGN_VARIABLES

DOCS = REPOSITORY / "docs"
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md")),
    REPOSITORY / "benchmarks" / "README.md",
    *sorted(DOCS.rglob("*.md")),
]
SHELLS = {"bash": "bash|console|sh", "powershell": "powershell"}
CONTINUED = {"bash": "\\\n", "powershell": "`\n"}
FOR_WINDOWS = ["tutorials/label", "tutorials/classify", "how-to/institute-label-studio", "how-to/review-labels"]
FOR_WINDOWS += ["how-to/enough-labels", "how-to/close-the-loop"]
FOR_WINDOWS += ["how-to/label-sheets"]
FOR_WINDOWS += ["how-to/back-up-labels", "how-to/inputs", "how-to/gpu", "how-to/exports"]
FOR_WINDOWS += ["how-to/counts", "how-to/check", "how-to/decide", "how-to/compare-surveys", "how-to/tracks"]
FOR_WINDOWS += ["how-to/publish-darwin-core", "how-to/report"]
"""The pages for biologists and field teams."""


def named(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def blocks(text: str, languages: str) -> list[str]:
    """The code blocks of a page in these languages, those inside tabs too, without their indentation."""
    found = re.findall(rf"^( *)```(?:{languages})\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for _, block in found]


def command_of(words: list[str]) -> Any:
    """The Click command that the first of ``words`` name, which are taken away."""
    node: Any = typer.main.get_command(app)
    while words and hasattr(node, "get_command"):
        found = node.get_command(None, words.pop(0))
        assert found is not None
        node = found
    return node


def pelagia_lines(page: Path, shell: str) -> list[str]:
    """The lines of a page's code blocks that call `pelagia`, each on one line."""
    found = []
    for block in blocks(page.read_text(encoding="utf-8"), SHELLS[shell]):
        for line in block.replace(CONTINUED[shell], " ").splitlines():
            line = " ".join(re.sub(r"\s+#.*", "", line).split())
            if line.startswith("pelagia "):
                found.append(line)
    return found


def shown_commands() -> Iterator[tuple[str, str]]:
    """The lines of all pages, for any shell, that call `pelagia`: (page, command)."""
    for page in PAGES:
        for shell in SHELLS:
            for line in pelagia_lines(page, shell):
                yield named(page), line


def test_the_readme_opens_with_the_two_commands() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    first_block = re.search(r"```bash\n(.*?)```", text, re.DOTALL)
    assert first_block
    lines = [line.split("#")[0].strip() for line in first_block[1].splitlines() if line.strip()]
    assert lines == ["make demo", "make test"]


@pytest.mark.parametrize("command", sorted(all_commands()), ids=" ".join)
def test_every_command_is_documented_and_explains_itself(command: tuple[str, ...]) -> None:
    text = " ".join("\n".join(page.read_text(encoding="utf-8") for page in PAGES).split())
    assert f"pelagia {' '.join(command)}" in text
    shown = subprocess.run([sys.executable, "-m", "pelagia.cli", *command, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) > 5


@pytest.mark.parametrize("command", sorted(all_commands()), ids=" ".join)
def test_the_line_in_the_list_of_commands_begins_the_help_of_the_command(command: tuple[str, ...]) -> None:
    entry: Any = COMMANDS
    for word in command:
        entry = entry[word]
    target, line = entry
    module, _, function = target.partition(":")
    documented = inspect.getdoc(getattr(import_module(module), function)) or ""
    assert " ".join(documented.split()).startswith(line.rstrip("."))


@pytest.mark.parametrize(("page", "line"), sorted(set(shown_commands())))
def test_every_command_that_a_page_shows_can_be_parsed(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    node = command_of(words)
    known = {option for one in node.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= known, f"{page}: {line}: unknown {used - known}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_and_every_named_file_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    made = {(DOCS / name).resolve() for name in GENERATED}
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists() or (page.parent / target).resolve() in made, target
    for target in re.findall(
        r"`((?:core|training|inference|labeling|configs|tests|docs|benchmarks|scripts)/[\w./-]+)`", text
    ):
        assert (REPOSITORY / target).exists() or removed(text, target), target


def removed(text: str, target: str) -> bool:
    """Whether a page names a file that is gone on purpose: it says in which commit the file is, or what replaced it."""
    return (
        f"git show 8badbd8:{target}" in text
        or f"{target}` in commit `8badbd8`" in text
        or f"instead of `{target}`" in text
    )


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_page_has_a_gap(page: Path) -> None:
    assert not re.search(r"@@|TODO|TBD|\{\{\{", page.read_text(encoding="utf-8"))


def test_every_page_and_benchmark_that_the_code_names_is_there() -> None:
    folders = ("core", "inference", "labeling", "training", "benchmarks", "scripts", "configs")
    files = [path for folder in folders for path in (REPOSITORY / folder).rglob("*") if path.suffix in {".py", ".yaml"}]
    missing = {}
    for path in files:
        targets = re.findall(r"\b(?:docs|benchmarks)/[\w/-]+\.(?:md|py)\b", path.read_text(encoding="utf-8"))
        if gone := [target for target in targets if not (REPOSITORY / target).exists()]:
            missing[named(path)] = gone
    assert missing == {}


def test_no_page_or_config_names_a_folder_that_only_the_authors_have() -> None:
    for path in (*PAGES, *(REPOSITORY / "configs").rglob("*.yaml"), *(REPOSITORY / "configs").rglob("*.sh")):
        assert "../shared" not in path.read_text(encoding="utf-8"), path


def test_the_architecture_names_every_room() -> None:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text(encoding="utf-8")
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    parts = ("core/", "inference/", "labeling/", "training/")
    rooms = {Path(name).parent.as_posix() for name in listed.stdout.splitlines() if name.startswith(parts)}
    assert {room for room in rooms if f"| `{room}/` |" not in text} == set()


def test_every_exit_code_is_explained() -> None:
    text = (DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    raised = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PelagiaError)
    }
    assert documented == raised | {0, 8, 9, 130, 143}


def test_every_column_of_the_results_is_explained(
    model: ModelFile, survey: SimulatedSurvey, pelagia: Pelagia, tmp_path: Path
) -> None:
    image = sorted(survey.root.rglob("*.jpg"))[0]
    done = pelagia("classify", model.path, image, "--out", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "results" / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file))
    text = (DOCS / "reference" / "predictions.md").read_text(encoding="utf-8")
    table = text[: text.index("## ")]
    assert {column for column in header if f"`{column}`" not in table} == set()


@pytest.mark.parametrize("page", FOR_WINDOWS)
def test_a_page_for_biologists_or_field_teams_shows_the_same_commands_for_windows(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    path = DOCS / f"{page}.md"
    assert pelagia_lines(path, "powershell") == pelagia_lines(path, "bash") != []
    assert (
        text.count('=== "Windows (PowerShell)"') == text.count('=== "Linux, macOS"') == len(blocks(text, "powershell"))
    )
    assert not re.search(r"^ *make\b", text, re.MULTILINE)


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


# ---- the pages, followed to the letter


HOW_TO = ["recipes", "evaluate", "faster-training", "search", "cross-validate", "quantize", "dataset-versions"]
HOW_TO += ["choose-what-to-label", "ensemble", "frontier"]
"""How-to pages that start in the folder in which the tutorial of training ends."""

ON_A_LAPTOP = ["gpu", "exports", "inputs", "publish-darwin-core"]
ON_A_LAPTOP += ["counts", "check", "decide", "compare-surveys", "report"]
"""How-to pages that start in the folder in which the tutorial of classifying ends."""


@pytest.mark.slow
@pytest.mark.studio
def test_the_tutorial_of_labelling_followed_to_the_letter_works(
    studio_home: Path, tmp_path: Path, pelagia_on_path: dict[str, str]
) -> None:
    follow("tutorials/label", tmp_path, {**pelagia_on_path, "PELAGIA_STUDIO_HOME": str(studio_home)})


@pytest.mark.slow
def test_the_tutorial_of_training_followed_to_the_letter_works(trained: Path) -> None:
    assert (trained / "runs" / "first" / "model.onnx").is_file()
    assert (trained / "runs" / "first-test" / "report.html").is_file()


@pytest.mark.slow
def test_the_tutorial_of_classifying_followed_to_the_letter_works(classified: Path) -> None:
    assert (classified / "results" / "predictions.csv").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("page", HOW_TO)
def test_a_page_on_training_followed_to_the_letter_works(
    page: str, trained: Path, tmp_path: Path, pelagia_on_path: dict[str, str]
) -> None:
    follow(f"how-to/{page}", copied(trained, tmp_path), pelagia_on_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", ON_A_LAPTOP)
def test_a_page_on_classifying_followed_to_the_letter_works(
    page: str, classified: Path, tmp_path: Path, pelagia_on_path: dict[str, str]
) -> None:
    follow(f"how-to/{page}", copied(classified, tmp_path), pelagia_on_path)


def test_no_page_is_followed_by_nobody() -> None:
    followed = {"tutorials/label", "tutorials/train", "tutorials/classify"}
    followed |= {f"how-to/{page}" for page in (*HOW_TO, *ON_A_LAPTOP)}
    with_bash = {
        page.relative_to(DOCS).with_suffix("").as_posix()
        for page in DOCS.rglob("*.md")
        if blocks(page.read_text(encoding="utf-8"), "bash")
    }
    assert with_bash == followed


def follow(page: str, folder: Path, environment: dict[str, str]) -> None:
    """Runs all bash blocks of a page, in order, in a folder that holds `configs/`."""
    script = "\n".join(blocks((DOCS / f"{page}.md").read_text(encoding="utf-8"), "bash"))
    if not (folder / "configs").exists():
        (folder / "configs").symlink_to(REPOSITORY / "configs")
    done = subprocess.run(["bash", "-euxc", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy", symlinks=True))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, pelagia_on_path: dict[str, str]) -> Path:
    """The folder in which a reader of the tutorial of training works, at its end."""
    folder = tmp_path_factory.mktemp("train")
    follow("tutorials/train", folder, pelagia_on_path)
    return folder


@pytest.fixture(scope="module")
def classified(model: ModelFile, tmp_path_factory: pytest.TempPathFactory, pelagia_on_path: dict[str, str]) -> Path:
    """The folder in which a reader of the tutorial of classifying works, at its end. It starts with `model.onnx`."""
    folder = tmp_path_factory.mktemp("classify")
    shutil.copy(model.path, folder / "model.onnx")
    follow("tutorials/classify", folder, pelagia_on_path)
    return folder


@pytest.fixture
def studio_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home of its own for the Label Studio that a page starts; it is stopped even where the page fails."""
    home = tmp_path_factory.mktemp("studio")
    yield home
    stop_studio(home)


@pytest.fixture(scope="module")
def pelagia_on_path(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which `pelagia` is this tree's, with the Label Studio of this machine where there is one."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "pelagia"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pelagia.cli "$@"\n')
    script.chmod(0o755)
    variables = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
    variables["PELAGIA_LABEL_STUDIO"] = str(find_executable())
    return {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES} | variables
