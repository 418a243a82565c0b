"""The documentation site: it builds without a warning, needs no network, and its generated pages are complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model_fixtures import REPOSITORY
from pelagia_training.config import TrainConfig
from scripts.docs_hooks import GENERATED, WRITTEN, all_commands, annotations, command_line, configuration, section_of

IMAGES = sorted((REPOSITORY / "docs" / "images").glob("*.png"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it, with every warning an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_without_a_warning(site: Path) -> None:
    pages = {path.relative_to(site).with_suffix(".md").as_posix() for path in site.rglob("*.html")} - {"404.md"}
    written = {path.relative_to(REPOSITORY / "docs").as_posix() for path in (REPOSITORY / "docs").rglob("*.md")}
    assert pages == written | GENERATED.keys()


@pytest.mark.slow
def test_the_site_needs_no_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|img|iframe|source)[^>]*src="(?:https?:)?//[^"]*"', text) == []
        assert re.findall(r'<link[^>]*rel="(?:stylesheet|preconnect|icon)"[^>]*href="(?:https?:)?//[^"]*"', text) == []


def test_the_page_of_commands_has_all_of_them_with_their_help() -> None:
    text = command_line()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [f"pelagia {' '.join(words)}" for words in all_commands()]
    assert text.count("Usage: pelagia") == len(list(all_commands())) + 1


def test_the_page_of_config_keys_has_all_of_them() -> None:
    documented = set(re.findall(r"^\| `([\w.]+)` \|", configuration(), re.MULTILINE))
    assert documented >= set(plain_keys(TrainConfig))
    assert {key.split(".")[0] for key in documented} == set(TrainConfig.model_fields)


def test_every_config_key_has_its_values_its_default_and_a_description() -> None:
    rows = [line.split(" | ") for line in configuration().splitlines() if line.startswith("| `")]
    assert len(rows) > 70
    for key, values, default, meaning in rows:
        assert values.strip(), key
        assert default.strip("` "), key
        assert len(meaning.strip(" |")) > 8, key


@pytest.mark.parametrize("name", WRITTEN)
def test_a_page_in_the_folder_is_as_the_code_makes_it(name: str) -> None:
    assert (REPOSITORY / "docs" / name).read_text(encoding="utf-8") == WRITTEN[name](), "python -m scripts.docs_hooks"


def plain_keys(schema: type, place: str = "") -> list[str]:
    """The keys of a schema that hold a value, those of its sections with their place in front."""
    found = []
    for name, kind in annotations(schema).items():
        sections = section_of(kind)
        found += [key for part in sections for key in plain_keys(part, f"{place}{name}.")] or [f"{place}{name}"]
    return found


def test_there_are_screenshots_and_each_is_small() -> None:
    assert len(IMAGES) >= 3
    assert {path.name: path.stat().st_size for path in IMAGES if path.stat().st_size >= 200_000} == {}


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.name)
def test_every_screenshot_is_shown_on_a_page(image: Path) -> None:
    pages = (REPOSITORY / "docs").rglob("*.md")
    assert any(f"images/{image.name})" in page.read_text(encoding="utf-8") for page in pages)


def test_make_docs_builds_the_site_that_git_ignores() -> None:
    shown = subprocess.run(["make", "-n", "docs"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert "mkdocs build" in shown
    assert "--strict" in shown
    if shutil.which("git") and (REPOSITORY / ".git").exists():
        assert subprocess.run(["git", "check-ignore", "-q", "site/index.html"], cwd=REPOSITORY).returncode == 0
