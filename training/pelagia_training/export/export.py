"""`pelagia export`: writes a training run as one .onnx file that has passed the parity gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pelagia import __version__
from pelagia.config import validate
from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import DatasetError, InputError
from pelagia.images.pixel_size import pixel_size_um
from pelagia.images.preprocess import Image, load
from pelagia.model.counting import Counting
from pelagia.model.ensemble import Ensemble
from pelagia.model.held_out import OutOfFold
from pelagia.model.metadata import (
    EmbeddingOutput,
    ModelFile,
    ModelMetadata,
    Parity,
    ReferenceImage,
    new_model,
    refuse_model,
    write_model,
)
from pelagia.system.paths import StrPath
from pelagia_inference.machine.session import Answers
from pelagia_inference.machine.verify import verify
from pelagia_training.config import TrainConfig
from pelagia_training.counts.document import Labeled, counting_of, out_of_fold, unknown_shares
from pelagia_training.data.batches import sizes_of, spread
from pelagia_training.devices import memory_kept
from pelagia_training.export.final import calibrate_final
from pelagia_training.export.held_out import held_out_predictions
from pelagia_training.export.parity import BATCH_SIZES, GATE_IMAGES, check_parity, trained_answers
from pelagia_training.export.reliability import CalibratedNetwork, calibrate_network, with_embedding
from pelagia_training.figures.metrics import metrics_of
from pelagia_training.network.backbone import Normalized
from pelagia_training.network.onnx_graph import to_onnx
from pelagia_training.network.outputs import Progress, no_progress
from pelagia_training.runs.folder import RunState, read_run
from pelagia_training.runs.load import dataset_of, load_trained

_REFERENCES = 4
_REFERENCE_BYTES = 64_000


@dataclass(frozen=True)
class Exported:
    """An exported model, and what its figures were measured on.

    Attributes:
        model: the model.
        calibrated: what was fitted.
        held_out: the images that it was fitted on: the validation split or, of a run on all images, those of all folds.
    """

    model: ModelFile
    calibrated: CalibratedNetwork
    held_out: Sequence[Record]


@dataclass(frozen=True)
class _GateImages:
    """Images for the parity gate: their records, and the bytes of their files, in the same order."""

    records: Sequence[Record]
    encoded: Sequence[bytes]


def export(
    run: StrPath,
    out: StrPath,
    *,
    dataset: StrPath | None = None,
    orientations: int | None = None,
    embedding: bool | None = None,
    folds: StrPath | None = None,
    load_for_training: Callable[[bytes], Image] | None = None,
    report: Callable[[str], None] = lambda text: None,
    progress: Progress = no_progress,
) -> ModelFile:
    """Writes the best weights of ``run`` as the model ``out``, if it passes the parity gate.

    Args:
        run: the run folder.
        out: the .onnx file to make.
        dataset: the folder of the run's dataset; needed only if the folder was moved after training.
        orientations: a value that replaces `model.orientations` of the run's config.
        embedding: a value that replaces `model.embedding` of the run's config: whether the model also gives embeddings.
        folds: the folder of a cross-validation of the same dataset with the same classes: its out-of-fold predictions
            say how counts are corrected. By default, the predictions of the validation split do. For a run on all
            images: the folder of its cross-validation, if it was moved.
        load_for_training: the trainer's preprocessing, by default `load`; only tests of the gate replace it.
        report: called with a line of text for people.
        progress: called with (images done, total images) while images go through the network.

    Raises:
        InputError: ``out`` exists, or ``run`` is not a run, or its weights are missing or damaged, or ``folds`` is not
            a cross-validation, or one with other classes.
        ConfigError: the network was not trained on this number of orientations, or it has no embedding.
        DatasetError: the dataset is missing, or the run was trained on another dataset.
        ParityError: the exported graph and the trained network give different outputs. No file is left behind.
    """
    return export_run(
        run,
        out,
        dataset=dataset,
        orientations=orientations,
        embedding=embedding,
        folds=folds,
        load_for_training=load_for_training,
        report=report,
        progress=progress,
    ).model


def export_run(
    run: StrPath,
    out: StrPath,
    *,
    dataset: StrPath | None = None,
    orientations: int | None = None,
    embedding: bool | None = None,
    folds: StrPath | None = None,
    load_for_training: Callable[[bytes], Image] | None = None,
    report: Callable[[str], None] = lambda text: None,
    progress: Progress = no_progress,
) -> Exported:
    """As `export`, and also returns what the model's figures were measured on."""
    refuse_model(out := Path(out))
    config, state = read_run(run := Path(run))
    config = with_options(config, orientations, embedding)
    require_exportable(run, config, state, report)
    images = dataset_of(Path(dataset) if dataset else state.dataset, config, state)
    labeled = out_of_fold(Path(folds), images, state.taxonomy) if folds and not state.final else None
    calibrated, held_out = _calibrate(run, config, state, images, Path(folds) if folds else None, report, progress)
    if config.model.embedding:
        calibrated = with_embedding(calibrated, config.preprocess.size, config.model.backbone)
    source = Source(config, state, images, calibrated, held_out, labeled)
    return write_source(source, out, load_for_training, report, progress)


