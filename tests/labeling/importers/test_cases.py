"""Tables that people have, as the shared cases hold them: each gives the images and classes that were meant."""

import pytest

from pelagia.dataset.schema import Dataset
from pelagia.errors import InputError
from pelagia.sources import Listing, list_images
from pelagia_labeling.importers.dataset import import_dataset

CLASSES = {"copepod", "ceratium", "diatom"}


@pytest.fixture
def imported(tmp_path):
    """Imports a folder with a table, without a look for near-duplicates."""

    def imported(src, manifest, **options) -> Dataset:
        return import_dataset(
            src, tmp_path / "ds" / manifest.name, manifest=manifest, join_near_duplicates=False, **options
        )

    return imported


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("C01", ["img/manifest.csv", "m.csv"]),
        ("C03", ["img/manifest.csv"]),
        ("C04", ["img/manifest.csv"]),
        ("C05", ["img/manifest.csv", "img/quoted.csv"]),
        ("C06", ["img/Filename.csv", "img/file.csv", "img/file_name.csv", "img/filename.csv", "img/filepath.csv"]),
        ("C06", ["img/image.csv", "img/image_path.csv", "img/img_file_name.csv"]),
        ("C08", ["img/manifest.tsv", "img/manifest.txt", "img/utf16.csv"]),
        ("C10", ["img/manifest.csv"]),
        ("C12", ["img/manifest.csv", "img/lead.csv"]),
    ],
)
def test_a_table_of_24_images_is_listed_and_imported_whole(case, imported, name, tables):
    folder = case(name)
    for table in tables:
        if table.startswith("img/"):
            assert len([image.read() for image in list_images([folder / table])]) == 24
        made = imported(folder / "img", folder / table, group_column="station")
        assert set(made.class_names) == CLASSES
        assert len(made.records) == 24
        assert made.meta.left_out == {}


def test_notes_with_quotes_keep_them(case, imported):
    folder = case("C12")
    made = [
        imported(folder / "img", folder / "img" / name).records[0].extra["note"]
        for name in ("manifest.csv", "lead.csv")
    ]
    assert made == ['5" net', '"Tara" leg 2']


@pytest.mark.parametrize("table", ["m.csv", "m_nan.csv"])
def test_na_is_no_class_and_no_group(case, imported, table):
    folder = case("C02")
    made = imported(folder / "img", folder / table, group_column="station")
    assert set(made.class_names) == CLASSES
    assert set(made.meta.left_out) == {"no_class", "no_group"}
    assert len(made.records) + sum(made.meta.left_out.values()) == 24
    assert "NA" not in {record.group for record in made.records}


@pytest.mark.parametrize("table", ["ls.csv", "ls.json", "ls_local.csv"])
def test_label_studios_own_exports_are_imported(case, imported, table):
    folder = case("C13")
    made = imported(folder / "img", folder / table)
    assert set(made.class_names) == CLASSES
    assert len(made.records) == 24


def test_names_that_differ_are_said(case):
    for name, words in (("C03", "Unicode form"), ("C04", "case or the Unicode form"), ("C05", "last parts")):
        listing = Listing()
        assert len(list(list_images([case(name) / "img" / "manifest.csv"], listing))) == 24
        assert any(words in text and "(24 times)" in text for text in listing.warning_texts())


def test_a_table_whose_images_are_elsewhere_is_refused_with_the_cause(case):
    folder = case("C05")
    (folder / "img" / "manifest.csv").rename(folder / "empty.csv")
    for image in (folder / "img").glob("*.jpg"):
        image.unlink()
    with pytest.raises(InputError, match="none of the 24 images exists; the first is 'C:.*a path of another computer"):
        list(list_images([folder / "empty.csv"]))


def test_spellings_of_classes_are_warned_of_and_unicode_forms_joined(case, tmp_path):
    folder = case("B05")
    unicode = import_dataset(folder / "unicode", tmp_path / "unicode", join_near_duplicates=False)
    assert unicode.class_names == ("Ceratium", "détritus")
    spelled = import_dataset(folder / "case", tmp_path / "case", join_near_duplicates=False)
    assert "to merge them, import again with --rename " in spelled.meta.warnings[0]
