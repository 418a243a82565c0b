import os

import pytest

from pelagia.dataset.check import check
from pelagia.errors import ConfigError, DatasetError, InputError
from pelagia_labeling.importers.dataset import from_class_folders, from_manifest, import_dataset

ECOTAXA = (
    "img_file_name\tobject_id\tobject_annotation_category\tobject_annotation_status\tsample_id\t"
    "object_annotation_person_name\n"
)


@pytest.fixture
def labelled(tmp_path, put):
    """Six images and a manifest of them; gives (folder, manifest)."""

    def labelled(text, count=6):
        for at in range(count):
            put(tmp_path / "src" / f"{at}.png", seed=at)
        (tmp_path / "m.csv").write_text(text, encoding="utf-8")
        return tmp_path / "src", tmp_path / "m.csv"

    return labelled


@pytest.fixture
def ecotaxa(tmp_path, put):
    """An EcoTaxa export with the given rows; its images are 0.png to 5.png."""

    def ecotaxa(*rows, types=True, header=ECOTAXA):
        for at in range(6):
            put(tmp_path / "src" / f"{at}.png", seed=at)
        lines = ["[t]" + "\t[t]" * 5] * types + ["\t".join(row) for row in rows]
        text = "\ufeff" + header + "".join(f"{line}\r\n" for line in lines)
        (tmp_path / "src" / "ecotaxa_1.tsv").write_text(text, encoding="utf-8", newline="")
        return tmp_path / "src"

    return ecotaxa


def row(at, status="validated", category="Copepoda", sample="s1", person="Ann"):
    return (f"{at}.png", f"o{at}", category, status, sample, person)


def fault(kind, *arguments, **options):
    with pytest.raises(kind) as caught:
        import_dataset(*arguments, **options)
    return str(caught.value)


# Class folders


def test_a_folder_is_a_class_and_deeper_folders_belong_to_it(tmp_path, put):
    put(tmp_path / "src" / "copepod" / "a.png", seed=1)
    put(tmp_path / "src" / "copepod" / "2019" / "may" / "a.png", seed=2)
    put(tmp_path / "src" / "øre ring" / "a.png", seed=3)
    made = import_dataset(tmp_path / "src", tmp_path / "ds")
    assert sorted((one.class_name, one.source) for one in made.records) == [
        ("copepod", "copepod/2019/may/a.png"),
        ("copepod", "copepod/a.png"),
        ("øre ring", "øre ring/a.png"),
    ]
    assert made.meta.source == {"kind": "class_folders", "folder": "src"}


def test_loose_images_are_counted_and_left_out(class_folders, tmp_path, put):
    put(class_folders / "loose.png", seed=99)
    assert import_dataset(class_folders, tmp_path / "ds").meta.left_out == {"no_class": 1}


def test_loose_images_alone_are_refused(tmp_path, put):
    put(tmp_path / "src" / "a.png")
    assert fault(DatasetError, tmp_path / "src", tmp_path / "ds") == (
        f"{tmp_path / 'src'} has 1 images and no folder of a class: put the images of a class into a folder of its "
        "name, or give their labels with --manifest"
    )


def test_a_class_folder_named_like_an_image_is_a_class(tmp_path, put):
    put(tmp_path / "src" / "x.png" / "a.png")
    assert [one.class_name for one in from_class_folders(tmp_path / "src").candidates] == ["x.png"]


def test_a_class_folder_with_a_space_at_its_end_is_one_line(tmp_path, put):
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
    (one,) = made.records
    assert (one.class_name, one.source) == ("caf\\udce9", "caf\\udce9/\\udcff.png")
    assert check(made.root) == []


def test_a_class_with_one_image_is_imported_for_training(class_folders, tmp_path, put):
    put(class_folders / "rare" / "1.png", seed=77)
    made = import_dataset(class_folders, tmp_path / "ds")
    assert sum(made.meta.counts["rare"].values()) == 1


def test_class_folders_have_no_columns_to_group_by(class_folders, tmp_path):
    assert fault(InputError, class_folders, tmp_path / "ds", group_column="station") == (
        "--group-column station needs --manifest: folders of classes have no columns"
    )


@pytest.mark.parametrize(("name", "what"), [("no", "not there"), ("file", "not a folder")])
def test_a_source_that_is_no_folder_is_refused(tmp_path, name, what):
    (tmp_path / "file").touch()
    assert fault(InputError, tmp_path / name, tmp_path / "ds") == (
        f"{tmp_path / name} is {what}: name the folder that holds the images"
    )


