from __future__ import annotations

from pathlib import Path

import pytest

from pelagia.errors import InputError
from pelagia_labeling.agreement.measure import measure
from pelagia_labeling.agreement.table import Rating, read_ratings, tabulate


def test_a_table_of_any_column_names_is_read_and_rows_without_a_class_are_counted(tmp_path: Path) -> None:
    table = tmp_path / "ratings.tsv"
    table.write_text("Image\tPerson\tLabel\tstation\na\tanna\tmedusa\tST1\na\tben\t\tST1\nb\tben\tcopepod\tST2\n")
    ratings, without = read_ratings(table, "station")
    assert ratings == [Rating("a", "anna", "medusa", "ST1"), Rating("b", "ben", "copepod", "ST2")]
    assert without == 1


@pytest.mark.parametrize(
    ("text", "group", "message"),
    [
        ("item,annotator\na,anna\n", "", "it has none of class, label"),
        ("item,annotator,class\n,anna,medusa\n", "", "line 2: the column 'item' is empty"),
        (
            "item,annotator,class,station\na,anna,medusa,1\n",
            "sation",
            "has no column 'sation' (did you mean 'station'?)",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, group: str, message: str) -> None:
    (tmp_path / "ratings.csv").write_text(text)
    with pytest.raises(InputError) as error:
        read_ratings(tmp_path / "ratings.csv", group)
    assert message in str(error.value)


def test_a_second_rating_of_the_same_person_is_a_repeat_and_not_another_person() -> None:
    looks = [("a", "anna", "medusa"), ("a", "ben", "medusa"), ("a", "anna", "copepod"), ("b", "ben", "copepod")]
    days = ["2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z", "2024-05-08T10:00:00Z", ""]
    ratings = tabulate(Rating(*look, made_at=day) for look, day in zip(looks, days, strict=True))
    found = measure(ratings)
    assert (found.images, found.shared) == (2, 1)
    assert found.pairwise.value == 1  # the first look counts
    (own,) = found.repeats
    assert (own.annotator, own.repeats, own.agreement.value, own.days) == ("anna", 1, 0.0, 7.0)
    assert own.changes == (("medusa", "copepod", 1),)
