"""`pelagia export`: a training run -> one .onnx file that has passed the parity gate."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from pelagia import __version__
from pelagia.config import validate
from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import DatasetError, ModelError
from pelagia.images.pixel_size import pixel_size_um
from pelagia.images.preprocess import Image, load
from pelagia.model.graph import INPUT_NAME, OUTPUT_NAME, SIZE_NAME, UNKNOWN_NAME
from pelagia.model.metadata import (
    ModelFile,
    ModelMetadata,
    Parity,
    ReferenceImage,
    new_model,
    refuse_model,
    write_model,
)
from pelagia.model.onnx_file import has_external_data
from pelagia_inference.machine.session import Answers
from pelagia_inference.machine.verify import verify
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import sizes_of, spread
from pelagia_training.devices import memory_kept
from pelagia_training.export.parity import BATCH_SIZES, GATE_IMAGES, check_parity, trained_answers
from pelagia_training.export.reliability import CalibratedNetwork, calibrate_network
from pelagia_training.figures.metrics import metrics_of
from pelagia_training.network.backbone import Deployed, example_inputs
from pelagia_training.runs.folder import RunState, read_run
from pelagia_training.runs.load import dataset_of, load_trained

_REFERENCES = 4
_REFERENCE_BYTES = 64_000
_LARGEST_MODEL = 2_000_000_000  # protobuf's limit for one message


def export(
    run: Path,
    out: Path,
    *,
    dataset: Path | None = None,
    orientations: int | None = None,
    load_for_training: Callable[[bytes], Image] | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> ModelFile:
    """Writes the best weights of ``run`` as the model ``out``, if the parity gate lets it pass.

    Args:
        dataset: where the run's dataset lies now, if it was moved.
        orientations: another `model.orientations` than the run's config has.
        load_for_training: the trainer's preprocessing, `pelagia.images.preprocess.load` by default; another one is how the
            gate itself is tested.

    Raises:
        InputError: ``out`` exists, or ``run`` is no run, has no weights, or they are damaged.
        ConfigError: the network was not trained on so many orientations.
        DatasetError: the dataset is gone, or is not the one that was trained on.
        ParityError: the exported graph and the trained network disagree. Nothing is left behind.
    """
    refuse_model(out)
    config, state = read_run(run)
    if orientations is not None:
        config = _with_orientations(config, orientations)
    if state.status != "finished":
        report(f"warning: the run broke off after epoch {state.epoch} of {config.train.epochs}: best so far")
    images = dataset_of(dataset or state.dataset, config, state)
    train, val = (_known(images, split, state) for split in ("train", "val"))
    report("temperatures, thresholds and the score of the unknown")
    trained = load_trained(run, config, state)
    with memory_kept():
        trusted = calibrate_network(trained, images, (train, val), state.taxonomy, config.preprocess, config.decision)
    if trusted.unknown is None:
        report(f"warning: {config.model.backbone} does not end in one linear layer: no score of the unknown")
    report("tracing the network")
    graph = to_onnx(trusted.network, config.preprocess.size)
    records = spread(val, 2 * GATE_IMAGES)
    encoded = _read(images, records)
    report(f"parity gate over {len(encoded)} validation images")
    with memory_kept():
        expected = trained_answers(
            trusted.network,
            encoded,
            load_for_training or (lambda data: load(data, config.preprocess)),
            sizes_of(records) if config.model.size else None,
        )
    metadata = _metadata(config, state, trusted, _references(encoded, records, expected))
    with new_model(out) as candidate:
        write_model(candidate, graph, metadata)
        pixel_sizes = [pixel_size_um(record.extra) for record in records]
        parity = check_parity(ModelFile.read(candidate), encoded, expected, pixel_sizes)
        write_model(candidate, graph, metadata.model_copy(update={"parity": parity}))
        verify(ModelFile.read(candidate))
    return ModelFile.read(out)


def to_onnx(network: Deployed, size: int) -> bytes:
    """``network`` (uint8 N x size x size x 3 in) as a serialised ONNX ModelProto, N free.

    Raises:
        ModelError: too large for one file.
    """
    example = example_inputs(network.classifier, size)
    batch = {0: torch.export.Dim("N", min=1, max=4096)}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            example,
            input_names=[INPUT_NAME, SIZE_NAME][: len(example)],
            output_names=[OUTPUT_NAME] if network.unknown is None else [OUTPUT_NAME, UNKNOWN_NAME],
            dynamic_shapes=tuple(batch for _ in example),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    proto = program.model_proto  # type: ignore[union-attr]
    if proto.ByteSize() > _LARGEST_MODEL:
        raise ModelError(
            f"the network has {proto.ByteSize() / 1e9:.1f} GB of weights, one .onnx file holds 2: "
            "choose a smaller backbone"
        )
    graph: bytes = proto.SerializeToString()
    if has_external_data(graph):
        raise ModelError(
            "the exporter put weights into a second file; please report this with your versions of torch and onnx"
        )
    return graph


def _with_orientations(config: TrainConfig, orientations: int) -> TrainConfig:
    document = config.model_dump()
    document["model"]["orientations"] = orientations
    return validate(document, TrainConfig, "--orientations")


def _known(dataset: Dataset, split: str, state: RunState) -> list[Record]:
    return [record for record in dataset.split(split) if record.class_name in state.taxonomy.names]


def _read(dataset: Dataset, records: Sequence[Record]) -> list[bytes]:
    try:
        return [dataset.file(record).read_bytes() for record in records]
    except OSError as error:
        raise DatasetError(f"cannot read {error.filename}: run `pelagia dataset check {dataset.root}`") from None


def _references(encoded: Sequence[bytes], records: Sequence[Record], expected: Answers) -> list[ReferenceImage]:
    """The smallest validation image of each of a few classes, with the trainer's answers."""
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


def _metadata(
    config: TrainConfig, state: RunState, trusted: CalibratedNetwork, references: Sequence[ReferenceImage]
) -> ModelMetadata:
    dataset = {"name": state.dataset_name, "fingerprint": state.fingerprint, "counts": state.counts}
    return ModelMetadata(
        name=config.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        pelagia_version=__version__,
        licence=config.licence,
        taxonomy=state.taxonomy,
        preprocess=config.preprocess,
        normalisation={"mean": state.mean, "std": state.std},
        temperature=float(np.exp(np.mean(np.log(trusted.calibration.temperatures)))),
        calibration=trusted.calibration,
        decision=trusted.decision,
        unknown=trusted.unknown,
        validation_confusion=tuple(map(tuple, trusted.confusion.tolist())),
        metrics={f"val_{name}": value for name, value in metrics_of(trusted.confusion).headline.items()},
        dataset=dataset,
        training={**config.model_dump(mode="json"), "best_epoch": state.best_epoch, "epochs_done": state.epoch},
        parity=Parity(images=0, batch_sizes=BATCH_SIZES, top1_disagreements=0, max_probability_difference=0.0),
        references=tuple(references),
    )
