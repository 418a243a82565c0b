"""A dataset in the formats of other programs, and back again with the same images, labels and splits."""

import csv
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from pelagia.dataset.schema import Dataset, SplitMeta
from pelagia.dataset.write import Candidate, write_dataset
from pelagia.errors import DatasetError, InputError
from pelagia.system.names import safe_name, safe_names
from pelagia.system.yaml_text import parse_yaml
from pelagia_labeling.exports.export import FORMATS, export_dataset
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_labeling.importers.published_split import PublishedSplit

Draw = Callable[[Sequence[str], Path, int], None]

CLASSES = ("Copépode à œufs", "aux", "a/b: <c>?", "test", "Medusa.", "copepod", "Copepod", "動物プランクトン")
"""Accents, a device of Windows, forbidden characters, the name of a split, a dot at the end, capitals, Japanese."""

FOLDERS = PublishedSplit(folders=True)


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory, draw_images: Draw) -> Dataset:
    """48 images of `CLASSES` at six stations, with names that people give, the same name twice, and other columns."""
    root = tmp_path_factory.mktemp("nasty")
    names = [f"station {at % 6}/crop é test_{at // 12}.png" if at % 2 else f"x/{at}.jpg" for at in range(48)]
    draw_images([f"{at:02d}{Path(name).suffix}" for at, name in enumerate(names)], root / "in", 7)
    candidates = [
        Candidate(
            root / "in" / f"{at:02d}{Path(name).suffix}",
            CLASSES[at % 8],
            name,
            group=f"St {at % 6}",
            annotators="ann@example.org",
            licence="CC-BY-4.0" if at % 3 else "",
            extra={
                "station": f"St {at % 6}",
                "eventDate": f"2024-05-{at % 6 + 1:02d}T10:20:30Z",
                "decimalLatitude": f"{50 + at / 10}",
                "area": str(at * 1.5),
                "remark": "=1+2\tand a tab" if at == 3 else "fine",
                "label": "a column that others use",
            },
        )
        for at, name in enumerate(names)
    ]
    return write_dataset(root / "nasty", candidates, source={"kind": "test"}, split=SplitMeta(group_column="station"))


def rest(dataset: Dataset) -> set[tuple[str, str, str]]:
    return {(one.sha256, one.group, one.split) for one in dataset.records}


def test_class_folders_come_back_through_the_manifest_with_everything(nasty: Dataset, tmp_path: Path) -> None:
    done = export_dataset(nasty, tmp_path / "out", "folders", annotators=True)
    assert "4 classes have a folder with another name" in done.notes[0]
    back = import_dataset(
        tmp_path / "out",
        tmp_path / "back",
        manifest=tmp_path / "out" / "manifest.csv",
        published=PublishedSplit(column="split"),
    )
    assert back.meta.fingerprint == nasty.meta.fingerprint
    assert rest(back) == rest(nasty)
    by_hash = {one.sha256: one for one in back.records}
    for one in nasty.records:
        assert (by_hash[one.sha256].extra, by_hash[one.sha256].annotators) == (one.extra, "ann@example.org")


@pytest.mark.parametrize("to", ["folders", "imagefolder"])
def test_class_folders_alone_come_back_with_labels_and_splits(nasty: Dataset, tmp_path: Path, to: str) -> None:
    export_dataset(nasty, tmp_path / "out", to)
    renames = {folder: name for name, folder in safe_names(nasty.class_names).items() if name != folder}
    back = import_dataset(tmp_path / "out", tmp_path / "back", published=FOLDERS, renames=renames)
    assert back.meta.fingerprint == nasty.meta.fingerprint


