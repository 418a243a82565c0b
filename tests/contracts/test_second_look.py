"""Doubtful labels through Label Studio and back into a dataset, with the commands that users type."""

import csv
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from model_fixtures import TINY
from pelagia.dataset.schema import Dataset
from pelagia_labeling.studio.connection import connect
from pelagia_labeling.studio.server import Studio
from pelagia_labeling.tasks.project import list_tasks, require_project


@pytest.mark.studio
@pytest.mark.slow
def test_suspects_are_labelled_again_and_the_dataset_is_corrected(
    pelagia: Pelagia, studio: Studio, dataset: Dataset, tmp_path: Path
) -> None:
    def run(*arguments: object) -> str:
        done = pelagia(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    changes = (f"dataset={dataset.root}", *TINY, "train.epochs=1")
    settings = [part for change in changes for part in ("--set", change)]
    run("train", "configs/training/tiny_cpu.yaml", *settings, "--folds", "2", "--out", tmp_path / "cv")
    suspects = tmp_path / "suspects"
    run("suspects", tmp_path / "cv", "--most", "10", "--out", suspects)

    project = ("--project", "Second look")
    push = ("label", "push", suspects / "suspects.csv", *project, "--taxonomy", suspects / "taxonomy.yaml")
    assert "10 images added" in run(*push)
    assert "10 predictions attached" in run(*push, "--predictions", suspects / "predictions")
    tasks = list(list_tasks(connect(), require_project(connect(), "Second look"), whole=True))
    assert all(len(task.predictions) == 1 for task in tasks)

    with (suspects / "suspects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    answers = tmp_path / "suspects" / "answers.csv"
    second = [(row["path"], row["predicted"] if index < 4 else row["label"]) for index, row in enumerate(rows)]
    answers.write_text("path,class\n" + "".join(f"{path},{name}\n" for path, name in second))
    assert "10 labels submitted" in run("label", "submit", answers, *project)
    run("label", "pull", *project, "--out", tmp_path / "review")

    corrected = run("dataset", "correct", dataset.root, "--review", tmp_path / "review", "--out", tmp_path / "new")
    assert "4 labels changed, 6 confirmed" in corrected
    labels = {record.sha256: record.class_name for record in Dataset.read(tmp_path / "new").records}
    by_path = {record.path: record for record in dataset.records}
    assert all(labels[by_path[path].sha256] == name for path, name in second)
