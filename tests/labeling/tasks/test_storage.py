"""Storing an image for the labeling page, without a server."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from encoders.image_kinds import samples
from encoders.tiff_writer import Page, tiff
from pelagia.images.remarks import LOW_VALUES
from pelagia.sources import SourceImage
from pelagia_labeling.tasks.storage import store_image


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "project"
    folder.mkdir(parents=True)
    return folder


def test_a_remark_on_an_image_is_kept_for_the_report(tmp_path: Path, store: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(Page(samples(1, 12), bits=16)))
    (tmp_path / "b.tif").write_bytes(tiff(Page(samples(1, 12), bits=16, tags={281: [4095]})))
    stored = [store_image(SourceImage(name, tmp_path / name), store, "x") for name in ("a.tif", "b.tif")]
    assert [(image.fault, image.remark) for image in stored] == [("", LOW_VALUES[4095]), ("", "")]
    shown = [cv2.imread(str(file)) for file in sorted(store.rglob("*.shown.png"))]
    assert sorted(int(image.max()) for image in shown) == [16, 255]


def test_a_jpeg_of_another_ending_is_shown_as_png(tmp_path: Path, store: Path, encode) -> None:
    (tmp_path / "a.jfif").write_bytes(encode("JPEG"))
    stored = store_image(SourceImage("a.jfif", tmp_path / "a.jfif"), store, "x")
    assert stored.data["image"].endswith(".shown.png")
