"""A split that a source was published with is kept when asked for, and else mentioned."""

import cv2
import numpy as np
import pytest

from pelagia.dataset.check import check
from pelagia.errors import DatasetError, InputError
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_labeling.importers.published_split import PublishedSplit

KEEP = PublishedSplit(column="split")


@pytest.fixture
def published(tmp_path, put):
    """Makes images and a manifest with one row for each split given; returns (folder, manifest)."""

    def published(*splits, column="split", stations=None):
        lines = [f"path,label,station,{column}"]
        for at, split in enumerate(splits):
            put(tmp_path / "src" / f"{at}.png", seed=at)
            lines.append(f"{at}.png,{'ab'[at % 2]},{stations[at] if stations else at},{split}")
        (tmp_path / "m.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path / "src", tmp_path / "m.csv"

    return published


SPLITS = ("train", "train", "val", "val", "test", "test")


def test_a_split_column_is_kept_when_asked_for(published, tmp_path):
    src, manifest = published("Train", "training", "valid", "VALIDATION", " test", "testing")
    made = import_dataset(src, tmp_path / "ds", manifest=manifest, published=KEEP)
    by_source = {record.source: record.split for record in made.records}
    assert by_source == {f"{at}.png": split for at, split in enumerate(SPLITS)}
    assert (made.meta.split.method, made.meta.split.split_column, made.meta.warnings) == ("published", "split", ())


@pytest.mark.parametrize("column", ["split", "subset"])
def test_a_split_column_that_is_not_asked_for_is_mentioned(published, tmp_path, column):
    src, manifest = published(*SPLITS, column=column)
    assert import_dataset(src, tmp_path / "ds", manifest=manifest).meta.warnings == (
        f"the column '{column}' holds a split (train 2, val 2, test 2): it is not used, and new splits are made; keep "
        "it "
        f"with --split-column {column}",
    )


def test_a_column_with_other_values_is_not_taken_for_a_split(published, tmp_path):
    src, manifest = published("train", "test", "net", "", "", "")
    assert import_dataset(src, tmp_path / "ds", manifest=manifest).meta.warnings == ()


def test_rows_without_a_split_are_left_out_and_counted(published, tmp_path):
    src, manifest = published("train", "train", "val", "test", "", " ")
    made = import_dataset(src, tmp_path / "ds", manifest=manifest, published=KEEP)
    assert (made.meta.images, made.meta.left_out) == (4, {"no_split": 2})


def test_values_that_are_no_split_are_refused(published, tmp_path, fault):
    src, manifest = published("train", "holdout", "holdout", "test", "x", "val")
    assert fault(InputError, src, tmp_path / "ds", manifest=manifest, published=KEEP) == (
        "the column 'split' has values that are not the name of a split: 'holdout' (2 images), 'x' (1 images); write "
        "train, val or test, or leave --split-column out"
    )


def test_a_column_that_is_not_there_is_refused(published, tmp_path, fault):
    src, manifest = published(*SPLITS)
    wrong = PublishedSplit(column="splt")
    assert fault(InputError, src, tmp_path / "ds", manifest=manifest, published=wrong) == (
        "there is no column 'splt' (did you mean 'split'?) (--split-column); the columns are: split, station"
    )


def test_a_column_without_any_value_is_refused(published, tmp_path, fault):
    src, manifest = published("", "", "")
    assert fault(DatasetError, src, tmp_path / "ds", manifest=manifest, published=KEEP) == (
        "no image has a value in the column 'split': leave --split-column out"
    )


def test_groups_in_two_published_splits_are_warned_of_and_are_no_damage(published, tmp_path):
    src, manifest = published(*SPLITS, stations=["S1", "S2", "S1", "S3", "S4", "S2"])
    made = import_dataset(src, tmp_path / "ds", manifest=manifest, group_column="station", published=KEEP)
    assert made.meta.warnings == (
        "the published split has 2 groups with images in two splits: S1, S2; test metrics will be too optimistic; "
        "import "
        "without the published split to keep each group in one split",
    )
    assert check(made.root) == []


def test_near_duplicates_and_copies_in_two_published_splits_are_warned_of(published, tmp_path):
    src, manifest = published(*SPLITS)
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    picture = cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(src / "0.png"), picture)
    cv2.imwrite(str(src / "4.png"), cv2.convertScaleAbs(picture, alpha=0.95))
    (src / "3.png").write_bytes((src / "1.png").read_bytes())
    made = import_dataset(src, tmp_path / "ds", manifest=manifest, published=KEEP)
    copies, alike = made.meta.warnings
    assert copies == (
        "the published split has 1 exact copies of an image in two splits, such as 3.png: the first copy is kept, and "
        "dropped.csv lists the others"
    )
    assert alike == (
        "the published split has 1 pairs of images that look the same in two splits, such as 0.png and 4.png "
        "(near_duplicates.csv): test metrics will be too optimistic; import without the published split to put each "
        "pair "
        "into one split"
    )
    assert (made.root / "near_duplicates.csv").is_file()
    assert [record.split for record in made.records] == ["train", "train", "val", "test", "test"]


