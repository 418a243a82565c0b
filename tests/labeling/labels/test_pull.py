from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pelagia.dataset.check import check
from pelagia.dataset.schema import Dataset
from pelagia.errors import DatasetError, InputError, StudioError
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.labels.pull import Dispute, pull
from pelagia_labeling.studio.connection import Connection, connect
from pelagia_labeling.studio.server import Studio
from pelagia_labeling.tasks.annotate import submit, submit_csv, submit_many
from pelagia_labeling.tasks.interface import class_result
from pelagia_labeling.tasks.project import Task, list_tasks, require_project
from pelagia_labeling.tasks.push import push
from pelagia_labeling.tasks.storage import folder_of

pytestmark = pytest.mark.studio

Tasks = Callable[[str], dict[str, Task]]
MakeImages = Callable[..., Path]


def say(connection: Connection, task: Task, class_name: str, by: int) -> None:
    """Another person's label, given on their behalf."""
    connection.client.annotations.create(id=task.id, result=class_result(class_name), completed_by=by)


def test_labels_become_a_complete_dataset(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tasks_of: Tasks, tmp_path: Path
) -> None:
    images = make_images("ä b.png", "b.jpg", "scan.tif")
    push(connection, images, project, taxonomy)
    tasks = tasks_of(project)
    submit_many(connection, [(task.id, "copepod" if path == "b.jpg" else "medusa") for path, task in tasks.items()])
    report = pull(connection, project, tmp_path / "dataset")
    assert check(tmp_path / "dataset") == []
    labels = {record.source: record.class_name for record in report.dataset.records}
    assert labels == {"ä b.png": "medusa", "b.jpg": "copepod", "scan.tif": "medusa"}
    for record in report.dataset.records:
        assert report.dataset.file(record).read_bytes() == (images / record.source).read_bytes()
        assert record.annotators == connection.user
    assert report.dataset.meta.taxonomy == taxonomy  # with its taxa and AphiaIDs
    assert report.left_out == {}
    assert report.by_annotator == {connection.user: 3}


def test_majority_decides_and_the_rest_is_counted_with_its_reason(
    connection: Connection,
    make_images: MakeImages,
    taxonomy: Taxonomy,
    project: str,
    tasks_of: Tasks,
    tmp_path: Path,
    colleagues: dict[str, int],
) -> None:
    push(
        connection,
        make_images("one.png", "majority.png", "draw.png", "unsure.png", "skip.png", "open.png"),
        project,
        taxonomy,
    )
    tasks = tasks_of(project)
    submit(connection, tasks["one.png"].id, "medusa")
    submit(connection, tasks["one.png"].id, "copepod")  # the same person changes the label
    submit(connection, tasks["majority.png"].id, "copepod")
    say(connection, tasks["majority.png"], "copepod", colleagues["anna"])
    say(connection, tasks["majority.png"], "medusa", colleagues["ben"])
    submit(connection, tasks["draw.png"].id, "copepod")
    say(connection, tasks["draw.png"], "detritus", colleagues["ben"])
    submit(connection, tasks["unsure.png"].id, "medusa", unsure=True)
    submit(connection, tasks["skip.png"].id, skip=True)
    report = pull(connection, project, tmp_path / "dataset")
    rows = {record.source: record for record in report.dataset.records}
    assert {path: row.class_name for path, row in rows.items()} == {"one.png": "copepod", "majority.png": "copepod"}
    assert rows["majority.png"].annotators == f"anna@sea.example;ben@sea.example;{connection.user}"
    assert (rows["majority.png"].agreement, rows["one.png"].agreement) == ("0.67", "")
    assert report.left_out == {"disputed": 1, "skipped": 1, "unlabelled": 1, "unsure": 1}
    assert report.disputed == (Dispute("draw.png", f"{connection.user}: copepod, ben@sea.example: detritus"),)
    assert report.tasks == 6
    assert report.dataset.meta.left_out == report.left_out
    strict = pull(connection, project, tmp_path / "strict", min_agreement=0.9)
    assert strict.left_out["disputed"] == 2


