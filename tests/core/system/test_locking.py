"""Disks without working locks: the lock call of the system is replaced by one that always fails or always succeeds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pelagia.system.locking import REMEDY, locking_fault

LOCKS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
static int call(const char *name, int file, int command, void *argument) {
    if (command == F_SETLK || command == F_SETLKW) {
#ifdef FAIL
        errno = ENOLCK;
        return -1;
#else
        return 0;
#endif
    }
    int (*real)(int, int, ...) = dlsym(RTLD_NEXT, name);
    return real(file, command, argument);
}
#define WRAP(name) int name(int file, int command, ...) { \\
    va_list rest; va_start(rest, command); void *argument = va_arg(rest, void *); va_end(rest); \\
    return call(#name, file, command, argument); }
WRAP(fcntl)
WRAP(fcntl64)
"""
OPEN = """
import sys
from pathlib import Path
from pelagia.errors import SurveyError
from pelagia.survey.journal import Survey
try:
    Survey.open_for_writing(Path(sys.argv[1]), model_sha256="m", classes=("a", "b"), settings={}).close()
except SurveyError as error:
    print(error)
"""
CORE = Path(__file__).resolve().parents[3] / "core"


@pytest.fixture(scope="module", params=["FAIL", "GRANT"])
def drive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A library that makes processes see such a drive everywhere: as NFS without its lock service, and as a lax one."""
    compiler = shutil.which("cc")
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip("needs Linux and a C compiler (cc)")
    folder = tmp_path_factory.mktemp("locks")
    (folder / "locks.c").write_text(LOCKS)
    options = ("-shared", "-fPIC", f"-D{request.param}", "-ldl")
    subprocess.run([compiler, folder / "locks.c", *options, "-o", folder / "locks.so"], check=True)
    return request.param, folder / "locks.so"


def open_on(drive: Path, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(CORE), "LD_PRELOAD": str(drive)}
    command = [sys.executable, "-c", OPEN, str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_drive_that_lets_two_writers_in_gets_no_survey(drive: tuple[str, Path], tmp_path: Path) -> None:
    how, library = drive
    fault = {
        "FAIL": "files cannot be locked there (database is locked)",
        "GRANT": "locks do not work there: two processes can write at once",
    }[how]
    assert open_on(library, tmp_path / "s") == (
        f"cannot keep a survey in {tmp_path / 's'}: {fault}, as on some network drives; {REMEDY}\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_survey_on_such_a_drive_is_not_touched(drive: tuple[str, Path], tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "survey.sqlite").write_bytes(b"as it was")
    assert "cannot keep a survey" in open_on(drive[1], tmp_path / "s")
    assert [one.name for one in (tmp_path / "s").iterdir()] == ["survey.sqlite"]
    assert (tmp_path / "s" / "survey.sqlite").read_bytes() == b"as it was"


def test_this_disk_keeps_a_second_writer_out_and_is_left_as_it_was(tmp_path: Path) -> None:
    assert locking_fault(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_killed_test_was_left_in_is_taken(tmp_path: Path) -> None:
    from pelagia.survey.journal import Survey

    (tmp_path / ".pelagia-lock-x").mkdir()
    with Survey.open_for_writing(tmp_path, model_sha256="m", classes=("a", "b"), settings={}) as survey:
        assert len(survey) == 0
