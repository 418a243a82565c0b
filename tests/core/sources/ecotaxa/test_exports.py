"""EcoTaxa exports: a real one, and small ones as a folder and as a zip."""

import zipfile

import pytest

from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError, decode
from pelagia.sources import Listing, list_images

HEADER = (
    "img_file_name\tobject_id\tobject_lat\tobject_lon\tobject_date\tobject_time\tobject_depth_min\tobject_depth_max"
)
ROW = "a.jpg\to1\t57.1\t-11.2\t20240708\t80000\t0\t50.5"


def fault(path):
    with pytest.raises(InputError) as caught:
        list(list_images([path]))
    return str(caught.value)


@pytest.fixture(params=["folder", "zip"])
def make(request, tmp_path):
    """Writes an export of table lines and named images, as a folder or a zip."""

    def make(*lines, images=("a.jpg",), table="ecotaxa_export.tsv", below=""):
        text = "\ufeff" + "\n".join(lines) + "\n"
        if request.param == "folder":
            root = tmp_path / "export"
            root.mkdir()
            (root / table).write_text(text)
            for name in images:
                (root / name).write_bytes(name.encode())
            return root
        with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name in images:
                archive.writestr(below + name, name)
            archive.writestr(below + table, text)
        return tmp_path / "export.zip"

    return make


def test_the_real_export_gives_each_object_with_darwin_cores_names(data_root):
    found = {image.path: image for image in list_images([data_root / "ecotaxa_export"])}
    assert len(found) == 437
    image = found["0_d1_1_1.jpg"]
    expected = {
        "object_id": "0_d1_1_1",
        "eventDate": "2024-07-08T08:00:00Z",
        "decimalLatitude": "0.0",
        "decimalLongitude": "0.0",
        "sample": "0",
        "instrument": "zooscan",
        "pixel_size_mm": "0.0106",
        "object_annotation_category": "fiber<detritus",
    }
    assert expected.items() <= dict(image.columns).items()
    assert decode(image.read()).ndim == 3


def test_of_the_real_export_unknown_values_and_people_are_left_out(data_root):
    columns = next(list_images([data_root / "ecotaxa_export"])).columns
    assert not {"minimumDepthInMeters", "sampleSizeValue", "sampleSizeUnit"} & set(columns)
    assert not [name for name in columns if "person" in name or "operator" in name or name == "object_area"]


def test_the_real_export_reads_the_same_from_a_zip(data_root, tmp_path):
    source = data_root / "ecotaxa_export"
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for file in sorted(source.iterdir(), reverse=True):
            archive.write(file, file.name)
    folder = [(image.path, image.columns, image.read()) for image in list_images([source])]
    assert [(image.path, image.columns, image.read()) for image in list_images([tmp_path / "export.zip"])] == folder


def test_columns_get_darwin_cores_names(make):
    extra = "\tsample_id\tsample_stationid\tsample_tot_vol\tsample_ship\tobject_area"
    (image,) = list_images([make(HEADER + extra, ROW + "\ts1\tST3\t12.5\tTara\t99")])
    assert dict(image.columns) == {
        "object_id": "o1",
        "decimalLatitude": "57.1",
        "decimalLongitude": "-11.2",
        "eventDate": "2024-07-08T08:00:00Z",
        "minimumDepthInMeters": "0",
        "maximumDepthInMeters": "50.5",
        "sample": "s1",
        "station": "ST3",
        "sampleSizeValue": "12.5",
        "sampleSizeUnit": "cubic metre",
        "sample_ship": "Tara",
    }
    assert image.read() == b"a.jpg"


def test_the_line_of_types_is_no_object(make):
    types = "\t".join(["[t]", "[t]", "[f]", "[f]", "[t]", "[t]", "[f]", "[f]"])
    assert [image.path for image in list_images([make(HEADER, types, ROW)])] == ["a.jpg"]


def test_a_row_without_its_image_is_a_failed_row(make):
    missing, there = list_images([make(HEADER, ROW.replace("a.jpg", "gone.jpg"), ROW)])
    with pytest.raises((ImageError, FileNotFoundError)) as caught:
        missing.read()
    assert getattr(caught.value, "reason", "missing") == "missing"
    assert missing.columns["object_id"] == "o1"
    assert there.read() == b"a.jpg"


def test_two_objects_of_one_image_are_two_rows(make):
    path = make(HEADER, ROW, ROW.replace("o1", "o2"))
    assert [image.path for image in list_images([path])] == ["a.jpg", "a.jpg#2"]


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("20240708", "235959", "2024-07-08T23:59:59Z"),
        ("20240708", "", "2024-07-08"),
        ("20240708", "nan", "2024-07-08"),
        ("2024", "1200", None),
        ("", "", None),
    ],
)
def test_date_and_time_become_one(make, date, time, expected):
    (image,) = list_images([make("img_file_name\tobject_date\tobject_time", f"a.jpg\t{date}\t{time}")])
    assert image.columns.get("eventDate") == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["object_id", "o1"], "has no column 'img_file_name': is it an EcoTaxa export with images?"),
        ([HEADER], "has no object"),
        ([HEADER, "\to2"], "has 1 rows, and none names an image: export it from EcoTaxa again, with the images"),
    ],
)
def test_a_wrong_table_says_where(make, lines, message):
    text = fault(make(*lines))
    assert text.endswith(message)
    assert "ecotaxa_export.tsv" in text


def test_a_zip_may_hold_its_export_in_a_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("export_42/ecotaxa_42.tsv", f"{HEADER}\n{ROW}\n")
        archive.writestr("export_42/a.jpg", b"x")
        archive.writestr("export_42/other.jpg", b"y")
    listing = Listing()
    (image,) = list_images([tmp_path / "export.zip"], listing)
    assert (image.path, image.read()) == ("export_42/a.jpg", b"x")
    assert str(image.file) == f"{tmp_path}/export.zip!/export_42/a.jpg"
    assert listing.left_out == {"not_in_table": 1}


def test_a_damaged_table_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ecotaxa.tsv", f"{HEADER}\n{ROW}\n" * 50)
    data = bytearray((tmp_path / "export.zip").read_bytes())
    data[60:80] = b"\xff" * 20
    (tmp_path / "export.zip").write_bytes(data)
    assert str(tmp_path / "export.zip") in fault(tmp_path / "export.zip")


def test_an_export_whose_zip_is_cut_short_gives_its_images_without_columns(tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("a.jpg", b"x")
        archive.writestr("ecotaxa.tsv", f"{HEADER}\n{ROW}\n")
    whole = (tmp_path / "export.zip").read_bytes()
    (tmp_path / "export.zip").write_bytes(whole[:-30])
    image, fault = list_images([tmp_path / "export.zip"])
    assert (image.path, image.read(), dict(image.columns), fault.path) == ("a.jpg", b"x", {}, "export.zip")
