"""`pelagia quantize`: converts a float model to int8 or half precision, if the result passes the quantization gate.

A quantized model cannot give exactly the probabilities of the float model. So the gate compares the top-1 classes and
the macro-F1 of both models, in ONNX Runtime on the validation split. The ranges of int8 are calibrated on images of the
training split, so the gate never measures on calibration images.

The thresholds of classes and taxa are kept, because the probabilities change little. The scale of the
out-of-distribution score differs between models, so its threshold is chosen again, on the gate's images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import DatasetError, ModelError, ParityError, first_few
from pelagia.images.preprocess import PreprocessSpec, load_sized
from pelagia.model.metadata import (
    EmbeddingOutput,
    ModelFile,
    Quantization,
    ReferenceImage,
    Unknown,
    new_model,
    refuse_model,
    write_model,
)
from pelagia.system.paths import StrPath
from pelagia_inference.machine.session import Answers, Session, stacked
from pelagia_inference.machine.setting import DEFAULT_BATCH
from pelagia_inference.machine.verify import verify
from pelagia_training.data.batches import load_fitted, sizes_of, spread, targets_of
from pelagia_training.data.resplit import as_trained, learned_everything
from pelagia_training.export.precision import Batch, is_float, to_fp16, to_int8
from pelagia_training.figures.metrics import confusion_matrix, metrics_of
from pelagia_training.network.unknown import threshold_for

CALIBRATION_IMAGES = 256
GATE_IMAGES = 4096
LEAST_IMAGES = 32
"""Least number of images of the model's classes in the training split and in the validation split."""
Kind = Literal["int8", "fp16"]


@dataclass(frozen=True)
class Gate:
    """Limits for one kind of model. On a small split, differences that can be due to chance are allowed.

    Attributes:
        agreement: least share of images with the same top-1 class as in the float model.
        loss: largest loss of macro-F1 that is allowed.
        tolerance: largest difference that is allowed between two machines for a probability of a reference image.
        unknown_tolerance: the same for the out-of-distribution score of a reference image.
    """

    agreement: float
    loss: float
    tolerance: float
    unknown_tolerance: float

    def passes(self, *, images: int, changed: int, fewer_right: int, loss: float) -> bool:
        """Whether the model is within the limits, or within two standard deviations of them.

        Args:
            images: number of images compared.
            changed: number of images whose top-1 class differs from the float model's.
            fewer_right: number of correct predictions of the float model minus the number of this model.
            loss: macro-F1 of the float model minus macro-F1 of this model.
        """
        allowed = (1 - self.agreement) * images
        agrees = changed <= allowed + 2 * allowed**0.5
        as_good = loss <= self.loss or fewer_right <= 2 * changed**0.5
        return agrees and as_good


GATES: dict[Kind, Gate] = {"int8": Gate(0.95, 0.02, 0.05, 0.5), "fp16": Gate(0.98, 0.005, 0.01, 0.1)}


def quantize(
    model: ModelFile,
    dataset: Dataset,
    out: StrPath,
    *,
    kind: Kind = "int8",
    report: Callable[[str], None] = lambda text: None,
) -> ModelFile:
    """Writes ``model`` in int8 or half precision as ``out``, if it passes the gate.

    Args:
        model: a float model.
        dataset: the dataset; int8 is calibrated on its training split, and the gate measures on its validation split.
        out: the .onnx file to make.
        kind: int8 or fp16.
        report: called with a line of text for people.

    Raises:
        InputError: ``out`` exists.
        DatasetError: the dataset lacks classes of the model or has too few images.
        ModelError: the model is not a float model, or ONNX Runtime cannot convert it.
        ParityError: the quantized model did not pass the gate. No file is left behind.
    """
    refuse_model(out := Path(out))
    if model.metadata.quantisation is not None or not is_float(model.data):
        raise ModelError(f"{model.path} is quantized already: give the float model that `pelagia export` made")
    dataset = as_trained(dataset, model.metadata)
    calibration = spread(_records(dataset, "train", model, report), CALIBRATION_IMAGES) if kind == "int8" else []
    learned = learned_everything(dataset, model.metadata)
    checked = spread(_records(dataset, "train" if learned else "val", model, report), GATE_IMAGES)
    if learned:
        report(
            f"warning: the model was trained on all images of {dataset.root}, so the gate compares both models on such "
            "images: their macro-F1 is too high for new images"
        )
    if dataset.meta.fingerprint != model.metadata.dataset["fingerprint"]:
        report("warning: the model was trained on another dataset, so the gate may measure on its training images")
    graph = _convert(model, dataset, calibration, kind, report)
    with new_model(out) as candidate:
        embedding = _embedding(model)
        write = partial(write_model, policies=model.policies, counting=model.counting, ensemble=model.ensemble)
        write(candidate, graph, model.metadata, embedding)
        report(f"{kind} gate over {len(checked)} {'training' if learned else 'validation'} images")
        changes = _checked_metadata(model, ModelFile.read(candidate), dataset, checked, kind, len(calibration))
        write(candidate, graph, model.metadata.model_copy(update=changes), embedding)
        verify(ModelFile.read(candidate))
    return ModelFile.read(out)


