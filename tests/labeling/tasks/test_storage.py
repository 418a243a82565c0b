"""Images that are stored for a Label Studio project, without a server."""

import pytest
from PIL import Image

from pelagia.sources import list_images
from pelagia_labeling.tasks.storage import store_image


def test_a_particle_of_a_flowcam_is_stored_as_a_picture_that_a_browser_shows(tmp_path):
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
def test_a_particle_outside_its_collage_is_not_stored(tmp_path, cut):
    Image.new("L", (90, 60)).save(tmp_path / "r_000001.tif")
    fields = ("id", "collage_file", "image_x", "image_y", "image_w", "image_h")
    lines = ["017", "num-fields|6", *(f"{name}|int32" for name in fields), f"1|r_000001.tif|{cut}"]
    (tmp_path / "r.lst").write_text("\n".join(lines) + "\n")
    (image,) = list_images([tmp_path / "r.lst"])
    assert "outside its collage" in store_image(image, tmp_path / "project", "r").fault
