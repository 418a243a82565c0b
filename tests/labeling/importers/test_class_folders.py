import os

import pytest

from pelagia.dataset.check import check
from pelagia.errors import ConfigError, DatasetError, InputError
from pelagia.sources import ListingOptions
from pelagia_labeling.importers.class_folders import from_class_folders
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_labeling.importers.published_split import PublishedSplit


def test_a_folder_is_a_class_and_deeper_folders_belong_to_it(tmp_path, put):
    put(tmp_path / "src" / "copepod" / "a.png", seed=1)
    put(tmp_path / "src" / "copepod" / "2019" / "may" / "a.png", seed=2)
    put(tmp_path / "src" / "øre ring" / "a.png", seed=3)
    made = import_dataset(tmp_path / "src", tmp_path / "ds")
    assert sorted((record.class_name, record.source) for record in made.records) == [
        ("copepod", "copepod/2019/may/a.png"),
        ("copepod", "copepod/a.png"),
        ("øre ring", "øre ring/a.png"),
    ]
    assert made.meta.source == {"kind": "class_folders", "folder": "src"}


def test_one_class_folder_alone_is_warned_of(class_folders, tmp_path, put):
    put(tmp_path / "one" / "img" / "a.png")
    (tmp_path / "one" / "img" / "labels.csv").write_text("path,class\na.png,copepod\n")
    alone = "there is only one class folder, img, but training needs two classes: "
    warnings = import_dataset(tmp_path / "one", tmp_path / "alone").meta.warnings
    assert f"{alone}if a table has the labels, give it with --manifest" in warnings
    assert not any("only one class" in text for text in import_dataset(class_folders, tmp_path / "two").meta.warnings)
    named = import_dataset(tmp_path / "one", tmp_path / "named", class_level=1)
    assert not any("only one class" in text for text in named.meta.warnings)


def test_loose_images_are_counted_and_left_out(class_folders, tmp_path, put):
    put(class_folders / "loose.png", seed=99)
    assert import_dataset(class_folders, tmp_path / "ds").meta.left_out == {"no_class": 1}


def test_loose_images_alone_are_refused(tmp_path, put, fault):
    put(tmp_path / "src" / "a.png")
    assert fault(DatasetError, tmp_path / "src", tmp_path / "ds") == (
        f"{tmp_path / 'src'} holds 1 images and no class folder: put the images of each class into a folder with "
        "the name of the class, or give the labels with --manifest"
    )


def test_a_class_folder_named_like_an_image_is_a_class(tmp_path, put):
    put(tmp_path / "src" / "x.png" / "a.png")
    assert [candidate.class_name for candidate in from_class_folders(tmp_path / "src").candidates] == ["x.png"]


def test_a_class_folder_with_a_space_at_its_end_is_refused_in_one_line(tmp_path, put, fault):
    put(tmp_path / "src" / "copepod " / "a.png")
    assert fault(ConfigError, tmp_path / "src", tmp_path / "ds") == (
        "the class names of ds: classes.0.name: 'copepod ' begins or ends with a space, or contains a control character"
    )


def test_names_that_are_not_utf8_are_imported(tmp_path, encode):
    folder = os.fsencode(tmp_path) + b"/src/caf\xe9"
    os.makedirs(folder)
    with open(folder + b"/\xff.png", "wb") as file:
        file.write(encode())
    made = import_dataset(tmp_path / "src", tmp_path / "ds")
    (record,) = made.records
    assert (record.class_name, record.source) == ("caf\\udce9", "caf\\udce9/\\udcff.png")
    assert check(made.root) == []


def test_a_class_with_one_image_is_imported_for_training(class_folders, tmp_path, put):
    put(class_folders / "rare" / "1.png", seed=77)
    made = import_dataset(class_folders, tmp_path / "ds")
    assert sum(made.meta.counts["rare"].values()) == 1


def test_class_folders_have_no_columns_to_group_by(class_folders, tmp_path, fault):
    assert fault(InputError, class_folders, tmp_path / "ds", group_column="station") == (
        "--group-column station needs --manifest: class folders have no columns"
    )


def test_images_inside_a_bin_are_counted_and_left_out(class_folders):
    name = "D20220519T124533_IFCB134"
    (class_folders / "copepod" / f"{name}.adc").write_text(f"1,1,{'0,' * 11}5,5,4,3,0,0,0,0,0,1,0.1\n")
    (class_folders / "copepod" / f"{name}.roi").write_bytes(bytes(12))
    found = from_class_folders(class_folders)
    assert (len(found.candidates), found.left_out) == (12, {"inside_a_bin": 1})


# Folders above the classes


