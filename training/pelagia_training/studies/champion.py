"""What is known of the model in use, the champion: its run, the images that it learned from, and its config.

Invariant: an image is held out only if the champion is known not to have seen it: neither its bytes nor its group were
in the train or val split that the champion was made with. A group that was joined has another name in another dataset,
so a group with an image that the champion learned from is one that it has seen, whatever its name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pelagia.config import validate
from pelagia.dataset.schema import META_FILE, Dataset, Record, fingerprint
from pelagia.errors import DatasetError, InputError
from pelagia.model.held_out import out_of_fold_of
from pelagia.model.metadata import ModelFile
from pelagia.shell import command_line
from pelagia_training.config import TrainConfig
from pelagia_training.data.resplit import as_trained
from pelagia_training.runs.folder import STATE_FILE, read_run

RESULT_FILE, CURRENT_FILE, RUN_FOLDER = "retrain.json", "current.onnx", "challenger"
"""What a retraining writes into its folder: the comparison, a copy of the model to use, and the challenger's run."""


@dataclass(frozen=True)
class HeldOut:
    """The images on which both models are compared.

    Attributes:
        dataset: the new dataset; its records are only the images that are held out, all in the split ``test``.
        seen: number of test images that are left out, because the champion has seen them or their group.
        warnings: why an image may have been seen after all, one sentence each.
    """

    dataset: Dataset
    seen: int
    warnings: tuple[str, ...] = ()


def find_run(champion: ModelFile) -> Path | None:
    """The run folder that the champion was exported from; None if it is not beside the file, or named beside it."""
    beside = champion.path.absolute().parent
    folders = [beside]
    if (beside / RESULT_FILE).is_file():
        try:
            told: dict[str, Any] = json.loads((beside / RESULT_FILE).read_text(encoding="utf-8"))
        except ValueError:
            told = {}
        if told.get("current_sha256") == champion.sha256 and told.get("current_run"):
            folders.insert(0, Path(told["current_run"]))
    return next((folder for folder in folders if _is_run_of(folder, champion)), None)


def _is_run_of(folder: Path, champion: ModelFile) -> bool:
    if not (folder / STATE_FILE).is_file():
        return False
    config, state = read_run(folder)
    same = (state.fingerprint, config.name) == (champion.metadata.dataset["fingerprint"], champion.metadata.name)
    return same and state.taxonomy.names == champion.metadata.classes


def find_dataset(champion: ModelFile, run: Path | None, named: Path | None, new: Dataset) -> Dataset:
    """The dataset that the champion was trained on.

    Args:
        champion: the model.
        run: its run folder, if it is known.
        named: the folder that the user named; None: that of the run, or the new dataset if it is the same.
        new: the new dataset.

    Raises:
        InputError: it is not known, or another dataset was named.
    """
    wanted = champion.metadata.dataset["fingerprint"]
    folder = named or (read_run(run)[1].dataset if run else None)
    if folder is not None and (named or (folder / META_FILE).is_file()):
        found = Dataset.read(folder)
        if found.meta.fingerprint == wanted:
            return found
        raise InputError(
            f"{folder} is not the dataset that {champion.path} was trained on: its fingerprint is "
            f"{found.meta.fingerprint[:12]}, and the model's is {wanted[:12]}: name the other one with "
            "--champion-dataset"
        )
    if new.meta.fingerprint == wanted:
        return new
    name = champion.metadata.dataset.get("name", "")
    raise InputError(
        f"it is not known which images {champion.path} has seen, so no comparison would be fair: name the dataset that "
        f"it was trained on ('{name}', fingerprint {wanted[:12]}) with --champion-dataset FOLDER"
    )