def test_a_licence_is_given_to_every_image(class_folders, tmp_path):
    made = import_dataset(class_folders, tmp_path / "ds", licence="CC-BY-4.0")
    assert {one.licence for one in made.records} == {"CC-BY-4.0"}


def test_progress_reaches_the_total(class_folders, tmp_path):
    steps = []
    import_dataset(class_folders, tmp_path / "ds", progress=lambda done, total: steps.append((done, total)))
    assert steps == [(at, 12) for at in range(1, 13)]


def test_the_seed_and_the_shares_are_kept(class_folders, tmp_path):
    made = import_dataset(class_folders, tmp_path / "ds", fractions=(0.5, 0.5, 0), seed=4)
    assert (made.meta.split.seed, made.meta.split.fractions) == (4, (0.5, 0.5, 0))
    assert {one.split for one in made.records} == {"train", "val"}


def test_wrong_shares_and_seeds_are_one_message(class_folders, tmp_path):
    assert fault(ConfigError, class_folders, tmp_path / "ds", fractions=(0.5, 0.6, 0.1), seed=-1) == (
        "the split: 2 faults\n"
        "  - fractions: train, val and test must be shares that sum to 1, with train above 0, not (0.5, 0.6, 0.1)\n"
        "  - seed: input should be greater than or equal to 0 (found -1)"
    )


# Manifests


@pytest.mark.parametrize("column", ["class", "label", "category"])
def test_the_usual_names_of_a_label_column_are_known(labelled, column):
    src, manifest = labelled(f"path,{column},station\n0.png,copepod,S1\n1.png,medusa,S2\n")
    found = from_manifest(src, manifest, "station", None)
    assert [(one.class_name, one.group) for one in found.candidates] == [("copepod", "S1"), ("medusa", "S2")]


def test_other_columns_are_carried_under_names_of_their_own(labelled, tmp_path):
    src, manifest = labelled("path,label,station,source,split\n0.png,copepod,S1,net,old\n")
    (one,) = import_dataset(src, tmp_path / "ds", manifest=manifest, group_column="station").records
    assert one.extra == {"station": "S1", "survey_source": "net", "survey_split": "old"}
    assert (one.group, one.source) == ("S1", "0.png")


def test_spaces_around_a_label_or_a_group_do_not_make_another(labelled):
    src, manifest = labelled("path,label,station\n0.png,copepod ,S1\n1.png,copepod, S1 \n")
    found = from_manifest(src, manifest, "station", None)
    assert {(one.class_name, one.group) for one in found.candidates} == {("copepod", "S1")}


def test_rows_without_a_label_are_counted_and_left_out(labelled, tmp_path):
    src, manifest = labelled("path,label\n0.png,copepod\n1.png,\n2.png, \n")
    assert import_dataset(src, tmp_path / "ds", manifest=manifest).meta.left_out == {"no_class": 2}


def test_an_image_without_a_group_is_left_out_and_counted(labelled):
    src, manifest = labelled("path,label,station\n0.png,copepod,\n1.png,copepod,S1\n")
    found = from_manifest(src, manifest, "station", None)
    assert [one.source for one in found.candidates] == ["1.png"]
    assert found.left_out == {"no_group": 1}


def test_the_edited_manifest_of_a_dataset_keeps_groups_annotators_and_licence(class_folders, tmp_path):
    first = import_dataset(class_folders, tmp_path / "first", licence="CC-BY-4.0")
    edited = tmp_path / "first" / "manifest.csv"
    again = import_dataset(tmp_path / "first", tmp_path / "again", manifest=edited)
    assert again.meta.split.group_column == "group"
    assert {(one.sha256, one.group, one.source, one.licence, one.split) for one in again.records} == {
        (one.sha256, one.group, one.source, one.licence, one.split) for one in first.records
    }
    assert all(one.extra == {} for one in again.records)


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
        ({}, " has no column of labels (class, label, category): name it with --class-column"),
    ],
)
def test_a_column_that_is_not_there_is_refused(labelled, tmp_path, options, message):
    src, manifest = labelled("path,name,station\n0.png,copepod,S1\n")
    assert fault(InputError, src, tmp_path / "ds", manifest=manifest, **options) == f"{manifest}{message}"


