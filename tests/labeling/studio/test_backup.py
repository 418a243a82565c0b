"""A backup of a running server becomes a server at another place; nothing of the former one is lost on the way."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pelagia.errors import InputError, PelagiaError, StudioError
from pelagia.system.files import sha256_of_file
from pelagia.taxonomy import Taxonomy
from pelagia_labeling import doctor
from pelagia_labeling.repair import repair, repair_files
from pelagia_labeling.status import read_status
from pelagia_labeling.studio.backup import BackupReport, back_up, last_backup
from pelagia_labeling.studio.connection import Connection, connect
from pelagia_labeling.studio.restore import finish_restore, restore
from pelagia_labeling.studio.server import Studio, read_studio, restored_folder, save_studio, start_studio, stop_studio
from pelagia_labeling.tasks.annotate import submit
from pelagia_labeling.tasks.project import find_project, list_tasks, require_project
from pelagia_labeling.tasks.push import push
from pelagia_labeling.tasks.storage import local_storages
from studio_fixtures import free_port

TITLE = "Backed up"
pytestmark = pytest.mark.studio


@pytest.fixture(scope="module")
def backup(
    connection: Connection,
    studio: Studio,
    taxonomy: Taxonomy,
    draw_images: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> BackupReport:
    """A backup of the running server, with a project of three images, two of them labeled."""
    folder = tmp_path_factory.mktemp("backed_up")
    draw_images(["a.png", "b.png", "c.png"], folder / "crops", 777)
    push(connection, folder / "crops", TITLE, taxonomy)
    first, second, _ = list_tasks(connection, require_project(connection, TITLE))
    submit(connection, first.id, "copepod")
    submit(connection, second.id, "medusa")
    return back_up(folder / "labels.zip", studio.home)


@pytest.fixture(scope="module")
def restored(backup: BackupReport, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A second server, which was restored into another folder and runs."""
    home = tmp_path_factory.mktemp("another_machine") / "a folder" / "studio"
    restore(backup.file, home)
    try:
        yield start_studio(home, port=free_port())
    finally:
        stop_studio(home)


def labels_of(connection: Connection) -> dict[str, list[object]]:
    tasks = list_tasks(connection, require_project(connection, TITLE), whole=True)
    return {str(task.data["path"]): [each["result"] for each in task.annotations] for task in tasks}


def test_a_backup_of_a_running_server_is_private_complete_and_remembered(backup: BackupReport, studio: Studio) -> None:
    assert stat.S_IMODE(backup.file.stat().st_mode) == 0o600
    assert backup.sha256 == sha256_of_file(backup.file)
    assert backup.images >= 4  # three images and their taxonomy
    assert (backup.vanished, backup.left_out) == ((), 0)
    assert [name for name in backup.damaged if "Backed" in name] == []  # other tests change files of their projects
    remembered = last_backup(studio.home)
    assert remembered is not None
    assert remembered[1] == backup.file
    assert not list(studio.home.glob("backup.partial*"))
    with pytest.raises(InputError, match="exists already"):
        back_up(backup.file, studio.home)


def test_a_restored_server_has_the_same_labels_and_serves_its_images_from_its_new_place(
    restored: Studio, studio: Studio, connection: Connection
) -> None:
    there = connect(home=restored.home)
    assert (restored.home / "data" / ".env").read_bytes() == (
        studio.home / "data" / ".env"
    ).read_bytes()  # signs tokens
    assert labels_of(there) == labels_of(connection)
    assert sum(map(len, labels_of(there).values())) == 2
    checks = doctor.examine(home=restored.home, project=TITLE)
    assert [check.name for check in checks if check.ok is not True] == []
    assert any(str(restored.home / "files") in check.found for check in checks)


