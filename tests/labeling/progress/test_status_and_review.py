"""Status and review, with a real Label Studio."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cli_fixtures import Pelagia
from pelagia.config import dump_yaml
from pelagia.dataset.schema import Dataset
from pelagia.embeddings import writing_embeddings
from pelagia.errors import InputError, SurveyError
from pelagia.model.decision import Verdict
from pelagia.sources import list_images
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.labels.pull import pull
from pelagia_labeling.progress.review import parse_reasons, review
from pelagia_labeling.progress.status import status_of
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.caption import MODEL_SAYS
from pelagia_labeling.tasks.interface import CAPTION, class_result, has_caption, unsure_result
from pelagia_labeling.tasks.project import Task, get_project
from pelagia_labeling.tasks.push import push

pytestmark = pytest.mark.studio

Tasks = Callable[[str], dict[str, Task]]
MakeImages = Callable[..., Path]


def annotate(connection: Connection, task: Task, **values: object) -> None:
    connection.client.annotations.create(id=task.id, **values)


def test_status_counts_each_task_once_and_draws_the_curve(
    connection: Connection,
    make_images: MakeImages,
    taxonomy: Taxonomy,
    project: str,
    tasks_of: Tasks,
    tmp_path: Path,
    pelagia: Pelagia,
) -> None:
    images = make_images(130)
    rows = [f"{index:04d}.png,S{index % 13}" for index in range(130)]
    (images / "list.csv").write_text("path,station\n" + "\n".join(rows) + "\n")
    push(connection, images / "list.csv", project, taxonomy)
    tasks = tasks_of(project)
    anna = connection.client.users.create(
        email="anna@status.example",
        username="anna-status",
        first_name="",
        last_name="",
        phone="",
        allow_newsletters=False,
    ).id
    names = list(taxonomy.names)
    with writing_embeddings(tmp_path / "e.parquet", "0" * 64) as file:
        for index, (path, task) in enumerate(sorted(tasks.items())[:124]):
            name = names[index % 3]
            annotate(connection, task, result=class_result(name))
            if index < 118:  # six labels have no embedding
                vector = np.eye(3)[[index % 3]] + np.random.default_rng(index).normal(size=(1, 3)) * 0.2
                file.add([path], [task.sha256], vector)
    left = [tasks[f"{index:04d}.png"] for index in range(124, 130)]
    annotate(connection, left[0], result=unsure_result())
    annotate(connection, left[1], result=[], was_cancelled=True)
    annotate(connection, left[2], result=class_result("copepod"))
    annotate(connection, left[2], result=class_result("medusa"), completed_by=anna)  # disputed
    annotate(connection, tasks["0000.png"], result=class_result("copepod"), completed_by=anna)  # agreed
    found = status_of(connection, project, embeddings=tmp_path / "e.parquet")
    counts = found.counts
    assert counts.outcomes == {
        "labeled": 124, "accepted": 0, "unsure": 1, "skipped": 1, "disputed": 1, "not_counted": 0, "open": 3
    }  # fmt: skip
    assert {name: sum(one.values()) for name, one in counts.classes.items()} == {
        "copepod": 42, "medusa": 41, "detritus": 41
    }  # fmt: skip
    assert counts.group_column == "station"
    assert sum(sum(one.values()) for one in counts.groups.values()) == counts.tasks == 130
    assert found.agreement is not None
    assert (found.agreement.images, found.agreement.agreement) == (2, 0.5)
    assert {one.name: one.labels for one in counts.people} == {connection.user: 125, "anna@status.example": 2}
    assert found.without_embedding == 6
    assert found.forecast is not None
    assert found.forecast.now.value > 0.95
    shown = pelagia("label", "status", "--project", project, "--json", tmp_path / "status.json")
    assert shown.returncode == 0, shown.stderr
    assert "130 images in" in shown.stdout
    assert "two people agree on 50.0% of 2 images" in shown.stdout
    assert "no learning curve: no embeddings are given" in shown.stdout
    assert json.loads((tmp_path / "status.json").read_text())["outcomes"]["open"] == 3


@pytest.fixture
def survey(tmp_path: Path, make_images: MakeImages, taxonomy: Taxonomy) -> Path:
    """Ten images of a folder, and of a zip: three abstained, three rolled up, two unknown, two accepted."""
    folder = make_images(*(f"{index}.png" for index in range(10)), folder="input")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        for index in (8, 9):
            archive.write(folder / f"{index}.png", f"{index}.png")
            (folder / f"{index}.png").unlink()
    images = {image.path: image for image in list_images([folder, tmp_path / "more.zip"])}
    verdicts = [Verdict("accepted", "copepod")] * 2 + [Verdict("abstained")] * 3
    verdicts += [Verdict("rolled_up", "Copepoda", "class")] * 3 + [Verdict("unknown")] * 2
    opened = Survey.open_for_writing(
        tmp_path / "survey",
        model_sha256="0" * 64,
        classes=taxonomy.names,
        settings={},
        origin=json.dumps([str(folder), str(tmp_path / "more.zip")]),
        decides=True,
    )
    probabilities = np.array([0.52, 0.3, 0.18], np.float32)
    with opened as rows:
        rows.add(
            Prediction(
                *(image.path, str(image.file), sha256_of(image.read())),
                probabilities=probabilities,
                unknown=0.25,
                verdict=verdict,
                columns={"station": "S1"},
            )
            for verdict, image in zip(verdicts, sorted(images.values(), key=lambda one: one.path[-5]), strict=True)
        )
    return tmp_path / "survey"


def test_review_sends_what_was_not_accepted_with_nothing_selected(
    connection: Connection, survey: Path, taxonomy: Taxonomy, project: str, tasks_of: Tasks, tmp_path: Path
) -> None:
    (tmp_path / "input" / "2.png").unlink()
    (tmp_path / "input" / "3.png").write_bytes((tmp_path / "input" / "4.png").read_bytes())
    report = review(connection, survey, project, taxonomy)
    assert report.chosen == {"abstained": 3, "rolled_up": 3, "unknown": 2}
    reasons = dict(report.unusable)
    assert reasons.keys() == {"input/2.png", "input/3.png"}
    assert reasons["input/2.png"].startswith("missing")
    assert reasons["input/3.png"].startswith("changed")
    tasks = tasks_of(project)
    assert {path.rpartition("/")[2] for path in tasks} == {"4.png", "5.png", "6.png", "7.png", "8.png", "9.png"}
    task = tasks["input/5.png"]
    assert task.predictions == []
    assert task.data[MODEL_SAYS] == ("model: copepod 52%, medusa 30%, detritus 18% (rolled up to Copepoda)")
    assert task.data["station"] == "S1"
    assert str(task.data[CAPTION]).endswith(f"station S1 \u00b7 {task.data[MODEL_SAYS]}")
    assert (report.warnings, has_caption(get_project(connection, report.push.project_id).config)) == ((), True)
    again = review(connection, survey, project, taxonomy)
    assert (again.push.added, again.push.present, len(tasks_of(project))) == (0, 6, 6)
    annotate(connection, task, result=class_result("medusa"))
    pulled = pull(connection, project, tmp_path / "pulled").dataset
    assert [(one.class_name, one.source, one.group) for one in pulled.records] == [("medusa", "input/5.png", "S1")]
    assert isinstance(pulled, Dataset)


def test_a_limit_takes_a_part_and_a_larger_one_adds_to_it(
    connection: Connection,
    survey: Path,
    taxonomy: Taxonomy,
    project: str,
    tasks_of: Tasks,
    tmp_path: Path,
    pelagia: Pelagia,
) -> None:
    first = review(connection, survey, project, taxonomy, reasons=("unknown", "abstained"), limit=2)
    assert first.push.added == 2
    (tmp_path / "taxonomy.yaml").write_text(dump_yaml(taxonomy))
    options = ("--project", project, "--taxonomy", tmp_path / "taxonomy.yaml", "--reasons", "unknown,abstained")
    shown = pelagia("label", "review", survey, *options, "--limit", 4)
    assert shown.returncode == 0, shown.stderr
    assert "2 images added, 2 were there already, 0 cannot be used" in shown.stdout
    assert len(tasks_of(project)) == 4


def test_what_cannot_be_reviewed_is_said(
    connection: Connection, survey: Path, taxonomy: Taxonomy, project: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="there is no 'rolled_down' .did you mean 'rolled_up'"):
        parse_reasons("abstained,rolled-down")
    (tmp_path / "more.zip").rename(tmp_path / "elsewhere.zip")
    with pytest.raises(InputError, match=r"none of the 2 images can be used .*connect that drive"):
        review(connection, survey, project, taxonomy, reasons=("unknown",))
    Survey.open_for_writing(tmp_path / "plain", model_sha256="0" * 64, classes=taxonomy.names, settings={}).close()
    with pytest.raises(SurveyError, match="does not decide"):
        review(connection, tmp_path / "plain", project, taxonomy)