def test_an_image_that_the_manifest_names_and_nobody_has_is_listed(labelled, tmp_path):
    src, manifest = labelled("path,label\n0.png,copepod\nno.png,copepod\n")
    made = import_dataset(src, tmp_path / "ds", manifest=manifest)
    assert made.meta.left_out == {"missing": 1}


def test_the_manifest_of_a_dataset_makes_a_new_version(class_folders, tmp_path):
    first = import_dataset(class_folders, tmp_path / "1")
    text = (tmp_path / "1" / "manifest.csv").read_text().replace(",medusa,", ",jelly,")
    (tmp_path / "edited.csv").write_text(text)
    second = import_dataset(first.root, tmp_path / "2", manifest=tmp_path / "edited.csv", group_column="group")
    assert second.class_names == ("copepod", "jelly")
    assert {one.sha256 for one in second.records} == {one.sha256 for one in first.records}
    assert check(second.root) == []


# EcoTaxa


def test_only_validated_objects_are_taken(ecotaxa, tmp_path):
    src = ecotaxa(
        row(0), row(1, "predicted"), row(2, "dubious"), row(3, ""), row(4, category=""), row(5, category="Salpida")
    )
    made = import_dataset(src, tmp_path / "ds")
    assert sorted((one.source, one.class_name, one.group, one.annotators) for one in made.records) == [
        ("0.png", "Copepoda", "s1", "Ann"),
        ("5.png", "Salpida", "s1", "Ann"),
    ]
    assert made.meta.left_out == {"no_class": 1, "status_dubious": 1, "status_none": 1, "status_predicted": 1}
    assert made.meta.split.group_column == "sample_id"


def test_other_statuses_are_taken_when_asked(ecotaxa, tmp_path):
    src = ecotaxa(row(0), row(1, "predicted"))
    assert import_dataset(src, tmp_path / "ds", statuses=frozenset({"predicted"})).records[0].source == "1.png"


def test_an_export_without_the_line_of_types_is_read(ecotaxa, tmp_path):
    assert import_dataset(ecotaxa(row(0), types=False), tmp_path / "ds").meta.images == 1


def test_what_ecotaxa_says_of_an_object_is_carried(ecotaxa, tmp_path):
    (one,) = import_dataset(ecotaxa(row(0)), tmp_path / "ds").records
    assert one.extra == {"object_id": "o0", "object_annotation_status": "validated", "sample_id": "s1"}


def test_an_export_without_anything_validated_is_refused(ecotaxa, tmp_path):
    src = ecotaxa(row(0, "predicted"), row(1, "predicted"))
    assert fault(DatasetError, src, tmp_path / "ds") == (
        f"no object of {src} has the status validated (2 status_predicted): see --status"
    )


def test_an_empty_export_is_refused(ecotaxa, tmp_path):
    src = ecotaxa()
    assert fault(InputError, src, tmp_path / "ds") == f"{src / 'ecotaxa_1.tsv'} holds no object"


@pytest.mark.parametrize("missing", ["img_file_name", "sample_id"])
def test_a_table_that_is_no_export_is_refused(ecotaxa, tmp_path, missing):
    src = ecotaxa(row(0), header=ECOTAXA.replace(missing, "zzz"))
    assert fault(InputError, src, tmp_path / "ds") == (
        f"{src / 'ecotaxa_1.tsv'} has no column '{missing}': is it an EcoTaxa export with images?"
    )


def test_a_quote_that_is_never_closed_is_refused(ecotaxa, tmp_path):
    src = ecotaxa(row(0), row(1, category='"Copepoda'))
    assert fault(InputError, src, tmp_path / "ds") == f"{src / 'ecotaxa_1.tsv'}, after line 3: unexpected end of data"


def test_several_tables_are_one_dataset(ecotaxa, tmp_path):
    src = ecotaxa(row(0), row(1))
    (src / "ecotaxa_2.tsv").write_text(ECOTAXA + "\t".join(row(2, sample="s2")) + "\n")
    assert {one.group for one in import_dataset(src, tmp_path / "ds").records} == {"s1", "s2"}


def test_images_inside_a_bin_are_counted_and_left_out(class_folders):
    name = "D20220519T124533_IFCB134"
    (class_folders / "copepod" / f"{name}.adc").write_text(f"1,1,{'0,' * 11}5,5,4,3,0,0,0,0,0,1,0.1\n")
    (class_folders / "copepod" / f"{name}.roi").write_bytes(bytes(12))
    found = from_class_folders(class_folders)
    assert (len(found.candidates), found.left_out) == (12, {"inside_a_bin": 1})
