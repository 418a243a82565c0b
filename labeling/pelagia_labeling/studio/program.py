"""The program of Label Studio: where it is, and how it is installed in an environment of its own.

Invariant: nothing is installed unless the user asks for it, and only below the user's own data folder. An environment
whose installation was interrupted has no ``ready`` file; it is not used, and the next installation starts again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pelagia.errors import StudioError
from pelagia.system.paths import user_folder

EXECUTABLE_VARIABLE = "PELAGIA_LABEL_STUDIO"
SUPPORTED = "1.23.2"
_READY = "ready"
_CONSTRAINTS = "constraints-studio.txt"


def find_executable() -> Path:
    """The ``label-studio`` program.

    Searched in this order: ``$PELAGIA_LABEL_STUDIO``, the folder of this Python, ``.venv-studio`` in the working
    folder, the environment that `install_program` made, ``PATH``. The folders above are not searched, because other
    people may write to them.

    Raises:
        StudioError: the program is not found.
    """
    if named := os.environ.get(EXECUTABLE_VARIABLE):
        if found := shutil.which(named):
            return Path(found).absolute()
        raise StudioError(f"{EXECUTABLE_VARIABLE} names {named}, and there is no such program: correct or unset it")
    for folder in _folders():
        if found := shutil.which("label-studio", path=str(folder)):
            return Path(found)
    if found := shutil.which("label-studio"):
        return Path(found).absolute()
    raise StudioError(
        "Label Studio is not installed: type `pelagia studio start --install`, which installs it for your account "
        f"(0.8 GB). Or run `make setup`, or `uv tool install label-studio=={SUPPORTED}`. If it is in another folder, "
        f"name the program in {EXECUTABLE_VARIABLE}"
    )


def _folders() -> Iterator[Path]:
    own = Path.cwd() / ".venv-studio"
    yield from (Path(sys.executable).parent, own / "bin", own / "Scripts")
    if (environment_folder() / _READY).is_file():
        yield from (environment_folder() / "bin", environment_folder() / "Scripts")


def environment_folder() -> Path:
    """The folder of the environment that `install_program` makes."""
    return user_folder("data") / "label-studio"


def install_program() -> Path:
    """Installs Label Studio with the tested versions of its packages, and returns its program. Needs the network.

    It gets an environment of its own, because its packages exclude those of Pelagia. uv is used if it is installed,
    because it is much faster, otherwise Python's venv and pip.

    Raises:
        StudioError: the installation failed; the message holds the last line of its log.
    """
    folder = environment_folder()
    shutil.rmtree(folder, ignore_errors=True)
    log = folder.with_name("label-studio-install.log")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            for command in _commands(folder):
                subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=True)
    except OSError as error:
        raise StudioError(f"cannot install Label Studio into {folder}: {error.strerror or error}") from None
    except subprocess.CalledProcessError:
        raise StudioError(
            f"Label Studio could not be installed: {last_line(log)} (log: {log}); check the network, then type the "
            "same command again"
        ) from None
    (folder / _READY).write_text(f"label-studio {SUPPORTED}\n", encoding="utf-8")
    return find_executable()


def _commands(folder: Path) -> Iterator[list[str]]:
    """The commands that make the environment ``folder`` and install Label Studio into it."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    constraints = _constraints()
    wanted = [f"label-studio=={SUPPORTED}", *(["--constraint", str(constraints)] if constraints else [])]
    if uv := shutil.which("uv"):
        yield [uv, "venv", "--python", sys.executable, str(folder)]
        yield [uv, "pip", "install", "--python", str(python), *wanted]
    else:
        yield [sys.executable, "-m", "venv", str(folder)]
        yield [str(python), "-m", "pip", "install", "--disable-pip-version-check", *wanted]


def _constraints() -> Path | None:
    """The list of tested versions: in the wheel it is beside this module, in a copy of the repository at its root."""
    here = Path(__file__).resolve()
    return next((file for folder in (here.parent, here.parents[3]) if (file := folder / _CONSTRAINTS).is_file()), None)


def last_line(log: Path) -> str:
    """The last line of a log that names an error; if there is no such line, the last line with text."""
    try:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return "it wrote no log"
    lines = [line for line in lines if line and not line.startswith(("^", "~", "="))]
    errors = [line for line in lines if "Error" in line or "error:" in line.lower()]
    return (errors or lines or ["its log is empty"])[-1][:300]