def hold_out(champion: ModelFile, trained_on: Dataset, new: Dataset) -> HeldOut:
    """The test images of the new dataset that the champion has not seen.

    Raises:
        DatasetError: there is none.
    """
    before = as_trained(trained_on, champion.metadata)
    learned = [record for record in before.records if record.split != "test"]
    images = {record.sha256 for record in learned}
    groups = {record.group for record in learned} | {one.group for one in new.records if one.sha256 in images}
    test = new.split("test")
    kept = [record for record in test if record.sha256 not in images and record.group not in groups]
    if not kept:
        if out_of_fold_of(champion.metadata.dataset):
            raise DatasetError(
                f"{champion.path} was trained on all images of its dataset, and the groups of all {len(test)} test "
                f"images of {new.root} are among them, so nothing is left to compare on: label images of new groups "
                "(such as stations) and put them into the test split; or compare the recipes instead, with `pelagia "
                "train --folds` for each, on the new dataset"
            )
        pull = command_line("pelagia", "label", "pull", "--project", "PROJECT", "--parent", trained_on.root)
        raise DatasetError(
            f"the champion was trained on the groups of all {len(test)} test images of {new.root}, so nothing is left "
            f"to compare on: make the new version with the splits of the old one, with `{pull} --out FOLDER`"
        )
    columns = (trained_on.meta.split.group_column, new.meta.split.group_column)
    warnings = []
    if columns[0] != columns[1]:
        warnings.append(
            f"the groups of the champion's dataset are by {columns[0] or 'image'} and those of the new one by "
            f"{columns[1] or 'image'}: images of a group that the champion has seen may be among the test images"
        )
    return HeldOut(_only(new, kept), len(test) - len(kept), tuple(warnings))


def _only(dataset: Dataset, records: list[Record]) -> Dataset:
    """The dataset with these records, and with their own fingerprint, so that no split of a run is applied to it.

    It has no parents, because it holds none of the images that a model has learned from them.
    """
    meta = dataset.meta.model_copy(update={"fingerprint": fingerprint(records), "parents": ()})
    return replace(dataset, meta=meta, records=tuple(records))


def lost_exclusions(champion: ModelFile, trained_on: Dataset, new: Dataset) -> dict[str, list[str]]:
    """The classes that the champion was trained without and that the new dataset lacks, such as a renamed class.

    Returns:
        Name of the class -> the classes that its images have in the new dataset, of those that the champion lacks.
    """
    excluded = (champion.metadata.training.get("data") or {}).get("exclude", ())
    now = {record.sha256: record.class_name for record in new.records}
    found = {}
    for name in set(excluded) - set(new.class_names):
        images = [record.sha256 for record in trained_on.records if record.class_name == name]
        found[name] = sorted({now[image] for image in images if image in now} - set(champion.metadata.classes))
    return dict(sorted(found.items()))


def _is_fine_tuned(weights: Path | None) -> bool:
    """Whether a run with these first weights started from another run, which may be gone, and not from a file."""
    return weights is not None and (not weights.is_file() or (weights.parent / STATE_FILE).is_file())


def _require_one_network(champion: ModelFile) -> None:
    """Raises InputError if the champion is an ensemble, which has no recipe of its own."""
    if champion.ensemble is not None:
        runs = len(champion.ensemble.members)
        raise InputError(
            f"{champion.path} is an ensemble of {runs} runs, and a challenger is one network: give its recipe with "
            "--config"
        )


def config_of_challenger(champion: ModelFile, run: Path | None, new: Dataset) -> TrainConfig:
    """The champion's config for the new dataset. If its run is known, the challenger starts from its weights.

    It does not start from the weights of a champion that was trained on all images: they know the images of the val
    split, by which the challenger's best epoch and temperatures are chosen.

    Then early layers learn slower, and a new head learns alone at first, as in configs/training/finetune.yaml. The
    learning rate is halved only if the champion's own run was not fine-tuned: else the challenger of a long chain of
    retrainings would learn nothing.

    Raises:
        InputError: the champion started from a file of weights, which the model does not hold, or it is an ensemble.
    """
    _require_one_network(champion)
    if run is not None:
        config, state = read_run(run)
        document = config.model_dump()
    if run is not None and state.final is None:
        learned = state.taxonomy.names == new.class_names
        document["model"] |= {"pretrained": False, "weights": run, "mean": None, "std": None}
        train = document["train"]
        if not _is_fine_tuned(config.model.weights):
            train["lr"] /= 2
        train["layer_decay"] = min(train["layer_decay"], 0.85)
        train["freeze_epochs"] = 0 if learned else min(3, train["epochs"] - 1)
    elif run is None:
        document = {
            key: value for key, value in champion.metadata.training.items() if key not in ("best_epoch", "epochs_done")
        }
        if document["model"].get("weights"):
            raise InputError(
                f"{champion.path} was trained from the weights '{document['model']['weights']}', which are not in the "
                "model: put the model back into its run folder, or give a config with --config"
            )
        document["data"] = {**document.get("data", {}), "cache": None}
    document["dataset"] = new.root
    document["data"]["resplit"] = None
    document["data"]["exclude"] = [name for name in document["data"].get("exclude", ()) if name in new.class_names]
    document["devices"] = document["nodes"] = 1
    return validate(document, TrainConfig, f"the config of {champion.path}")
