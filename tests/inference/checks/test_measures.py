"""Outlines, sharpness and clipping of drawn objects whose truth is known, and of real ones."""

import csv

import cv2
import numpy as np
import pytest

from pelagia.images.preprocess import decode
from pelagia.sources import Listing, list_images
from pelagia_inference.checks.clipping import CLIPPED, contact_of
from pelagia_inference.checks.measure import measure
from pelagia_inference.checks.outline import gray_of, outline_of, without_legend
from pelagia_inference.checks.shape import feret
from pelagia_inference.checks.sharpness import sharpness_of


def disk(radius=30, side=100, level=60, background=180, blur=1.0, noise=1.0, slope=0.0):
    """A gray image, float32, with a disk on a background that may have a slope."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    inside = np.hypot(x - side / 2, y - side / 2) <= radius
    image = np.where(inside, level, background).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), blur) + slope * x
    return np.clip(image + np.random.default_rng(0).normal(0, noise, image.shape), 0, 255).astype(np.float32)


@pytest.mark.parametrize("level", [20, 120, 250])
@pytest.mark.parametrize("slope", [0.0, 0.4])
def test_an_object_that_is_darker_or_brighter_than_its_background_has_its_area(level, slope):
    found = outline_of(disk(level=level, slope=slope, blur=0.7))
    assert found.area == pytest.approx(np.pi * 30**2, rel=0.09)


def test_a_ring_is_measured_with_what_it_encloses():
    image = disk()
    image[disk(radius=20) < 120] = 180
    assert outline_of(image).area == pytest.approx(np.pi * 30**2, rel=0.1)


def test_without_an_object_there_is_no_outline():
    plain = np.full((50, 60), 170, np.float32) + np.random.default_rng(0).normal(0, 1, (50, 60)).astype(np.float32)
    assert outline_of(plain) is None
    assert set(measure(cv2.cvtColor(plain.astype(np.uint8), cv2.COLOR_GRAY2RGB))[0]) == {"sharpness"}


@pytest.mark.parametrize("blur", [1.5, 2.0, 3.0])
def test_the_sharpness_is_one_over_the_width_of_the_edges_whatever_contrast_and_size(blur):
    found = [
        sharpness_of(image, outline_of(image))
        for image in (disk(blur=blur, noise=0), disk(blur=blur, noise=0, level=140), disk(40, 120, blur=blur, noise=0))
    ]
    assert found == pytest.approx([1 / blur] * 3, rel=0.15)


def test_an_image_without_any_gradient_has_no_sharpness():
    assert sharpness_of(np.full((20, 20), 7, np.float32), None) is None


def test_a_tight_crop_is_told_apart_from_an_object_that_is_cut_off():
    image = disk()
    assert contact_of(outline_of(image[18:82, 18:82])) < CLIPPED  # the disk spans 20..80
    assert contact_of(outline_of(image[30:, :])) >= CLIPPED
    assert contact_of(outline_of(image[:, :60])) >= CLIPPED
    assert contact_of(outline_of(image)) == 0


def test_the_legend_of_a_vignette_is_not_the_object():
    image = np.full((140, 120), 255, np.float32)
    image[40:70, 40:80] = 235  # faint
    image[-6:-4, 8:110] = 0
    image[-17:-9, 8:30:3] = 0
    assert outline_of(without_legend(image)).area == pytest.approx(1200, rel=0.1)
    assert without_legend(image[:100]).shape == (100, 120)


def test_area_and_length_agree_with_those_of_zooprocess(data_root):
    table = next((data_root / "ecotaxa_export").glob("*.tsv"))
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))[1::8]
    areas, lengths = [], []
    for row in rows:
        image = decode((table.parent / row["img_file_name"]).read_bytes())
        found = outline_of(without_legend(gray_of(image)))
        areas.append(found.area / float(row["object_area"]))
        lengths.append(feret(found.points)[0] / float(row["object_feret"]))
    assert np.mean(np.abs(np.array(areas) - 1) < 0.2) > 0.9
    assert np.median(areas) == pytest.approx(1, abs=0.06)
    assert np.median(lengths) == pytest.approx(1, abs=0.02)


def test_the_organisms_that_the_camera_cut_off_are_found_in_a_real_bin(data_root):
    """Seen by eye: of the 17 images of the bin, three are cut off by the lower edge of the camera's view."""
    clipped = [
        image.columns["target"]
        for image in list_images([data_root / "ifcb" / "smhi"], Listing())
        if measure(decode(image.read()))[0]["contact"] >= CLIPPED
    ]
    assert clipped == ["7", "8", "12"]
