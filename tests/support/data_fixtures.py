"""Where the real images are: `data_root()` finds them, or skips the test and says so."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of `flowcam_northsea`, `fish4knowledge` and the rest: PELAGIA_DATA, or ../shared/data."""
    project = Path(__file__).resolve().parents[2]
    root = Path(os.environ.get("PELAGIA_DATA") or project.parent / "shared" / "data")
    if not (root / "README.md").is_file():
        pytest.skip(f"no real data at {root}: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    return root


@pytest.fixture
def case(tmp_path: Path) -> Callable[[str], Path]:
    """Unpacks an archive of inputs that people have, by the beginning of its name, and returns its folder."""
    project = Path(__file__).resolve().parents[2]
    root = Path(os.environ.get("PELAGIA_CASES") or project.parent / "shared" / "cases")

    def case(name: str) -> Path:
        found = sorted(root.glob(f"{name}*.tar.gz"))
        if not found:
            pytest.skip(f"no case {name} at {root}: set PELAGIA_CASES to the folder of the cases")
        with tarfile.open(found[0]) as archive:
            archive.extractall(tmp_path / name, filter="data")
        return tmp_path / name

    return case
