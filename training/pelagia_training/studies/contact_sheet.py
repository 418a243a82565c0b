"""`pelagia train CONFIG --show-augmentations FILE.png`: a contact sheet of augmented training images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pelagia.dataset.schema import Record
from pelagia.errors import InputError
from pelagia.images.preprocess import Image
from pelagia.system.files import new_file, refuse_existing
from pelagia_training.config import TrainConfig
from pelagia_training.data.augment import build_augment, sample_seed
from pelagia_training.data.batches import load_fitted
from pelagia_training.data.mixing import mix
from pelagia_training.data.splits import read_splits

DRAWS = 9
MIXED_DRAWS = 3
MIXED = ("mixup", "cutmix")
"""Keys of `train` in the config; both augmentations mix the pixels of two images of a batch."""
MOST_ROWS = 16
_GAP = 4
_LEAST_SIDE = 96


@dataclass(frozen=True)
class Sheet:
    """A contact sheet that was written.

    Attributes:
        rows: number of rows; each row shows one image.
        mixed: key of `MIXED` -> the columns that show it, counted from 1.
    """

    rows: int
    mixed: dict[str, range]


def show_augmentations(config: TrainConfig, out: Path) -> Sheet:
    """Writes the PNG ``out``: each row shows one image without augmentation, then as it is augmented in `DRAWS` epochs.

    If the config uses mixup or CutMix, `MIXED_DRAWS` columns of each follow. In these columns every image is mixed with
    the image of another row.

    Args:
        config: the config; the sheet shows training images of its dataset, with its augmentation.
        out: the file to make.

    Raises:
        InputError: ``out`` exists, or does not end with .png.
        ConfigError, DatasetError: as in training.
    """
    if out.suffix.lower() != ".png":
        raise InputError(f"--show-augmentations writes a PNG file: give a name such as {out.with_suffix('.png')}")
    refuse_existing(out, "contact sheet")
    splits = read_splits(config.dataset, config.data.exclude, config.data.resplit)
    records = _by_turns(splits.train, MOST_ROWS)
    augment = build_augment(config.augment)
    images = load_fitted(splits.dataset, records, config.preprocess)

    def augmented(epoch: int) -> NDArray[np.uint8]:
        return np.stack([augment(image, sample_seed(config.seed, epoch, index)) for index, image in enumerate(images)])

    columns = [images, *(augmented(epoch) for epoch in range(1, DRAWS + 1))]
    mixed = {}
    for kind in MIXED:
        if getattr(config.train, kind):
            first = len(columns)
            epochs = range(first, first + MIXED_DRAWS)
            columns += [_mixed(augmented(epoch), kind, config.seed, epoch) for epoch in epochs]
            mixed[kind] = range(first + 1, len(columns) + 1)
    rows = [np.concatenate([_framed(image) for image in row], axis=1) for row in zip(*columns, strict=True)]
    encoded = cv2.imencode(".png", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))[1]
    with new_file(out) as file:
        file.write(encoded.tobytes())
    return Sheet(len(rows), mixed)


def _mixed(images: NDArray[np.uint8], kind: str, seed: int, epoch: int) -> NDArray[np.uint8]:
    """Mixes every image of a column with another image of the column. Training mixes only a share of the batch."""
    shares = {key: float(key == kind) for key in MIXED}
    pixels, _ = mix(torch.from_numpy(images), torch.eye(len(images)), **shares, seed=(seed, epoch))
    return pixels.numpy()


def _by_turns(records: list[Record], most: int) -> list[Record]:
    """At most ``most`` records: the first image of each class, then the second of each class, and so on."""
    counts: Counter[str] = Counter()
    ranked = []
    for record in records:
        counts[record.class_name] += 1
        ranked.append((counts[record.class_name], record))
    ranked.sort(key=lambda pair: pair[0])
    return [record for _, record in ranked[:most]]


def _framed(image: Image) -> Image:
    """The image with a white margin; it is enlarged by an integer factor if its side is below `_LEAST_SIDE` pixels."""
    times = -(-_LEAST_SIDE // len(image))
    large = image.repeat(times, axis=0).repeat(times, axis=1)
    return np.pad(large, ((_GAP, 0), (_GAP, 0), (0, 0)), constant_values=255)
