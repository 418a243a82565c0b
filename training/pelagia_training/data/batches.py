"""The training batches: the order of the images, their augmentation, and a thread that loads them in advance."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import DatasetError
from pelagia.images.pixel_size import pixel_size_um
from pelagia.images.preprocess import Image, PreprocessSpec
from pelagia.system.cores import thread_pool
from pelagia_training.data.augment import Augment, sample_seed
from pelagia_training.data.crops import StreamedCrops
from pelagia_training.data.sides import shrunk


def load_fitted(dataset: Dataset, records: Sequence[Record], spec: PreprocessSpec) -> NDArray[np.uint8]:
    """Loads all images of ``records`` into memory, in their order: uint8, N x size x size x 3, RGB, 0..255.

    Raises:
        DatasetError: an image is missing or cannot be decoded.
    """
    images = StreamedCrops(dataset, records, spec)
    with thread_pool() as pool:
        return np.stack(list(pool.map(images.__getitem__, range(len(images)))))


Order = Callable[[int], NDArray[np.int64]]
"""A function: epoch -> the image indices in the order of use. The same epoch always gives the same order."""


def shuffled(count: int, seed: int) -> Order:
    """An order with every image once. It depends only on (seed, epoch)."""
    return lambda epoch: np.random.default_rng((seed, epoch)).permutation(count)


class Batches(Sampler[list[tuple[int, int]]]):
    """For each batch, yields the (epoch, index) pairs of this process. An incomplete last batch is left out.

    Call `start` before each epoch. The batches do not depend on the number of processes: process ``rank`` of
    ``world`` takes every ``world``-th image of a batch.

    Args:
        order: computes the order of the images in an epoch.
        count: the number of images.
        size: the number of images per batch, over all processes.
        rank: the number of this process, counted from 0.
        world: the number of processes.
    """

    def __init__(self, order: Order, count: int, size: int, rank: int = 0, world: int = 1) -> None:
        self._order = order
        self._size = min(size, count // world * world)
        self._batches = count // self._size
        self._rank, self._world = rank, world
        self._epoch, self._first = 1, 0

    def start(self, epoch: int, first: int = 0) -> None:
        """The next iteration starts at batch ``first`` (from 0) of ``epoch``."""
        self._epoch, self._first = epoch, first

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        indices = self._order(self._epoch)
        for batch in range(self._first, self._batches):
            part = indices[batch * self._size : (batch + 1) * self._size]
            yield [(self._epoch, index) for index in part[self._rank :: self._world].tolist()]


class TrainingImages(TorchDataset[tuple[Tensor, ...]]):
    """Augmented images and their class indices, by (epoch, index).

    Args:
        images: N images, each uint8 of size x size x 3.
        targets: the class indices, int64, N; or soft labels, float32, N x C.
        augment: the random change of each image.
        seed: the seed of the run; with the epoch and the index, it determines the augmentation.
        sizes: float32, N x 3 (width, height, pixel size in micrometers); if given, each item is (image, size, target).
        side: a function: epoch -> the side of its images in pixels; None: that of ``images``.
    """

    def __init__(
        self,
        images: Sequence[Image],
        targets: NDArray[Any],
        augment: Augment,
        seed: int,
        sizes: NDArray[np.float32] | None = None,
        side: Callable[[int], int] | None = None,
    ) -> None:
        self._images = images
        self._targets = targets
        self._augment = augment
        self._seed = seed
        self._sizes = sizes
        self._side = side

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, ...]:
        epoch, index = key
        image = self._augment(self._images[index], sample_seed(self._seed, epoch, index))
        if self._side is not None:
            image = shrunk(image, self._side(epoch))
        sizes = () if self._sizes is None else (torch.from_numpy(self._sizes[index]),)
        pixels = torch.from_numpy(np.require(image, requirements=("C", "W")))
        return pixels, *sizes, torch.tensor(self._targets[index])


class EveryNth(Sequence[Image]):
    """Every ``step``-th image of ``images``, starting at index ``first``."""

    def __init__(self, images: Sequence[Image], first: int, step: int) -> None:
        self._images, self._indices = images, range(first, len(images), step)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        return self._images[self._indices[index]]


Item = TypeVar("Item")


def prefetched(items: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """Yields ``items``, made by a thread at most ``depth`` items in advance. The thread's errors are raised here."""
    made: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(depth)
    over = threading.Event()

    def put(item: Item | None, error: BaseException | None) -> bool:
        while not over.is_set():
            with suppress(queue.Full):
                made.put((item, error), timeout=0.1)
                return True
        return False

    def make() -> None:
        try:
            if all(put(item, None) for item in items):
                put(None, StopIteration())
        except BaseException as error:  # every error has to reach the caller
            put(None, error)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        over.set()
        thread.join()


@contextmanager
def loader_error_in_one_line() -> Iterator[None]:
    """Raises a loader process's error about an image without the traceback that torch puts before its message."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(str(error).rpartition("DatasetError: ")[2].strip()) from None


def spread(records: Sequence[Record], most: int) -> list[Record]:
    """At most ``most`` of ``records``, evenly spaced in their order, which is by class."""
    chosen = np.linspace(0, len(records) - 1, min(len(records), most)).round().astype(int)
    return [records[index] for index in chosen]


def targets_of(records: Sequence[Record], classes: Sequence[str]) -> NDArray[np.int64]:
    """The index of each record's class in ``classes``: int64, N."""
    index = {name: position for position, name in enumerate(classes)}
    return np.array([index[record.class_name] for record in records], np.int64)


def sizes_of(records: Sequence[Record]) -> NDArray[np.float32]:
    """Width and height of each image in pixels, and its pixel size in micrometers (0 if unknown): float32, N x 3.

    The runner reads the same values from each decoded image; the parity gate compares both.
    """
    return np.array([(one.width, one.height, pixel_size_um(one.extra)) for one in records], np.float32).reshape(-1, 3)