@dataclass(frozen=True)
class Source:
    """What a model is made from.

    Attributes:
        config: the run's config; of an ensemble, that of the first run, with names and licenses of all.
        state: the run's state; of an ensemble, that of the first run.
        dataset: the dataset, with the splits of the run.
        calibrated: the network, and what was fitted.
        held_out: the images that it was fitted on.
        labeled: predictions that correct counts; None: those of ``held_out``.
        ensemble: the members, if there are several.
    """

    config: TrainConfig
    state: RunState
    dataset: Dataset
    calibrated: CalibratedNetwork
    held_out: Sequence[Record]
    labeled: Labeled | None = None
    ensemble: Ensemble | None = None


def write_source(
    source: Source,
    out: Path,
    load_for_training: Callable[[bytes], Image] | None = None,
    report: Callable[[str], None] = lambda text: None,
    progress: Progress = no_progress,
) -> Exported:
    """Writes the model ``out``, if it passes the parity gate. The other arguments are those of `export`."""
    config, state, calibrated = source.config, source.state, source.calibrated
    if calibrated.no_unknown:
        report(f"warning: the model has no out-of-distribution score, because {calibrated.no_unknown}")
    labeled = source.labeled
    if state.final:
        labeled = Labeled(source.held_out, calibrated.held_out, state.final.folds)
    counting = _counting(labeled, calibrated, source.held_out, state, report)
    report("tracing the network")
    graph = to_onnx(calibrated.network, config.preprocess.size)
    records = spread(known_of(source.dataset, "train" if state.final else "val", state), 2 * GATE_IMAGES)
    gate = _GateImages(records, _read(source.dataset, records))
    report(f"parity gate over {len(records)} {'training' if state.final else 'validation'} images")
    expected = _trainer_answers(calibrated, config, gate, load_for_training, progress)
    metadata = _metadata(source, _references(gate, expected))
    write = partial(write_model, policies=calibrated.policies, counting=counting, ensemble=source.ensemble)
    return Exported(_write_checked(out, graph, metadata, write, gate, expected), calibrated, source.held_out)


def require_exportable(run: Path, config: TrainConfig, state: RunState, report: Callable[[str], None]) -> None:
    """Warns of an interrupted run. Raises InputError if it is a run on all images."""
    if state.status == "finished":
        return
    if state.final:
        raise InputError(
            f"the run {run} was interrupted after epoch {state.epoch} of {state.final.epochs}, and the figures of "
            "its cross-validation are those of a finished run: run its `pelagia train --final` command again"
        )
    epochs = f"epoch {state.epoch} of {config.train.epochs}"
    report(f"warning: the run was interrupted after {epochs}: exporting its best weights so far")


