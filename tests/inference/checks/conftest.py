"""Surveys without a model, for checks: drawn objects, and surveys of real images whose class is their label."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from pelagia.model.card import ModelCard
from pelagia.sources import Listing, list_images
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia.taxonomy import LabelClass, Taxon, Taxonomy

CLASSES = ("copepod", "diatom", "bubble")
CARD = ModelCard(
    name="drawn",
    created="2024-01-01",
    pelagia_version="0",
    taxonomy=Taxonomy(
        name="drawn",
        taxa=(Taxon(name="Copepoda", rank="class"),),
        classes=tuple(LabelClass(name=name, taxon="Copepoda" if name == "copepod" else None) for name in CLASSES),
    ),
    validation_confusion=(),
)


def _drawn(seed: int = 0, side: int = 90) -> np.ndarray:
    """A dark ellipse with texture on a gray background, uint8, H x W x 3; another seed gives another ellipse."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side), 160, np.float32)
    axes = tuple(int(value) for value in rng.integers(12, 30, 2))
    inside = cv2.ellipse(np.zeros_like(image), (side // 2, side // 2), axes, float(rng.integers(180)), 0, 360, 1, -1)
    texture = cv2.resize(rng.uniform(20, 110, (9, 9)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    image = cv2.GaussianBlur(np.where(inside > 0, texture, image), (0, 0), 0.8) + rng.normal(0, 1, image.shape)
    return cv2.cvtColor(np.clip(image, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)


def _survey(folder: Path, inputs: list[Path], name_of: Callable[..., str], classes: tuple[str, ...]) -> Path:
    images = list(list_images(inputs, Listing()))
    origin = json.dumps([str(path.absolute()) for path in inputs])
    with Survey.open_for_writing(
        folder, model_sha256="f" * 64, classes=classes, settings={}, origin=origin, model=CARD.model_dump_json()
    ) as survey:
        survey.add(
            Prediction(
                image.path,
                str(image.file),
                sha256_of(image.read()),
                probabilities=np.eye(len(classes), dtype=np.float32)[classes.index(name_of(image))],
                columns=dict(image.columns),
            )
            for image in images
        )
    return folder


@pytest.fixture
def drawn() -> Callable[..., np.ndarray]:
    return _drawn


@pytest.fixture
def drawn_survey(tmp_path: Path) -> Callable[..., Path]:
    """Writes images (name -> pixels) with their columns as a folder, and makes a survey of it."""

    def make(images: Mapping[str, np.ndarray], columns: Mapping[str, Mapping[str, str]], name: str = "copepod") -> Path:
        root = tmp_path / "images"
        root.mkdir()
        header = list(dict.fromkeys(key for row in columns.values() for key in row))
        lines = [",".join(["path", *header])]
        for path, pixels in images.items():
            cv2.imwrite(str(root / path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
            lines.append(",".join([path, *(columns[path].get(key, "") for key in header)]))
        (root / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return _survey(tmp_path / "survey", [root / "manifest.csv"], lambda image: name, CLASSES)

    return make


@pytest.fixture
def survey_of(tmp_path: Path) -> Callable[..., Path]:
    """A survey of real inputs, all of one class."""
    return lambda *inputs: _survey(tmp_path / "survey", list(inputs), lambda image: CLASSES[0], CLASSES)