def test_the_status_counts_projects_and_says_when_no_server_answers(restored: Studio, backup: BackupReport) -> None:
    status = read_status(home=restored.home)
    project = next(found for found in status.projects if found.title == TITLE)
    assert (status.version, project.tasks, project.annotations) == (restored.version, 3, 2)
    assert status.sizes is not None
    assert status.sizes.images == backup.images
    assert status.backup is None
    nothing = read_status(home=restored.home / "nothing")
    assert (nothing.version, nothing.studio) == ("", None)
    assert "pelagia studio start" in nothing.fault


def test_doctor_repairs_a_storage_that_is_missing_or_leads_elsewhere(restored: Studio) -> None:
    there = connect(home=restored.home)
    project = require_project(there, TITLE)
    (number, folder), *_ = local_storages(there, project).items()
    other = restored.home / "files" / "old place" / folder.name
    other.mkdir(parents=True)
    there.client.import_storage.local.update(id=number, path=str(other), use_blob_urls=True)
    texts = [each.text for each in repair(home=restored.home) if each.done and TITLE in each.text]
    assert texts == [f"the storage of '{TITLE}' was {other}: now {folder}"]
    there.client.import_storage.local.delete(id=number)
    texts = [each.text for each in repair(home=restored.home) if each.done and TITLE in each.text]
    assert texts == [f"registered {folder}, so that the server serves the images of '{TITLE}'"]
    assert all(check.ok for check in doctor.examine(home=restored.home, project=TITLE))
    assert not [each for each in repair(home=restored.home) if each.done]


def test_doctor_repairs_the_files_of_a_server_that_was_killed_and_moved(restored: Studio, tmp_path: Path) -> None:
    home = tmp_path / "moved"
    shutil.copytree(restored.home, home)
    state = read_studio(home)
    assert state is not None
    gone = tmp_path / "gone"
    save_studio(replace(state, pid=1, birth="long ago", document_root=gone))
    (home / "studio.json").chmod(0o644)
    (home / "start.lock").write_bytes(b"no lock")
    (home / ".studio.json.123").write_text("{", encoding="utf-8")
    repairs = list(repair_files(home))
    assert all(each.done for each in repairs)
    found = " ".join(each.text for each in repairs)
    for part in ("holds a secret", "an interrupted command left", "was damaged", "has ended: corrected", str(gone)):
        assert part in found
    after = read_studio(home)
    assert after is not None
    assert (after.pid, after.document_root, after.token) == (0, home / "files", restored.token)
    assert list(repair_files(home)) == []


def test_a_backup_without_images_says_how_many_are_left_out(
    studio: Studio, tmp_path: Path, backup: BackupReport
) -> None:
    report = back_up(tmp_path / "labels.zip", studio.home, images=False)
    assert (report.images, report.left_out >= backup.images) == (0, True)
    assert restore(report.file, tmp_path / "home").images is None


