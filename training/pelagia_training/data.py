"""Images of a dataset as the network meets them: fitted once by `pelagia.preprocess`, augmented each time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from pelagia.dataset import Dataset, Record
from pelagia.errors import DatasetError
from pelagia.preprocess import ImageError, PreprocessSpec, load
from pelagia_training.augment import Augment, sample_seed


def load_fitted(
    dataset: Dataset,
    records: Sequence[Record],
    spec: PreprocessSpec,
    progress: Callable[[int], None] = lambda done: None,
) -> NDArray[np.uint8]:
    """All images of ``records``: uint8, N x size x size x 3, RGB, 0..255, in their order.

    Raises:
        DatasetError: an image is missing or cannot be decoded.
    """
    fitted = np.empty((len(records), spec.size, spec.size, 3), np.uint8)

    def one(index: int) -> None:
        record = records[index]
        try:
            fitted[index] = load(dataset.file(record).read_bytes(), spec)
        except (OSError, ImageError) as error:
            raise DatasetError(f"{dataset.file(record)}: {error}; run `pelagia dataset check {dataset.root}`") from None
        progress(1)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, range(len(records))))
    return fitted


class TrainingImages(TorchDataset[tuple[Tensor, Tensor]]):
    """Augmented images and their class indices. Call `start_epoch` before each epoch.

    Args:
        images: uint8, N x size x size x 3.
        targets: int64, N.
        seed: with the epoch and the index it decides the augmentation.
    """

    def __init__(self, images: NDArray[np.uint8], targets: NDArray[np.int64], augment: Augment, seed: int) -> None:
        self._images = images
        self._targets = targets
        self._augment = augment
        self._seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # the loader's processes see it change

    def start_epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self._augment(self._images[index], sample_seed(self._seed, int(self._epoch), index))
        return torch.from_numpy(np.ascontiguousarray(image)), torch.tensor(self._targets[index])


class Shuffled(Sampler[int]):
    """Indices 0..count-1 in an order that depends on (seed, epoch) alone. Call `start_epoch` before each epoch."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed
        self._epoch = 0

    def start_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng((self._seed, self._epoch)).permutation(self._count).tolist())


def spread(records: Sequence[Record], most: int) -> list[Record]:
    """At most ``most`` of ``records``, evenly over their order, in which a class follows the other."""
    chosen = np.linspace(0, len(records) - 1, min(len(records), most)).round().astype(int)
    return [records[index] for index in chosen]


def targets_of(records: Sequence[Record], classes: Sequence[str]) -> NDArray[np.int64]:
    """Index of each record's class in ``classes``: int64, N."""
    index = {name: position for position, name in enumerate(classes)}
    return np.array([index[record.class_name] for record in records], np.int64)
