"""One project in all forms of an export: the same images, times, positions, sizes and volumes from each."""

import zipfile

import pytest

from ecotaxa_exports import FORMS, backup, flat, object_row, table, write_files, zipped
from pelagia.errors import InputError
from pelagia.images.pixel_size import pixel_size_um
from pelagia.images.preprocess import ImageError
from pelagia.sources import Listing, ListingOptions, list_images
from pelagia.sources.ecotaxa import nested

ROWS = [object_row(number, sample=f"s{number // 2}") for number in range(6)]


@pytest.fixture
def images(encode):
    return {row["img_file_name"]: encode(seed=seed) for seed, row in enumerate(ROWS)}


def by_object(path, listing=None):
    """Object -> columns and bytes of its image."""
    return {one.columns["object_id"]: (dict(one.columns), one.read()) for one in list_images([path], listing)}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_objects(form, images, tmp_path):
    listing = Listing()
    found = by_object(FORMS[form](tmp_path, ROWS, images), listing)
    assert found == {
        row["object_id"]: (
            {
                "object_id": row["object_id"],
                "eventDate": "2022-07-18T11:53:00Z",
                "decimalLatitude": "43.685",
                "decimalLongitude": "7.315",
                "minimumDepthInMeters": "10.0",
                "maximumDepthInMeters": "75.5",
                "sample": row["sample_id"],
                "station": "Point B",
                "sample_comment": "filet abîmé",
                "sampleSizeValue": "12.5",
                "sampleSizeUnit": "cubic metre",
                "instrument": "zooscan",
                "pixel_size_mm": "0.0106",
                "acq_id": row["acq_id"],
                "acq_sub_part": "4",
                "object_annotation_date": "2023-01-02",
                "object_annotation_category": row["object_annotation_category"],
                "object_annotation_status": "validated",
            },
            images[row["img_file_name"]],
        )
        for row in ROWS
    }
    assert [pixel_size_um(columns) for columns, _ in found.values()] == [pytest.approx(10.6)] * len(ROWS)
    assert listing.left_out == {}


def test_a_zip_that_is_stored_in_a_zip_is_read_in_place(images, tmp_path):
    listing = Listing()
    path = FORMS["zip in a zip, stored"](tmp_path, ROWS, images)
    first = next(list_images([path], listing))
    assert first.path == "srv/temp/export_BAK_42/0.png"
    assert first.reader.archive == path
    assert listing.warnings == {}


def test_a_zip_that_is_compressed_in_a_zip_is_unpacked_once_and_that_is_said(images, tmp_path):
    listing = Listing()
    path = FORMS["zip in a zip, compressed"](tmp_path, ROWS, images)
    files = {one.reader.archive for _ in range(2) for one in list_images([path], listing)}
    assert len(files) == 1
    assert path not in files
    assert listing.warning_texts() == (
        f"srv/temp/export_BAK_42.zip in {path} is compressed: it was unpacked to a temporary file of 0 MB; to avoid "
        "this, unpack export.zip once, and name the zips in it (2 times)",
    )


def test_a_zip_in_a_zip_that_finds_no_room_is_refused_with_the_remedy(images, tmp_path, monkeypatch):
    path = FORMS["zip in a zip, compressed"](tmp_path, ROWS, images)
    monkeypatch.setattr(nested, "_KEEP_FREE", 1 << 62)
    with pytest.raises(InputError, match=r"there is no room to unpack its .* unpack export\.zip yourself"):
        list(list_images([path]))


def test_a_damaged_zip_in_a_zip_is_refused(images, tmp_path):
    inner = bytearray(zipped(flat(ROWS, images), zipfile.ZIP_STORED))
    outer = bytearray(zipped({"p.zip": bytes(inner)}))
    outer[200] ^= 1
    (tmp_path / "export.zip").write_bytes(outer)
    with pytest.raises(InputError, match=r"export\.zip"):
        list(list_images([tmp_path / "export.zip"]))


def test_the_zips_of_a_collection_are_one_export(images, tmp_path):
    parts = {f"p{at}.zip": zipped(flat(ROWS[at : at + 3], images)) for at in (0, 3)}
    (tmp_path / "collection.zip").write_bytes(zipped(parts, zipfile.ZIP_STORED))
    listing = Listing()
    assert [one.path for one in list_images([tmp_path / "collection.zip"], listing)] == [
        *(f"p0/{at}.png" for at in range(3)),
        *(f"p3/{at}.png" for at in range(3, 6)),
    ]
    assert listing.left_out == {"not_in_table": 6}