@pytest.fixture
def tree(tmp_path, put):
    """Makes images under ``src``: one for each path."""

    def tree(*names):
        for seed, name in enumerate(names):
            put(tmp_path / "src" / name, seed=seed)
        return tmp_path / "src"

    return tree


def each(folders, classes=("copepod", "medusa"), count=4):
    return [f"{folder}/{name}/{at}.png" for folder in folders for name in classes for at in range(count)]


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "VALID", "testing"), ("train", "validation")])
def test_a_published_split_in_folders_is_refused_with_the_options(tree, tmp_path, names, fault):
    src = tree(*each(names))
    assert fault(InputError, src, tmp_path / "ds") == (
        f"the folders {', '.join(sorted(names))} in {src} look like a published split, not like classes: keep that "
        "split "
        "with --split-folders, or make a new split with --class-level 2"
    )


def test_a_published_split_in_folders_is_kept_when_asked_for(tree, tmp_path):
    src = tree(*each(("train", "Validation", "TEST")))
    made = import_dataset(src, tmp_path / "ds", published=PublishedSplit(folders=True))
    assert made.class_names == ("copepod", "medusa")
    named = {"train": "train", "Validation": "val", "TEST": "test"}
    assert all(record.split == named[record.source.split("/")[0]] for record in made.records)
    assert (made.meta.split.method, made.meta.split.split_column) == ("published", "folders")
    assert check(made.root) == []


def test_a_split_inside_the_class_folders_is_kept_too(tree, tmp_path, fault):
    src = tree(*(f"{name}/{split}/{at}.png" for name in "ab" for split in ("train", "test") for at in range(3)))
    assert fault(InputError, src, tmp_path / "ds").endswith("or make a new split with --class-level 1")
    made = import_dataset(src, tmp_path / "ds", published=PublishedSplit(folders=True))
    assert made.class_names == ("a", "b")
    assert all(record.split == record.source.split("/")[1] for record in made.records)


def test_a_published_split_that_is_not_kept_is_mentioned(tree, tmp_path):
    made = import_dataset(tree(*each(("train", "test"))), tmp_path / "ds", class_level=2)
    assert made.meta.warnings == (
        "the folders test, train look like a published split: it is not used, and new splits are made; keep it with "
        "--split-folders",
    )


def test_a_published_split_without_class_folders_is_refused(tree, tmp_path, fault):
    src = tree("train/1.png", "test/2.png")
    for options in ({}, {"published": PublishedSplit(folders=True)}):
        assert fault(InputError, src, tmp_path / "ds", **options) == (
            f"{src} has the folders test, train, which are splits, and no class folders in them: give the labels with "
            "--manifest"
        )


def test_a_split_that_is_not_there_cannot_be_kept(class_folders, tmp_path, fault):
    assert fault(InputError, class_folders, tmp_path / "ds", published=PublishedSplit(folders=True)) == (
        f"no folders of {class_folders} are named train, val and test (found: copepod, medusa): leave --split-folders "
        "out"
    )


def test_one_class_named_test_is_a_class(tree):
    found = from_class_folders(tree("test/1.png", "spine/2.png"))
    assert {candidate.class_name for candidate in found.candidates} == {"test", "spine"}


def test_val_is_taken_from_the_published_train(tree, tmp_path):
    src = tree(*each(("train", "test"), count=10))
    made = import_dataset(src, tmp_path / "ds", published=PublishedSplit(folders=True, val_from_train=0.2))
    assert made.meta.counts == {name: {"train": 8, "val": 2, "test": 10} for name in ("copepod", "medusa")}
    assert all((record.split == "test") == record.source.startswith("test/") for record in made.records)


def test_years_above_the_classes_are_refused_with_the_level(tree, tmp_path, fault):
    src = tree(*each(("2006", "2007")))
    assert fault(InputError, src, tmp_path / "ds") == (
        f"it is not clear which folders in {src} are the classes: 2006, 2007 hold no images, and 16 are in folders "
        "inside "
        "(copepod, medusa). If these are the classes, add --class-level 2; if 2006, 2007 are the classes, add "
        "--class-level 1"
    )
    assert import_dataset(src, tmp_path / "2", class_level=2).class_names == ("copepod", "medusa")
    assert import_dataset(src, tmp_path / "1", class_level=1).class_names == ("2006", "2007")


def test_one_folder_over_all_classes_is_refused_with_the_level(tree, tmp_path, fault):
    src = tree(*each(("data/imgs",)), "data/imgs/loose.png")
    assert fault(InputError, src, tmp_path / "ds") == (
        f"it is not clear which folders in {src} are the classes: data holds no images, and 9 are in folders inside "
        "(copepod, medusa). If these are the classes, add --class-level 3; if data is a class, add --class-level 1"
    )
    made = import_dataset(src, tmp_path / "ds", class_level=3)
    assert (made.class_names, made.meta.left_out) == (("copepod", "medusa"), {"no_class": 1})


