"""The size of a pixel from the columns of a survey."""

import pytest

from pelagia.images.pixel_size import pixel_size_um


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, 0.0),
        ({"pixel_size_um": "3.4"}, 3.4),
        ({"pixel_size_mm": "0.0106"}, 10.6),
        ({"pixel_size_um": "", "pixel_size_mm": "0.002"}, 2.0),
        ({"pixel_size_um": "unknown"}, 0.0),
        ({"pixel_size_um": "nan"}, 0.0),
        ({"pixel_size_um": "inf"}, 0.0),
        ({"pixel_size_um": "-1"}, 0.0),
        ({"pixel_size_um": "0"}, 0.0),
        ({"pixel_size_um": "3,4"}, 3.4),
        ({"pixel_size_um": "99999"}, 0.0),
        ({"pixel_size_um": "1e400"}, 0.0),
    ],
)
def test_the_first_column_with_a_usable_number_counts(columns: dict[str, str], expected: float) -> None:
    assert pixel_size_um(columns) == pytest.approx(expected)
