"""`pelagia quantize`: a float model -> one in int8 or half precision that has passed a gate of its own.

A smaller model gives other probabilities by nature, so its gate asks what matters: the same top-1, and the same
macro-F1. It compares both files in ONNX Runtime over a validation split; the ranges of int8 come from images of the
training split, so that the gate never sees what was calibrated on.

The thresholds of the classes and taxa stay: they are of probabilities, which the gate holds near the float model's. The
score of the unknown is of another scale in every model, so its threshold is set anew, on the gate's images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import DatasetError, ModelError, ParityError, first_few
from pelagia.images.preprocess import PreprocessSpec, load_sized
from pelagia.model.metadata import (
    ModelFile,
    Quantization,
    ReferenceImage,
    Unknown,
    new_model,
    refuse_model,
    write_model,
)
from pelagia_inference.machine.session import Answers, Session, stacked
from pelagia_inference.machine.setting import DEFAULT_BATCH
from pelagia_inference.machine.verify import verify
from pelagia_training.data.batches import load_fitted, sizes_of, spread, targets_of
from pelagia_training.data.resplit import as_trained
from pelagia_training.export.precision import Batch, is_float, to_fp16, to_int8
from pelagia_training.figures.metrics import confusion_matrix, metrics_of
from pelagia_training.network.unknown import threshold_for

CALIBRATION_IMAGES = 256
GATE_IMAGES = 4096
LEAST_IMAGES = 32
Kind = Literal["int8", "fp16"]


@dataclass(frozen=True)
class Gate:
    """What a kind of model must hold. A small split says little: what chance explains does not count against a model.

    Attributes:
        agreement: least share of images with the float model's top-1.
        loss: most that the macro-F1 may fall.
        tolerance: most that a probability of a reference image may differ between two machines.
        unknown_tolerance: most that its score of the unknown may.
    """

    agreement: float
    loss: float
    tolerance: float
    unknown_tolerance: float

    def lets_pass(self, *, images: int, changed: int, fewer_right: int, loss: float) -> bool:
        """Whether the model is near enough, or two standard deviations explain what is missing.

        Args:
            changed: images with another top-1 than the float model's.
            fewer_right: right answers that the float model has more.
            loss: what the macro-F1 lost.
        """
        allowed = (1 - self.agreement) * images
        alike = changed <= allowed + 2 * allowed**0.5
        as_good = loss <= self.loss or fewer_right <= 2 * changed**0.5
        return alike and as_good


GATES: dict[Kind, Gate] = {"int8": Gate(0.95, 0.02, 0.05, 0.5), "fp16": Gate(0.98, 0.005, 0.01, 0.1)}


def quantize(
    model: ModelFile,
    dataset: Dataset,
    out: Path,
    *,
    kind: Kind = "int8",
    report: Callable[[str], None] = lambda text: None,
) -> ModelFile:
    """Writes ``model`` in int8 or half precision as ``out``, if the gate lets it pass.

    Args:
        dataset: its training split calibrates int8, its validation split is the gate's.

    Raises:
        InputError: ``out`` exists.
        DatasetError: the dataset lacks classes of the model or has too few images.
        ModelError: the model is not a float one, or ONNX Runtime cannot convert it.
        ParityError: the gate failed. Nothing is left behind.
    """
    refuse_model(out)
    if model.metadata.quantisation is not None or not is_float(model.data):
        raise ModelError(f"{model.path} is quantised already: give the float model that `pelagia export` made")
    dataset = as_trained(dataset, model.metadata)
    calibration = spread(_records(dataset, "train", model, report), CALIBRATION_IMAGES) if kind == "int8" else ()
    checked = spread(_records(dataset, "val", model, report), GATE_IMAGES)
    if dataset.meta.fingerprint != model.metadata.dataset["fingerprint"]:
        report(
            "warning: the model was trained on another dataset: images of it may be among those that it is tested on"
        )
    if kind == "int8":
        report(f"calibrating on {len(calibration)} training images")
        graph = to_int8(model.data, _batches(model.metadata.preprocess, dataset, calibration))
    else:
        graph = to_fp16(model.data)
    with new_model(out) as candidate:
        write_model(candidate, graph, model.metadata)
        report(f"{kind} gate over {len(checked)} validation images")
        small = ModelFile.read(candidate)
        measured, scores = _gate(model, small, dataset, checked, kind)
        changes = {
            "quantisation": measured.model_copy(update={"calibration_images": len(calibration)}),
            "tolerance": GATES[kind].tolerance,
            "unknown": _unknown(model.metadata.unknown, scores, kind),
            "references": _references(small),
        }
        write_model(candidate, graph, model.metadata.model_copy(update=changes))
        verify(ModelFile.read(candidate))
    return ModelFile.read(out)


def _records(dataset: Dataset, split: str, model: ModelFile, report: Callable[[str], None]) -> list[Record]:
    """Images of a split that the model has a class for."""
    classes = model.metadata.classes
    if missing := [name for name in classes if name not in dataset.class_names]:
        raise DatasetError(
            f"{dataset.root} lacks {len(missing)} of the model's {len(classes)} classes ({first_few(missing)}): name the "
            f"dataset '{model.metadata.dataset['name']}' that it was trained on, or one of the same classes"
        )
    everything = dataset.split(split)
    records = [record for record in everything if record.class_name in classes]
    if len(records) < LEAST_IMAGES:
        raise DatasetError(
            f"the split '{split}' of {dataset.root} holds {len(records)} images of the model's classes, too few to "
            f"rely on: {LEAST_IMAGES} is the least"
        )
    if len(records) < len(everything):
        report(
            f"left out of '{split}': {len(everything) - len(records)} images of classes that the model does not know"
        )
    return records


def _unknown(before: Unknown | None, scores: NDArray[np.float32] | None, kind: Kind) -> Unknown | None:
    """How a smaller model's score is to be read, by that of validation images."""
    if before is None or scores is None:
        return None
    changes = {
        "threshold": threshold_for(scores, before.known_share),
        "tolerance": GATES[kind].unknown_tolerance,
    }
    return before.model_copy(update=changes)


