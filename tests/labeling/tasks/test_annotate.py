"""Reading the labels that `pelagia label submit` submits."""

import pytest

from pelagia.errors import InputError
from pelagia.sources import Listing, ListingOptions
from pelagia_labeling.tasks.annotate import _read_labels


def read(tmp_path, text, class_column="class", path_column=""):
    (tmp_path / "labels.csv").write_text(text)
    return _read_labels(tmp_path / "labels.csv", class_column, Listing(ListingOptions(path_column=path_column)))


def test_labels_are_read_without_their_images_and_without_missing_classes(tmp_path):
    text = "sep=;\nFile name;Class\nst1\\a.png; medusa \nb.png;NA\nc.png;copepod\n"
    assert read(tmp_path, text) == {"st1/a.png": "medusa", "c.png": "copepod"}


@pytest.mark.parametrize("rows", ["a.png,x\na.png,\n", "a.png,\na.png,x\n", "a.png,x\na.png,NA\n"])
def test_an_empty_class_beside_a_class_is_no_second_class(tmp_path, rows):
    assert read(tmp_path, f"path,class\n{rows}") == {"a.png": "x"}


def test_other_columns_may_hold_paths_and_classes(tmp_path):
    assert read(tmp_path, "crop,taxon,path\na.png,medusa,x\n", "taxon", "crop") == {"a.png": "medusa"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.png,x\n", "has no column 'class'; it has: path, label"),
        ("path,class\na.png,x\na.png,y\n", "line 3: 'a.png' has two classes, 'x' and 'y': correct one"),
        ("path,class\n,x\n", "line 2: the column 'path' is empty"),
    ],
)
def test_a_wrong_table_of_labels_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)