@pytest.mark.parametrize(
    ("wanted", "options", "message"),
    [
        (
            PublishedSplit(column="split", val_from_train=0.2),
            {},
            "the published split has 2 images in val already: leave --val-from-train out",
        ),
        (
            PublishedSplit(val_from_train=0.2),
            {},
            "--val-from-train needs a published split: add --split-column or --split-folders",
        ),
        (
            KEEP,
            {"fractions": (0.9, 0.1, 0)},
            "--fractions makes a new split: leave it out, or leave the published split out",
        ),
        (
            PublishedSplit(column="split", folders=True),
            {},
            "--split-column split and --split-folders name two splits: leave one out",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(published, tmp_path, fault, wanted, options, message):
    src, manifest = published(*SPLITS)
    assert fault(InputError, src, tmp_path / "ds", manifest=manifest, published=wanted, **options) == message


def test_a_dataset_is_imported_with_its_classes_and_groups_and_its_split_if_asked(published, tmp_path):
    src, manifest = published(*SPLITS, stations=["S1", "S1", "S2", "S2", "S3", "S3"])
    first = import_dataset(src, tmp_path / "1", manifest=manifest, group_column="station", published=KEEP)
    again = import_dataset(first.root, tmp_path / "2", seed=3)
    assert (again.class_names, again.meta.split.group_column) == (("a", "b"), "station")
    assert {(record.sha256, record.group, record.class_name) for record in again.records} == {
        (record.sha256, record.group, record.class_name) for record in first.records
    }
    assert again.meta.source == {"kind": "dataset", "of": first.meta.fingerprint, "origin": first.meta.source}
    assert any("the column 'split' holds a split (train 2, val 2, test 2)" in text for text in again.meta.warnings)
    kept = import_dataset(first.root, tmp_path / "3", published=KEEP)
    assert kept.meta.fingerprint == first.meta.fingerprint
    assert kept.records[0].extra["station"] == "S1"


def test_a_dataset_can_be_grouped_by_another_of_its_columns(published, tmp_path, fault):
    src, manifest = published(*SPLITS, stations=["S1", "S1", "S2", "S2", "S3", ""])
    first = import_dataset(src, tmp_path / "1", manifest=manifest)
    by_station = import_dataset(first.root, tmp_path / "2", group_column="station")
    assert {record.group for record in by_station.records} == {"S1", "S2", "S3"}
    assert by_station.meta.left_out == {"no_group": 1}
    assert fault(InputError, first.root, tmp_path / "3", group_column="staton") == (
        f"{first.root} has no column 'staton' (did you mean 'station'?) (--group-column); it has: group, station, "
        "survey_split"
    )


def test_fractions_can_be_given_without_a_test_split(class_folders, tmp_path, pelagia):
    made = pelagia("dataset", "import", class_folders, "--out", tmp_path / "ds", "--fractions", "0.9,0.1,0")
    assert made.returncode == 0, made.stderr
    assert "have no images" not in made.stderr
    assert ", 0 test" in made.stdout
    wrong = pelagia("dataset", "import", class_folders, "--out", tmp_path / "no", "--fractions", "0.9 0.1")
    assert (wrong.returncode, wrong.stderr.strip()) == (
        2,
        "error: --fractions needs three numbers for train, val and test, such as 0.9,0.1,0, not '0.9 0.1'",
    )


def test_the_case_with_a_split_column_keeps_its_test_images(case, tmp_path):
    src = case("C21") / "img"
    mentioned = import_dataset(src, tmp_path / "1", manifest=src / "manifest.csv")
    assert any("--split-column split" in text for text in mentioned.meta.warnings)
    kept = import_dataset(src, tmp_path / "2", manifest=src / "manifest.csv", published=KEEP)
    assert [sum(record.split == name for record in kept.records) for name in ("train", "val", "test")] == [18, 6, 6]
