"""`pelagia export RUN RUN ...`: several runs as one .onnx file that has passed the parity gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pelagia.config import validate
from pelagia.errors import ConfigError, InputError
from pelagia.images.preprocess import Image
from pelagia.model.metadata import ModelFile, refuse_model
from pelagia.system.paths import StrPath
from pelagia_training.config import TrainConfig
from pelagia_training.devices import memory_kept
from pelagia_training.ensemble.measure import measure
from pelagia_training.ensemble.members import MemberRun, read_members
from pelagia_training.export.export import Source, write_source
from pelagia_training.network.outputs import Progress, no_progress


def export_ensemble(
    runs: Sequence[StrPath],
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
    """Writes the mean of several runs as the model ``out``, if it passes the parity gate.

    Temperatures, thresholds, out-of-distribution score and the correction of counts are those of the ensemble, fitted
    on images that no member was trained on.

    Args:
        runs: two or more run folders, of one dataset, one list of classes, one split and one preprocessing.
        out: the .onnx file to make.
        dataset: the folder of the runs' dataset; needed only if the folder was moved after training.
        orientations: a value that replaces `model.orientations` of every run's config.
        embedding: must not be True: an ensemble has no common embedding.
        folds: must be None: a cross-validation predicts with single networks, not with their mean.
        load_for_training: the trainer's preprocessing; only tests of the gate replace it.
        report: called with a line of text for people.
        progress: called with (images done, total images) while images go through a network.

    Raises:
        InputError: ``out`` exists, or ``folds`` is given, or a run does not fit the others, or has no usable weights.
        ConfigError: a network was not trained on this number of orientations, or an embedding is asked for.
        DatasetError: the dataset is missing, or the runs were trained on another dataset.
        ParityError: the exported graph and the trained networks give different outputs. No file is left behind.
    """
    refuse_model(out := Path(out))
    if embedding:
        fault = "an ensemble gives no embedding: export one of the runs with --embedding, and use its file for that"
        raise ConfigError("--embedding", [fault])
    if folds:
        raise InputError(
            f"--folds: the predictions of the cross-validation {folds} are those of single networks, not of the mean "
            "of several runs: leave the option out; runs of `pelagia train --final` find their cross-validations"
        )
    members, images = read_members(
        [Path(run) for run in runs], Path(dataset) if dataset else None, orientations, report
    )
    if embedding is None and any(member.config.model.embedding for member in members):
        report("warning: an ensemble gives no embedding, although the config asks for it: export one run for that")
    with memory_kept():
        found = measure(members, images, report, progress)
    source = Source(
        _common_config(members),
        members[0].state,
        images,
        found.calibrated,
        found.held_out,
        ensemble=found.document,
    )
    return write_source(source, out, load_for_training, report, progress).model


def _common_config(members: Sequence[MemberRun]) -> TrainConfig:
    """The config of the first member, with the names and licenses of all, and the inputs of the graph."""
    configs = [member.config for member in members]
    document = configs[0].model_dump()
    document["name"] = " + ".join(dict.fromkeys(config.name for config in configs))
    document["licence"] = " AND ".join(dict.fromkeys(config.licence for config in configs if config.licence))
    document["model"] |= {"embedding": False, "size": any(config.model.size for config in configs)}
    return validate(document, TrainConfig, "the configs of the runs")
