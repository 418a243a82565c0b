"""How the votes of all images of a project become labels: by majority, by Dawid-Skene, by an adjudicator.

With Dawid-Skene a person who is often wrong counts less, so the images are decided together.

Invariant: nothing is guessed. A class becomes the label of an image only if somebody named it for this image and its
probability is above one half; otherwise the image is disputed, as without a majority. The label of an adjudicator wins
over the votes, and the dataset records both: the columns `ADJUDICATOR` and `VOTES` of its manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pelagia.dataset.label_columns import ADJUDICATOR, VOTES
from pelagia.dataset.soft_labels import SOFT_LABEL, soft_label_text
from pelagia_labeling.agreement.dawid_skene import dawid_skene
from pelagia_labeling.agreement.table import Rating, tabulate
from pelagia_labeling.labels.consensus import DISPUTED, CellVote, Consensus, decide
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.project import ANNOTATIONS, Task, list_tasks, require_project

Strategy = Literal["majority", "dawid-skene"]

Columns = Mapping[str, Mapping[str, str]]
"""`Task.place` of an image -> the columns that its row of the manifest gets in addition."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The class that an adjudicator chose for an image, the adjudicator's name, and the cells that were typed."""

    class_name: str
    adjudicator: str
    cells: tuple[CellVote, ...] = ()


def decide_labels(
    everything: Sequence[tuple[Task, Consensus]],
    strategy: Strategy,
    verdicts: Mapping[str, Verdict],
    min_agreement: float = 0.0,
) -> tuple[list[tuple[Task, Consensus]], Columns]:
    """The tasks that are no planted repeats, each with its label, and the columns that say how it was decided.

    Args:
        everything: each task with its consensus by majority.
        strategy: how votes become a label.
        verdicts: SHA-256 of an image -> the adjudicator's label, which wins and is certain.
        min_agreement: as for `decide_together`.
    """
    results = [(task, consensus) for task, consensus in everything if not task.repeat_of]
    columns: dict[str, dict[str, str]] = {}
    if strategy == "dawid-skene":
        weighed = decide_together([consensus for _, consensus in results], min_agreement)
        for (task, _), (_, soft) in zip(results, weighed, strict=True):
            columns[task.place] = {SOFT_LABEL: soft_label_text(soft)}
        results = [(task, consensus) for (task, _), (consensus, _) in zip(results, weighed, strict=True)]
    if verdicts:
        results, said = apply_verdicts(results, verdicts)
        columns |= said
    return results, columns


def decide_together(found: Sequence[Consensus], min_agreement: float = 0.0) -> list[tuple[Consensus, dict[str, float]]]:
    """Each image's consensus by the most probable class, and the probability of each class.

    Args:
        found: the consensus of each image by majority. Images without votes, and images that are left out for another
            reason than a dispute, are returned as they are.
        min_agreement: least probability of the label, 0..1; it is always more than one half.
    """
    weighed = [index for index, one in enumerate(found) if one.votes and one.reason in ("", DISPUTED)]
    result: list[tuple[Consensus, dict[str, float]]] = [(one, {}) for one in found]
    if not weighed:
        return result
    ratings = tabulate(
        Rating(str(index), f"{annotator} {place}" if annotator == "account 0" else annotator, class_name)
        for index in weighed
        for place, (annotator, class_name) in enumerate(found[index].votes)
    )
    posterior = dawid_skene(ratings.codes, len(ratings.classes)).posterior
    for index, probabilities in zip(weighed, posterior, strict=True):
        best = int(probabilities.argmax())
        name, probability = ratings.classes[best], float(probabilities[best])
        named = name in {class_name for _, class_name in found[index].votes}
        if named and probability > 0.5 and probability >= min_agreement:
            soft = dict(zip(ratings.classes, probabilities.tolist(), strict=True))
            result[index] = (
                replace(found[index], class_name=name, reason="", agreement=_share(found[index], name)),
                soft,
            )
        else:
            result[index] = replace(found[index], class_name="", reason=DISPUTED), {}
    return result


def _share(consensus: Consensus, class_name: str) -> float:
    """The share of the votes for a class."""
    return sum(name == class_name for _, name in consensus.votes) / len(consensus.votes)


def read_verdicts(
    connection: Connection, title: str, names: Mapping[int, str], renamed: Mapping[str, str]
) -> dict[str, Verdict]:
    """SHA-256 of an image -> its verdict, for the images of an adjudication project that have a label.

    Args:
        connection: the connection to the server.
        title: title of the adjudication project.
        names: account number -> name of the person.
        renamed: stored name -> present name, for the classes that were renamed in the project that is adjudicated. Both
            projects store the same names, even if a class was renamed in one of them later.

    Raises:
        StudioError: there is no such project.
    """
    verdicts = {}
    for task in list_tasks(connection, require_project(connection, title), parts=ANNOTATIONS):
        found = decide(task.annotations, names)
        if found.class_name and task.sha256:
            name = renamed.get(found.class_name, found.class_name)
            cells = tuple(replace(vote, class_name=name) for vote in found.cells if vote.class_name == found.class_name)
            verdicts[task.sha256] = Verdict(name, found.annotators, cells)
    return verdicts


def apply_verdicts(
    results: Sequence[tuple[Task, Consensus]], verdicts: Mapping[str, Verdict]
) -> tuple[list[tuple[Task, Consensus]], dict[str, dict[str, str]]]:
    """The results with the verdicts as labels, and for each adjudicated task the columns that record both."""
    decided: list[tuple[Task, Consensus]] = []
    columns: dict[str, dict[str, str]] = {}
    for task, consensus in results:
        verdict = verdicts.get(task.sha256) if task.sha256 else None
        if verdict is None:
            decided.append((task, consensus))
            continue
        agreeing = sum(name == verdict.class_name for _, name in consensus.votes)
        share = agreeing / len(consensus.votes) if consensus.votes else 0.0
        label = replace(consensus, class_name=verdict.class_name, reason="", agreement=share, unseen=False)
        decided.append((task, replace(label, cells=verdict.cells or consensus.cells)))
        columns[task.place] = {ADJUDICATOR: verdict.adjudicator, VOTES: consensus.votes_as_text}
    return decided, columns
