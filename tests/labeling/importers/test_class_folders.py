import os

from pelagia.dataset.check import check
from pelagia.errors import ConfigError, DatasetError, InputError
from pelagia_labeling.importers.class_folders import from_class_folders
from pelagia_labeling.importers.dataset import import_dataset


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
