import pytest

from pelagia.dataset.check import check
from pelagia.errors import InputError
from pelagia.sources import Listing
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_labeling.importers.manifest import CLASS_COLUMNS, from_manifest


@pytest.fixture
def labelled(tmp_path, put):
    """Six images and a manifest of them; gives (folder, manifest)."""

    def labelled(text, count=6):
        for at in range(count):
            put(tmp_path / "src" / f"{at}.png", seed=at)
        (tmp_path / "m.csv").write_text(text, encoding="utf-8")
        return tmp_path / "src", tmp_path / "m.csv"

    return labelled


@pytest.mark.parametrize("column", ["class", "label", "category"])
def test_the_usual_names_of_a_label_column_are_known(labelled, column):
    src, manifest = labelled(f"path,{column},station\n0.png,copepod,S1\n1.png,medusa,S2\n")
    found = from_manifest(src, manifest, "station", None, Listing())
    assert [(candidate.class_name, candidate.group) for candidate in found.candidates] == [
        ("copepod", "S1"),
        ("medusa", "S2"),
    ]


def test_other_columns_are_kept_with_names_that_the_dataset_does_not_use(labelled, tmp_path):
    src, manifest = labelled("path,label,station,source,split\n0.png,copepod,S1,net,old\n")
    (record,) = import_dataset(src, tmp_path / "ds", manifest=manifest, group_column="station").records
    assert record.extra == {"station": "S1", "survey_source": "net", "survey_split": "old"}
    assert (record.group, record.source) == ("S1", "0.png")


def test_spaces_around_a_label_or_a_group_do_not_make_another(labelled):
    src, manifest = labelled("path,label,station\n0.png,copepod ,S1\n1.png,copepod, S1 \n")
    found = from_manifest(src, manifest, "station", None, Listing())
    assert {(candidate.class_name, candidate.group) for candidate in found.candidates} == {("copepod", "S1")}


def test_rows_without_a_label_are_counted_and_left_out(labelled, tmp_path):
    src, manifest = labelled("path,label\n0.png,copepod\n1.png,\n2.png, \n")
    assert import_dataset(src, tmp_path / "ds", manifest=manifest).meta.left_out == {"no_class": 2}


def test_an_image_without_a_group_is_left_out_and_counted(labelled):
    src, manifest = labelled("path,label,station\n0.png,copepod,\n1.png,copepod,S1\n")
    found = from_manifest(src, manifest, "station", None, Listing())
    assert [candidate.source for candidate in found.candidates] == ["1.png"]
    assert found.left_out == {"no_group": 1}


def test_the_edited_manifest_of_a_dataset_keeps_groups_annotators_and_licence(class_folders, tmp_path):
    first = import_dataset(class_folders, tmp_path / "first", licence="CC-BY-4.0")
    edited = tmp_path / "first" / "manifest.csv"
    again = import_dataset(tmp_path / "first", tmp_path / "again", manifest=edited)
    assert again.meta.split.group_column == "group"
    assert {(record.sha256, record.group, record.source, record.licence, record.split) for record in again.records} == {
        (record.sha256, record.group, record.source, record.licence, record.split) for record in first.records
    }
    assert all(record.extra == {} for record in again.records)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"group_column": "staton"},
            " has no column 'staton' (did you mean 'station'?) (--group-column); it has: name, station",
        ),
        (
            {"class_column": "nam"},
            " has no column 'nam' (did you mean 'name'?) (--class-column); it has: name, station",
        ),
        (
            {},
            f" has no column of labels ({', '.join(CLASS_COLUMNS)}): name it with --class-column; "
            "it has: name, station",
        ),
    ],
)
def test_a_column_that_the_manifest_lacks_is_refused(labelled, tmp_path, options, message, fault):
    src, manifest = labelled("path,name,station\n0.png,copepod,S1\n")
    assert fault(InputError, src, tmp_path / "ds", manifest=manifest, **options) == f"{manifest}{message}"


def test_a_missing_image_of_the_manifest_is_counted(labelled, tmp_path):
    src, manifest = labelled("path,label\n0.png,copepod\nno.png,copepod\n")
    made = import_dataset(src, tmp_path / "ds", manifest=manifest)
    assert made.meta.left_out == {"missing": 1}


def test_the_manifest_of_a_dataset_makes_a_new_version(class_folders, tmp_path):
    first = import_dataset(class_folders, tmp_path / "1")
    text = (tmp_path / "1" / "manifest.csv").read_text().replace(",medusa,", ",jelly,")
    (tmp_path / "edited.csv").write_text(text)
    second = import_dataset(first.root, tmp_path / "2", manifest=tmp_path / "edited.csv", group_column="group")
    assert second.class_names == ("copepod", "jelly")
    assert {record.sha256 for record in second.records} == {record.sha256 for record in first.records}
    assert check(second.root) == []
