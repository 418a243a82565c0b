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


Order = Callable[[int], NDArray[np.int64]]
"""epoch -> indices of the images in the order in which they are met; the same epoch always gives the same."""


def shuffled(count: int, seed: int) -> Order:
    """Every image once, in an order that depends on (seed, epoch) alone."""
    return lambda epoch: np.random.default_rng((seed, epoch)).permutation(count)


class Batches(Sampler[list[tuple[int, int]]]):
    """(epoch, index) of the images of each batch; what does not fill the last batch is left out.

    Call `start` before each epoch.
    """

    def __init__(self, order: Order, count: int, size: int) -> None:
        self._order = order
        self._size = min(size, count)
        self._batches = count // self._size
        self._epoch, self._first = 1, 0

    def start(self, epoch: int, first: int = 0) -> None:
        """The next iteration gives the batches of ``epoch``, counted from 0, from ``first`` on."""
        self._epoch, self._first = epoch, first

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        indices = self._order(self._epoch)
        for batch in range(self._first, self._batches):
            part = indices[batch * self._size : (batch + 1) * self._size]
            yield [(self._epoch, index) for index in part.tolist()]


class TrainingImages(TorchDataset[tuple[Tensor, ...]]):
    """Augmented images and their class indices, by (epoch, index).

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

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, ...]:
        epoch, index = key
        image = self._augment(self._images[index], sample_seed(self._seed, epoch, index))
        return torch.from_numpy(np.ascontiguousarray(image)), torch.tensor(self._targets[index])


def spread(records: Sequence[Record], most: int) -> list[Record]:
    """At most ``most`` of ``records``, evenly over their order, in which a class follows the other."""
    chosen = np.linspace(0, len(records) - 1, min(len(records), most)).round().astype(int)
    return [records[index] for index in chosen]


def targets_of(records: Sequence[Record], classes: Sequence[str]) -> NDArray[np.int64]:
    """Index of each record's class in ``classes``: int64, N."""
    index = {name: position for position, name in enumerate(classes)}
    return np.array([index[record.class_name] for record in records], np.int64)
