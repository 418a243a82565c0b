"""Thumbnails are of the bytes that were pushed, and come from the cache or from the original."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pelagia.errors import StudioError
from pelagia.images.preprocess import ImageError
from pelagia.system.files import sha256_of
from pelagia_desk.pictures import LONGEST_SIDE, Pictures, Source, look_of
from pelagia_labeling.studio.connection import Address, Connection


def connected(root: Path) -> Connection:
    """A connection to a server that is down, with a document root that can be read."""
    return Connection(Address("http://127.0.0.1:1", "t", "x"), None, "a@b", "1", root)  # type: ignore[arg-type]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 600, 3), dtype=np.uint8)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    (tmp_path / "a.png").write_bytes(data)
    return Source(1, sha256_of(data), "a.png", "/a.png")


def test_a_thumbnail_is_made_once_and_then_comes_from_the_cache(tmp_path: Path, source: Source) -> None:
    pictures = Pictures(connected(tmp_path), tmp_path / "cache.sqlite")
    made = pictures.picture(source)
    assert (made.width, made.height) == (600, 300)
    assert cv2.imdecode(np.frombuffer(made.jpeg, np.uint8), 1).shape == (LONGEST_SIDE // 2, LONGEST_SIDE, 3)
    assert np.linalg.norm(made.look) == pytest.approx(1)
    (tmp_path / "a.png").unlink()
    pictures.close()
    again = Pictures(connected(tmp_path), tmp_path / "cache.sqlite")
    assert again.picture(source).jpeg == made.jpeg


def test_an_image_that_changed_or_lies_outside_the_document_root_is_not_shown(tmp_path: Path, source: Source) -> None:
    (tmp_path / "root").mkdir()
    pictures = Pictures(connected(tmp_path / "root"), tmp_path / "cache.sqlite")
    with pytest.raises(StudioError, match="another server"):
        pictures.picture(Source(1, source.sha256, "", "http://elsewhere/a.png"))
    assert pictures._from_disk("../a.png") is None
    (tmp_path / "root" / "a.png").write_bytes((tmp_path / "a.png").read_bytes() + b"x")
    with pytest.raises(ImageError, match="changed"):
        pictures.picture(source)


def test_a_damaged_cache_is_replaced(tmp_path: Path, source: Source) -> None:
    (tmp_path / "cache.sqlite").write_bytes(b"no database" * 100)
    assert Pictures(connected(tmp_path), tmp_path / "cache.sqlite").picture(source).width == 600


def test_similar_crops_have_similar_looks() -> None:
    rng = np.random.default_rng(0)

    def crop(axes: tuple[int, int]) -> np.ndarray:
        pixels = np.full((60, 60, 3), 220, np.uint8)
        cv2.ellipse(pixels, (30, 30), axes, 0, 0, 360, (60, 60, 60), -1)
        return np.clip(pixels + rng.integers(-10, 10, pixels.shape), 0, 255).astype(np.uint8)

    round_one, round_two, long_one = (look_of(crop(axes)) for axes in ((20, 20), (19, 20), (26, 5)))
    assert round_one @ round_two > 0.98 > round_one @ long_one
