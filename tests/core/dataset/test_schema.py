import pytest
from pydantic import ValidationError

from pelagia.dataset.schema import (
    MANIFEST_COLUMNS,
    MANIFEST_FILE,
    META_FILE,
    Dataset,
    Record,
    SplitMeta,
    class_counts,
    fingerprint,
)
from pelagia.errors import DatasetError, InputError
from pelagia_labeling.importers.dataset import import_dataset


def record(sha="0" * 64, name="a", split="train", group="g", path="images/a/x.png"):
    return Record(path, sha, 40, 30, name, group, split)


@pytest.fixture
def dataset(class_folders, tmp_path):
    return import_dataset(class_folders, tmp_path / "ds")


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def refusal(root):
    with pytest.raises(DatasetError) as caught:
        Dataset.read(root)
    return str(caught.value)


# Reading


def test_what_was_written_is_read_back(dataset):
    assert Dataset.read(dataset.root) == dataset


def test_the_manifest_opens_in_a_spreadsheet(dataset):
    lines = (dataset.root / MANIFEST_FILE).read_text().splitlines()
    assert lines[0] == ",".join(MANIFEST_COLUMNS)
    assert len(lines) == 13


def test_the_yaml_opens_with_what_it_is(dataset):
    assert (dataset.root / META_FILE).read_text().splitlines()[0] == (
        "# A Pelagia dataset. Never edited: a new version is a new folder. `pelagia dataset check DATASET` proves it."
    )


def test_every_image_lies_where_its_record_says(dataset, class_folders):
    for one in dataset.records:
        assert dataset.file(one).read_bytes() == (class_folders / one.source).read_bytes()


def test_the_splits_together_are_all(dataset):
    parts = [one for name in ("train", "val", "test") for one in dataset.split(name)]
    assert sorted(parts, key=lambda one: one.path) == sorted(dataset.split("all"), key=lambda one: one.path)


def test_an_unknown_split_is_refused(dataset):
    with pytest.raises(InputError) as caught:
        dataset.split("tset")
    assert str(caught.value) == "there is no split 'tset': choose train, val, test or all"


def test_an_empty_split_is_refused(class_folders, tmp_path):
    made = import_dataset(class_folders, tmp_path / "ds", fractions=(0.5, 0.5, 0))
    with pytest.raises(DatasetError) as caught:
        made.split("test")
    assert str(caught.value) == (
        f"the split 'test' of {tmp_path / 'ds'} has no images: it was made with --fractions 0.5,0.5,0; name another "
        "dataset or another split"
    )


def test_a_missing_dataset_names_the_command_that_makes_one(tmp_path):
    assert refusal(tmp_path / "no") == (
        f"there is no dataset at {tmp_path / 'no'}: make one with `pelagia dataset import SRC --out {tmp_path / 'no'}`"
    )


def test_a_folder_of_something_else_is_refused(tmp_path):
    assert refusal(tmp_path) == (
        f"{tmp_path} is not a dataset: it has no dataset.yaml; make one with `pelagia dataset import`"
    )


def test_a_dataset_without_its_manifest_is_refused(dataset):
    (dataset.root / MANIFEST_FILE).unlink()
    assert refusal(dataset.root) == f"cannot read {dataset.root / MANIFEST_FILE}: No such file or directory"


# Edited after it was made


@pytest.mark.parametrize(("old", "new"), [(",train,", ",val,"), (",copepod,", ",medusa,")])
def test_an_edited_manifest_is_noticed(dataset, old, new):
    edit(dataset.root / MANIFEST_FILE, old, new)
    message = refusal(dataset.root)
    assert message.startswith(f"{dataset.root / MANIFEST_FILE} was edited after the dataset was made (fingerprint ")
    assert message.endswith("restore it, or make a new dataset from it with `pelagia dataset import --manifest`")


