"""Agreement, repeats, adjudication and consensus against a real Label Studio."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pelagia.cli import app
from pelagia.dataset.check import check
from pelagia.dataset.schema import Dataset
from pelagia.errors import StudioError
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.labels.pull import pull
from pelagia_labeling.people.adjudicate import SAID, send_disputes
from pelagia_labeling.people.plant import plant_repeats
from pelagia_labeling.people.read import project_agreement
from pelagia_labeling.sheets.push import SheetOptions, push_sheets
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.annotate import submit_csv
from pelagia_labeling.tasks.interface import class_result
from pelagia_labeling.tasks.project import Task, list_tasks, require_project
from pelagia_labeling.tasks.push import push
from pelagia_labeling.tasks.renamed import rename_class
from pelagia_labeling.tasks.sheet_crops import sheet_result

pytestmark = pytest.mark.studio

Say = Callable[[int, str, str], None]


@pytest.fixture(scope="module")
def account(connection: Connection) -> Callable[[str], int]:
    """A function: name of a person -> number of the person's account, which is made at the first call."""

    @cache
    def made(person: str) -> int:
        user = connection.client.users.create(
            email=f"{person}@people.example",
            username=f"{person}-people",
            first_name=person,
            last_name="",
            phone="",
            allow_newsletters=False,
        )
        return int(user.id)

    return made


@pytest.fixture(scope="module")
def say(connection: Connection, account: Callable[[str], int]) -> Say:
    """A function that gives a label on behalf of a person: (number of a task, class, name of the person)."""

    def given(task: int, class_name: str, person: str) -> None:
        connection.client.annotations.create(id=task, result=class_result(class_name), completed_by=account(person))

    return given


VOTES = {  # dana is often wrong, and alone in saying detritus
    "0": "anna copepod, ben copepod, dana detritus",
    "1": "anna medusa, ben medusa, dana detritus",
    "2": "anna copepod, ben copepod, dana medusa",
    "3": "anna medusa, ben medusa, dana medusa",
    "4": "anna copepod, ben copepod, dana detritus",
    "5": "anna medusa, dana detritus",
    "6": "anna copepod, ben medusa",
    "7": "anna medusa, ben medusa, dana copepod",
}


@pytest.fixture
def labeled(
    connection: Connection,
    make_images: Callable[..., Path],
    taxonomy: Taxonomy,
    project: str,
    tasks_of: Callable[[str], dict[str, Task]],
    say: Say,
) -> str:
    """A project with the votes above."""
    push(connection, make_images(*(f"{name}.png" for name in VOTES)), project, taxonomy)
    tasks = tasks_of(project)
    for name, votes in VOTES.items():
        for vote in votes.split(", "):
            person, class_name = vote.split()
            say(tasks[f"{name}.png"].id, class_name, person)
    return project


def test_the_agreement_of_a_project_is_measured_and_kept_in_its_dataset(
    connection: Connection, labeled: str, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    found = project_agreement(connection, labeled)
    assert (found.images, found.shared, len(found.pairs)) == (8, 8, 3)
    anna_and_ben = next(pair for pair in found.pairs if pair.second == "ben@people.example")
    assert anna_and_ben.agreement.value == pytest.approx(6 / 7)
    assert found.weighted_alpha is None  # a copepod, a medusa and detritus are equally far from each other
    files = ["--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html")]
    shown = CliRunner().invoke(app, ["label", "agreement", "--project", labeled, *files])
    assert shown.exit_code == 0, shown.output
    assert "8 images, 3 people; 8 images were labeled by two or more people" in shown.output
    assert json.loads((tmp_path / "a.json").read_text())["alpha"]["value"] == pytest.approx(found.alpha.value, abs=1e-6)
    report = pull(connection, labeled, tmp_path / "dataset")
    kept = Dataset.read(tmp_path / "dataset").meta.label_agreement
    assert kept is not None
    assert (kept.images, kept.people) == (8, 3)
    assert kept.alpha == pytest.approx(found.alpha.value, abs=1e-4)
    assert kept.macro_f1 == pytest.approx(found.macro_f1.value, abs=1e-4)
    assert report.left_out == {"disputed": 2}


def test_dawid_skene_trusts_the_better_person_and_keeps_how_sure_it_is(
    connection: Connection, labeled: str, tmp_path: Path
) -> None:
    report = pull(connection, labeled, tmp_path / "dataset", consensus="dawid-skene")
    rows = {record.source: record for record in report.dataset.records}
    assert rows["5.png"].class_name == "medusa"  # a draw between anna and dana
    soft = json.loads(rows["5.png"].extra["soft_label"])
    assert max(soft, key=soft.get) == "medusa"
    assert sum(soft.values()) == pytest.approx(1, abs=0.01)
    assert check(tmp_path / "dataset") == []
    assert report.dataset.meta.fingerprint != pull(connection, labeled, tmp_path / "majority").dataset.meta.fingerprint


