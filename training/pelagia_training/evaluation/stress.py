"""`pelagia evaluate --stress`: what a model does with the same images when they are worse.

Each image of the split is decoded, changed, encoded again without loss (as JPEG for the compression) and classified by
the runner, once for each level of each disturbance. The changes are made at the size of the file, before the model's
own preprocessing, as a camera, a lens or an export would make them.

Invariant: the same images are compared at all levels, and only one batch of changed images is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import DatasetError
from pelagia.images.pixel_size import PIXEL_SIZE_COLUMNS
from pelagia.images.preprocess import Image, decode
from pelagia.model.metadata import ModelFile
from pelagia.sources import SourceImage
from pelagia.sources.image import Held
from pelagia.tables.values import number
from pelagia_inference.survey.pipeline import predict
from pelagia_training.evaluation.assess import scores_of
from pelagia_training.evaluation.evaluate import Evaluation
from pelagia_training.figures.paired import Difference, paired_differences
from pelagia_training.figures.thresholds import coverage_and_precision

_DRAWS = 500
_PNG = (".png", (cv2.IMWRITE_PNG_COMPRESSION, 1))


@dataclass(frozen=True)
class Disturbance:
    """A way in which images get worse.

    Attributes:
        name: in a word or two.
        levels: from the weakest to the strongest; a level of 1 of brightness or size would change nothing.
        unit: what a level is, for the axis of a chart.
        text: a level in words, with the place of the number.
        change: returns an image (uint8, H x W x 3, RGB) at a level.
        scales: whether the pixels change their size, so that the recorded pixel size is divided by the level.
    """

    name: str
    levels: tuple[float, ...]
    unit: str
    text: str
    change: Callable[[Image, float], Image]
    scales: bool = False


def blurred(pixels: Image, sigma: float) -> Image:
    """Blurred by a Gaussian of ``sigma`` pixels."""
    return cv2.GaussianBlur(pixels, (0, 0), sigma).astype(np.uint8, copy=False)


def brightened(pixels: Image, factor: float) -> Image:
    """All values times ``factor``, at most 255."""
    return cv2.convertScaleAbs(pixels, alpha=factor).astype(np.uint8, copy=False)


def coarser(pixels: Image, factor: float) -> Image:
    """Shrunk to 1 / ``factor`` of its sides and enlarged again, so that details are lost and the size is not."""
    height, width = pixels.shape[:2]
    return cv2.resize(resized(pixels, 1 / factor), (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def resized(pixels: Image, factor: float) -> Image:
    """Its sides times ``factor``, at least one pixel."""
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return cv2.resize(pixels, (width, height), interpolation=method).astype(np.uint8, copy=False)


def _unchanged(pixels: Image, level: float) -> Image:
    return pixels


COMPRESSION = "compression"
DISTURBANCES: tuple[Disturbance, ...] = (
    Disturbance("blur", (0.5, 1, 2, 3), "sigma in pixels", "blurred by {:g} px", blurred),
    Disturbance("brightness", (0.6, 0.8, 1.25, 1.6), "factor", "brightness times {:g}", brightened),
    Disturbance("resolution", (1.5, 2, 4), "times coarser", "{:g} times coarser", coarser),
    Disturbance(COMPRESSION, (75, 40, 20, 10), "quality of the JPEG", "JPEG of quality {:g}", _unchanged),
    Disturbance(
        "pixel size", (0.5, 0.75, 1.5, 2), "times the size in pixels", "{:g} times the size", resized, scales=True
    ),
)


@dataclass(frozen=True)
class Stressed:
    """A model's results at one level of one disturbance.

    Attributes:
        disturbance: the disturbance.
        level: one of its levels.
        macro_f1: the undisturbed images and these, with the interval of the difference over groups.
        accuracy: the same.
        accepted: share of the images that the model's rule names; None if the model has no thresholds.
        precision: share of right names among them; None without such names.
        called_unknown: share of the images that the out-of-distribution score rejects; None without a score.
        failed: images that could not be classified after the change; they count as wrong in no figure.
    """

    disturbance: Disturbance
    level: float
    macro_f1: Difference
    accuracy: Difference
    accepted: float | None
    precision: float | None
    called_unknown: float | None
    failed: int

    @property
    def text(self) -> str:
        """The disturbance and its level in words."""
        return self.disturbance.text.format(self.level)


def stress(
    model: ModelFile,
    dataset: Dataset,
    evaluation: Evaluation,
    progress: Callable[[int, int], None] = lambda done, total: None,
    disturbances: Sequence[Disturbance] = DISTURBANCES,
) -> list[Stressed]:
    """Classifies the images of an evaluation again at each level of each disturbance.

    Args:
        model: the evaluated model.
        dataset: the evaluated dataset.
        evaluation: the undisturbed images and their predictions.
        progress: called with (images done, total images).
        disturbances: what to do to the images.

    Raises:
        DatasetError: no image can be classified after a change.
    """
    steps = [(one, level) for one in disturbances for level in one.levels]
    total = len(steps) * evaluation.images

    def at(step: int) -> Stressed:
        done = step * evaluation.images
        return _at_level(model, dataset, evaluation, *steps[step], lambda part: progress(done + part, total))

    return [at(step) for step in range(len(steps))]


def _at_level(
    model: ModelFile,
    dataset: Dataset,
    evaluation: Evaluation,
    disturbance: Disturbance,
    level: float,
    progress: Callable[[int], None],
) -> Stressed:
    predictions = []
    for batch in predict(changed_images(dataset, evaluation.records, disturbance, level), model):
        predictions += batch
        progress(len(predictions))
    rows = np.array([index for index, one in enumerate(predictions) if one.ok], np.int64)
    answered = [predictions[index] for index in rows]
    if not answered:
        raise DatasetError(f"no image can be classified after this change: {disturbance.text.format(level)}")
    probabilities = np.stack([one.probabilities for one in answered if one.probabilities is not None])
    targets, before = evaluation.targets[rows], evaluation.predicted[rows]
    groups = [evaluation.records[index].group for index in rows]
    differences = paired_differences(
        targets, (before, probabilities.argmax(axis=1)), groups, len(evaluation.classes), draws=_DRAWS
    )
    scores, metadata = scores_of(answered), model.metadata
    limit = None if metadata.unknown is None or scores is None else metadata.unknown.threshold
    accepted, precision = None, None
    if metadata.decider.decides:
        _, rule = coverage_and_precision(probabilities, targets, metadata.taxonomy, metadata.decision, scores, limit)
        accepted, precision = rule.accepted, rule.precision
    return Stressed(
        disturbance,
        level,
        differences["macro_f1"],
        differences["accuracy"],
        accepted,
        precision,
        None if limit is None or scores is None else float((scores > limit).mean()),
        len(predictions) - len(answered),
    )


def changed_images(
    dataset: Dataset, records: Sequence[Record], disturbance: Disturbance, level: float
) -> Iterator[SourceImage]:
    """Images of a dataset at a level of a disturbance, one by one, with their columns."""
    for record in records:
        data = changed_image(dataset.file(record).read_bytes(), disturbance, level)
        columns = _scaled(record.extra, level) if disturbance.scales else record.extra
        yield SourceImage(record.path, dataset.file(record), columns, Held(data))


def changed_image(data: bytes, disturbance: Disturbance, level: float) -> bytes:
    """An encoded image at a level of a disturbance.

    Raises:
        ImageError: the bytes are not a usable image.
    """
    pixels = disturbance.change(decode(data), level)
    lossy = (".jpg", (cv2.IMWRITE_JPEG_QUALITY, int(level)))
    ending, options = lossy if disturbance.name == COMPRESSION else _PNG
    return cv2.imencode(ending, np.ascontiguousarray(pixels[..., ::-1]), options)[1].tobytes()


def _scaled(columns: Mapping[str, str], factor: float) -> dict[str, str]:
    """The columns of an image whose pixels became smaller by ``factor``."""
    found = dict(columns)
    for name in PIXEL_SIZE_COLUMNS:
        if value := number(found.get(name, "")):
            found[name] = repr(value / factor)
    return found
