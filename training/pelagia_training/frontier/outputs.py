"""What each network says of the held-out images, for each number of orientations; computed once and kept.

    outputs/NAME-VIEWS.npz    the logits of the validation split and of the test split, and of which weights they are

Nothing is combined here: the mean of several networks is computed from these arrays.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset
from pelagia.system.files import new_file
from pelagia_training.devices import memory_kept
from pelagia_training.export.export import with_options
from pelagia_training.frontier.candidates import Candidate, HeldOut
from pelagia_training.frontier.folder import OUTPUTS_FOLDER
from pelagia_training.network.backbone import Normalized
from pelagia_training.network.outputs import Progress, no_progress, outputs
from pelagia_training.runs.load import load_trained

Logits = dict[str, NDArray[np.float32]]
"""The name of a split -> float32, N x classes."""


def network_of(candidate: Candidate, views: int) -> Normalized:
    """The trained network with this number of orientations. Raises InputError if its weights are damaged."""
    member = candidate.member
    return load_trained(member.folder, with_options(member.config, views, None), member.state)


def logits_of(
    candidate: Candidate,
    views: int,
    dataset: Dataset,
    splits: Sequence[HeldOut],
    out: Path,
    progress: Progress = no_progress,
) -> Logits:
    """The logits of each split, from the disk if they were computed before.

    Raises:
        InputError: the weights of the run are damaged.
        DatasetError: an image is missing or cannot be decoded.
    """
    path = out / OUTPUTS_FOLDER / f"{candidate.name.replace('/', '-')}-{views}.npz"
    if (kept := _read(path, candidate, splits)) is not None:
        return kept
    records = [record for split in splits for record in split.records]
    with memory_kept():
        together, _ = outputs(
            network_of(candidate, views), dataset, records, candidate.member.config.preprocess, progress
        )
    ends = np.cumsum([len(split.records) for split in splits])[:-1]
    found = dict(zip([split.name for split in splits], np.split(together, ends), strict=True))
    with new_file(path) as file:
        np.savez(file, weights=np.array(candidate.weights), **found)  # type: ignore[arg-type]
    return found


def _read(path: Path, candidate: Candidate, splits: Sequence[HeldOut]) -> Logits | None:
    """The arrays on the disk; None if there are none, or if they are of other weights or images."""
    try:
        with np.load(path) as kept:
            found = {split.name: kept[split.name] for split in splits}
            same = str(kept["weights"]) == candidate.weights
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile):
        return None
    classes = len(candidate.member.state.taxonomy.names)
    whole = all(found[split.name].shape == (len(split.records), classes) for split in splits)
    return found if same and whole else None