def test_a_dispute_goes_to_an_adjudicator_whose_label_wins(
    connection: Connection, labeled: str, tasks_of: Callable[[str], dict[str, Task]], say: Say, tmp_path: Path
) -> None:
    to = f"{labeled[-30:]}, disputed"
    sent = send_disputes(connection, labeled, to)
    assert (sent.disputed, sent.added, sent.present, sent.created) == (2, 2, 0, True)
    (tab,) = connection.client.views.list(project=require_project(connection, to).id)
    assert "tasks:data.sha256" in tab.data["hiddenColumns"]["explore"]
    again = send_disputes(connection, labeled, to)
    assert (again.added, again.present, again.created) == (0, 2, False)
    disputes = tasks_of(to)
    assert disputes["6.png"].data[SAID] == "anna@people.example: Copepod & nauplius, ben@people.example: Medusa"
    assert f'value="${SAID}"' in require_project(connection, to).config
    say(disputes["6.png"].id, "detritus", "chief")
    report = pull(connection, labeled, tmp_path / "dataset", adjudicated=to)
    row = {record.source: record for record in report.dataset.records}["6.png"]
    assert (row.class_name, row.agreement) == ("detritus", "0.00")
    assert row.extra["adjudicator"] == "chief@people.example"
    assert row.extra["votes"] == "anna@people.example: copepod, ben@people.example: medusa"
    assert row.annotators == "anna@people.example;ben@people.example"
    assert (report.adjudicated, report.left_out) == (1, {"disputed": 1})
    rename_class(connection, labeled, "detritus", "Détritus")  # the adjudication project keeps the old name
    report = pull(connection, labeled, tmp_path / "renamed", adjudicated=to)
    assert {record.source: record for record in report.dataset.records}["6.png"].class_name == "Détritus"
    with pytest.raises(StudioError, match="--to names the project itself"):
        send_disputes(connection, labeled, labeled)


def test_a_repeat_is_a_second_look_and_no_second_image(
    connection: Connection,
    labeled: str,
    make_images: Callable[..., Path],
    taxonomy: Taxonomy,
    say: Say,
    tmp_path: Path,
) -> None:
    planted = plant_repeats(connection, labeled, 0.25)
    assert (planted.labeled, planted.added, planted.present) == (8, 2, 0)
    assert plant_repeats(connection, labeled, 0.25).added == 0
    repeats = [task for task in list_tasks(connection, require_project(connection, labeled)) if task.repeat_of]
    assert len(repeats) == 2
    hidden = connection.client.views.list(project=require_project(connection, labeled).id)[0].data["hiddenColumns"]
    assert "tasks:data.repeat_of" in hidden["explore"]
    before = pull(connection, labeled, tmp_path / "before")
    for task in repeats:
        say(task.id, "detritus", "anna")
    report = pull(connection, labeled, tmp_path / "after")
    assert report.repeats == 2
    assert report.dataset.meta.fingerprint == before.dataset.meta.fingerprint
    assert report.left_out == before.left_out
    (own,) = project_agreement(connection, labeled).repeats
    assert (own.annotator, own.repeats, own.agreement.value) == ("anna@people.example", 2, 0.0)
    assert own.days is not None
    (tmp_path / "labels.csv").write_text("path,class\n" + "".join(f"{name}.png,medusa\n" for name in VOTES))
    submitted = submit_csv(connection, labeled, tmp_path / "labels.csv")  # a repeat is not the task of a path
    assert (submitted.submitted, submitted.present) == (0, 8)
    pushed = push(connection, tmp_path / "crops", labeled, taxonomy)  # a push removes no repeat
    assert (pushed.added, pushed.present) == (0, 8)
    assert require_project(connection, labeled).tasks == 10


def test_the_crops_of_sheets_are_compared_and_disputed_one_by_one(
    connection: Connection,
    make_images: Callable[..., Path],
    taxonomy: Taxonomy,
    project: str,
    account: Callable[[str], int],
    say: Say,
    tmp_path: Path,
) -> None:
    push_sheets(connection, make_images(4), project, taxonomy, SheetOptions(4))
    (sheet,) = list_tasks(connection, require_project(connection, project), whole=True, sheets=True)
    for person, last in (("anna", "medusa"), ("ben", "copepod")):
        result = sheet_result(["copepod", "medusa", "copepod", last])
        connection.client.annotations.create(id=sheet.id, result=result, lead_time=20, completed_by=account(person))
    found = project_agreement(connection, project)
    assert (found.shared, found.pairwise.value) == (4, 0.75)
    with pytest.raises(StudioError, match="has sheets of crops, and a repeat is a task of one crop"):
        plant_repeats(connection, project)
    to = f"{project[-30:]}, disputed"
    assert send_disputes(connection, project, to).added == 1
    (dispute,) = list_tasks(connection, require_project(connection, to))
    assert dispute.data[SAID] == "anna@people.example: Medusa, ben@people.example: Copepod & nauplius"
    say(dispute.id, "detritus", "chief")
    report = pull(connection, project, tmp_path / "dataset", adjudicated=to)
    assert (report.adjudicated, report.left_out) == (1, {})
    row = next(record for record in report.dataset.records if record.sha256 == dispute.sha256)
    assert (row.class_name, row.extra["adjudicator"]) == ("detritus", "chief@people.example")