def test_images_at_several_depths_are_mentioned(tree, tmp_path):
    made = import_dataset(tree("a/1.png", "a/2.png", "b/3.png", "b/2019/4.png"), tmp_path / "ds")
    assert made.meta.warnings == (
        "1 of 4 images are in folders inside a class folder, such as b/2019: they get the class of the outer folder, "
        "b; "
        "choose another level with --class-level",
    )


def test_a_level_without_folders_is_refused(class_folders, tmp_path, fault):
    assert fault(DatasetError, class_folders, tmp_path / "ds", class_level=2).startswith(
        f"{class_folders} holds 12 images and no class folder at level 2: "
    )


@pytest.mark.parametrize(("options", "name"), [({"class_level": 2}, "--class-level"), ({}, "--split-folders")])
def test_options_of_class_folders_are_refused_for_a_manifest(class_folders, tmp_path, fault, options, name):
    (tmp_path / "m.csv").write_text("path,label\ncopepod/01.png,copepod\n")
    options = options or {"published": PublishedSplit(folders=True)}
    assert fault(InputError, class_folders, tmp_path / "ds", manifest=tmp_path / "m.csv", **options) == (
        f"{name} is for class folders only, and the source is a manifest: leave it out"
    )


# What is not an image


def test_every_file_that_is_no_image_is_counted_and_said(class_folders, tmp_path, put, pelagia):
    for name in ("a.NEF", "b.nef", "c.mp4", "labels.csv", "Thumbs.db", "README", ".hidden"):
        (class_folders / "copepod" / name).write_bytes(b"x")
    (class_folders / "medusa" / "more.zip").write_bytes(b"x")
    (class_folders / "empty").mkdir()
    put(tmp_path / "elsewhere" / "1.png", seed=50)
    (class_folders / "linked").symlink_to(tmp_path / "elsewhere")
    made = import_dataset(class_folders, tmp_path / "ds")
    assert made.meta.left_out == {
        "archive_inside": 1,
        "folder_link": 1,
        "other_file:": 1,
        "other_file:.csv": 1,
        "other_file:.db": 1,
        "other_file:.mp4": 1,
        "other_file:.nef": 2,
    }
    assert made.meta.warnings == ("folders without an image, which are not classes of the dataset: empty",)
    told = pelagia("dataset", "show", made.root)
    assert "left out: not images: 2 .nef, 1 without an ending, 1 .csv, 1 .db, 1 .mp4" in told.stdout
    assert "left out: 1 links to folders, not followed; --follow-links follows them" in told.stdout
    assert "left out: 1 archives inside a folder or an archive, not opened" in told.stdout
    assert "warning: folders without an image, which are not classes of the dataset: empty" in told.stderr


def test_links_to_class_folders_are_followed_when_asked(class_folders, tmp_path, put):
    put(tmp_path / "elsewhere" / "1.png", seed=50)
    (class_folders / "linked").symlink_to(tmp_path / "elsewhere")
    made = import_dataset(class_folders, tmp_path / "ds", listing=ListingOptions(follow_links=True))
    assert (made.class_names, made.meta.left_out) == (("copepod", "linked", "medusa"), {})


# The cases of people


@pytest.mark.parametrize(
    ("name", "folder", "options", "expected"),
    [
        ("B01", "data", {"published": PublishedSplit(folders=True)}, ("ceratium", "copepod", "diatom")),
        ("B02", "whoi", {"class_level": 2}, ("ceratium", "copepod", "diatom")),
        ("B10", "ZooScanNet", {"class_level": 2}, ("Calanoida", "Neoceratium", "other__living")),
    ],
)
def test_a_case_with_folders_above_the_classes(case, tmp_path, fault, name, folder, options, expected):
    src = case(name) / folder
    message = fault(InputError, src, tmp_path / "ds")
    assert "--class-level 2" in message
    made = import_dataset(src, tmp_path / "ds", **options)
    assert made.class_names == expected
    if name == "B01":
        assert all(record.split == record.source.split("/")[0] for record in made.records)


def test_the_cases_with_a_link_a_zip_and_other_endings_are_counted(case, tmp_path):
    assert import_dataset(case("B03") / "src", tmp_path / "1").meta.left_out == {"folder_link": 1}
    assert import_dataset(case("B06") / "src", tmp_path / "2").meta.left_out == {"archive_inside": 1}
    src = case("B04_unlisted") / "src"
    made = import_dataset(src, tmp_path / "3")
    assert made.meta.images + sum(made.meta.left_out.values()) == sum(path.is_file() for path in src.rglob("*"))