def _embedding(model: ModelFile) -> EmbeddingOutput | None:
    """What is known of the smaller model's embedding: the gate does not compare it."""
    return model.embedding and model.embedding.model_copy(update={"max_difference": None})


def _convert(
    model: ModelFile, dataset: Dataset, calibration: Sequence[Record], kind: Kind, report: Callable[[str], None]
) -> bytes:
    """The quantized graph as a serialized ModelProto; ``calibration`` holds the training images for int8."""
    if kind == "fp16":
        return to_fp16(model.data)
    report(f"calibrating on {len(calibration)} training images")
    return to_int8(model.data, _batches(model.metadata.preprocess, dataset, calibration))


def _checked_metadata(
    model: ModelFile, small: ModelFile, dataset: Dataset, records: Sequence[Record], kind: Kind, calibration_images: int
) -> dict[str, object]:
    """The metadata in which ``small`` differs from ``model``. Raises ParityError if ``small`` fails the gate."""
    measured, scores = _gate(model, small, dataset, records, kind)
    learned = learned_everything(dataset, model.metadata)
    return {
        "quantisation": measured.model_copy(update={"calibration_images": calibration_images}),
        "tolerance": GATES[kind].tolerance,
        "unknown": _unknown(model.metadata.unknown, scores, kind, learned),
        "references": _references(small),
    }


def _records(dataset: Dataset, split: str, model: ModelFile, report: Callable[[str], None]) -> list[Record]:
    """The images of a split that are of the model's classes. Raises DatasetError if there are too few."""
    classes = model.metadata.classes
    if missing := [name for name in classes if name not in dataset.class_names]:
        raise DatasetError(
            f"{dataset.root} lacks {len(missing)} of the model's {len(classes)} classes ({first_few(missing)}): give "
            f"the dataset '{model.metadata.dataset['name']}' that it was trained on, or one with the same classes"
        )
    all_records = dataset.split(split)
    records = [record for record in all_records if record.class_name in classes]
    if len(records) < LEAST_IMAGES:
        raise DatasetError(
            f"the split '{split}' of {dataset.root} holds {len(records)} images of the model's classes, which is too "
            f"few: give a dataset with {LEAST_IMAGES} or more"
        )
    if len(records) < len(all_records):
        report(
            f"left out of '{split}': {len(all_records) - len(records)} images of classes that the model does not know"
        )
    return records


Scores = tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]
"""Float32, N: the out-of-distribution scores of the float model and of the quantized model; None: it has none."""


def _unknown(before: Unknown | None, scores: Scores, kind: Kind, learned: bool) -> Unknown | None:
    """The metadata of a quantized model's out-of-distribution score, computed from its scores of validation images.

    If the images are ``learned``, their scores are too low for a threshold: that of the float model is then moved by
    the median difference between the scores of both models.
    """
    of_float, of_small = scores
    if before is None or of_small is None:
        return None
    threshold = threshold_for(of_small, before.known_share)
    if learned and of_float is not None:
        threshold = before.threshold + float(np.median(of_small - of_float))
    return before.model_copy(update={"threshold": threshold, "tolerance": GATES[kind].unknown_tolerance})