def test_a_zip_of_a_collection_that_cannot_be_listed_is_counted(images, encode, tmp_path):
    parts = {
        "p.zip": zipped(flat(ROWS, images)),
        "damaged.zip": b"no zip",
        "images.zip": zipped({"a.png": encode()}),
    }
    (tmp_path / "collection.zip").write_bytes(zipped(parts, zipfile.ZIP_STORED))
    listing = Listing()
    assert len(list(list_images([tmp_path / "collection.zip"], listing))) == len(ROWS)
    assert listing.left_out == {"archive_inside": 2}


def test_a_backup_may_be_in_a_zip(images, tmp_path):
    (tmp_path / "b.zip").write_bytes(zipped(backup(ROWS, images)))
    assert by_object(tmp_path / "b.zip") == by_object(FORMS["backup"](tmp_path, ROWS, images))


def test_an_image_beside_zips_leaves_them_archives_inside(images, encode, tmp_path):
    (tmp_path / "mixed.zip").write_bytes(zipped({"a.png": encode(), "p.zip": zipped(flat(ROWS, images))}))
    listing = Listing()
    assert [one.path for one in list_images([tmp_path / "mixed.zip"], listing)] == ["a.png"]
    assert listing.left_out == {"archive_inside": 1}


def test_a_text_file_with_the_name_of_a_table_is_not_a_table(put, tmp_path):
    put(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "ecotaxa_notes.txt").write_text("dear diary\n")
    assert [one.path for one in list_images([tmp_path / "in"])] == ["a.png"]


def test_the_images_of_one_object_are_one_image_unless_all_are_wanted(images, tmp_path):
    rows = [object_row(0, img_rank="100"), object_row(0, img_rank="0", img_file_name="1.png")]
    rows += [object_row(2), object_row(3, object_id="obj_2", img_rank="1")]
    path = write_files(tmp_path / "in", flat(rows, dict(list(images.items())[:4])))
    listing = Listing()
    assert [one.path for one in list_images([path], listing)] == ["1.png", "2.png"]
    assert listing.left_out == {"other_rank": 2}
    everything = Listing(ListingOptions(all_ranks=True))
    assert [one.path for one in list_images([path], everything)] == ["0.png", "1.png", "2.png", "3.png"]
    assert everything.left_out == {}


def test_images_far_apart_of_one_object_are_one_image(tmp_path, images):
    rows = [object_row(0, img_rank="1"), object_row(1), object_row(2, object_id="obj_0", img_rank="2")]
    path = write_files(tmp_path / "in", flat(rows, dict(list(images.items())[:3])))
    assert [one.path for one in list_images([path])] == ["0.png", "1.png"]
    rows[2]["img_rank"] = "0"
    write_files(path, flat(rows, {}))
    with pytest.raises(InputError, match=r"line 5: an image of a lower img_rank .* sort the table .* --all-ranks"):
        list(list_images([path]))


def test_objects_of_two_samples_may_have_one_name(tmp_path, images):
    rows = [object_row(0, object_id="1"), object_row(1, "s2", object_id="1", img_rank="1")]
    path = write_files(tmp_path / "in", flat(rows, dict(list(images.items())[:2])))
    assert [one.path for one in list_images([path])] == ["0.png", "1.png"]


@pytest.mark.parametrize("name", ["/etc/hostname", "../secret.png", "a/../../secret.png", "..\\secret.png"])
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_table_reaches_no_file_outside_its_export(name, packed, images, put, tmp_path):
    put(tmp_path / "secret.png", seed=9)
    rows = [object_row(0, img_file_name=name), object_row(1)]
    files = {"ecotaxa.tsv": table(rows), "1.png": images["1.png"]}
    path = write_files(tmp_path / "in", files)
    if packed:
        path = tmp_path / "in.zip"
        path.write_bytes(zipped(files))
    outside, one = list_images([path])
    with pytest.raises(ImageError) as caught:
        outside.read()
    assert caught.value.reason == "missing"
    assert one.read() == images["1.png"]


def test_rows_without_an_image_are_counted(images, tmp_path):
    rows = [object_row(0), object_row(1, img_file_name=""), object_row(2, img_file_name="nan")]
    path = write_files(tmp_path / "in", flat(rows, {"0.png": images["0.png"]}))
    listing = Listing()
    assert [one.path for one in list_images([path], listing)] == ["0.png"]
    assert listing.left_out == {"no_file_name": 2}
