"""Why a survey says what it says of one image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.embeddings import Embeddings
from pelagia.errors import InputError, SurveyError, first_few
from pelagia.images.preprocess import ImageError, decode
from pelagia.model.card import ModelCard
from pelagia.model.rules import Rule, rules_of
from pelagia.shell import command_line
from pelagia.survey.additions import Confirmed, Flag, confirmed_label, flags_of_image
from pelagia.survey.journal import Prediction, Survey
from pelagia.survey.pictures import read_pictures
from pelagia.taxonomy import Taxonomy

Pixels = NDArray[np.uint8]
MODEL_CLASS = "class of the model"
"""What a class of the model is called beside the ranks of taxa, one of which is class."""
LEAST_SHOWN = 0.005
"""Taxa and classes with a smaller sum of probabilities are not shown."""
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Level:
    """A taxon, or a class, and its probability.

    Attributes:
        depth: 0 for a root.
        name: the taxon, or the class.
        rank: the taxonRank of a taxon; empty for a class.
        probability: the sum of the probabilities of its classes, 0..1.
        threshold: what the probability must reach to be accepted; inf: never; None: the model has no threshold for it.
    """

    depth: int
    name: str
    rank: str
    probability: float
    threshold: float | None


@dataclass(frozen=True)
class Similar:
    """A reference image.

    Attributes:
        path: its name in the embeddings or, if the dataset is named, in the dataset.
        similarity: the cosine of the angle between the embeddings, -1..1.
        class_name: its label in the dataset; empty if it is not known.
        pixels: uint8, H x W x 3, RGB; None if it cannot be shown.
    """

    path: str
    similarity: float
    class_name: str = ""
    pixels: Pixels | None = None


@dataclass(frozen=True)
class Explanation:
    """What is known of an image of a survey.

    Attributes:
        row: its row in the survey.
        classes: (class, probability), the likeliest first; empty if the image failed.
        levels: the tree of taxa and classes, the likeliest branch first; empty if there are no taxa.
        rule: the rule that fired; None if the model does not decide, or its card is not known.
        flags: what is wrong with the image.
        confirmed: the label that people gave it; None if nobody did.
        pixels: uint8, H x W x 3, RGB; None if the image cannot be read.
        no_picture: the reason for that; else empty.
        similar: the most similar reference images, the most similar first.
        no_similar: why there are none; else empty.
    """

    row: Prediction
    classes: tuple[tuple[str, float], ...]
    levels: tuple[Level, ...]
    rule: Rule | None
    flags: tuple[Flag, ...]
    confirmed: Confirmed | None
    pixels: Pixels | None
    no_picture: str
    similar: tuple[Similar, ...]
    no_similar: str


def explain(
    survey: Survey,
    image: str,
    card: ModelCard | None = None,
    references: Embeddings | None = None,
    dataset: Dataset | None = None,
    most: int = 8,
) -> Explanation:
    """Collects what is known of an image of a survey.

    Args:
        survey: the open survey.
        image: its path in the survey, its file, or the end of its path.
        card: the card of the model; None: there is neither a rule nor a tree of taxa.
        references: embeddings of images with a known class, of the survey's model.
        dataset: the dataset of ``references``, which has their labels and pictures. Only its train split is used.
        most: how many reference images to find.

    Raises:
        InputError: no image, or several, have this name; or ``references`` are of another model.
        SurveyError: the journal cannot be read.
    """
    row = _row(survey, image)
    classes: tuple[tuple[str, float], ...] = ()
    levels: tuple[Level, ...] = ()
    rule = None
    if row.probabilities is not None:
        order = np.argsort(-row.probabilities, kind="stable").tolist()
        classes = tuple((survey.classes[place], float(row.probabilities[place])) for place in order)
        if card is not None:
            levels = tree_of(card, dict(classes))
            [rule] = rules_of(card.decider, survey.classes, [row.verdict], row.probabilities[None], [row.unknown])
    pixels, no_picture = _picture(survey, row)
    similar, no_similar = _similar(survey, row, references, dataset, most)
    return Explanation(
        row=row,
        classes=classes,
        levels=levels,
        rule=rule,
        flags=tuple(flags_of_image(survey, row.path)),
        confirmed=confirmed_label(survey, row.path),
        pixels=pixels,
        no_picture=no_picture,
        similar=similar,
        no_similar=no_similar,
    )


def sentence_of(found: Explanation) -> str:
    """Why the decision was made, in words."""
    if found.rule:
        return found.rule.words
    if found.row.verdict.decision:
        return "The survey keeps no thresholds, because an older version made it: name the model with --model."
    return "The model has no thresholds: each image has its likeliest class, whatever the probability is."


def shown_levels(found: Explanation) -> list[Level]:
    """The taxa and classes that are likely enough to be shown."""
    return [level for level in found.levels if level.probability >= LEAST_SHOWN]


def tree_of(card: ModelCard, probabilities: dict[str, float]) -> tuple[Level, ...]:
    """The taxa and classes with the sums of their probabilities, depth first, the likeliest branch first.

    Args:
        card: the card of the model.
        probabilities: class -> probability, 0..1.
    """
    taxonomy = card.taxonomy
    if not taxonomy.taxa:
        return ()
    thresholds: dict[str, float | None] = {**card.decision.taxa, **card.decision.classes}
    decides = card.decision.rule == "thresholds"
    found: list[Level] = []

    def limit(name: str) -> float | None:
        return None if not decides or name not in thresholds else _bound(thresholds[name])

    def add(parent: str | None, depth: int) -> None:
        branches = [
            (_below(taxonomy, taxon.name, probabilities), taxon) for taxon in taxonomy.taxa if taxon.parent == parent
        ]
        leaves = [(probabilities[one.name], one.name) for one in taxonomy.classes if one.taxon == parent]
        for probability, taxon in sorted(branches, key=lambda branch: -branch[0]):
            found.append(Level(depth, taxon.name, taxon.rank, probability, limit(taxon.name)))
            add(taxon.name, depth + 1)
        for probability, name in sorted(leaves, key=lambda leaf: -leaf[0]):
            found.append(Level(depth, name, "", probability, limit(name)))

    add(None, 0)
    return tuple(found)


def _bound(threshold: float | None) -> float:
    return float("inf") if threshold is None else threshold


def _below(taxonomy: Taxonomy, taxon: str, probabilities: dict[str, float]) -> float:
    """The sum of the probabilities of a taxon's classes."""
    return sum(
        probability
        for name, probability in probabilities.items()
        if any(one.name == taxon for one in taxonomy.lineage(name))
    )


