"""The predictions of a survey as pre-labels: what the model says of an image is shown to the person who labels it.

Invariant: a task gets at most one pre-label of a model and survey, even if a push is repeated. What the model did not
accept (it rolled up, abstained, or called it unknown) is a pre-label without a chosen class: it has a score, by which
the table can be sorted, and nobody can submit it by pressing a key too often.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pelagia.errors import InputError, first_few
from pelagia.label_studio import prediction
from pelagia.model.decision import ACCEPTED
from pelagia.survey.journal import Survey
from pelagia.system.files import printable
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.project import PREDICTIONS, VERSIONS, Part, Project, Task

CHUNK = 20_000
"""Number of pre-labels that one request adds to old tasks. The server takes 4 to 6 seconds for any such request."""


class Prelabel(NamedTuple):
    """What a model says of an image: the likeliest class, its probability 0..1, and whether the model accepts it."""

    class_name: str
    probability: float
    accepted: bool = True


@dataclass(frozen=True)
class Prelabels:
    """The predictions of a survey, as pre-labels.

    Attributes:
        model_version: name of the survey and first digits of its model's SHA-256; Label Studio shows this text.
        by_sha256: SHA-256 of an image -> its pre-label.
    """

    model_version: str
    by_sha256: dict[str, Prelabel]


def read_prelabels(survey: Path, taxonomy: Taxonomy, stored: Mapping[str, str] = MappingProxyType({})) -> Prelabels:
    """The most probable class of each image of a survey.

    Args:
        survey: the survey folder.
        taxonomy: the taxonomy of the project, with the stored names of its classes.
        stored: class name -> stored name, for classes that were renamed in the project.

    Raises:
        InputError: the survey has classes that the taxonomy lacks.
        SurveyError: there is no survey in the folder, or it cannot be read.
    """
    with Survey.open(survey) as rows:
        classes = [stored.get(name, name) for name in rows.classes]
        unknown = [name for name in classes if name not in taxonomy.names]
        if unknown:
            raise InputError(
                f"the survey {survey} has classes that the taxonomy '{taxonomy.name}' lacks: {first_few(unknown)}; "
                "name the taxonomy that its model was trained with, with --taxonomy"
            )
        version = f"{printable(survey.absolute().name)} {rows.meta['model_sha256'][:12]}"
        labels = {}
        for row in rows:
            if row.probabilities is not None and row.sha256:
                best = int(row.probabilities.argmax())
                accepted = row.verdict.decision in ("", ACCEPTED)
                labels[row.sha256] = Prelabel(classes[best], float(row.probabilities[best]), accepted)
    return Prelabels(version, labels)


def prediction_of(prelabel: Prelabel, model_version: str) -> dict[str, Any]:
    """The prediction of a task, as the server's API takes it."""
    name = prelabel.class_name if prelabel.accepted else ""
    return prediction(name, prelabel.probability, model_version)


def part_to_list(prelabels: Prelabels) -> tuple[Part, ...]:
    """The part of the tasks that `lacks` needs: the list of model versions, if the name can be found in that list."""
    return PREDICTIONS if set(prelabels.model_version) & set(',"[]\\') else VERSIONS


def lacks(task: Task, prelabels: Prelabels) -> bool:
    """Whether a task has no pre-label of this model yet, and the survey has one for it."""
    if task.sha256 not in prelabels.by_sha256:
        return False
    if task.versions is not None:
        return prelabels.model_version not in task.versions
    return all(prediction.get("model_version") != prelabels.model_version for prediction in task.predictions)


def without_prelabel_warnings(pushed: Collection[str], prelabels: Prelabels) -> list[str]:
    """A sentence if images have no pre-label because the survey has no result for them.

    Args:
        pushed: SHA-256 of the images that were pushed.
        prelabels: the pre-labels of the survey.
    """
    lacking = sum(sha256 not in prelabels.by_sha256 for sha256 in pushed)
    if not lacking:
        return []
    survey = prelabels.model_version.rpartition(" ")[0]
    which = "none" if lacking == len(pushed) else f"only {len(pushed) - lacking}"
    return [
        f"the survey '{survey}' has results for {which} of the {len(pushed)} images, so {lacking} have no pre-label: "
        "classify the same images with `pelagia classify`, and push them again with the new survey"
    ]


def attach(connection: Connection, project: Project, tasks: Sequence[tuple[int, str]], prelabels: Prelabels) -> int:
    """Adds the pre-labels to tasks that were made by an earlier push, and returns the number added.

    Args:
        connection: the connection to the server.
        project: the project.
        tasks: (number, SHA-256 of the image) of the tasks that lack their pre-label.
        prelabels: the pre-labels.
    """
    for start in range(0, len(tasks), CHUNK):
        chunk = [
            {"task": number} | prediction_of(prelabels.by_sha256[sha256], prelabels.model_version)
            for number, sha256 in tasks[start : start + CHUNK]
        ]
        what = f"attaching {len(chunk)} pre-labels"
        connection.send("POST", f"/api/projects/{project.id}/import/predictions", chunk, what=what)
    return len(tasks)


def show(connection: Connection, project: Project, model_version: str) -> None:
    """Lets annotators see the pre-labels of this model."""
    change = {"model_version": model_version, "show_collab_predictions": True}
    connection.send("PATCH", f"/api/projects/{project.id}/", change, what="showing the pre-labels")