def _calibrate(
    run: Path,
    config: TrainConfig,
    state: RunState,
    dataset: Dataset,
    folds: Path | None,
    report: Callable[[str], None],
    progress: Progress,
) -> tuple[CalibratedNetwork, Sequence[Record]]:
    """The trained network with temperatures, thresholds and, if possible, an out-of-distribution score.

    Returns:
        The network, and the held-out images that they were fitted on.
    """
    network = load_trained(run, config, state)
    with memory_kept():
        if state.final:
            calibrated, held_out = _calibrate_final(run, network, config, state, dataset, folds, report, progress)
        else:
            report("fitting temperatures, thresholds and the out-of-distribution score")
            train, held_out = known_of(dataset, "train", state), known_of(dataset, "val", state)
            known = train, held_out
            spec, decision = config.preprocess, config.decision
            calibrated = calibrate_network(network, dataset, known, state.taxonomy, spec, decision, progress)
    return calibrated, held_out


def _calibrate_final(
    run: Path,
    network: Normalized,
    config: TrainConfig,
    state: RunState,
    dataset: Dataset,
    folds: Path | None,
    report: Callable[[str], None],
    progress: Progress,
) -> tuple[CalibratedNetwork, list[Record]]:
    """The same for a run on all images: from the out-of-fold predictions of its cross-validation."""
    assert state.final is not None  # noqa: S101 - the caller has checked it
    predictions = held_out_predictions(run, state.final, dataset, config, folds, report, progress)
    report("fitting temperatures, thresholds and the out-of-distribution score to the out-of-fold predictions")
    calibrated = calibrate_final(network, dataset, predictions, state.taxonomy, config, report, progress)
    return calibrated, list(predictions.records)


def _counting(
    labeled: Labeled | None,
    calibrated: CalibratedNetwork,
    held_out: Sequence[Record],
    state: RunState,
    report: Callable[[str], None],
) -> Counting:
    """How counts are corrected, judged by ``labeled`` or, if it is None, by the validation split."""
    unknown = None
    if calibrated.above is not None:
        unknown = unknown_shares(calibrated.above, [record.group for record in held_out])
    labeled = labeled or Labeled(held_out, calibrated.held_out, folds=0)
    return counting_of(labeled, state.taxonomy, calibrated.decision, report, unknown=unknown)


def _trainer_answers(
    calibrated: CalibratedNetwork,
    config: TrainConfig,
    gate: _GateImages,
    load_for_training: Callable[[bytes], Image] | None,
    progress: Progress,
) -> Answers:
    """The network's outputs in PyTorch for the gate's images, with the trainer's preprocessing."""
    load_image = load_for_training or (lambda data: load(data, config.preprocess))
    with memory_kept():
        sizes = sizes_of(gate.records) if config.model.size else None
        return trained_answers(calibrated.network, gate.encoded, load_image, sizes, progress)


def _write_checked(
    out: Path, graph: bytes, metadata: ModelMetadata, write: Callable[..., None], gate: _GateImages, expected: Answers
) -> ModelFile:
    """Writes the model ``out`` if it passes the parity gate and its self-test. Raises ParityError if it does not."""
    pixel_sizes = [pixel_size_um(record.extra) for record in gate.records]
    embedding = None
    if expected.embedding is not None:
        orientations = metadata.training["model"]["orientations"]
        embedding = EmbeddingOutput(dimensions=expected.embedding.shape[1], orientations=orientations)
    with new_model(out) as candidate:
        write(candidate, graph, metadata, embedding)
        parity, difference = check_parity(ModelFile.read(candidate), gate.encoded, expected, pixel_sizes)
        if embedding is not None:
            embedding = embedding.model_copy(update={"max_difference": difference})
        write(candidate, graph, metadata.model_copy(update={"parity": parity}), embedding)
        verify(ModelFile.read(candidate))
    return ModelFile.read(out)


