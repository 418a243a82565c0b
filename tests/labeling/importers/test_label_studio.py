"""Label Studio's own exports."""

import csv
import json

import pytest

from pelagia.errors import DatasetError, InputError
from pelagia.sources import Listing
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_labeling.importers.label_studio import from_label_studio

UPLOAD = "/data/upload/3/0123abcd-{}"
LOCAL = "/data/local-files/?d=root/{}"
OWN = {"annotator": 1, "annotation_id": 1, "lead_time": 2}
BUCKET = "s3://bucket/cruise/{}"


@pytest.fixture
def images(tmp_path, put):
    """The folder with the images a.png to f.png."""
    for seed, name in enumerate("abcdef"):
        put(tmp_path / "img" / f"{name}.png", seed=seed)
    return tmp_path / "img"


def choices(*names, kind="choice"):
    return {"from_name": kind, "to_name": "image", "type": "choices", "value": {"choices": list(names)}}


def task(name, *annotations, form=UPLOAD, **data):
    return {"id": name, "data": {"image": form.format(f"{name}.png"), **data}, "annotations": list(annotations)}


def annotation(*results, by=1, canceled=False):
    return {"completed_by": by, "was_cancelled": canceled, "result": list(results)}


def written(tmp_path, tasks):
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    return tmp_path / "export.json"


@pytest.mark.parametrize("form", [UPLOAD, LOCAL, BUCKET, "https://x.org/i/{}?size=1", "{}", "C:\\img\\{}"])
def test_an_image_is_found_by_each_form_of_address(images, tmp_path, form):
    export = written(tmp_path, [task("a", annotation(choices("copepod")), form=form, station="S1")])
    (entry,) = from_label_studio(images, export, None, Listing()).candidates
    assert (entry.file, entry.class_name) == (images / "a.png", "copepod")
    assert (entry.source, entry.annotators, entry.extra) == ("a.png", "1", {"station": "S1"})


def test_an_uploaded_file_may_keep_the_name_that_label_studio_gave_it(images, tmp_path):
    (images / "a.png").rename(images / "0123abcd-a.png")
    export = written(tmp_path, [task("a", annotation(choices("copepod")))])
    (entry,) = from_label_studio(images, export, None, Listing()).candidates
    assert entry.file == images / "0123abcd-a.png"


def test_cells_that_people_counted_are_a_column_and_wrong_numbers_are_named(images, tmp_path):
    def cells(number):
        return {"from_name": "cells", "to_name": "image", "type": "number", "value": {"number": number}}

    tasks = [
        task("a", annotation(choices("chain"), cells(4), by=1), annotation(choices("chain"), cells(7), by=2)),
        task("b", annotation(choices("chain"), cells(0))),
        task("c", annotation(choices("chain"))),
    ]
    found = from_label_studio(images, written(tmp_path, tasks), None, Listing())
    assert [entry.extra.get("cells_counted") for entry in found.candidates] == ["5.5", None, None]
    assert found.warnings[0] == "numbers of cells that are not whole and from 1 to 10000 are not used: task b (0)"


def test_what_is_not_one_label_is_left_out_and_counted(images, tmp_path):
    tasks = [
        task("a", annotation(choices("copepod"), by=1), annotation(choices("copepod"), by=2)),
        task("b", annotation(choices("copepod"), by=1), annotation(choices("medusa"), by=2)),
        task("c", annotation(canceled=True)),
        task("d"),
        task("e", annotation(choices("copepod", "medusa"))),
        task("f", annotation(choices("medusa"), by={"email": "person@example.org"}), annotation(canceled=True)),
    ]
    found = from_label_studio(images, written(tmp_path, tasks), None, Listing())
    assert [(entry.source, entry.class_name, entry.annotators) for entry in found.candidates] == [
        ("a.png", "copepod", "1;2"),
        ("f.png", "medusa", ""),
    ]
    assert found.left_out == {"disputed": 1, "skipped": 1, "no_class": 1, "several_classes": 1}


def test_of_several_kinds_of_choices_one_is_named(images, tmp_path):
    tasks = [task("a", annotation(choices("copepod", kind="taxon"), choices("good", kind="quality")))]
    export = written(tmp_path, tasks)
    with pytest.raises(InputError, match="several kinds of choices .quality, taxon.: name one with --class-column"):
        from_label_studio(images, export, None, Listing())
    (entry,) = from_label_studio(images, export, "taxon", Listing()).candidates
    assert entry.class_name == "copepod"


def test_the_short_json_and_the_csv_are_read_as_the_full_json(images, tmp_path):
    rows = [
        {
            "image": UPLOAD.format(f"{name}.png"),
            "id": at,
            "choice": label,
            "annotator": 1,
            "annotation_id": at,
            "lead_time": 2,
        }
        for at, (name, label) in enumerate({"a": "copepod", "b": "medusa", "c": ""}.items())
    ]
    short = written(tmp_path, [{key: value for key, value in row.items() if value != ""} for row in rows])
    with (tmp_path / "export.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for export in (short, tmp_path / "export.csv"):
        made = import_dataset(images, tmp_path / f"ds{export.suffix}", manifest=export)
        assert {(record.source, record.class_name) for record in made.records} == {
            ("a.png", "copepod"),
            ("b.png", "medusa"),
        }
        assert made.meta.left_out == {"no_class": 1}
        assert "were found by their last parts" in made.meta.warnings[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ('{"a": 1}', "is not an export of Label Studio: it is not a list of tasks"),
        ('[{"a": 1}]', "is not an export of Label Studio: a task has neither data nor an annotation"),
        ('[{"data": {"image": "a.png"}, "annotations": 5}]', "is not an export of Label Studio"),
        (
            '[{"data": {"image": "a.png"}, "annotations": [{"result": [{"type": "choices", "value": [1]}]}]}]',
            "is not an export of Label Studio",
        ),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_another_json_file_is_refused(images, tmp_path, text, message):
    (tmp_path / "export.json").write_text(text)
    with pytest.raises(InputError, match=message):
        from_label_studio(images, tmp_path / "export.json", None, Listing())


def test_an_export_without_a_label_is_refused(images, tmp_path):
    with pytest.raises(DatasetError, match="no task of .* has a label .2 no_class.: export a project with labels"):
        from_label_studio(images, written(tmp_path, [task("a"), task("b")]), None, Listing())


def test_an_export_alone_is_told_where_it_goes(images, tmp_path, fault):
    export = written(tmp_path, [task("a")])
    assert fault(InputError, export, tmp_path / "ds") == (
        f"{export} is not a folder: name the folder that holds the images, and the table with --manifest {export}"
    )


def test_a_choice_may_be_named_none_in_each_kind_of_export(images, tmp_path):
    full = written(tmp_path, [task("a", annotation(choices("None")))])
    (tmp_path / "export.csv").write_text("image,id,choice,annotator,annotation_id,lead_time\na.png,1,None,1,1,2\n")
    for export in (full, tmp_path / "export.csv"):
        (entry,) = from_label_studio(images, export, None, Listing()).candidates
        assert entry.class_name == "None"


def test_what_is_assumed_of_a_csv_is_said(images, tmp_path):
    text = "image,id,choice,annotator,annotation_id,lead_time\na.png,1,m\u00e9duse,1,1,2\n"
    (tmp_path / "export.csv").write_bytes(text.encode("latin-1"))
    found = from_label_studio(images, tmp_path / "export.csv", None, Listing())
    assert "was read as Windows-1252" in found.warnings[0]
