from __future__ import annotations

import re

import pytest

from pelagia.errors import InputError
from pelagia_labeling.sheets.shown import scale_bar, show_sheet
from pelagia_labeling.tasks.storage import StoredImage


def crop(width: int, height: int, pixel_size: str = "") -> StoredImage:
    data = {"image": "/data/a.png"} | ({"pixel_size_um": pixel_size} if pixel_size else {})
    return StoredImage("a.png", "ab", data, width=width, height=height)


def shown_size(html: str) -> tuple[int, int]:
    found = re.search(r"<img [^>]*width:(\d+)px;height:(\d+)px", html)
    assert found
    return int(found[1]), int(found[2])


@pytest.mark.parametrize(
    ("zoom", "unit", "bar"),
    [(1.0, 2.0, (50, "100 µm")), (0.5, 0.0, (50, "100 px")), (0.2, 10.0, (40, "2 mm")), (3.0, 0.5, (60, "10 µm"))],
)
def test_a_scale_bar_is_as_long_as_it_says(zoom: float, unit: float, bar: tuple[int, str]) -> None:
    assert scale_bar(zoom, unit) == bar


def test_crops_fill_their_places_or_are_true_to_each_other() -> None:
    images = [crop(100, 100, "4"), crop(200, 100, "1")]
    filled = [shown_size(html) for html in show_sheet(images, {}, true_size=False)]
    assert filled == [(104, 104), (126, 63)]
    # 400 and 200 micrometers wide: the first is twice as wide on the page.
    assert [shown_size(html) for html in show_sheet(images, {}, true_size=True)] == [(104, 104), (52, 26)]


def test_true_sizes_need_the_size_of_a_pixel_of_all_crops_or_of_none() -> None:
    with pytest.raises(InputError, match="known for 1 of 2 crops of a sheet"):
        show_sheet([crop(10, 10, "4"), crop(10, 10)], {}, true_size=True)
    assert len(show_sheet([crop(10, 10), crop(20, 10)], {}, true_size=True)) == 2