def test_choices_outweigh_acceptances_and_hasty_labels_are_sent_back(
    connection: Connection,
    make_images: MakeImages,
    taxonomy: Taxonomy,
    project: str,
    tasks_of: Tasks,
    tmp_path: Path,
    colleagues: dict[str, int],
) -> None:
    made = push(connection, make_images("own.png", "hasty.png", "anna.png", "open.png"), project, taxonomy)
    tasks = tasks_of(project)
    submit(connection, tasks["own.png"].id, "medusa", seconds=2)
    submit(connection, tasks["hasty.png"].id, "medusa", seconds=0.12)
    say(connection, tasks["anna.png"], "medusa", colleagues["anna"])
    guess = {"result": class_result("copepod"), "score": 0.9, "model_version": "m"}
    predictions = [{"task": task.id, **guess} for path, task in tasks.items() if path != "hasty.png"]
    connection.client.projects.import_predictions(id=made.project_id, request=predictions)
    connection.client.actions.create(
        id="predictions_to_annotations",
        project=made.project_id,
        selected_items={"all": False, "included": [entry["task"] for entry in predictions]},
    )
    time.sleep(1.1)  # changed by another account, later than it was made
    first = next(entry for entry in tasks_of(project)["anna.png"].annotations if entry["completed_by"] != 1)
    connection.client.annotations.update(id=first["id"], result=class_result("detritus"))

    with pytest.raises(InputError, match="no task has a column 'staton'"):  # nothing is sent back
        pull(connection, project, tmp_path / "dataset", send_back=True, group_column="staton")
    report = pull(connection, project, tmp_path / "dataset", send_back=True)
    me = connection.user
    labels = {record.source: (record.class_name, record.annotators) for record in report.dataset.records}
    assert labels == {"own.png": ("medusa", me), "anna.png": ("detritus", me), "open.png": ("copepod", me)}
    assert sorted(report.overruled) == [("anna.png", me, "copepod", "detritus"), ("own.png", me, "copepod", "medusa")]
    assert report.replaced == (("anna.png", "anna@sea.example", me),)
    assert report.too_fast == (("hasty.png", me, "medusa", 0.12),)
    assert (report.left_out, report.sent_back) == ({"too_fast": 1}, 1)

    assert not connection.client.tasks.get(id=tasks["hasty.png"].id).is_labeled
    again = pull(connection, project, tmp_path / "again", send_back=True)
    assert (again.left_out, again.sent_back) == ({"unlabelled": 1}, 0)


def test_groups_come_from_the_first_known_column_or_the_named_one(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tasks_of: Tasks, tmp_path: Path
) -> None:
    images = make_images(*(f"{index}.png" for index in range(6)))
    rows = "".join(f"{index}.png,ST{index // 2},net {index % 2},CC0\n" for index in range(6))
    (images / "manifest.csv").write_text(f"path,station,gear,licence\n{rows}", encoding="utf-8")
    push(connection, images / "manifest.csv", project, taxonomy)
    submit_many(connection, [(task.id, "copepod") for task in tasks_of(project).values()])
    by_station = pull(connection, project, tmp_path / "by_station")
    assert by_station.group_column == "station"
    assert {record.group for record in by_station.dataset.records} == {"ST0", "ST1", "ST2"}
    assert {record.licence for record in by_station.dataset.records} == {"CC0"}
    by_gear = pull(connection, project, tmp_path / "by_gear", group_column="gear")
    assert {record.group for record in by_gear.dataset.records} == {"net 0", "net 1"}
    assert by_gear.dataset.records[0].extra["station"] == "ST0"
    with pytest.raises(InputError, match=r"no task has a column 'statoin' \(did you mean 'station'\?\)"):
        pull(connection, project, tmp_path / "none", group_column="statoin")
    assert not (tmp_path / "none").exists()


def test_a_server_elsewhere_gives_the_same_dataset_over_http(
    connection: Connection,
    studio: Studio,
    make_images: MakeImages,
    taxonomy: Taxonomy,
    project: str,
    tasks_of: Tasks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    push(connection, make_images("a.tif", "b.png"), project, taxonomy)
    submit_many(connection, [(task.id, "medusa") for task in tasks_of(project).values()])
    near = pull(connection, project, tmp_path / "near").dataset
    monkeypatch.setenv("PELAGIA_STUDIO_HOME", str(tmp_path / "none"))
    far = pull(connect(studio.url, studio.token), project, tmp_path / "far").dataset
    assert far.meta.fingerprint == near.meta.fingerprint
    assert far.meta.taxonomy == taxonomy


def test_an_image_whose_bytes_changed_is_left_out(
    connection: Connection,
    studio: Studio,
    make_images: MakeImages,
    taxonomy: Taxonomy,
    project: str,
    tasks_of: Tasks,
    tmp_path: Path,
) -> None:
    push(connection, make_images("a.png", "b.png", "c.png"), project, taxonomy)
    tasks = tasks_of(project)
    submit_many(connection, [(task.id, "medusa") for task in tasks.values()])
    (studio.document_root / tasks["a.png"].data["file"]).write_bytes(b"edited")
    (studio.document_root / tasks["b.png"].data["file"]).unlink()
    report = pull(connection, project, tmp_path / "dataset")
    assert report.left_out == {"image_changed": 1, "image_missing": 1}
    assert [record.source for record in report.dataset.records] == ["c.png"]


def test_a_class_added_on_the_settings_page_comes_along(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tasks_of: Tasks, tmp_path: Path
) -> None:
    report = push(connection, make_images("a.png"), project, taxonomy)
    config = require_project(connection, project).config
    edited = config.replace("</Choices>", '<Choice value="egg"/></Choices>', 1)
    connection.client.projects.update(id=report.project_id, label_config=edited)
    submit(connection, tasks_of(project)["a.png"].id, "egg")
    dataset = pull(connection, project, tmp_path / "dataset").dataset
    assert dataset.class_names == (*taxonomy.names, "egg")
    assert dataset.meta.taxonomy.taxa == taxonomy.taxa


def test_without_the_stored_taxonomy_the_interface_serves(
    connection: Connection,
    studio: Studio,
    make_images: MakeImages,
    taxonomy: Taxonomy,
    project: str,
    tasks_of: Tasks,
    tmp_path: Path,
) -> None:
    push(connection, make_images("a.png"), project, taxonomy)
    (folder_of(studio.document_root, require_project(connection, project)) / "taxonomy.yaml").unlink()
    submit(connection, tasks_of(project)["a.png"].id, "medusa")
    dataset = pull(connection, project, tmp_path / "dataset").dataset
    assert dataset.class_names == taxonomy.names
    assert dataset.meta.taxonomy.taxa == ()


def test_nothing_to_pull_says_why(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tmp_path: Path
) -> None:
    with pytest.raises(StudioError, match=f"there is no project '{project} x' at {connection.url}"):
        pull(connection, f"{project} x", tmp_path / "dataset")
    push(connection, make_images("a.png"), project, taxonomy)
    with pytest.raises(DatasetError, match=r"no image of .* is labeled yet \(1 tasks\)"):
        pull(connection, project, tmp_path / "dataset")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "file").touch()
    with pytest.raises(InputError, match="exists already"):
        pull(connection, project, tmp_path / "dataset")


