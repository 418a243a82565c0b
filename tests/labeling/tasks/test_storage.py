"""Storing an image for the labeling page, without a server."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from PIL import Image

from encoders.image_kinds import samples
from encoders.tiff_writer import Page, tiff
from pelagia.images.remarks import LOW_VALUES
from pelagia.sources import SourceImage, list_images
from pelagia_labeling.tasks.caption import with_prelabel
from pelagia_labeling.tasks.prelabels import Prelabel
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


def test_the_caption_has_size_place_and_what_the_model_says(tmp_path: Path, store: Path, encode) -> None:
    (tmp_path / "a.png").write_bytes(encode("PNG"))
    columns = {"station": "ST 4", "pixel_size_um": "2.5", "sample": "7", "image_caption": "theirs"}
    data = store_image(SourceImage("a.png", tmp_path / "a.png", columns), store, "x").data
    height, width = cv2.imread(str(tmp_path / "a.png")).shape[:2]
    size = f"{width} x {height} px \u00b7 {width * 2.5:.3g} x {height * 2.5:.3g} \u00b5m"
    assert data["image_caption"] == f"{size} \u00b7 station ST 4"
    assert data["survey_image_caption"] == "theirs"
    assert with_prelabel("8 x 8 px", Prelabel("medusa", 0.834)) == "8 x 8 px \u00b7 model: medusa 0.83"
    assert with_prelabel("8 x 8 px", Prelabel("egg", 0.4, False)) == "8 x 8 px \u00b7 model: not sure (egg 0.40)"


def test_a_jpeg_of_another_ending_is_shown_as_png(tmp_path: Path, store: Path, encode) -> None:
    (tmp_path / "a.jfif").write_bytes(encode("JPEG"))
    stored = store_image(SourceImage("a.jfif", tmp_path / "a.jfif"), store, "x")
    assert stored.data["image"].endswith(".shown.png")


def test_a_particle_of_a_flowcam_is_stored_as_a_picture_that_a_browser_shows(tmp_path: Path) -> None:
    run = tmp_path / "201-1"
    run.mkdir()
    collage = Image.effect_noise((90, 60), 50)
    collage.save(run / "201-1_000001.tif")
    fields = ("id", "collage_file", "image_x", "image_y", "image_w", "image_h")
    lines = ["017", "num-fields|6", *(f"{name}|int32" for name in fields), "1|201-1_000001.tif|4|6|50|40"]
    (run / "201-1.lst").write_text("\n".join(lines) + "\n")
    (image,) = list_images([run])
    (tmp_path / "project").mkdir()
    stored = store_image(image, tmp_path / "project", "201-1")
    assert stored.fault == ""
    (shown,) = (tmp_path / "project").rglob("*.shown.png")
    with Image.open(shown) as picture:
        assert picture.convert("L").tobytes() == collage.crop((4, 6, 54, 46)).tobytes()


@pytest.mark.parametrize("cut", ["50|6|50|40", "4|30|50|40"])
def test_a_particle_outside_its_collage_is_not_stored(tmp_path: Path, cut: str) -> None:
    Image.new("L", (90, 60)).save(tmp_path / "r_000001.tif")
    fields = ("id", "collage_file", "image_x", "image_y", "image_w", "image_h")
    lines = ["017", "num-fields|6", *(f"{name}|int32" for name in fields), f"1|r_000001.tif|{cut}"]
    (tmp_path / "r.lst").write_text("\n".join(lines) + "\n")
    (image,) = list_images([tmp_path / "r.lst"])
    assert "outside its collage" in store_image(image, tmp_path / "project", "r").fault