def _row(survey: Survey, image: str) -> Prediction:
    """The row with this path or file; if there is none, the one whose path ends with it, after a slash."""
    found = list(survey.rows("path = ? OR file = ?", (image, image)))
    found = found or list(survey.rows("substr(path, -length(?)) = ?", (f"/{image}", f"/{image}")))
    if not found:
        raise InputError(
            f"the survey {survey.folder} has no image '{image}': give a path from the column path of its results, or "
            "the end of one, such as the name of the file"
        )
    if len(found) > 1:
        listed = first_few(row.path for row in found)
        raise InputError(f"several images of the survey end with '{image}': {listed}; give more of the path")
    return found[0]


def _picture(survey: Survey, row: Prediction) -> tuple[Pixels | None, str]:
    """The pixels of an image, or the reason why there are none."""
    if not row.ok:
        return None, row.message or row.reason
    [(_, data)] = read_pictures(survey, [row])
    if isinstance(data, str):
        return None, data
    try:
        return decode(data), ""
    except ImageError as error:
        return None, str(error)


def _similar(
    survey: Survey, row: Prediction, references: Embeddings | None, dataset: Dataset | None, most: int
) -> tuple[tuple[Similar, ...], str]:
    """The most similar reference images, or the reason why there are none."""
    if references is None:
        return (), "no reference images were named (--references)"
    if references.model_sha256 != survey.meta.get("model_sha256"):
        raise InputError(
            "--references: these embeddings are of another model than the survey: make them with the model of the "
            "survey, `pelagia embed DATASET --model MODEL.onnx --out FILE.parquet`"
        )
    found = list(survey.embeddings(row.path)) if survey.keeps_embeddings else []
    if not found:
        again = command_line("pelagia", "classify", "MODEL.onnx", "INPUT", "--out", survey.folder, "--embeddings")
        return (), f"the survey has no embedding of this image: add them with `{again}`"
    [(_, _, vector)] = found
    if len(vector) != references.vectors.shape[1]:
        raise SurveyError("--references: these embeddings have another length than those of the survey")
    similarity = _cosines(references.vectors, vector)
    records = {} if dataset is None else {record.sha256: record for record in dataset.split("train")}
    hashes = references.sha256
    wanted = [place for place, one in enumerate(hashes) if one != row.sha256 and (dataset is None or one in records)]
    if not wanted:
        return (), "no image of the train split of the dataset has an embedding among them (--references)"
    order = sorted(wanted, key=lambda place: -similarity[place])
    return tuple(_reference(references, int(place), similarity, dataset, records) for place in order[:most]), ""


def _reference(
    references: Embeddings,
    place: int,
    similarity: NDArray[np.float32],
    dataset: Dataset | None,
    records: dict[str, Record],
) -> Similar:
    record = records.get(references.sha256[place])
    value = float(similarity[place])
    if dataset is None or record is None:
        return Similar(references.paths[place], value)
    try:
        pixels = decode(Path(dataset.file(record)).read_bytes())
    except (OSError, ImageError):
        return Similar(record.path, value, record.class_name)
    return Similar(record.path, value, record.class_name, pixels)


def _cosines(vectors: NDArray[np.float16], vector: NDArray[np.float16]) -> NDArray[np.float32]:
    """The cosine of the angle between each of ``vectors`` (N x D) and ``vector``: float32, N."""
    own = vector.astype(np.float32)
    own /= max(float(np.linalg.norm(own)), 1e-12)
    parts = []
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        part = vectors[start : start + _ROWS_AT_ONCE].astype(np.float32)
        parts.append(part @ own / np.maximum(np.linalg.norm(part, axis=1), 1e-12))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
