"""`pelagia train CONFIG --show-augmentations FILE.png`: what training does to the images, to be looked at."""

from __future__ import annotations

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
from pelagia_training.fit.prepare import read_splits

DRAWS = 9
MIXED_DRAWS = 3
MIXED = ("mixup", "cutmix")
"""The keys of `train` that mix the images of a batch."""
MOST_ROWS = 16
_GAP = 4
_LEAST_SIDE = 96


@dataclass(frozen=True)
class Sheet:
    """What was drawn: the rows, in which the classes take turns, and the mixed columns by kind, counted from 1."""

    rows: int
    mixed: dict[str, range]


def show_augmentations(config: TrainConfig, out: Path) -> Sheet:
    """Writes ``out``, a PNG: in each row an image as it is fitted, then `DRAWS` of what the epochs make of it.

    Where the config has mixup or CutMix, `MIXED_DRAWS` columns of each follow, in which every image is mixed with that
    of another row.

    Raises:
        InputError: ``out`` exists, or is no .png.
        ConfigError, DatasetError: as in training.
    """
    if out.suffix.lower() != ".png":
        raise InputError(f"--show-augmentations writes a PNG: name it {out.with_suffix('.png')}")
    refuse_existing(out, "contact sheet")
    splits = read_splits(config.dataset, config.data.exclude, config.data.resplit)
    records = _by_turns(splits.train, MOST_ROWS)
    augment = build_augment(config.augment)
    images = load_fitted(splits.dataset, records, config.preprocess)

    def drawn(epoch: int) -> NDArray[np.uint8]:
        return np.stack([augment(one, sample_seed(config.seed, epoch, index)) for index, one in enumerate(images)])

    columns = [images, *(drawn(epoch) for epoch in range(1, DRAWS + 1))]
    mixed = {}
    for kind in MIXED:
        if getattr(config.train, kind):
            first = len(columns)
            columns += [_mixed(drawn(epoch), kind, config.seed, epoch) for epoch in range(first, first + MIXED_DRAWS)]
            mixed[kind] = range(first + 1, len(columns) + 1)
    rows = [np.concatenate([_framed(one) for one in row], axis=1) for row in zip(*columns, strict=True)]
    encoded = cv2.imencode(".png", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))[1]
    with new_file(out) as file:
        file.write(encoded.tobytes())
    return Sheet(len(rows), mixed)


def _mixed(images: NDArray[np.uint8], kind: str, seed: int, epoch: int) -> NDArray[np.uint8]:
    """Every image mixed with another of the column; in training it is a share of the batch."""
    shares = {one: float(one == kind) for one in MIXED}
    pixels, _ = mix(torch.from_numpy(images), torch.eye(len(images)), **shares, seed=(seed, epoch))
    return pixels.numpy()


def _by_turns(records: list[Record], most: int) -> list[Record]:
    """The first image of each class, then the second of each, and so on."""
    turns: dict[str, int] = {}
    ranked = []
    for record in records:
        turns[record.class_name] = turns.get(record.class_name, 0) + 1
        ranked.append((turns[record.class_name], record))
    ranked.sort(key=lambda pair: pair[0])
    return [record for _, record in ranked[:most]]


def _framed(image: Image) -> Image:
    """Enlarged by a whole number where it is small, in a white frame."""
    times = -(-_LEAST_SIDE // len(image))
    large = image.repeat(times, axis=0).repeat(times, axis=1)
    return np.pad(large, ((_GAP, 0), (_GAP, 0), (0, 0)), constant_values=255)
