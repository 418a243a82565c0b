"""Formulas against analytic solids, and against the published values of other programs."""

import math

import cv2
import numpy as np
import pytest

from pelagia_inference.checks.outline import Outline
from pelagia_inference.checks.shape import (
    axes_of,
    distance_map_volume,
    equivalent_diameter,
    feret,
    rotational_solid,
    sphere_volume,
    volume_of,
)
from pelagia_inference.counts.cells import carbon_pg


def ellipse(major, minor, angle=0.0, side=400):
    """An outline of an ellipse with these full axes: pixels whose center is inside."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    turn = math.radians(angle)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    return outline((along / (major / 2)) ** 2 + (across / (minor / 2)) ** 2 <= 1)


def rectangle(length, width, angle=0.0, side=400):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    turn = math.radians(angle)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    return outline((np.abs(along) <= length / 2) & (np.abs(across) <= width / 2))


def outline(inside):
    mask = inside.astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return Outline(mask, mask, max(contours, key=len)[:, 0])


@pytest.mark.parametrize("angle", [0, 17, 45, 90])
def test_a_sphere_a_prolate_spheroid_and_a_cylinder_have_their_volumes(angle):
    assert volume_of(ellipse(120, 120, angle)) == pytest.approx(math.pi / 6 * 120**3, rel=0.01)
    assert volume_of(ellipse(240, 80, angle)) == pytest.approx(math.pi / 6 * 240 * 80**2, rel=0.01)
    assert volume_of(rectangle(200, 60, angle)) == pytest.approx(math.pi / 4 * 200 * 60**2, rel=0.02)


def test_the_rotational_solid_does_not_depend_on_the_direction_of_the_object():
    objects = [ellipse(200, 70, angle) for angle in range(0, 180, 13)]
    volumes = [rotational_solid(one.mask, axes_of(one.mask).direction) for one in objects]
    assert max(volumes) / min(volumes) < 1.01


@pytest.mark.parametrize(("length", "width"), [(300, 30), (300, 60)])
def test_the_distance_map_gives_the_volume_of_a_long_cylinder(length, width):
    solid = math.pi / 4 * length * width**2
    assert distance_map_volume(rectangle(length, width).mask) == pytest.approx(solid, rel=0.12)


def test_the_distance_map_is_as_in_a_calculation_by_hand():
    # a square of 3 pixels: eight perimeter pixels with distance 1, and the middle with 2; mean 10/9, x = 22/9
    transect = 4 * 10 / 9 - 2
    expected = transect**2 / (transect**2 + 2 * transect + 0.5) * math.pi * 10
    assert distance_map_volume(np.ones((3, 3), np.uint8)) == pytest.approx(expected, rel=1e-6)


def test_a_branched_outline_is_measured_with_the_distance_map():
    cross = outline(np.maximum(rectangle(300, 20).mask, rectangle(300, 20, 90).mask))
    assert volume_of(cross) == distance_map_volume(cross.mask)
    arms = math.pi / 4 * 20**2 * (2 * 300 - 20)
    assert volume_of(cross) == pytest.approx(arms, rel=0.15)
    assert rotational_solid(cross.mask, axes_of(cross.mask).direction) > 3 * arms  # it would be a disk


def test_a_tiny_object_is_a_sphere():
    assert volume_of(outline(np.ones((6, 7), bool))) == pytest.approx(sphere_volume(equivalent_diameter(42)))


def test_length_and_width_are_those_of_the_object_at_any_angle():
    for angle in (0, 30, 45, 73):
        length, width = feret(rectangle(200, 60, angle).points)
        assert length == pytest.approx(math.hypot(200, 60), abs=2.5)
        assert width == pytest.approx(60, abs=2.5)
        length, width = feret(ellipse(240, 80, angle).points)
        assert (length, width) == (pytest.approx(240, abs=2), pytest.approx(80, abs=2))


def test_a_line_of_pixels_has_a_length_and_a_width_of_one():
    assert feret(np.array([[3, 4], [9, 4]], np.int32)) == (7, 1)


def test_carbon_is_as_the_documentation_of_irfcb_prints_it():
    # the R package iRfcb (github.com/EuropeanIFCBGroup/iRfcb), documentation of vol2C_lgdiatom and vol2C_nondiatom
    assert [carbon_pg(v, is_diatom=True) for v in (5000, 10000, 20000)] == pytest.approx(
        [211.7350, 389.9420, 718.1372], abs=1e-3
    )
    assert [carbon_pg(v, is_diatom=False) for v in (5000, 10000)] == pytest.approx([643.1804, 1233.1048], abs=1e-3)


def test_carbon_is_as_the_abstract_of_menden_deuer_and_lessard_states_it():
    assert carbon_pg(1000, is_diatom=False) == pytest.approx(0.216 * 1000**0.939, rel=0.002)
    assert carbon_pg(1000, is_diatom=True) == pytest.approx(0.288 * 1000**0.811)
    assert carbon_pg(0, is_diatom=True) == 0
