from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pelagia.errors import DatasetError, StudioError
from pelagia.taxonomy import LabelClass, Taxonomy
from pelagia_labeling.labels.pull import pull
from pelagia_labeling.sheets.cohorts import update_tabs
from pelagia_labeling.sheets.push import SheetOptions, push_sheets
from pelagia_labeling.studio.connection import Connection, connect
from pelagia_labeling.studio.server import Studio
from pelagia_labeling.tasks.annotate import submit_csv
from pelagia_labeling.tasks.interface import class_result
from pelagia_labeling.tasks.project import Task, find_project, list_tasks, require_project
from pelagia_labeling.tasks.push import push
from pelagia_labeling.tasks.renamed import rename_class, to_named
from pelagia_labeling.tasks.sheet_crops import CROPS, sheet_result

pytestmark = pytest.mark.studio

MakeImages = Callable[..., Path]


def sheets_of(connection: Connection, project: str) -> list[Task]:
    return list(list_tasks(connection, require_project(connection, project), whole=True, sheets=True))


def submit_sheet(connection: Connection, sheet: Task, names: list[str], seconds: float, **others: Any) -> None:
    connection.client.annotations.create(id=sheet.id, result=sheet_result(names), lead_time=seconds, **others)


def test_a_repeated_push_and_one_that_the_server_completes_later_put_no_crop_on_two_sheets(
    connection: Connection, make_images: MakeImages, survey_of: Callable[..., Path], taxonomy: Taxonomy, project: str
) -> None:
    images = make_images(10)
    survey = survey_of(images)
    options = SheetOptions(4)
    first = push_sheets(connection, images, project, taxonomy, options, predictions=survey)
    assert (first.added, first.present, first.predictions_added) == (10, 0, 10)
    whole = sheets_of(connection, project)
    assert [len(sheet.data[CROPS]) for sheet in whole] == [4, 4, 2]
    (tab,) = connection.client.views.list(project=first.project_id)
    assert "tasks:data.crops" in tab.data["hiddenColumns"]["explore"]  # it is text for programs
    # A push with another size was killed, and the server completes its request after the next push began.
    crops = [crop for sheet in whole for crop in sheet.data[CROPS]]
    late = [{"data": {"sheet": "late", CROPS: crops[start : start + 5]}} for start in (0, 5)]
    connection.client.projects.import_tasks(id=first.project_id, request=late)
    make_images("new.png")
    second = push_sheets(connection, images, project, taxonomy, options, predictions=survey)
    assert (second.added, second.present) == (1, 10)
    shown = [task.sha256 for task in list_tasks(connection, require_project(connection, project))]
    assert len(shown) == len(set(shown)) == 11


