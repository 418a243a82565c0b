"""Which files a command may make, and the names in its messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from pelagia.errors import InputError
from pelagia.system.files import require_new_file, whole_name


def test_a_new_file_has_a_known_ending_and_nothing_is_there(tmp_path: Path) -> None:
    require_new_file(tmp_path / "a.CSV", "table", ".csv")
    with pytest.raises(InputError, match=r"name a file that ends in \.csv or \.parquet"):
        require_new_file(tmp_path / "a.xlsx", "table", ".csv", ".parquet")
    (tmp_path / "there.csv").touch()
    with pytest.raises(InputError, match="exists already"):
        require_new_file(tmp_path / "there.csv", "table", ".csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="is a folder: name the file to make"):
        require_new_file(tmp_path / "folder.csv", "table", ".csv")


@pytest.mark.parametrize(
    ("path", "whole"),
    [
        ("/data/.counts.csv.partial-0123abcd", "/data/counts.csv"),
        ("D:\\data\\.out.partial-ship-12-0123abcd", "D:\\data\\out"),
        ("/data/.out.partial-ship-12-0123abcd/images/a.png", "/data/out/images/a.png"),
        ("/data/a.partial-1.csv", "/data/a.partial-1.csv"),
    ],
)
def test_a_message_names_a_file_as_it_will_be_called(path: str, whole: str) -> None:
    assert whole_name(path) == whole


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody can write")
def test_a_table_that_cannot_be_written_is_named_without_its_temporary_name(pelagia: Pelagia, tmp_path: Path) -> None:
    from surveys.small_survey import make_survey

    done = pelagia("counts", make_survey(tmp_path / "survey"), "--out", "/proc/self/counts.csv")
    assert done.returncode == 1
    assert "cannot use /proc/self/counts.csv:" in done.stderr
