"""FlowCam runs, written as VisualSpreadsheet writes them: a list, collages, masks, calibration images, a context."""

import pickle
import tarfile
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image

from listing import fault, paths
from pelagia.images.preprocess import ImageError, decode
from pelagia.sources import Listing, list_images
from pelagia.sources.flowcam import collage

FIELDS = ("id", "collage_file", "image_x", "image_y", "image_w", "image_h")
CONTEXT = """[Software]
SoftwareName=VisualSpreadsheet
SoftwareVersion=3.4.5
SerialNo=101
[General]
LocationLatitude=
LocationLongitude=
RunStartTime=2014-07-20 04:53:25
[Fluid]
FlowCellDepth=300
FluidVolumeImaged_ml=0.0610
CalibrationConstant=0.5547
[CaptureRegion]
AcceptableLeft=0
AcceptableRight=1022
AcceptableTop=0
AcceptableBottom=766
[CaptureStats]
RawImageTotal=473
"""
RUN = "201-045311"


def written(folder, *rows, run=RUN, version="017", fields=FIELDS, context=CONTEXT, end="\n", gray=True, collages=1):
    """Writes a run of two particles a collage, or of ``rows``; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(7)
    for number in range(1, collages + 1):
        shape = (90, 200) if gray else (90, 200, 3)
        Image.fromarray(generator.integers(0, 256, shape, np.uint8)).save(folder / f"{run}_{number:06d}.tif")
        Image.fromarray(np.zeros((90, 200), np.uint8)).save(folder / f"{run}_{number:06d}_bin.tif")
    Image.fromarray(np.full((100, 120), 180, np.uint8)).save(folder / "cal_image_000001.tif")
    if not rows:
        names = [f"{run}_{number:06d}.tif" for number in range(1, collages + 1)]
        places = [(name, x) for name in names for x in (2, 90)]
        rows = [f"{number}|{name}|{x}|5|70|40" for number, (name, x) in enumerate(places, start=1)]
    header = [version, f"num-fields|{len(fields)}", *(f"{name}|int32" for name in fields)]
    (folder / f"{run}.lst").write_text("\n".join([*header, *rows]) + end)
    if context:
        (folder / f"{run}.ctx").write_text(context)
    return folder


@pytest.fixture
def folder(tmp_path):
    return tmp_path / RUN


def listed(*inputs):
    listing = Listing()
    return list(list_images(inputs, listing)), listing


def why(image):
    with pytest.raises(ImageError) as caught:
        image.read()
    return caught.value.reason, str(caught.value)


def test_particles_are_cut_from_the_collage(folder):
    written(folder)
    images, listing = listed(folder)
    pixels = np.asarray(Image.open(folder / f"{RUN}_000001.tif"))

    assert [image.path for image in images] == [f"{RUN}_00001", f"{RUN}_00002"]
    for image, x in zip(images, (2, 90), strict=True):
        assert image.read().startswith(b"P5\n70 40\n255\n")
        assert np.array_equal(decode(image.read())[..., 0], pixels[5:45, x : x + 70])
    assert listing.left_out == {"flowcam_mask": 1, "flowcam_calibration": 1}
    assert not listing.warnings


def test_colors_stay(folder):
    written(folder, gray=False)
    image = listed(folder)[0][0]
    pixels = np.asarray(Image.open(folder / f"{RUN}_000001.tif"))
    assert image.read().startswith(b"P6\n70 40\n255\n")
    assert np.array_equal(decode(image.read()), pixels[5:45, 2:72])


def test_columns_come_from_the_context(folder):
    written(folder)
    assert listed(folder)[0][1].columns == {
        "sample": RUN,
        "instrument": "FlowCam 101",
        "eventDate": "2014-07-20T04:53:25",
        "sampleSizeValue": "0.061",
        "sampleSizeUnit": "millilitre",
        "pixel_size_um": "0.5547",
        "particle_id": "2",
    }


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("FluidVolumeImaged_ml=0.0610", "TotalVolumeML=1,25", {"sampleSizeValue": "1.25"}),
        ("FlowCellDepth=300", "UseManualVolume=1\nManualVolumeML=2", {"sampleSizeValue": "2"}),
        ("CalibrationConstant=0.5547", "CalibConstant=2,21", {"pixel_size_um": "2.21"}),
        ("FlowCellDepth=300", "UseDilutionCalculation=1\nSampleDilution=10", {"dilution": "10"}),
        ("LocationLatitude=\nLocationLongitude=", "LocationLatitude=43.5\nLocationLongitude=-7.25",
         {"decimalLatitude": "43.5", "decimalLongitude": "-7.25"}),
        ("RunStartTime=2014-07-20 04:53:25", "RunStartTime=7/20/2014 4:53", {"eventDate": None}),
    ],
)  # fmt: skip
def test_contexts_of_other_versions(folder, old, new, changed):
    written(folder, context=CONTEXT.replace(old, new))
    columns = listed(folder)[0][0].columns
    assert {name: columns.get(name) for name in changed} == changed


def test_a_volume_of_zero_is_unknown_and_said(folder):
    written(folder, context=CONTEXT.replace("0.0610", "0.0000"))
    images, listing = listed(folder)
    assert "sampleSizeValue" not in images[0].columns
    assert [text for text in listing.warning_texts() if "no imaged volume" in text]


def test_the_volume_of_old_versions_is_computed_and_said(folder):
    written(folder, context=CONTEXT.replace("FluidVolumeImaged_ml=0.0610\n", ""))
    images, listing = listed(folder)
    assert float(images[0].columns["sampleSizeValue"]) == pytest.approx(1022 * 766 * 0.5547**2 * 300 * 473 / 1e12, 1e-5)
    assert "it was computed" in listing.warning_texts()[0]


def test_triggered_frames_give_no_volume(folder):
    context = CONTEXT.replace("FluidVolumeImaged_ml=0.0610\n", "") + "[Fluorescence]\nCh1Trigger=1\n"
    written(folder, context=context)
    assert "sampleSizeValue" not in listed(folder)[0][0].columns


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (f"{RUN}_run_summary.txt", "Run:\n\tFluid Volume Imaged: 0.0610 ml\n\nDate/Time:\n"
         "\tStart:  2017-03-09 15:46:34\n\nEnvironment:\n\tCalibration Factor: 0.5547\n"),
        (f"{RUN}_summary.csv", ", Fluid Volume Imaged, 0.0610 ml\n, Start Time, 2017-03-09 15:46:34\n"
         ", Calibration Factor, 0.5547\n"),
    ],
)  # fmt: skip
def test_the_summary_stands_in_for_the_context(folder, name, text):
    written(folder, context="")
    (folder / name).write_text(text)
    columns = listed(folder)[0][0].columns
    assert columns["sampleSizeValue"] == "0.061"
    assert columns["pixel_size_um"] == "0.5547"
    assert columns["eventDate"] == "2017-03-09T15:46:34"


def test_the_list_gives_the_pixel_size_that_the_context_lacks(folder):
    written(folder, f"1|2.21|{RUN}_000001.tif|2|5|70|40", fields=("id", "cal_const", *FIELDS[1:]), context="")
    assert listed(folder)[0][0].columns["pixel_size_um"] == "2.21"


def test_a_pixel_size_that_differs_from_the_context_is_said(folder):
    written(folder, f"1|2.21|{RUN}_000001.tif|2|5|70|40", fields=("id", "cal_const", *FIELDS[1:]))
    images, listing = listed(folder)
    assert images[0].columns["pixel_size_um"] == "0.5547"
    assert "differs" in listing.warning_texts()[0]


def test_unknown_volume_and_pixel_size_are_said_once(folder):
    written(folder, context="")
    _, listing = listed(folder)
    assert len(listing.warnings) == 2
    assert set(listing.warnings.values()) == {1}


def test_later_versions_with_more_fields_are_read(folder):
    written(folder, f"x|1|{RUN}_000001.tif|2|5|70|40|2014", version="018",
            fields=("uuid", *FIELDS, "timestamp"))  # fmt: skip
    image = listed(folder)[0][0]
    assert image.path == f"{RUN}_00001"
    assert image.columns["timestamp"] == "2014"


def test_the_list_and_the_folder_give_the_same_names(folder):
    written(folder)
    assert paths(folder / f"{RUN}.lst") == paths(folder) == [f"{RUN}_00001", f"{RUN}_00002"]


def test_several_runs_below_a_folder(tmp_path):
    written(tmp_path / "a" / RUN)
    written(tmp_path / "b" / "202-1", run="202-1")
    Image.new("L", (8, 8)).save(tmp_path / "b" / "photo.png")
    assert paths(tmp_path) == [
        f"a/{RUN}/{RUN}_00001", f"a/{RUN}/{RUN}_00002", "b/202-1/202-1_00001", "b/202-1/202-1_00002", "b/photo.png",
    ]  # fmt: skip


def test_endings_in_capitals(folder):
    written(folder)
    for name in (f"{RUN}.lst", f"{RUN}.ctx", f"{RUN}_000001.tif", f"{RUN}_000001_bin.tif", "cal_image_000001.tif"):
        (folder / name).rename(folder / name.upper())
    images, listing = listed(folder)
    assert [image.columns["pixel_size_um"] for image in images] == ["0.5547"] * 2
    assert all(image.read() for image in images)
    assert listing.left_out == {"flowcam_mask": 1, "flowcam_calibration": 1}


def test_a_cut_outside_the_collage_fails(folder):
    written(folder, f"1|{RUN}_000001.tif|150|5|70|40", f"2|{RUN}_000001.tif|2|5|70|40")
    images, _ = listed(folder)
    reason, message = why(images[0])
    assert reason == "damaged"
    assert "outside its collage of 200 x 90 pixels" in message
    assert images[1].read()


def test_a_missing_collage_fails(folder):
    written(folder, "1|other_000001.tif|2|5|70|40")
    (image,) = listed(folder)[0]
    with pytest.raises(FileNotFoundError):
        image.read()


def test_a_collage_that_is_not_an_image_fails(folder):
    written(folder)
    (folder / f"{RUN}_000001.tif").write_bytes(b"II*\0 nothing")
    assert why(listed(folder)[0][0])[1].startswith(f"its collage {RUN}_000001.tif: ")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"2|{RUN}_000001.tif|2|5", "row 2 of the .lst has 4 values, the header has 6: it is cut short"),
        (f"2|{RUN}_000001.tif|2|5|seven|40", "row 2 of the .lst: image_w is 'seven', not a number"),
        (f"2|{RUN}_000001.tif|-2|5|70|40", "row 2 of the .lst: 70 x 40 pixels at -2, 5"),
        ("2||2|5|70|40", "row 2 of the .lst names no collage"),
        (f"1|{RUN}_000001.tif|2|5|70|40", "row 2 of the .lst has the id 1 a second time"),
    ],
)
def test_a_bad_row_is_a_failed_image(folder, row, message):
    written(folder, f"1|{RUN}_000001.tif|2|5|70|40", row, f"3|{RUN}_000001.tif|90|5|70|40")
    images, _ = listed(folder)
    assert [image.path for image in images] == [f"{RUN}_00001", f"{RUN}_row2", f"{RUN}_00003"]
    assert why(images[1]) == ("damaged", message)


def test_rows_without_an_image_are_counted(folder):
    written(folder, f"1|{RUN}_000001.tif|0|0|0|0", f"2|{RUN}_000001.tif|2|5|70|40")
    images, listing = listed(folder)
    assert len(images) == 1
    assert listing.left_out["flowcam_no_image"] == 1


def test_a_list_whose_last_line_has_no_end_is_said(folder):
    written(folder, end="")
    assert "no line end" in listed(folder)[1].warning_texts()[0]


def test_a_collage_never_leads_out_of_the_run(folder):
    written(folder, "1|../../secret.tif|2|5|70|40", r"2|C:\data\x.tif|2|5|70|40")
    assert [image.reader.file.parent for image in listed(folder)[0]] == [folder, folder]


def test_old_versions_are_refused_by_name(folder):
    written(folder)
    (folder / f"{RUN}.lst").write_text("015\n2009\n1:0.55:33:8.1\n2:0.55:20:7.0\n")
    assert "a FlowCam list of version 015" in fault(folder / f"{RUN}.lst")
    (image,) = listed(folder)[0]
    reason, message = why(image)
    assert reason == "unsupported"
    assert "export the particles as single images" in message


def test_a_header_that_ends_early_is_refused(folder):
    written(folder)
    (folder / f"{RUN}.lst").write_text("017\nnum-fields|6\nid|int32\n")
    assert "does not name its 6 fields" in fault(folder / f"{RUN}.lst")


def test_a_list_without_a_needed_field_is_refused(folder):
    written(folder, "1|2", fields=("id", "collage_file"))
    assert "without the field image_x" in fault(folder / f"{RUN}.lst")


def test_other_lists_are_no_runs(tmp_path):
    (tmp_path / "files.lst").write_text("a.png\nb.png\n")
    Image.new("L", (8, 8)).save(tmp_path / "x_000001.tif")
    assert paths(tmp_path) == ["x_000001.tif"]
    assert "is not an input" in fault(tmp_path / "files.lst")


def test_other_contexts_are_no_runs(tmp_path):
    (tmp_path / "x.ctx").write_text("something")
    Image.new("L", (8, 8)).save(tmp_path / "photo.tif")
    images, listing = listed(tmp_path)
    assert [image.path for image in images] == ["photo.tif"]
    assert listing.left_out == {"other_file:.ctx": 1}


def test_two_lists_of_one_run_are_used_once(folder):
    written(folder)
    (folder / f"{RUN} - copy.lst").write_bytes((folder / f"{RUN}.lst").read_bytes())
    images, listing = listed(folder)
    assert [image.path for image in images] == [f"{RUN}_00001", f"{RUN}_00002"]
    assert listing.left_out["flowcam_second_list"] == 1
    assert f"{RUN}.lst is used" in listing.warning_texts()[0]


def test_two_runs_in_one_folder_are_both_read(folder):
    written(folder)
    written(folder, run="202-1")
    assert len(paths(folder)) == 4


def test_a_run_without_its_list_is_a_failed_image(folder):
    written(folder)
    (folder / f"{RUN}.lst").unlink()
    images, listing = listed(folder)
    assert [image.path for image in images] == [f"{RUN}.ctx"]
    assert why(images[0])[0] == "missing"
    assert listing.left_out == {"flowcam_unlisted": 1, "flowcam_mask": 1, "flowcam_calibration": 1}


def test_collages_that_the_list_does_not_name_and_whole_frames_are_counted(folder):
    written(folder)
    for name in (f"{RUN}_000002.tif", "rawfile_000001.tif"):
        Image.new("L", (90, 90)).save(folder / name)
    assert listed(folder)[1].left_out == {
        "flowcam_mask": 1, "flowcam_calibration": 1, "flowcam_unlisted": 1, "flowcam_frame": 1,
    }  # fmt: skip


def test_a_pattern_gives_the_particles_alone(folder):
    written(folder)
    images, listing = listed(folder / "*")
    assert [image.path for image in images] == [f"{RUN}_00001", f"{RUN}_00002"]
    assert listing.left_out == {"flowcam_image": 3}
    assert "name the .lst files" in fault(folder / "*.tif")


def test_a_collage_as_an_input_fails(folder):
    written(folder)
    (image,) = listed(folder / f"{RUN}_000001.tif")[0]
    assert why(image) == ("unsupported", "an image of a FlowCam run: name the .lst of the run")


def test_a_run_in_a_zip_is_refused(folder, tmp_path):
    written(folder)
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"{RUN}/{file.name}")
    assert "unpack the archive, and name the folder with the .lst" in fault(tmp_path / "run.zip")


def test_a_run_in_a_tar_is_said(folder, tmp_path):
    written(folder)
    with tarfile.open(tmp_path / "run.tar", "w") as archive:
        archive.add(folder, RUN)
    images, listing = listed(tmp_path / "run.tar")
    assert [image.path for image in images] == [f"{RUN}/{RUN}_000001.tif"]
    assert listing.left_out["flowcam_in_archive"] == 2
    assert "unpack the archive" in listing.warning_texts()[0]


def test_the_table_of_visualspreadsheet_is_no_manifest_of_its_collages(folder):
    written(folder)
    table = folder / f"{RUN}.csv"
    table.write_text(f"Particle ID,Image File,Image X,Image Y\n1,{RUN}_000001.tif,2,5\n")
    assert "names collages of many particles: name the .lst of the run" in fault(table)


def test_each_collage_is_decoded_once(folder, monkeypatch):
    written(folder, collages=3)
    decoded = []
    monkeypatch.setattr(collage, "decode", lambda data: decoded.append(len(data)) or decode(data))
    for image in listed(folder)[0]:
        image.read()
    assert len(decoded) == 3


def test_a_damaged_collage_is_tried_once(folder, monkeypatch):
    written(folder)
    (folder / f"{RUN}_000001.tif").write_bytes(b"II*\0 nothing")
    tried = []
    monkeypatch.setattr(collage, "decode", lambda data: tried.append(len(data)) or decode(data))
    assert len({why(image) for image in listed(folder)[0]}) == 1
    assert len(tried) == 1


def test_a_changed_collage_is_decoded_again(folder):
    written(folder)
    image = listed(folder)[0][0]
    before = image.read()
    Image.fromarray(np.full((90, 210), 9, np.uint8)).save(folder / f"{RUN}_000001.tif")
    assert image.read() != before


def test_any_thread_and_any_process_may_read(folder):
    written(folder, collages=4)
    images, _ = listed(folder)
    expected = [image.read() for image in images]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda image: image.read(), images)) == expected
    readers = [pickle.loads(pickle.dumps(image.reader)) for image in images]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        assert list(processes.map(collage.Cut.__call__, readers)) == expected
