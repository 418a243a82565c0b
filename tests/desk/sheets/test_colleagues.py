"""What others label in Label Studio while the page is open is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pelagia_desk.pictures import Pictures
from pelagia_desk.sheets.colleagues import Colleagues
from pelagia_desk.sheets.crops import load_crops
from pelagia_desk.sheets.journal import Journal
from pelagia_desk.sheets.vectors import Vectors
from pelagia_desk.sheets.work import Work
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.annotate import submit
from pelagia_labeling.tasks.project import list_tasks, require_project

pytestmark = [pytest.mark.studio, pytest.mark.slow]


def test_each_reading_finds_what_was_labeled_since_the_last_one(
    connection: Connection, make_project: Any, tmp_path: Path
) -> None:
    make_project("colleagues", 10)
    project = require_project(connection, "colleagues")
    loaded = load_crops(connection, project)
    pictures, journal = Pictures(connection, tmp_path / "cache.sqlite"), Journal(tmp_path / "labels.sqlite", "owner")
    work = Work(loaded, Vectors(loaded.crops, pictures), journal)
    colleagues = Colleagues(connection, project, work)
    assert colleagues.read() == 0
    tasks = [crop.task for crop in loaded.crops]
    submit(connection, tasks[0], "medusa")
    assert colleagues.read() == 1
    assert work.by_task[tasks[0]].label == ("named", "medusa")
    assert colleagues.read() == 0
    submit(connection, tasks[7], "detritus")
    assert colleagues.read() == 1
    assert work.by_task[tasks[7]].label == ("named", "detritus")

    changed = list_tasks(connection, project, parts=("annotations",), changed_since="2999-01-01T00:00:00.0Z")
    assert not list(changed)  # the server compares the time
    pictures.close()
    journal.close()
