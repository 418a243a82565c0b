"""Fixtures of all tests, and which tests run in one process."""

from __future__ import annotations

import pytest

pytest_plugins = [
    "archive_fixtures",
    "browser_fixtures",
    "cli_fixtures",
    "core_fixtures",
    "data_fixtures",
    "disk_fixtures",
    "model_fixtures",
    "studio_fixtures",
    "survey_fixtures",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a costly fixture run in one process: those of one file, and all that use Label Studio."""
    for item in items:
        group = "studio" if "studio" in getattr(item, "fixturenames", ()) else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
