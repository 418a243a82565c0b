"""A class is renamed in a project that has labels and pre-labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from pelagia.dataset.schema import Dataset
from pelagia.errors import InputError, StudioError
from pelagia.taxonomy import LabelClass, Taxonomy
from pelagia_labeling.sheets.interface import build_sheet_interface
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.annotate import submit_csv, submit_many
from pelagia_labeling.tasks.interface import build_interface, class_names, parse_interface, reconcile
from pelagia_labeling.tasks.project import Task
from pelagia_labeling.tasks.push import push
from pelagia_labeling.tasks.renamed import renamed_config, to_named, to_stored

MakeImages = Callable[..., Path]


def test_a_renamed_choice_keeps_what_is_stored_and_can_be_renamed_again_and_back(taxonomy: Taxonomy) -> None:
    first = build_interface(taxonomy)
    renamed = renamed_config(first, "detritus", "Détritus", "P")
    assert class_names(renamed) == {"detritus": "Détritus"}
    assert (classes := parse_interface(renamed)) is not None
    assert classes[2] == LabelClass(name="detritus", title="Détritus", hotkey="d")
    assert class_names(renamed_config(renamed, "Détritus", "snow", "P")) == {"detritus": "snow"}
    back = renamed_config(renamed, "Détritus", "detritus", "P")
    assert (class_names(back), parse_interface(back)) == ({}, parse_interface(first))
    titled = renamed_config(first, "copepod", "Copepoda", "P")
    assert class_names(titled) == {"copepod": "Copepoda"}
    assert (parse_interface(titled) or ())[0].title == "Copepod & nauplius"


def test_a_name_that_is_taken_or_a_class_that_is_not_there_is_refused(taxonomy: Taxonomy) -> None:
    config = renamed_config(build_interface(taxonomy), "detritus", "snow", "P")
    with pytest.raises(InputError, match="P has a class 'medusa' already"):
        renamed_config(config, "snow", "medusa", "P")
    with pytest.raises(InputError, match="already"):  # it is stored for another class
        renamed_config(config, "medusa", "detritus", "P")
    with pytest.raises(InputError, match="P has no class 'medusae'"):
        renamed_config(config, "medusae", "x", "P")
    with pytest.raises(InputError):
        renamed_config(config, "medusa", " x", "P")
    with pytest.raises(StudioError, match="pelagia dataset rename-class"):
        renamed_config("<View/>", "a", "b", "P")
    with pytest.raises(StudioError, match="pelagia dataset rename-class"):
        renamed_config(build_sheet_interface(taxonomy), "detritus", "snow", "P")


def test_the_next_push_keeps_the_name_if_it_is_the_title_of_another_class(taxonomy: Taxonomy) -> None:
    config = renamed_config(build_interface(taxonomy), "detritus", "Medusa", "P")
    wanted = to_named(taxonomy, {"detritus": "Medusa"})
    change = reconcile(config, to_stored(wanted, {"Medusa": "detritus"}, "P"), used=True, title="P")
    assert class_names(change.config) == {"detritus": "Medusa"}


def test_the_next_push_keeps_the_name_and_refuses_the_old_one(taxonomy: Taxonomy) -> None:
    config = renamed_config(build_interface(taxonomy), "detritus", "snow", "P")
    wanted = to_named(taxonomy, {"detritus": "snow"})
    assert wanted.names == ("copepod", "medusa", "snow")
    change = reconcile(config, to_stored(wanted, {"snow": "detritus"}, "P"), used=True, title="P")
    assert not change.update
    more = wanted.model_copy(update={"classes": (*wanted.classes, LabelClass(name="fish"))})
    change = reconcile(config, to_stored(more, {"snow": "detritus"}, "P"), used=True, title="P")
    assert change.update
    assert class_names(change.config) == {"detritus": "snow"}
    with pytest.raises(StudioError, match="was renamed to 'snow': rename it in the taxonomy 'plankton' too"):
        to_stored(taxonomy, {"snow": "detritus"}, "P")


@pytest.mark.studio
def test_labels_of_a_renamed_class_are_pulled_under_the_new_name_and_nothing_is_rewritten(
    connection: Connection,
    make_images: MakeImages,
    taxonomy: Taxonomy,
    project: str,
    tasks_of: Callable[[str], dict[str, Task]],
    tmp_path: Path,
    pelagia: Pelagia,
) -> None:
    images = make_images("a.png", "b.png", "c.png", "d.png")
    push(connection, images, project, taxonomy)
    tasks = tasks_of(project)
    submit_many(connection, [(tasks["a.png"].id, "detritus"), (tasks["b.png"].id, "medusa")])
    before = {path: task.annotations for path, task in tasks_of(project).items()}
    done = pelagia("label", "rename-class", "--project", project, "detritus", "Détritus")
    assert done.returncode == 0, done.stderr
    assert {path: task.annotations for path, task in tasks_of(project).items()} == before

    named = to_named(taxonomy, {"detritus": "Détritus"})
    push(connection, images, project, named)
    (tmp_path / "labels.csv").write_text("path,class\nc.png,Détritus\n", encoding="utf-8")
    assert submit_csv(connection, project, tmp_path / "labels.csv").submitted == 1
    done = pelagia("label", "pull", "--project", project, "--out", tmp_path / "pulled")
    assert done.returncode == 0, done.stderr
    pulled = Dataset.read(tmp_path / "pulled")
    labels = {record.source: record.class_name for record in pulled.records}
    assert labels == {"a.png": "Détritus", "b.png": "medusa", "c.png": "Détritus"}
    assert pulled.meta.taxonomy == named
    counted = pelagia("label", "status", "--project", project).stdout
    assert ("Détritus" in counted, "detritus" in counted) == (True, False), counted
    refused = pelagia("label", "rename-class", "--project", project, "detritus", "x")
    assert (refused.returncode, "did you mean 'Détritus'?" in refused.stderr) == (2, True)
    with pytest.raises(StudioError, match="was renamed to 'Détritus'"):
        push(connection, images, project, taxonomy)