def test_a_server_is_replaced_only_if_asked_and_is_kept_beside(backup: BackupReport, tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = restore(backup.file, home)
    assert (first.kept, first.rewritten >= 1) == (None, True)
    (home / "mine.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match="--replace"):
        restore(backup.file, home)
    second = restore(backup.file, home, replace=True)
    assert second.kept is not None
    assert (second.kept / "mine.txt").read_text(encoding="utf-8") == "precious"
    assert not (home / "mine.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", second.kept.name]


def test_a_running_server_is_neither_replaced_nor_touched(backup: BackupReport, studio: Studio) -> None:
    with pytest.raises(StudioError, match="is running: stop it"):
        restore(backup.file, studio.home, replace=True)
    assert not restored_folder(studio.home).exists()


def damage(file: Path, member: str) -> None:
    """Changes one byte in the middle of a member of a zip file; the zip file's own list stays as it is."""
    with zipfile.ZipFile(file) as archive:
        info = archive.getinfo(member)
    data = bytearray(file.read_bytes())
    data[info.header_offset + 30 + len(member) + info.compress_size // 2] ^= 0xFF
    file.write_bytes(data)


def test_a_damaged_or_shortened_backup_changes_nothing(backup: BackupReport, tmp_path: Path) -> None:
    home = tmp_path / "home"
    restore(backup.file, home)
    (home / "mine.txt").write_text("precious", encoding="utf-8")
    with zipfile.ZipFile(backup.file) as archive:
        image = next(name for name in archive.namelist() if name.endswith(".png"))
    bad = tmp_path / "bad.zip"
    for member in (image, "label_studio.sqlite3", "account.json", "backup.json"):
        shutil.copy(backup.file, bad)
        damage(bad, member)
        with pytest.raises(InputError, match="is damaged"):
            restore(bad, home, replace=True)
    bad.write_bytes(backup.file.read_bytes()[:-2000])
    with pytest.raises(InputError, match="was cut short"):
        restore(bad, home, replace=True)
    bad.write_bytes(b"PK")
    for wrong in (bad, tmp_path / "nothing.zip", tmp_path):
        with pytest.raises(InputError):
            restore(wrong, home, replace=True)
    assert (home / "mine.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.zip", "home"]


def test_a_member_that_leads_out_of_the_folder_is_refused(backup: BackupReport, tmp_path: Path) -> None:
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(backup.file) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data.replace(b'"files/', b'"files/../../', 1) if name == "backup.json" else data)
    with pytest.raises(InputError, match="is damaged"):
        restore(bad, tmp_path / "home")


RESTORE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from pelagia_labeling.studio.restore import restore
renames = 0
rename = Path.rename
def dying(self, target):
    global renames
    renames += 1
    if renames == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.rename = dying
restore(sys.argv[1], sys.argv[2], replace=True)
"""


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_restore_that_is_killed_leaves_the_old_server_or_the_new_one(
    backup: BackupReport, tmp_path: Path, at: int
) -> None:
    """Killed before the new folder is complete (1), before the old one is put beside (2), and between the two (3)."""
    home = tmp_path / "home"
    restore(backup.file, home)
    (home / "mine.txt").write_text("precious", encoding="utf-8")
    command = [sys.executable, "-c", RESTORE_AND_DIE, str(backup.file), str(home), str(at)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    if at < 3:
        assert (home / "mine.txt").exists()
        assert read_studio(home) is not None
    else:
        assert not home.exists()
        with pytest.raises(StudioError, match="doctor --fix"):
            start_studio(home)
        assert finish_restore(home)
        assert read_studio(home) is not None
        assert not finish_restore(home)
    assert restore(backup.file, home, replace=True).kept is not None


def test_a_backup_that_is_killed_leaves_no_file_and_the_next_one_works(studio: Studio, tmp_path: Path) -> None:
    out = tmp_path / "labels.zip"
    program = "import sys; from pelagia_labeling.studio.backup import back_up; back_up(sys.argv[1], sys.argv[2])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program, str(out), str(studio.home)], env=environment) as child:
        while not list(tmp_path.iterdir()) and child.poll() is None:
            time.sleep(0.001)
        child.kill()
    assert not out.exists()
    assert back_up(out, studio.home).file == out
    assert not (studio.home / "backup.partial").exists()


def test_a_damaged_database_is_not_backed_up_in_silence(studio: Studio, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    save_studio(replace(studio, home=home, pid=0, birth=""))
    with closing(sqlite3.connect(home / "data" / "label_studio.sqlite3")) as made, made:
        made.execute("CREATE TABLE t (x)")
        made.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 100)
    data = bytearray((home / "data" / "label_studio.sqlite3").read_bytes())
    data[4096:8192] = bytes(4096)
    (home / "data" / "label_studio.sqlite3").write_bytes(data)
    with pytest.raises(StudioError, match="is damaged"):
        back_up(tmp_path / "labels.zip", home)
    assert not (tmp_path / "labels.zip").exists()


def test_the_server_of_another_machine_is_backed_up_there(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://labels.example.org")
    with pytest.raises(PelagiaError, match="pg_dump"):
        back_up(tmp_path / "labels.zip", studio.home)


def test_a_backup_while_people_label_is_a_state_that_the_server_had(
    connection: Connection,
    studio: Studio,
    taxonomy: Taxonomy,
    draw_images: Callable[..., None],
    project: str,
    tmp_path: Path,
) -> None:
    draw_images([f"{number}.png" for number in range(60)], tmp_path / "crops", 31)
    push(connection, tmp_path / "crops", project, taxonomy)
    tasks = [task.id for task in list_tasks(connection, require_project(connection, project))]
    labeled: list[int] = []

    def label() -> None:
        for task in tasks:
            submit(connection, task, "copepod")
            labeled.append(task)

    counts = []
    with ThreadPoolExecutor(1) as pool:
        labeling = pool.submit(label)
        while not labeling.done():
            before = len(labeled)
            out = tmp_path / f"{len(counts)}.zip"
            back_up(out, studio.home)
            with zipfile.ZipFile(out) as archive:
                database = archive.extract("label_studio.sqlite3", tmp_path)
            with closing(sqlite3.connect(database)) as copy:
                query = "SELECT count(DISTINCT task_id) FROM task_completion WHERE task_id BETWEEN ? AND ?"
                counts.append(copy.execute(query, (tasks[0], tasks[-1])).fetchone()[0])
                assert copy.execute("PRAGMA foreign_key_check").fetchall() == []
            assert before <= counts[-1] <= len(labeled) + 1
        labeling.result()
    assert len(counts) >= 2
    assert counts == sorted(counts)


def kill(server: Studio) -> None:
    """Ends the server as a power cut does."""
    process = psutil.Process(server.pid)
    for member in [process, *process.children(recursive=True)]:
        member.kill()
    psutil.wait_procs([process], timeout=10)


CROPS = 1500
"""A push of so many crops takes several requests, so it has not ended when the server is killed."""


@pytest.mark.slow
def test_a_server_killed_during_a_push_and_a_pull_starts_again_with_exact_counts(
    restored: Studio, draw_images: Callable[..., None], tmp_path: Path
) -> None:
    title, crops = "Killed", tmp_path / "crops"
    draw_images([f"{number:04d}.png" for number in range(CROPS)], crops, 4711)
    rows = "".join(f"  - {{name: {name}}}\n" for name in ("copepod", "medusa"))
    (tmp_path / "taxonomy.yaml").write_text(f"name: plankton\nclasses:\n{rows}", encoding="utf-8")
    environment = {**os.environ, "PELAGIA_STUDIO_HOME": str(restored.home), "PYTHONPATH": os.pathsep.join(sys.path)}

    def start(*words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pelagia.cli", *map(str, words)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    there = connect(home=restored.home)
    words = ("label", "push", crops, "--project", title, "--taxonomy", tmp_path / "taxonomy.yaml")
    with start(*words) as child:
        while find_project(there, title) is None:
            assert child.poll() is None
        kill(restored)
        error = child.communicate(timeout=120)[1]
    assert child.returncode == 6
    assert re.fullmatch(r"error: (no server answers at|the connection to) .*\n", error)
    assert "no server answers" in read_status(home=restored.home).fault

    server = start_studio(restored.home)
    assert not server.already_running
    with start(*words) as child:
        child.communicate(timeout=120)
    assert child.returncode == 0
    there = connect(home=restored.home)
    project = require_project(there, title)
    paths = sorted(str(task.data["path"]) for task in list_tasks(there, project))
    assert paths == [f"{number:04d}.png" for number in range(CROPS)]
    submit(there, next(iter(list_tasks(there, project))).id, "copepod")

    psutil.Process(server.pid).suspend()  # the pull waits for an answer when the server dies
    pull_words = ("label", "pull", "--project", title, "--out", tmp_path / "dataset")
    with start(*pull_words) as child:
        time.sleep(2)
        kill(server)
        error = child.communicate(timeout=120)[1]
    assert child.returncode == 6
    assert re.fullmatch(r"error: .*\n", error)
    assert not (tmp_path / "dataset").exists()
    start_studio(restored.home)
    with start(*pull_words) as child:
        out = child.communicate(timeout=120)[0]
    assert child.returncode == 0
    assert "1 images" in out
