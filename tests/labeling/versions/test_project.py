"""Versions of a project in a real Label Studio: the parent of a pull, the votes in a history, exported tasks."""

import json
import shutil
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from pelagia.dataset.schema import Dataset
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.exports.export import export_dataset
from pelagia_labeling.labels.pull import pull
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.annotate import submit, submit_many
from pelagia_labeling.tasks.interface import parse_interface
from pelagia_labeling.tasks.project import list_tasks, require_project
from pelagia_labeling.tasks.push import push

pytestmark = pytest.mark.studio


def push_stations(connection: Connection, crops: Path, project: str, taxonomy: Taxonomy) -> None:
    """Pushes the images below ``crops`` with their folder as the station, and labels those without a label."""
    rows = [f"{path.relative_to(crops).as_posix()},{path.parent.name}" for path in sorted(crops.rglob("*.png"))]
    (crops / "manifest.csv").write_text("path,station\n" + "\n".join(rows) + "\n", encoding="utf-8")
    push(connection, crops / "manifest.csv", project, taxonomy)
    tasks = list(list_tasks(connection, require_project(connection, project), whole=True))
    new = [task.id for task in tasks if not task.annotations]
    submit_many(connection, [(number, taxonomy.names[number % 3]) for number in new])


def test_each_pull_is_a_version_whose_images_keep_their_split(
    connection: Connection, project: str, taxonomy: Taxonomy, tmp_path: Path, make_images, pelagia: Pelagia
) -> None:
    crops = make_images(*(f"S{at % 6}/{at}.png" for at in range(24)))
    push_stations(connection, crops, project, taxonomy)
    done = pelagia("label", "pull", "--project", project, "--out", tmp_path / "v1")
    assert done.returncode == 0, done.stderr
    first = Dataset.read(tmp_path / "v1")
    assert first.meta.parents == ()

    make_images(*(f"N{at % 4}/{at}.png" for at in range(8)), "S0/again.png")
    push_stations(connection, crops, project, taxonomy)
    corrected = next(task for task in list_tasks(connection, require_project(connection, project), whole=True))
    label = corrected.annotations[0]["result"][0]["value"]["choices"][0]
    other = next(name for name in taxonomy.names if name != label)
    submit(connection, corrected.id, other)
    done = pelagia("label", "pull", "--project", project, "--out", tmp_path / "v2")
    assert done.returncode == 0, done.stderr
    assert f"the version before is {tmp_path / 'v1'}" in done.stderr
    assert "made from ../v1" in done.stdout
    second = Dataset.read(tmp_path / "v2")
    (parent,) = second.meta.parents
    assert (parent.added, parent.removed, parent.relabeled, parent.moved) == (9, 0, 1, 0)
    split_of = {record.group: record.split for record in first.records}
    (again,) = (record for record in second.records if record.source.endswith("again.png"))
    assert again.split == split_of["S0"]
    assert {record.split for record in second.records if record.group.startswith("N")} <= {"train", "val", "test"}

    told = pelagia("dataset", "history", tmp_path / "v2", "--image", corrected.sha256, "--project", project)
    assert told.returncode == 0, told.stderr
    events = [line.split()[1] for line in told.stdout.splitlines()[2:]]
    assert sorted(events) == ["added", "named", "named", "relabeled"]

    renamed = tmp_path / "renamed"
    done = pelagia("dataset", "rename-class", tmp_path / "v2", label, "Another name", "--out", renamed)
    assert done.returncode == 0, done.stderr
    changed = pelagia("label", "pull", "--project", project, "--out", tmp_path / "v2_again")
    assert f"warning: {renamed} was not pulled itself but made from a pulled dataset" in changed.stderr

    refused = pelagia("label", "pull", "--project", project, "--out", tmp_path / "v3", "--group-column", "source")
    assert (refused.returncode, "or make a new split with --no-parent" in refused.stderr) == (2, True)
    alone = pelagia("label", "pull", "--project", project, "--out", tmp_path / "v3", "--no-parent", "--seed", "3")
    assert alone.returncode == 0, alone.stderr
    assert Dataset.read(tmp_path / "v3").meta.parents == ()


def test_exported_tasks_are_imported_by_label_studio_and_pulled_again(
    connection: Connection, project: str, dataset: Dataset, tmp_path: Path
) -> None:
    name = f"export-{project[-1]}"
    folder = connection.require_root() / name
    export_dataset(dataset, folder, "label-studio")
    interface = (folder / "interface.xml").read_text(encoding="utf-8")
    made = connection.client.projects.create(title=project, label_config=interface)
    connection.client.import_storage.local.create(project=made.id, title="images", path=str(folder), use_blob_urls=True)
    tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    connection.client.projects.import_tasks(id=made.id, request=tasks)
    assert (
        connection.get(tasks[0]["data"]["image"], what="the page's image")
        == dataset.file(dataset.records[0]).read_bytes()
    )
    pulled = pull(connection, project, tmp_path / "pulled", parent=dataset).dataset
    assert pulled.meta.fingerprint == dataset.meta.fingerprint
    assert pulled.meta.taxonomy.names == dataset.class_names
    classes = parse_interface(require_project(connection, project).config)
    assert tuple(entry.name for entry in classes or ()) == dataset.class_names
    shutil.rmtree(folder)
