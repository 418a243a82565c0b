"""FlowCam runs, written as VisualSpreadsheet writes them: a list, collages, masks, calibration images, a context."""

import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image

from flowcam_runs import CONTEXT, FIELDS, RUN, listed, written
from listing import paths
from pelagia.images.preprocess import decode
from pelagia.sources.flowcam import collage


@pytest.fixture
def folder(tmp_path):
    return tmp_path / RUN


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


def test_a_run_of_particles_without_an_image_is_an_empty_sample_with_its_volume(tmp_path):
    written(tmp_path / RUN)
    written(tmp_path / "202-1", f"1|{RUN}_000001.tif|2|5|0|0", run="202-1")
    images, listing = listed(tmp_path)
    assert len(images) == 2
    [empty] = listing.empty_samples
    assert (empty["sample"], empty["sampleSizeValue"]) == ("202-1", "0.061")


def test_endings_in_capitals(folder):
    written(folder)
    for name in (f"{RUN}.lst", f"{RUN}.ctx", f"{RUN}_000001.tif", f"{RUN}_000001_bin.tif", "cal_image_000001.tif"):
        (folder / name).rename(folder / name.upper())
    images, listing = listed(folder)
    assert [image.columns["pixel_size_um"] for image in images] == ["0.5547"] * 2
    assert all(image.read() for image in images)
    assert listing.left_out == {"flowcam_mask": 1, "flowcam_calibration": 1}


def test_each_collage_is_decoded_once(folder, monkeypatch):
    written(folder, collages=3)
    decoded = []
    monkeypatch.setattr(collage, "decode", lambda data: decoded.append(len(data)) or decode(data))
    for image in listed(folder)[0]:
        image.read()
    assert len(decoded) == 3


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
