"""Small surveys with known rows, to count by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from pelagia.model.card import ModelCard
from pelagia.model.decision import Decision, Verdict
from pelagia.survey.journal import Prediction, Survey
from pelagia.taxonomy import LabelClass, Taxon, Taxonomy

TAXONOMY = Taxonomy(
    name="known",
    taxa=(
        Taxon(name="Animalia", rank="kingdom"),
        Taxon(name="Copepoda", rank="class", parent="Animalia"),
        Taxon(name="Calanus", rank="genus", parent="Copepoda"),
        Taxon(name="Acartia", rank="genus", parent="Copepoda"),
        Taxon(name="Bacillariophyceae", rank="class"),
        Taxon(name="Chaetoceros", rank="genus", parent="Bacillariophyceae"),
        Taxon(name="Nothing below", rank="phylum"),
    ),
    classes=(
        LabelClass(name="calanus", taxon="Calanus"),
        LabelClass(name="acartia", taxon="Acartia"),
        LabelClass(name="chaetoceros", taxon="Chaetoceros"),
        LabelClass(name="detritus"),
    ),
)
CLASSES = TAXONOMY.names
LITER = {"sampleSizeValue": "2", "sampleSizeUnit": "litre", "eventDate": "2024-05-01"}


def card(**changes: object) -> ModelCard:
    """The card of a model with these classes."""
    size = len(CLASSES)
    confusion = tuple(tuple(int(row == column) for column in range(size)) for row in range(size))
    given = ModelCard(
        name="known", created="2024-01-01", pelagia_version="0", taxonomy=TAXONOMY, validation_confusion=confusion
    )
    return given.model_copy(update=changes)


def image(
    path: str, name: str, columns: Mapping[str, str] = LITER, verdict: Verdict | None = None, sure: float = 0.7
) -> Prediction:
    """A row of an image whose likeliest class is ``name``."""
    probabilities = np.full(len(CLASSES), (1 - sure) / (len(CLASSES) - 1), np.float32)
    probabilities[CLASSES.index(name)] = sure
    return Prediction(
        path,
        f"/data/{path}",
        sha256=path.encode().hex().ljust(64, "0")[:64],
        probabilities=probabilities,
        verdict=verdict or Verdict(),
        columns=columns,
    )


def images(prefix: str, numbers: Mapping[str, int], columns: Mapping[str, str] = LITER) -> list[Prediction]:
    """So many images of each class."""
    return [
        image(f"{prefix}_{name}_{number}.png", name, columns) for name in numbers for number in range(numbers[name])
    ]


def write_survey(folder: Path, rows: Iterable[Prediction], *, decides: bool = False, with_card: bool = True) -> Path:
    """Writes a survey with these rows."""
    text = card(decision=Decision(rule="thresholds" if decides else "argmax")).model_dump_json() if with_card else ""
    with Survey.open_for_writing(
        folder, model_sha256="a" * 64, classes=CLASSES, settings={}, decides=decides, model=text
    ) as survey:
        survey.add(rows)
    return folder
