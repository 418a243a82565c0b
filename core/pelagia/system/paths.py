"""The folders in which Pelagia keeps a user's files. Only this module knows the folders of each system.

    kind     Linux                                    Windows                      macOS
    config   $XDG_CONFIG_HOME or ~/.config            %APPDATA%  (Roaming)         ~/Library/Application Support
    data     $XDG_DATA_HOME or ~/.local/share         %LOCALAPPDATA%               ~/Library/Application Support
    cache    $XDG_CACHE_HOME or ~/.cache              %LOCALAPPDATA%               ~/Library/Caches

Below each is a folder ``pelagia``. platformdirs knows these places. The environment variables that name another folder
(``PELAGIA_CONFIG_HOME``, ``PELAGIA_STUDIO_HOME``, ``PELAGIA_CACHE_HOME``) belong to the modules that use the folders.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

StrPath = str | os.PathLike[str]
"""A path as text or as a `Path`: what the functions of the Python API take."""


def paths_of(given: StrPath | Sequence[StrPath]) -> tuple[Path, ...]:
    """The paths of an argument that takes several; one path, also as text, may stand alone."""
    return tuple(map(Path, [given] if isinstance(given, str | os.PathLike) else given))


def user_folder(kind: Literal["config", "data", "cache"]) -> Path:
    """The folder ``pelagia`` of this user, as the table above says. It is not created."""
    from platformdirs import PlatformDirs  # the command line starts sooner without it

    roaming = kind == "config"
    folders = PlatformDirs("pelagia", appauthor=False, roaming=roaming, opinion=False)
    return {"config": folders.user_config_path, "data": folders.user_data_path, "cache": folders.user_cache_path}[kind]


def folder_from_environment(variable: str) -> Path | None:
    """The absolute path that an environment variable names, ``~`` expanded; None if it is not set or empty."""
    named = os.environ.get(variable)
    return Path(named).expanduser().absolute() if named else None
