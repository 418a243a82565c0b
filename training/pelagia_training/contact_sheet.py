"""`pelagia train CONFIG --show-augmentations FILE.png`: what training does to the images, to be looked at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pelagia.dataset import Record
from pelagia.errors import InputError
from pelagia.files import new_file, refuse_existing
from pelagia.preprocess import Image
from pelagia_training.augment import build_augment, sample_seed
from pelagia_training.begin import read_splits
from pelagia_training.config import TrainConfig
from pelagia_training.data import load_fitted

DRAWS = 9
MOST_ROWS = 16
_GAP = 4
_LEAST_SIDE = 96


def show_augmentations(config: TrainConfig, out: Path) -> int:
    """Writes ``out``, a PNG: in each row an image as it is fitted, then `DRAWS` of what the epochs make of it.

    Returns:
        The number of rows; the classes take turns.

    Raises:
        InputError: ``out`` exists, or is no .png.
        ConfigError, DatasetError: as in training.
    """
    if out.suffix.lower() != ".png":
        raise InputError(f"--show-augmentations writes a PNG: name it {out.with_suffix('.png')}")
    refuse_existing(out, "contact sheet")
    splits = read_splits(config, processes=1)
    records = _by_turns(splits.train, MOST_ROWS)
    augment = build_augment(config.augment)
    rows = []
    for index, image in enumerate(load_fitted(splits.dataset, records, config.preprocess)):
        draws = [augment(image, sample_seed(config.seed, epoch, index)) for epoch in range(1, DRAWS + 1)]
        rows.append(np.concatenate([_framed(one) for one in (image, *draws)], axis=1))
    encoded = cv2.imencode(".png", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))[1]
    with new_file(out) as file:
        file.write(encoded.tobytes())
    return len(rows)


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
