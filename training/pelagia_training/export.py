"""`pelagia export`: a training run -> one .onnx file that has passed the parity gate."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from pelagia import __version__
from pelagia.config import validate
from pelagia.dataset import Dataset, Record
from pelagia.errors import DatasetError, InputError, ModelError
from pelagia.graph import INPUT_NAME, OUTPUT_NAME, SIZE_NAME, UNKNOWN_NAME
from pelagia.model import (
    ModelFile,
    ModelMetadata,
    Parity,
    ReferenceImage,
    new_model,
    refuse_model,
    write_model,
)
from pelagia.onnx_file import has_external_data
from pelagia.pixel_size import pixel_size_um
from pelagia.preprocess import Image, load
from pelagia_inference.session import Answers
from pelagia_inference.verify import verify
from pelagia_training.config import TrainConfig
from pelagia_training.data import sizes_of, spread
from pelagia_training.devices import memory_kept
from pelagia_training.metrics import metrics_of
from pelagia_training.network import Deployed, Normalised, SizeHead, build_network, example_inputs, first_line
from pelagia_training.parity import BATCH_SIZES, GATE_IMAGES, check_parity, trained_answers
from pelagia_training.resplit import resplit
from pelagia_training.run import BEST_FILE, CONFIG_FILE, RunState, read_run
from pelagia_training.trust import Trusted, build_trust

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
        load_for_training: the trainer's preprocessing, `pelagia.preprocess.load` by default; another one is how the
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
        trusted = build_trust(trained, images, (train, val), state.taxonomy, config.preprocess, config.decision)
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


def dataset_of(folder: Path, config: TrainConfig, state: RunState) -> Dataset:
    """The dataset of a run, in the splits that it was trained on.

    Raises:
        DatasetError: it is not in ``folder``, or is not the one that was trained on.
    """
    if not folder.is_dir():
        raise DatasetError(f"the run's dataset is no longer at {folder}: put it back, or export with --dataset FOLDER")
    dataset = Dataset.read(folder)
    if dataset.meta.fingerprint != state.fingerprint:
        raise DatasetError(
            f"{folder} is not the dataset of this run (fingerprint {dataset.meta.fingerprint[:12]}, trained on "
            f"{state.fingerprint[:12]}): name the right one with --dataset"
        )
    return resplit(dataset, config.data.resplit)


def _known(dataset: Dataset, split: str, state: RunState) -> list[Record]:
    return [record for record in dataset.split(split) if record.class_name in state.taxonomy.names]


def _read(dataset: Dataset, records: Sequence[Record]) -> list[bytes]:
    try:
        return [dataset.file(record).read_bytes() for record in records]
    except OSError as error:
        raise DatasetError(f"cannot read {error.filename}: run `pelagia dataset check {dataset.root}`") from None


def load_trained(run: Path, config: TrainConfig, state: RunState) -> Normalised:
    """The network of a run with its best weights: uint8 N x S x S x 3 -> logits.

    Raises:
        InputError: the weights are damaged, or not those of the config.
    """
    options = config.model.options
    network = build_network(
        config.model.backbone, len(state.taxonomy.classes), pretrained=False, drop_rate=0.0, options=options
    )
    size_head = SizeHead(len(state.taxonomy.classes)) if config.model.size else None
    model = Normalised(network, state.mean, state.std, size_head, config.model.orientations)
    try:
        with safe_open(run / BEST_FILE, "pt") as file:
            epoch = (file.metadata() or {}).get("epoch")
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{run / BEST_FILE} is damaged, or {run / CONFIG_FILE} was edited ({first_line(error)}): train again"
        ) from None
    if epoch != str(state.best_epoch):
        raise InputError(f"the run {run} was killed while it wrote its best weights: run its command again, it goes on")
    return model.eval()


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
    config: TrainConfig, state: RunState, trusted: Trusted, references: Sequence[ReferenceImage]
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