def _gate(
    model: ModelFile, small: ModelFile, dataset: Dataset, records: Sequence[Record], kind: Kind
) -> tuple[Quantization, NDArray[np.float32] | None]:
    """Compares both models over ``records``; gives the smaller one's scores of them too. Raises ParityError."""
    gate, classes = GATES[kind], model.metadata.classes
    (wanted, _), (found, scores) = _answers((Session(model), Session(small)), dataset, records)
    targets = targets_of(records, classes)
    before, after = (
        metrics_of(confusion_matrix(targets, answers, len(classes))).macro_f1 for answers in (wanted, found)
    )
    agreement = float((wanted == found).mean())
    changed = int((wanted != found).sum())
    fewer_right = int((wanted == targets).sum() - (found == targets).sum())
    if not gate.lets_pass(images=len(records), changed=changed, fewer_right=fewer_right, loss=before - after):
        other = "use the float model, or try --fp16 where there is a GPU" if kind == "int8" else "use the float model"
        raise ParityError(
            f"the {kind} model is too far from the float one: over {len(records)} validation images the same top-1 on "
            f"{agreement:.1%} ({gate.agreement:.0%} is asked for) and macro-F1 {after:.4f} where the float model has "
            f"{before:.4f} (at most {gate.loss:g} less), which chance does not explain; nothing was written. See that "
            f"{dataset.root} holds whole images of the kind that the model was trained on (`pelagia dataset check`); "
            f"else {other}"
        )
    quantisation = Quantization(
        kind=kind,
        float_sha256=model.sha256,
        dataset=dataset.meta.name,
        fingerprint=dataset.meta.fingerprint,
        calibration_images=0,
        images=len(records),
        top1_agreement=agreement,
        float_macro_f1=before,
        macro_f1=after,
    )
    return quantisation, scores


def _answers(
    sessions: tuple[Session, Session], dataset: Dataset, records: Sequence[Record]
) -> list[tuple[NDArray[np.int64], NDArray[np.float32] | None]]:
    """The top-1 and the score of each session on each image, a few images in memory."""
    found: tuple[list[Answers], ...] = ([], [])
    for start in range(0, len(records), CALIBRATION_IMAGES):
        part = records[start : start + CALIBRATION_IMAGES]
        for batch in _batches(sessions[0].graph.preprocess, dataset, part):
            for session, answers in zip(sessions, found, strict=True):
                answers.append(session.answers(*batch))
    return [
        (
            np.concatenate([one.probabilities.argmax(1) for one in answers]),
            None if answers[0].unknown is None else np.concatenate([one.scores for one in answers]),
        )
        for answers in found
    ]


def _references(model: ModelFile) -> tuple[ReferenceImage, ...]:
    """The float model's reference images with what this one says of them, one at a time."""
    session, metadata = Session(model), model.metadata
    said = [
        session.answers(*stacked([load_sized(one.data, metadata.preprocess)], [one.pixel_size_um]))
        for one in metadata.references
    ]
    return tuple(
        reference.model_copy(
            update={
                "probabilities": tuple(one.probabilities[0].tolist()),
                "unknown": None if one.unknown is None else float(one.unknown[0]),
            }
        )
        for reference, one in zip(metadata.references, said, strict=True)
    )


def _batches(spec: PreprocessSpec, dataset: Dataset, records: Sequence[Record]) -> list[Batch]:
    pixels, sizes = load_fitted(dataset, records, spec), sizes_of(records)
    places = [slice(start, start + DEFAULT_BATCH) for start in range(0, len(pixels), DEFAULT_BATCH)]
    return [(pixels[place], sizes[place]) for place in places]