def _without_folders(config: TrainConfig) -> dict[str, Any]:
    """The config as JSON with only the last part of each path, because the folders are those of the builder."""

    def shortened(value: Any) -> Any:
        if isinstance(value, Path):
            return value.name
        if isinstance(value, dict):
            return {key: shortened(inner) for key, inner in value.items()}
        return [shortened(inner) for inner in value] if isinstance(value, (list, tuple)) else value

    return dict(shortened(config.model_dump()))


def with_options(config: TrainConfig, orientations: int | None, embedding: bool | None) -> TrainConfig:
    """The config with the values that are given, as `model.orientations` and `model.embedding`.

    Raises:
        ConfigError: the network was not trained on this number of orientations.
    """
    document = config.model_dump()
    given = {"orientations": orientations, "embedding": embedding}
    document["model"] |= {name: value for name, value in given.items() if value is not None}
    return validate(document, TrainConfig, "--orientations")


def known_of(dataset: Dataset, split: str, state: RunState) -> list[Record]:
    """The images of a split whose class is one of the run's classes."""
    return [record for record in dataset.split(split) if record.class_name in state.taxonomy.names]


def _read(dataset: Dataset, records: Sequence[Record]) -> list[bytes]:
    try:
        return [dataset.file(record).read_bytes() for record in records]
    except OSError as error:
        raise DatasetError(f"cannot read {error.filename}: run `pelagia dataset check {dataset.root}`") from None


def _references(gate: _GateImages, expected: Answers) -> list[ReferenceImage]:
    """The smallest validation image of each of a few classes, with the trainer's outputs."""
    encoded, records = gate.encoded, gate.records
    chosen: dict[str, int] = {}
    for index in sorted(range(len(encoded)), key=lambda index: len(encoded[index])):
        chosen.setdefault(records[index].class_name, index)
    small = [index for index in chosen.values() if len(encoded[index]) <= _REFERENCE_BYTES] or list(chosen.values())[:1]
    return [
        ReferenceImage.of(
            records[index].path,
            encoded[index],
            tuple(expected.probabilities[index].tolist()),
            None if expected.unknown is None else float(expected.unknown[index]),
            pixel_size_um(records[index].extra),
        )
        for index in small[:_REFERENCES]
    ]


def _metadata(source: Source, references: Sequence[ReferenceImage]) -> ModelMetadata:
    config, state, calibrated = source.config, source.state, source.calibrated
    dataset = {"name": state.dataset_name, "fingerprint": state.fingerprint, "counts": state.counts}
    measured_on, best = "val", {} if source.ensemble else {"best_epoch": state.best_epoch}
    if state.final:
        groups = len({record.group for record in source.held_out})
        share = calibrated.known_accepted
        measured = OutOfFold(folds=state.final.folds, images=len(source.held_out), groups=groups, known_accepted=share)
        dataset["out_of_fold"] = measured.model_dump()
        measured_on, best = "out_of_fold", {}
    return ModelMetadata(
        name=config.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        pelagia_version=__version__,
        licence=config.licence,
        taxonomy=state.taxonomy,
        preprocess=config.preprocess,
        normalisation={"mean": state.mean, "std": state.std},
        temperature=float(np.exp(np.mean(np.log(calibrated.calibration.temperatures)))),
        calibration=calibrated.calibration,
        decision=calibrated.decision,
        unknown=calibrated.unknown,
        validation_confusion=tuple(map(tuple, calibrated.confusion.tolist())),
        metrics={f"{measured_on}_{name}": value for name, value in metrics_of(calibrated.confusion).headline.items()},
        dataset=dataset,
        training={**_without_folders(config), **best, "epochs_done": state.epoch},
        parity=Parity(images=0, batch_sizes=BATCH_SIZES, top1_disagreements=0, max_probability_difference=0.0),
        references=tuple(references),
    )
