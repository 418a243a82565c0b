from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pelagia.errors import StudioError
from pelagia_labeling.studio.program import environment_folder, find_executable, install_program

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in for uv is a shell script")

UV = """#!/bin/sh
echo "$@" >> {log}
if [ "$1" = venv ]; then
    for folder; do :; done
    mkdir -p "$folder/bin"
    exit 0
fi
if [ -e {broken} ]; then
    echo "error: no route to host"
    exit 1
fi
printf '#!/bin/sh\\n' > "$(dirname "$4")/label-studio"
chmod +x "$(dirname "$4")/label-studio"
"""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Label Studio, and a program in the place of uv that writes down what it is asked to do."""
    tools = tmp_path / "tools"
    tools.mkdir()
    uv = tools / "uv"
    uv.write_text(UV.format(log=tmp_path / "asked", broken=tmp_path / "broken"), encoding="utf-8")
    uv.chmod(0o755)
    monkeypatch.delenv("PELAGIA_LABEL_STUDIO", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_label_studio_is_installed_with_the_tested_versions_into_an_environment_of_its_own(bare: Path) -> None:
    with pytest.raises(StudioError, match="pelagia studio start --install"):
        find_executable()
    program = install_program()
    assert program == bare / "data" / "pelagia" / "label-studio" / "bin" / "label-studio"
    assert find_executable() == program
    asked = (bare / "asked").read_text(encoding="utf-8").splitlines()[1]
    assert "label-studio==" in asked
    constraints = Path(asked.rpartition("--constraint ")[2])
    assert "django==" in constraints.read_text(encoding="utf-8")


def test_an_interrupted_installation_is_not_used_and_the_next_one_completes_it(bare: Path) -> None:
    (bare / "broken").touch()
    with pytest.raises(StudioError, match=r"could not be installed: error: no route to host .* check the network"):
        install_program()
    unfinished = environment_folder() / "bin" / "label-studio"
    unfinished.write_text("#!/bin/sh\n", encoding="utf-8")
    unfinished.chmod(0o755)
    with pytest.raises(StudioError, match="not installed"):
        find_executable()
    (bare / "broken").unlink()
    assert install_program() == unfinished
