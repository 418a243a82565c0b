import pytest

from pelagia.dataset.check import check, split_warnings
from pelagia.dataset.schema import MANIFEST_FILE, META_FILE, Dataset, Record, SplitMeta
from pelagia.errors import DatasetError
from pelagia_labeling.importers.dataset import import_dataset


def record(name="a", split="train", group="g"):
    return Record("images/a/x.png", "0" * 64, 40, 30, name, group, split)


@pytest.fixture
def dataset(class_folders, tmp_path):
    return import_dataset(class_folders, tmp_path / "ds")


def test_a_fresh_dataset_is_whole(dataset):
    assert check(dataset.root) == []


def test_a_folder_that_is_no_dataset_is_one_fault(tmp_path):
    with pytest.raises(DatasetError) as caught:
        Dataset.read(tmp_path / "no")
    assert check(tmp_path / "no") == [str(caught.value)]


def test_every_damage_is_found(dataset):
    lost, changed, folder, *_ = dataset.records
    dataset.file(lost).unlink()
    dataset.file(changed).write_bytes(b"x")
    dataset.file(folder).unlink()
    dataset.file(folder).mkdir()
    meta = dataset.root / META_FILE
    text = meta.read_text(encoding="utf-8")
    assert "- name: medusa" in text
    meta.write_text(text.replace("- name: medusa", "- name: medusae", 1), encoding="utf-8")
    faults = check(dataset.root)
    assert faults[0] == "the counts in dataset.yaml are not those of manifest.csv"
    assert f"{lost.path}: the image is missing" in faults
    assert f"{changed.path}: the image's bytes have changed" in faults
    assert f"{folder.path}: the image cannot be read (Is a directory)" in faults
    assert sum(fault.endswith("the class 'medusa' is not in the taxonomy") for fault in faults) == 6
    assert len(faults) == 10


def test_a_group_in_two_splits_is_found(dataset):
    manifest = dataset.root / MANIFEST_FILE
    text = manifest.read_text()
    for one in dataset.records:
        text = text.replace(f",{one.group},", ",tow 1,")
    manifest.write_text(text)
    assert check(dataset.root) == ["groups that are in more than one split: tow 1"]


def test_an_image_without_permission_is_found(dataset, as_nobody):
    first = dataset.records[0]
    dataset.file(first).chmod(0)
    for folder in dataset.root.rglob("*"):
        if folder.is_dir():
            folder.chmod(0o755)
    assert as_nobody(lambda: check(dataset.root)) == [f"{first.path}: the image cannot be read (Permission denied)"]


def test_a_class_with_too_few_groups_is_warned_of():
    records = [record(group=f"{at}", split=split) for at, split in enumerate(("train", "val", "test"))]
    records += [
        record(name="rare", group="9"),
        record(name="two", group="7"),
        record(name="two", group="8", split="val"),
    ]
    assert split_warnings(records) == [
        "class 'rare' has 1 group: it has no image in val and test",
        "class 'two' has 2 groups: it has no image in test",
    ]


def test_splits_without_images_are_warned_of():
    remedy = "give a column with more values with --group-column"
    assert split_warnings([record()]) == [f"val and test have no images: there is only 1 group; {remedy}"]
    two = [record(), record(group="h", split="val")]
    assert split_warnings(two) == [f"test has no images: there are only 2 groups; {remedy}"]


def test_many_classes_that_lack_a_split_are_summed_up():
    records = [record(name=f"c{at:03}", group=f"{at}{split}", split=split) for at in range(30) for split in ("train",)]
    records += [record(name="whole", group=split, split=split) for split in ("train", "val", "test")]
    warnings = split_warnings(records)
    assert len(warnings) == 11
    assert warnings[-1] == "20 more classes have no image in a split"


def test_a_test_split_of_one_group_is_warned_of_with_the_command_for_folds():
    records = [record(group=f"camera {at}", split=split) for at, split in enumerate(("train", "train", "val", "test"))]
    assert split_warnings(records, SplitMeta(group_column="camera")) == [
        "test holds only 1 of the 4 values of camera (camera 3): its metrics depend on which ones they are; test on "
        "all "
        "of them with `pelagia train CONFIG --folds 4`"
    ]
    assert split_warnings(records) == []


def test_a_split_that_was_asked_to_be_empty_is_no_warning():
    records = [record(group=f"{at}", split=split) for at, split in enumerate(("train", "val"))]
    assert split_warnings(records, SplitMeta(fractions=(0.9, 0.1, 0))) == []


def test_a_published_split_without_val_is_warned_of_with_the_option():
    records = [record(group=f"{at}", split=split) for at, split in enumerate(("train", "test"))]
    assert split_warnings(records, SplitMeta(method="published", split_column="split")) == [
        "val has no images in the published split: training needs val, and evaluation needs test; import again with "
        "--val-from-train 0.15"
    ]
