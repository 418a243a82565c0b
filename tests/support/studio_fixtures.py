"""A real Label Studio for the tests, started once in a temporary folder, as a user starts it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from pelagia.errors import StudioError
from pelagia_labeling.studio.server import HOME_VARIABLE, Studio, find_executable, start_studio, stop_studio

FOREIGN_VARIABLES = ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT")


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A running server, which `connect()` and the command line find through PELAGIA_STUDIO_HOME.

    On a machine without Label Studio the tests that need it are skipped; if the variable CI is set, they fail.
    """
    try:
        find_executable()
    except StudioError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    home = tmp_path_factory.mktemp("studio")
    with pytest.MonkeyPatch.context() as patch:
        for name in FOREIGN_VARIABLES:
            patch.delenv(name, raising=False)
        patch.setenv(HOME_VARIABLE, str(home))
        try:
            yield start_studio(home, port=free_port())
        finally:
            stop_studio(home)


def free_port() -> int:
    """A port where nobody listens; test sessions that run at the same time get different ports."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