def test_a_row_that_was_removed_is_noticed(dataset):
    lines = (dataset.root / MANIFEST_FILE).read_text().splitlines(keepends=True)
    (dataset.root / MANIFEST_FILE).write_text("".join(lines[:-1]))
    assert "was edited after the dataset was made" in refusal(dataset.root)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",train,", ",trian,", ", line {line}: the split must be train, val or test, not 'trian'"),
        (
            ",40,30,",
            ",40,tall,",
            ", line {line}: width and height must be whole numbers: restore the file, or import again",
        ),
        ("images/", "../images/", ", line {line}: the path '../{path}' points outside the dataset"),
        ("images/", "/images/", ", line {line}: the path '/{path}' points outside the dataset"),
        ("sha256,", "sha,", " lacks the columns sha256: restore it, or import again"),
        ("path,", "path;", " lacks the columns path, sha256: restore it, or import again"),
        (",copepod,", ',"copepod,', ", after line {before}: unexpected end of data; restore it, or import again"),
    ],
)
def test_a_wrong_manifest_says_where(dataset, old, new, message):
    manifest = dataset.root / MANIFEST_FILE
    lines = manifest.read_text().splitlines()
    at = next(at for at, line in enumerate(lines, 1) if old in line)
    expected = message.format(line=at, before=at - 1, path=lines[at - 1].split(",")[0])
    edit(manifest, old, new)
    assert refusal(dataset.root) == f"{manifest}{expected}"


def test_a_row_that_was_cut_is_one_line(dataset):
    manifest = dataset.root / MANIFEST_FILE
    manifest.write_text(manifest.read_text() + "images/x.png,abc\n")
    assert (
        refusal(dataset.root)
        == f"{manifest}, line 14: width and height must be whole numbers: restore the file, or import again"
    )


def test_an_unknown_key_of_the_yaml_is_refused(dataset):
    with (dataset.root / META_FILE).open("a") as file:
        file.write("fingerprnt: x\n")
    assert refusal(dataset.root) == (
        f"{dataset.root / META_FILE}: unknown key 'fingerprnt' (did you mean 'fingerprint'?)"
    )


def test_a_yaml_of_a_later_schema_is_refused(dataset):
    edit(dataset.root / META_FILE, "schema_version: 1", "schema_version: 2")
    assert refusal(dataset.root) == (
        f"{dataset.root / META_FILE}: it was made by a newer Pelagia: it has schema 2, and this Pelagia reads 1; "
        "update Pelagia"
    )


def test_garbage_in_the_place_of_the_yaml_is_refused(dataset):
    (dataset.root / META_FILE).write_bytes(b"\xff\xfe\x00")
    assert refusal(dataset.root) == f"{dataset.root / META_FILE} is not a config file: it is not UTF-8 text"


def test_garbage_in_the_place_of_the_manifest_is_refused(dataset):
    (dataset.root / MANIFEST_FILE).write_bytes(b"\xff\xfe\x00")
    assert refusal(dataset.root) == f"{dataset.root / MANIFEST_FILE} is not UTF-8 text: restore it, or import again"


# The fingerprint and the counts


def test_the_fingerprint_does_not_depend_on_order_or_place():
    rows = [record(f"{at:064}", path=f"{at}") for at in range(5)]
    moved = [record(f"{at:064}", path=f"elsewhere/{at}", group="x") for at in reversed(range(5))]
    assert fingerprint(rows) == fingerprint(moved)


@pytest.mark.parametrize("other", [record("1" * 64), record(name="b"), record(split="test")])
def test_the_fingerprint_depends_on_content_class_and_split(other):
    assert fingerprint([record()]) != fingerprint([other])


def test_a_fingerprint_once_published_stays():
    assert fingerprint([record(), record("1" * 64, "ø", "test")]) == (
        "307669eb1642b66f7f54f2b4de4f7eaf3a0a25c9fb0e32f9262e5d7247b2fd2e"
    )


def test_counts_name_all_classes_and_splits():
    assert class_counts([record(), record(split="val")], ["a", "b"]) == {
        "a": {"train": 1, "val": 1, "test": 0},
        "b": {"train": 0, "val": 0, "test": 0},
    }


@pytest.mark.parametrize(
    "fractions", [(0.5, 0.5, 0.5), (0, 0.5, 0.5), (1.2, -0.1, -0.1), (float("nan"), 0.5, 0.5), (0.7, 0.2, 0.2)]
)
def test_shares_that_make_no_whole_are_refused(fractions):
    with pytest.raises(
        ValidationError, match="train, val and test must be shares that sum to 1, with train above 0, not"
    ):
        SplitMeta(fractions=fractions)
