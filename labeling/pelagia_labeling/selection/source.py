"""Makes the pool: from a survey, a dataset, or any input with a file of embeddings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import META_FILE, Dataset
from pelagia.embeddings import EMBEDDINGS_FILE, Embeddings, read_embeddings
from pelagia.errors import InputError
from pelagia.sources import Listing, list_images
from pelagia.survey.journal import JOURNAL_FILE, Survey
from pelagia.survey.pictures import inputs_of, listing_of
from pelagia_labeling.selection.images import Images
from pelagia_labeling.selection.pool import Candidate, Floats, Pool, reduced

NO_EMBEDDING = "without an embedding"
LABELED = "labelled already"
COPY = "exact copies of other images"
FAILED = "failed when they were classified"
NO_FORMER = "not in the former survey"


@dataclass
class _Rows:
    """The rows of a source before anything is left out, and what the model said of them."""

    candidates: list[Candidate] = field(default_factory=list)
    probabilities: list[Floats] = field(default_factory=list)
    unknown: list[float] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Wanted:
    """What a pool must have.

    Attributes:
        embeddings: a file of embeddings; None: that of the survey, if it has one.
        labeled: datasets whose images are not chosen again.
        former: a survey of a former model over the same images, to compare with.
        vectors: whether images without an embedding are left out.
    """

    embeddings: Path | None = None
    labeled: Sequence[Path] = ()
    former: Path | None = None
    vectors: bool = True


def read_pool(src: Path, wanted: Wanted) -> tuple[Pool, Images]:
    """The pool of a survey folder, a dataset folder, or any input that `pelagia embed` takes; and its images.

    Raises:
        InputError: an input without embeddings is neither a survey nor a dataset, or no image is left.
        SurveyError, DatasetError: the survey or a dataset cannot be read.
    """
    embeddings = _embeddings(src, wanted.embeddings)
    rows, images = _rows_of(src, embeddings)
    labels, counts = _labels(wanted.labeled)
    index = embeddings.index() if embeddings is not None else {}
    former = _former(wanted.former) if wanted.former is not None else None
    kept = list(_kept(rows, labels, index if embeddings is not None and wanted.vectors else None, former))
    if not kept:
        why = ", ".join(f"{count} {reason}" for reason, count in rows.left_out.items())
        raise InputError(f"no image of {src} can be chosen: {why or 'it is empty'}")
    candidates = [rows.candidates[at] for at in kept]
    vectors, labeled = _vectors(embeddings, index, candidates, labels) if wanted.vectors else (None, None)
    probabilities = np.stack([rows.probabilities[at] for at in kept]) if rows.probabilities else None
    disagreement = None
    if former is not None and probabilities is not None:
        disagreement = _disagreement(candidates, probabilities, rows.classes, former)
    unknown = np.array([rows.unknown[at] for at in kept], np.float32) if rows.unknown else None
    pool = Pool(
        candidates=candidates,
        probabilities=probabilities,
        classes=rows.classes,
        unknown=None if unknown is None or np.isnan(unknown).any() else unknown,
        disagreement=disagreement,
        vectors=vectors,
        labeled=labeled,
        labeled_counts=counts,
        left_out=rows.left_out,
    )
    return pool, images


# ---- the rows of a source


def _embeddings(src: Path, given: Path | None) -> Embeddings | None:
    if given is None and not (src / EMBEDDINGS_FILE).is_file():
        return None
    return read_embeddings(given or src)


def _rows_of(src: Path, embeddings: Embeddings | None) -> tuple[_Rows, Images]:
    if (src / JOURNAL_FILE).is_file():
        return _of_survey(src)
    if (src / META_FILE).is_file():
        return _of_dataset(src)
    if embeddings is None:
        raise InputError(
            f"{src} is neither a survey nor a dataset, so embeddings are needed: make them with `pelagia embed`, and "
            "give them with --embeddings"
        )
    return _of_input(src, embeddings)


def _of_survey(folder: Path) -> tuple[_Rows, Images]:
    rows = _Rows()
    with Survey.open(folder) as survey:
        rows.classes = survey.classes
        for row in survey:
            if row.probabilities is None:
                rows.left_out[FAILED] += 1
                continue
            predicted = rows.classes[int(row.probabilities.argmax())]
            rows.candidates.append(Candidate(row.path, row.sha256, row.file, predicted, row.columns))
            rows.probabilities.append(row.probabilities)
            rows.unknown.append(np.nan if row.unknown is None else row.unknown)
        return rows, Images(inputs_of(survey), listing_of(survey))


def _of_dataset(folder: Path) -> tuple[_Rows, Images]:
    dataset, rows = Dataset.read(folder), _Rows()
    for record in dataset.records:
        columns = {**record.extra, "label": record.class_name, "group": record.group}
        file = str(dataset.file(record).absolute())
        rows.candidates.append(Candidate(record.path, record.sha256, file, columns=columns))
    return rows, Images([folder])


def _of_input(src: Path, embeddings: Embeddings) -> tuple[_Rows, Images]:
    rows, known = _Rows(), dict(zip(embeddings.paths, embeddings.sha256, strict=True))
    for image in list_images([src], Listing()):
        if image.path not in known:
            rows.left_out[NO_EMBEDDING] += 1
            continue
        file = str(Path(image.file).absolute()) if isinstance(image.file, Path) else str(image.file)
        rows.candidates.append(Candidate(image.path, known[image.path], file, columns=image.columns))
    return rows, Images([src])


# ---- what is left out, and what is known


def _labels(datasets: Iterable[Path]) -> tuple[set[str], Counter[str]]:
    """SHA-256 of the images of some datasets, and class -> number of these images."""
    labels: dict[str, str] = {}
    for folder in datasets:
        labels.update((record.sha256, record.class_name) for record in Dataset.read(folder).records)
    return set(labels), Counter(labels.values())


def _kept(
    rows: _Rows, labels: set[str], index: dict[str, int] | None, former: dict[str, dict[str, float]] | None
) -> Iterator[int]:
    """The rows that can be chosen; counts the others."""
    seen: set[str] = set()
    for at, one in enumerate(rows.candidates):
        reason = ""
        if one.sha256 in labels:
            reason = LABELED
        elif one.sha256 in seen:
            reason = COPY
        elif index is not None and one.sha256 not in index:
            reason = NO_EMBEDDING
        elif former is not None and one.sha256 not in former:
            reason = NO_FORMER
        if reason:
            rows.left_out[reason] += 1
            continue
        seen.add(one.sha256)
        yield at


def _vectors(
    embeddings: Embeddings | None, index: dict[str, int], candidates: Sequence[Candidate], labels: set[str]
) -> tuple[Floats | None, Floats | None]:
    """The reduced vectors of the candidates, and of the labelled images that have an embedding."""
    if embeddings is None:
        return None, None
    own: NDArray[np.intp] = np.array([index[one.sha256] for one in candidates], np.intp)
    known = np.array(sorted(index[one] for one in labels if one in index), np.intp)
    both = reduced(embeddings.vectors[np.concatenate([own, known])])
    return both[: len(own)], both[len(own) :] if len(known) else None


def _former(folder: Path) -> dict[str, dict[str, float]]:
    """SHA-256 -> class -> probability, of a former survey; classes without probability are left out."""
    with Survey.open(folder) as survey:
        return {
            row.sha256: {
                survey.classes[at]: float(row.probabilities[at]) for at in np.flatnonzero(row.probabilities > 1e-3)
            }
            for row in survey
            if row.probabilities is not None
        }


def _disagreement(
    candidates: Sequence[Candidate],
    probabilities: Floats,
    classes: Sequence[str],
    former: dict[str, dict[str, float]],
) -> Floats:
    """Half the sum of the differences of the probabilities (total variation distance): float32, N, 0..1."""
    place = {name: at for at, name in enumerate(classes)}
    scores = np.empty(len(candidates), np.float32)
    for at, one in enumerate(candidates):
        before = former[one.sha256]
        own = np.zeros(len(classes), np.float32)
        for name, value in before.items():
            if name in place:
                own[place[name]] = value
        gone = sum(value for name, value in before.items() if name not in place)
        scores[at] = (np.abs(probabilities[at] - own).sum() + gone) / 2
    return scores