def test_an_imagefolder_names_each_image_once_in_the_table_of_its_split(nasty: Dataset, tmp_path: Path) -> None:
    export_dataset(nasty, tmp_path / "out", "imagefolder")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    files = parse_yaml(card.split("---")[1], "card")["configs"][0]["data_files"]
    assert [entry["path"] for entry in files] == ["train/**", "validation/**", "test/**"]
    seen = {}
    for split in ("train", "validation", "test"):
        with (tmp_path / "out" / split / "metadata.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            assert (tmp_path / "out" / split / row["file_name"]).is_file()
            assert row["survey_label"] == "a column that others use"
            seen[row["sha256"]] = (row["label"], split.replace("validation", "val"))
    assert seen == {one.sha256: (one.class_name, one.split) for one in nasty.records}


def test_coco_json_comes_back_with_groups_and_has_one_box_around_each_image(nasty: Dataset, tmp_path: Path) -> None:
    export_dataset(nasty, tmp_path / "out", "coco")
    document = json.loads((tmp_path / "out" / "test.json").read_text(encoding="utf-8"))
    assert set(document) == {"info", "licenses", "categories", "images", "annotations"}
    assert [entry["name"] for entry in document["categories"]] == list(nasty.class_names)
    sizes = {entry["id"]: [0, 0, entry["width"], entry["height"]] for entry in document["images"]}
    assert {entry["image_id"]: entry["bbox"] for entry in document["annotations"]} == sizes
    back = import_dataset(tmp_path / "out", tmp_path / "back", published=PublishedSplit(column="split"))
    assert back.meta.fingerprint == nasty.meta.fingerprint
    assert rest(back) == rest(nasty)
    one = import_dataset(tmp_path / "out", tmp_path / "one", manifest=tmp_path / "out" / "test.json")
    assert one.meta.images == sum(record.split == "test" for record in nasty.records)


def test_label_studios_tasks_come_back_with_labels_and_splits(nasty: Dataset, tmp_path: Path) -> None:
    export_dataset(nasty, tmp_path / "out é", "label-studio")
    back = import_dataset(
        tmp_path,
        tmp_path / "back",
        manifest=tmp_path / "out é" / "tasks.json",
        published=PublishedSplit(column="split"),
    )
    assert back.meta.fingerprint == nasty.meta.fingerprint


def test_ecotaxas_zips_are_small_and_come_back_together(nasty: Dataset, tmp_path: Path, pelagia: Pelagia) -> None:
    limit = 150_000
    done = export_dataset(nasty, tmp_path / "out", "ecotaxa", part_bytes=limit)
    parts = sorted((tmp_path / "out").glob("*.zip"))
    assert len(parts) == 2
    assert "2 zips for EcoTaxa" in done.notes[0]
    assert all(part.stat().st_size < limit for part in parts)
    column = PublishedSplit(column="object_split")
    for at, part in enumerate(parts):
        import_dataset(part, tmp_path / f"part{at}", published=column)
    folders = [str(tmp_path / f"part{at}") for at in range(2)]
    merged = pelagia("dataset", "merge", *folders, "--out", tmp_path / "back")
    assert merged.returncode == 0, merged.stderr
    back = Dataset.read(tmp_path / "back")
    assert back.meta.fingerprint == nasty.meta.fingerprint
    assert rest(back) == rest(nasty)


def test_an_ecotaxa_table_has_types_and_no_more_columns_than_ecotaxa_takes(nasty: Dataset, tmp_path: Path) -> None:
    export_dataset(nasty, tmp_path / "out", "ecotaxa", status="predicted")
    with zipfile.ZipFile(tmp_path / "out" / "out_part1.zip") as archive:
        table = archive.read("ecotaxa_out_part1.tsv").decode("utf-8-sig")
        assert archive.read("ecotaxa_out_part1.tsv").startswith(b"\xef\xbb\xbf")  # without it, EcoTaxa reads Latin-1
        names = set(archive.namelist())
    header, types, *rows = (line.split("\t") for line in table.splitlines())
    kinds = dict(zip(header, types, strict=True))
    assert (kinds["object_area"], kinds["object_lat"], kinds["object_remark"]) == ("[f]", "[f]", "[t]")
    assert {kinds[name] for name in header} == {"[t]", "[f]"}
    first = dict(zip(header, rows[0], strict=True))
    assert (first["object_date"], first["object_time"], first["object_annotation_status"]) == (
        "20240501",
        "102030",
        "predicted",
    )
    assert "object_annotation_person_email" not in header
    assert {dict(zip(header, row, strict=True))["img_file_name"] for row in rows} < names
    assert len({row[header.index("object_id")] for row in rows}) == len(rows) == 48


def test_people_are_exported_only_if_asked_for(nasty: Dataset, tmp_path: Path) -> None:
    said = {"adjudicator": "cat@example.org", "votes": "ann@example.org: aux, ben@example.org: test"}
    said |= {f"survey_{name}": text for name, text in said.items()}
    people = replace(nasty, records=tuple(replace(one, extra=one.extra | said) for one in nasty.records))
    for to in FORMATS:
        done = export_dataset(people, tmp_path / to, to)
        assert any("--annotators" in text for text in done.notes)
        for file in (tmp_path / to).rglob("*"):
            assert not file.is_file() or b"example.org" not in file.read_bytes(), file


def test_a_changed_image_or_an_existing_folder_ends_an_export_without_a_trace(
    nasty: Dataset, tmp_path: Path, pelagia: Pelagia
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").touch()
    with pytest.raises(InputError, match="exists already"):
        export_dataset(nasty, tmp_path / "there", "coco")
    with pytest.raises(InputError, match="did you mean 'ecotaxa'"):
        export_dataset(nasty, tmp_path / "out", "ecotax")
    image = nasty.file(nasty.records[5])
    before = image.read_bytes()
    try:
        image.write_bytes(before + b"x")
        for to in FORMATS:
            with pytest.raises(DatasetError, match="have changed"):
                export_dataset(nasty, tmp_path / "out", to)
        done = pelagia("dataset", "export", nasty.root, "--to", "coco", "--out", tmp_path / "out")
        assert (done.returncode, "have changed: restore the image" in done.stderr) == (3, True)
    finally:
        image.write_bytes(before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Copépode à œufs", "Copépode à œufs"),
        ("aux", "aux_"),
        ("COM1.x", "COM1_.x"),
        ("a/b\\c", "a_b_c"),
        ("end. ", "end"),
        (".hidden", "_hidden"),
        ("...", "_"),
        ("é" * 150, "é" * 100),
    ],
)
def test_names_are_what_every_system_can_hold(name: str, safe: str) -> None:
    assert safe_name(name) == safe
    assert safe_names(["a:b", "A?b", "a_b"]) == {"a:b": "a_b", "A?b": "A_b_2", "a_b": "a_b_3"}
