"""Where the real images are: `data_root()` finds them, or skips the test and says so."""

from __future__ import annotations

import os
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