def _gate(
    model: ModelFile, small: ModelFile, dataset: Dataset, records: Sequence[Record], kind: Kind
) -> tuple[Quantization, Scores]:
    """Compares both models on ``records``.

    Returns:
        The comparison, and the out-of-distribution scores of both models.

    Raises:
        ParityError: the quantized model is outside the limits of `GATES`.
    """
    classes = model.metadata.classes
    (float_top1, of_float), (small_top1, of_small) = _answers((Session(model), Session(small)), dataset, records)
    targets = targets_of(records, classes)
    before, after = (
        metrics_of(confusion_matrix(targets, top1, len(classes))).macro_f1 for top1 in (float_top1, small_top1)
    )
    changed = int((float_top1 != small_top1).sum())
    fewer_right = int((float_top1 == targets).sum() - (small_top1 == targets).sum())
    measured = Quantization(
        kind=kind,
        float_sha256=model.sha256,
        dataset=dataset.meta.name,
        fingerprint=dataset.meta.fingerprint,
        calibration_images=0,
        images=len(records),
        top1_agreement=float((float_top1 == small_top1).mean()),
        float_macro_f1=before,
        macro_f1=after,
    )
    if not GATES[kind].passes(images=len(records), changed=changed, fewer_right=fewer_right, loss=before - after):
        raise ParityError(_refusal(measured, kind, dataset))
    return measured, (of_float, of_small)


def _refusal(measured: Quantization, kind: Kind, dataset: Dataset) -> str:
    """The message for a model that did not pass the gate."""
    gate = GATES[kind]
    other = "use the float model, or try --fp16 on a GPU" if kind == "int8" else "use the float model"
    return (
        f"the {kind} model differs too much from the float model: on {measured.images} validation images the top-1 is "
        f"the same for {measured.top1_agreement:.1%} (at least {gate.agreement:.0%} is needed) and the macro-F1 is "
        f"{measured.macro_f1:.4f} instead of {measured.float_macro_f1:.4f} (at most {gate.loss:g} less is allowed); "
        f"nothing was written. Check with `pelagia dataset check` that {dataset.root} holds undamaged images like "
        f"those that the model was trained on; otherwise {other}"
    )


def _answers(
    sessions: tuple[Session, Session], dataset: Dataset, records: Sequence[Record]
) -> list[tuple[NDArray[np.int64], NDArray[np.float32] | None]]:
    """For each session, the top-1 class of each image (int64, N) and its out-of-distribution score (float32, N).

    The scores are None if the model computes no score. Only `CALIBRATION_IMAGES` images are in memory at a time.
    """
    answers_of: tuple[list[Answers], ...] = ([], [])
    for start in range(0, len(records), CALIBRATION_IMAGES):
        part = records[start : start + CALIBRATION_IMAGES]
        for batch in _batches(sessions[0].graph.preprocess, dataset, part):
            for session, answers in zip(sessions, answers_of, strict=True):
                answers.append(session.answers(*batch))
    return [
        (
            np.concatenate([answer.probabilities.argmax(1) for answer in answers]),
            None if answers[0].unknown is None else np.concatenate([answer.scores for answer in answers]),
        )
        for answers in answers_of
    ]


def _references(model: ModelFile) -> tuple[ReferenceImage, ...]:
    """The reference images of ``model`` with the outputs of ``model``, computed one image at a time."""
    session, metadata = Session(model), model.metadata
    answers = [
        session.answers(*stacked([load_sized(reference.data, metadata.preprocess)], [reference.pixel_size_um]))
        for reference in metadata.references
    ]
    return tuple(
        reference.model_copy(
            update={
                "probabilities": tuple(answer.probabilities[0].tolist()),
                "unknown": None if answer.unknown is None else float(answer.unknown[0]),
            }
        )
        for reference, answer in zip(metadata.references, answers, strict=True)
    )


def _batches(spec: PreprocessSpec, dataset: Dataset, records: Sequence[Record]) -> list[Batch]:
    pixels, sizes = load_fitted(dataset, records, spec), sizes_of(records)
    slices = [slice(start, start + DEFAULT_BATCH) for start in range(0, len(pixels), DEFAULT_BATCH)]
    return [(pixels[part], sizes[part]) for part in slices]