def test_labels_of_a_csv_are_submitted_once(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tmp_path: Path
) -> None:
    push(connection, make_images("a.png", "b.png"), project, taxonomy)
    labels = tmp_path / "labels.csv"
    with labels.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "class"), ("a.png", "medusa"), ("b.png", ""), ("zz.png", "copepod")])
    first = submit_csv(connection, project, labels)
    second = submit_csv(connection, project, labels)
    assert (first.submitted, first.present, first.unknown) == (1, 0, 1)
    assert (second.submitted, second.present, second.unknown) == (0, 1, 1)
    pull(connection, project, tmp_path / "dataset")
    assert [record.class_name for record in Dataset.read(tmp_path / "dataset").records] == ["medusa"]
    labels.write_text("path,class\na.png,medsua\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"has no class 'medsua' \(did you mean 'medusa'\?\)"):
        submit_csv(connection, project, labels)


def test_labels_for_a_name_that_two_sources_share_are_refused(
    connection: Connection, project: str, taxonomy: Taxonomy, make_images: MakeImages, tmp_path: Path
) -> None:
    """Two casts, each with an img_1.png: the CSV of one must not label the other's."""
    for _ in range(2):
        push(connection, make_images("img_1.png"), project, taxonomy)
    labels = tmp_path / "labels.csv"
    labels.write_text("path,class\nimg_1.png,copepod\n")
    with pytest.raises(
        InputError, match=r"1 paths of .* are each the path of several images in .*, which were pushed from"
    ):
        submit_csv(connection, project, labels)


def test_an_image_without_the_group_that_others_have_is_left_out(
    connection: Connection, project: str, taxonomy: Taxonomy, make_images: MakeImages, tmp_path: Path
) -> None:
    folder = make_images(3)
    names = sorted(path.name for path in folder.iterdir())
    (folder / "m.csv").write_text(f"path,station\n{names[0]},S1\n{names[1]}, S1 \n{names[2]},\n")
    push(connection, folder / "m.csv", project, taxonomy)
    tasks = list(list_tasks(connection, require_project(connection, project)))
    submit_many(connection, [(task.id, "copepod") for task in tasks])
    report = pull(connection, project, tmp_path / "dataset")
    assert report.left_out["no_group"] == 1
    assert {record.group for record in report.dataset.records} == {"S1"}


def test_a_soft_label_of_a_pushed_dataset_is_not_that_of_the_new_label(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tmp_path: Path
) -> None:
    folder = make_images("a.png", "b.png")
    soft = '"{""medusa"": 0.9, ""copepod"": 0.1}"'
    (folder / "manifest.csv").write_text(f"path,soft_label,label_seen\na.png,{soft},no\nb.png,{soft},no\n")
    push(connection, folder / "manifest.csv", project, taxonomy)
    tasks = list(list_tasks(connection, require_project(connection, project)))
    submit_many(connection, [(task.id, "copepod") for task in tasks])
    report = pull(connection, project, tmp_path / "dataset")
    assert (report.unseen, len(report.dataset.records)) == (0, 2)
    for record in report.dataset.records:
        assert record.extra["survey_soft_label"].startswith('{"medusa"')
        assert record.extra["survey_label_seen"] == "no"
