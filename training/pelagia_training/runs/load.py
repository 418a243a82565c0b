"""Loads a run: its dataset and its trained network."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from pelagia.dataset.schema import Dataset
from pelagia.errors import DatasetError, InputError, first_line
from pelagia_training.config import TrainConfig
from pelagia_training.data.resplit import resplit
from pelagia_training.network.backbone import Normalized, SizeHead, build_network
from pelagia_training.runs.folder import BEST_FILE, CONFIG_FILE, LAST_FILE, RunState


def dataset_of(folder: Path, config: TrainConfig, state: RunState, *, has_option: bool = True) -> Dataset:
    """Reads the dataset of a run, with the splits that the run was trained on.

    Args:
        has_option: whether the command has the option ``--dataset``, which the messages then name.

    Raises:
        DatasetError: ``folder`` does not exist, or is not the dataset of the run.
    """
    option = ", or name its new folder with --dataset FOLDER" if has_option else ""
    if not folder.is_dir():
        raise DatasetError(f"the run's dataset is no longer at {folder}: put it back{option}")
    dataset = Dataset.read(folder)
    if dataset.meta.fingerprint != state.fingerprint:
        raise DatasetError(
            f"{folder} is not the dataset of this run (fingerprint {dataset.meta.fingerprint[:12]}, trained on "
            f"{state.fingerprint[:12]}): put the dataset of the run back{option}"
        )
    return resplit(dataset, config.data.resplit)


def load_trained(run: Path, config: TrainConfig, state: RunState, *, last: bool = False) -> Normalized:
    """Loads the network of a run with its best weights: images, uint8 N x S x S x 3 -> logits, float32 N x C.

    Args:
        last: take the weights after the last epoch instead.

    Raises:
        InputError: the weights are damaged, or do not fit the config.
    """
    options = config.model.options
    network = build_network(
        config.model.backbone,
        len(state.taxonomy.classes),
        pretrained=False,
        drop_rate=0.0,
        options=options,
        size=config.preprocess.size,
    )
    size_head = SizeHead(len(state.taxonomy.classes)) if config.model.size else None
    model = Normalized(network, state.mean, state.std, size_head, config.model.orientations)
    path, wanted = (run / LAST_FILE, state.epoch) if last else (run / BEST_FILE, state.best_epoch)
    try:
        with safe_open(path, "pt") as file:
            epoch = (file.metadata() or {}).get("epoch")
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{path} is missing or damaged, or {run / CONFIG_FILE} was edited ({first_line(error)}): train again"
        ) from None
    if epoch != str(wanted):
        raise InputError(
            f"the run {run} was killed while it wrote its weights: resume it with the `pelagia train` "
            "command that started it"
        )
    return model.eval()