def test_a_push_without_a_shared_folder_makes_no_project(
    studio: Studio, make_images: MakeImages, taxonomy: Taxonomy, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELAGIA_STUDIO_HOME", str(studio.home / "none"))
    remote = connect(studio.url, studio.token)
    with pytest.raises(StudioError, match="upload the images with --upload"):
        push_sheets(remote, make_images(3), project, taxonomy, SheetOptions(36))
    assert find_project(remote, project) is None


def test_a_project_has_sheets_or_single_crops(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tmp_path: Path
) -> None:
    images = make_images(3)
    push_sheets(connection, images, f"{project} s", taxonomy, SheetOptions(36))
    push(connection, images, f"{project} c", taxonomy)
    with pytest.raises(StudioError, match="has sheets of crops, and this command is for single crops"):
        push(connection, images, f"{project} s", taxonomy)
    with pytest.raises(StudioError, match="has single crops, and sheets cannot be added"):
        push_sheets(connection, images, f"{project} c", taxonomy, SheetOptions(36))
    labels = tmp_path / "labels.csv"
    labels.write_text("path,class\n0000.png,copepod\n", encoding="utf-8")
    with pytest.raises(StudioError, match="has sheets of crops"):
        submit_csv(connection, f"{project} s", labels)


def test_a_sheet_with_an_empty_crop_or_submitted_at_once_is_refused_and_sent_back_with_its_choices(
    connection: Connection,
    make_images: MakeImages,
    survey_of: Callable[..., Path],
    taxonomy: Taxonomy,
    project: str,
    tmp_path: Path,
) -> None:
    images = make_images(40)
    push_sheets(connection, images, project, taxonomy, SheetOptions(10), predictions=survey_of(images))
    empty, quick, accepted, good = sheets_of(connection, project)
    submit_sheet(connection, empty, ["medusa", "", *["copepod"] * 8], 30.0)
    submit_sheet(connection, quick, ["copepod"] * 10, 0.4)
    submit_sheet(connection, accepted, ["copepod"] * 10, None, parent_prediction=accepted.predictions[0]["id"])
    with pytest.raises(DatasetError, match=r"30 sheet_refused, 10 unlabelled|10 unlabelled, 30 sheet_refused"):
        pull(connection, project, tmp_path / "none")
    choices = ["detritus", *["copepod"] * 7, "*unsure*", "medusa"]
    submit_sheet(connection, good, choices, 30.0, parent_prediction=good.predictions[0]["id"])

    report = pull(connection, project, tmp_path / "first", send_back=True)
    assert report.left_out == {"sheet_refused": 30, "unsure": 1}
    labels = {record.source: record.class_name for record in report.dataset.records}
    crops = [str(crop["path"]) for crop in good.data[CROPS]]
    assert labels == {path: name for path, name in zip(crops, choices, strict=True) if name != "*unsure*"}
    assert {record.annotators for record in report.dataset.records} == {connection.user}
    reasons = {refused.task: refused.reason for refused in report.refused}
    assert reasons == {
        empty.id: "1 of its 10 crops have no class",
        quick.id: "submitted after 0.4 seconds, too soon to see its 10 crops",
        accepted.id: "accepted in the list of tasks, without being opened",
    }

    # The three are open again, and show what was chosen on them.
    opened = {sheet.id: sheet for sheet in sheets_of(connection, project)}
    assert [len(opened[sheet.id].annotations) for sheet in (empty, quick, accepted, good)] == [0, 0, 0, 1]
    assert [one["result"] for one in opened[empty.id].predictions] == [sheet_result(["medusa", "", *["copepod"] * 8])]
    # A label that the person changed does not come from the prediction, the others do.
    origins = {
        task.data["path"]: task.annotations[0]["parent_prediction"] is not None
        for task in list_tasks(connection, require_project(connection, project), whole=True)
        if task.annotations
    }
    assert [origins[path] for path in crops] == [False, *[True] * 7, False, False]


def test_the_tab_of_a_class_is_found_after_it_was_renamed_and_with_letters_of_any_language(
    connection: Connection, make_images: MakeImages, survey_of: Callable[..., Path], taxonomy: Taxonomy, project: str
) -> None:
    images = make_images(4)
    report = push(connection, images, project, taxonomy, predictions=survey_of(images))
    assert update_tabs(connection, report.project_id, taxonomy) == {"copepod": 4}
    rename_class(connection, project, "copepod", "Copépode")
    named = to_named(taxonomy, {"copepod": "Copépode"})
    named = named.model_copy(update={"classes": (*named.classes, LabelClass(name='Öre "x" 動物'))})
    push(connection, images, project, named)
    first = next(iter(list_tasks(connection, require_project(connection, project))))
    connection.client.predictions.create(task=first.id, result=class_result(named.names[-1]), model_version="m")
    assert update_tabs(connection, report.project_id, named) == {"Copépode": 4, named.names[-1]: 1}
    titles = [str(view.data["title"]) for view in connection.client.views.list(project=report.project_id)]
    assert sorted(titles) == ["Copépode? 4", "Images", f"{named.names[-1]}? 1"]


def test_the_choices_of_two_people_on_a_sheet_that_is_sent_back_are_kept(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tmp_path: Path
) -> None:
    push_sheets(connection, make_images(2), project, taxonomy, SheetOptions(2))
    (sheet,) = sheets_of(connection, project)
    for name in ("copepod", "medusa"):
        submit_sheet(connection, sheet, [name, ""], seconds=30)
    with pytest.raises(DatasetError, match="2 were sent back"):
        pull(connection, project, tmp_path / "dataset", send_back=True)
    (sheet,) = sheets_of(connection, project)
    assert [one["result"] for one in sheet.predictions] == [sheet_result(["copepod", ""]), sheet_result(["medusa", ""])]
    assert sheet.annotations == []
