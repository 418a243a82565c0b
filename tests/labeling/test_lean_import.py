"""People who only train import datasets too: neither importers nor dataset commands need label-studio-sdk."""

import subprocess
import sys
from pathlib import Path

WITHOUT_SDK = """
import sys
for name in ("label_studio_sdk", "httpx"):
    sys.modules[name] = None  # an import of it raises ModuleNotFoundError
sys.argv[0] = "pelagia"
from pelagia.cli import main
main()
"""


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Runs `pelagia ARGUMENTS` as if label-studio-sdk were not installed."""
    command = [sys.executable, "-c", WITHOUT_SDK, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_datasets_are_imported_shown_and_corrected_without_the_sdk(class_folders: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    for arguments in (
        ("import", class_folders, "--out", dataset),
        ("show", dataset),
        ("check", dataset),
        ("correct", dataset, "--review", dataset, "--out", tmp_path / "corrected"),
    ):
        done = run("dataset", *arguments)
        assert done.returncode == 0, done.stderr


def test_a_labeling_command_without_the_sdk_says_what_to_install(tmp_path: Path) -> None:
    done = run("label", "pull", "--project", "p", "--out", tmp_path / "dataset")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "error: `pelagia label pull` needs the package 'label_studio_sdk', which is not installed; install it with: "
    )
    assert done.stderr.endswith("[labeling]'\n")


def test_the_public_names_are_there_and_need_no_sdk_until_they_are_called() -> None:
    program = (
        "import sys; sys.modules['label_studio_sdk'] = sys.modules['httpx'] = None; from pelagia_labeling import *"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
