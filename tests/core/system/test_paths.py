import sys
from pathlib import Path

import pytest

from pelagia.system.paths import folder_from_environment, user_folder

KINDS = {"config": ".config", "data": ".local/share", "cache": ".cache"}


@pytest.mark.skipif(sys.platform != "linux", reason="the folders of Linux")
@pytest.mark.parametrize("kind", KINDS)
def test_linux_keeps_a_users_files_where_it_always_did(kind, tmp_path, monkeypatch):
    variable = f"XDG_{kind.upper()}_HOME"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(variable, raising=False)
    assert user_folder(kind) == tmp_path / KINDS[kind] / "pelagia"
    monkeypatch.setenv(variable, "")
    assert user_folder(kind) == tmp_path / KINDS[kind] / "pelagia"
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    assert user_folder(kind) == tmp_path / "elsewhere" / "pelagia"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_windows_and_macos_use_the_places_that_the_table_names(kind, tmp_path, monkeypatch):
    import platformdirs
    from platformdirs.macos import MacOS
    from platformdirs.windows import Windows

    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(platformdirs, "PlatformDirs", MacOS)
    library = {"config": "Application Support", "data": "Application Support", "cache": "Caches"}
    assert user_folder(kind) == tmp_path / "Library" / library[kind] / "pelagia"
    monkeypatch.setattr("platformdirs.windows.get_win_folder", lambda name: f"/{name}")
    monkeypatch.setattr(platformdirs, "PlatformDirs", Windows)
    folder = "CSIDL_APPDATA" if kind == "config" else "CSIDL_LOCAL_APPDATA"
    assert user_folder(kind).as_posix().endswith(f"/{folder}/pelagia")


def test_a_folder_named_by_the_environment_is_absolute(tmp_path, monkeypatch):
    monkeypatch.delenv("PELAGIA_TEST", raising=False)
    assert folder_from_environment("PELAGIA_TEST") is None
    monkeypatch.setenv("PELAGIA_TEST", "")
    assert folder_from_environment("PELAGIA_TEST") is None
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PELAGIA_TEST", "~/x")
    assert folder_from_environment("PELAGIA_TEST") == tmp_path / "x"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PELAGIA_TEST", "y")
    assert folder_from_environment("PELAGIA_TEST") == Path.cwd() / "y"
