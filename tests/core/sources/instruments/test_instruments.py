"""Folders in the public layouts of instruments: what is listed, what is left out and said."""

import json
import tarfile
import zipfile

import pytest
from PIL import Image

from listing import fault, paths
from pelagia.sources import Listing, list_images

PID = """PID
[Image]
Scanning_date= 20240321_1049
[Input]
Source=PerfectionV700

[Sample]
SampleId= apero_006_n7
StationId= 20
Date= 20230614-2251
Latitude= 48.2584
Longitude= 22.2966
Depth= 99999
Zmax= 106
Zmin= 55
Vol= 124.5

[Fraction]
Code= 1
Min= 300
Max= 2000

[Subsample]
SubPart= 2
SubMethod= motoda

[Particules_Process]
PixSize=   0.0106

[Data]
!Item;Label;Area
1;apero_006_n7_d2_1;1031
"""


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (12, 9), 200).save(path)


def listed(path):
    listing = Listing()
    return {image.path: dict(image.columns) for image in list_images([path], listing)}, listing


# PlanktoScope


def acquisition(folder):
    for name in ("11_53_00_1.jpg", "11_53_01_2.jpg"):
        picture(folder / name)
    (folder / "metadata.json").write_text(json.dumps({"acq_instrument": "PlanktoScope v2.6", "acq_id": "a_1"}))


def test_frames_of_a_planktoscope_are_refused_with_what_to_give(tmp_path):
    acquisition(tmp_path / "2023-05-01" / "sample" / "a_1")
    assert "whole frames of a PlanktoScope: give the zip that its segmenter wrote to export/ecotaxa" in fault(tmp_path)


def test_the_data_folder_of_a_planktoscope_gives_its_objects(tmp_path):
    acquisition(tmp_path / "img" / "day" / "sample" / "a_1")
    picture(tmp_path / "objects" / "day" / "sample" / "a_1" / "11_53_00_1_0.jpg")
    for name in ("cleaned_image.jpg", "mask_1_erode.jpg", "tagged.jpg", "obj_0_mask.jpg"):
        picture(tmp_path / "clean" / "day" / "sample" / "a_1" / "11_53_00_1" / name)
    images, listing = listed(tmp_path)
    assert list(images) == ["objects/day/sample/a_1/11_53_00_1_0.jpg"]
    assert listing.left_out["planktoscope_frame"] == 2
    assert listing.left_out["planktoscope_folder"] == 1


@pytest.mark.parametrize("text", ['{"camera": "x"}', "[]", "no json", '{"acq_instrument": "UVP6"}'])
def test_the_metadata_of_other_programs_changes_nothing(tmp_path, text):
    picture(tmp_path / "a.jpg")
    (tmp_path / "metadata.json").write_text(text)
    assert paths(tmp_path) == ["a.jpg"]


def test_the_zip_of_a_segmenter_is_read_whatever_the_length_of_its_table(tmp_path):
    """The segmenter stores the members of its zip without compression, the table too."""
    rows = [f"{number:06}.jpg\t{'x' * 80}{number}" for number in range(3000)]
    with zipfile.ZipFile(tmp_path / "ecotaxa_a_1.zip", "w", zipfile.ZIP_STORED) as archive:
        for number in range(3000):
            archive.writestr(f"{number:06}.jpg", b"")
        archive.writestr("ecotaxa_a_1.tsv", "\n".join(["img_file_name\tobject_id", "[t]\t[t]", *rows]) + "\n")
    images, _ = listed(tmp_path / "ecotaxa_a_1.zip")
    assert len(images) == 3000
    assert images["002999.jpg"]["object_id"].endswith("x2999")


# ZooScan and ZooProcess


def scan(project, name="apero_006_n7_d2_1"):
    work = project / "Zooscan_scan" / "_work" / name
    for number in (1, 2):
        picture(work / f"{name}_{number}.jpg")
    for mask in ("msk1.gif", "out1.gif", "sep.gif", "vis1.tif"):
        picture(work / f"{name}_{mask}")
    (work / f"{name}_dat1.pid").write_text(PID)
    picture(project / "Zooscan_scan" / "_raw" / f"{name[:-2]}_raw_1.tif")
    picture(project / "Zooscan_scan" / f"{name}.tif")
    picture(project / "Zooscan_back" / "20240529_0946_back_large_1.tif")
    picture(project / "PID_process" / "Learning_set" / "Copepoda" / f"{name}_1.jpg")
    return work


def test_a_zooscan_project_gives_its_vignettes(tmp_path):
    scan(tmp_path)
    images, listing = listed(tmp_path)
    folder = "Zooscan_scan/_work/apero_006_n7_d2_1"
    assert list(images) == [f"{folder}/apero_006_n7_d2_1_1.jpg", f"{folder}/apero_006_n7_d2_1_2.jpg"]
    assert {key: listing.left_out[key] for key in ("zooscan_scan", "zooscan_folder")} == {
        "zooscan_scan": 1,
        "zooscan_folder": 3,
    }


def test_vignettes_have_the_columns_of_their_pid(tmp_path):
    images, listing = listed(scan(tmp_path))
    assert images["apero_006_n7_d2_1_2.jpg"] == {
        "sample": "apero_006_n7",
        "station": "20",
        "instrument": "zooscan",
        "eventDate": "2023-06-14T22:51",
        "minimumDepthInMeters": "55",
        "maximumDepthInMeters": "106",
        "sampleSizeValue": "124.5",
        "sampleSizeUnit": "cubic metre",
        "acq_min_mesh": "300",
        "acq_max_mesh": "2000",
        "acq_sub_part": "2",
        "acq_sub_method": "motoda",
        "pixel_size_mm": "0.0106",
    }
    assert "have no position" in listing.warning_texts()[0]


def test_scans_alone_are_refused_with_what_to_give(tmp_path):
    picture(tmp_path / "Zooscan_scan" / "_raw" / "s_raw_1.tif")
    (tmp_path / "Zooscan_scan" / "_work").mkdir()
    picture(tmp_path / "Zooscan_scan" / "s_1.tif")
    assert "give the folder Zooscan_scan/_work" in fault(tmp_path)


# UVP6


def test_sequences_of_a_uvp6_are_refused_with_what_to_give(tmp_path):
    sequence = tmp_path / "raw" / "20210428-134956"
    (sequence / "images" / "0000").mkdir(parents=True)
    (sequence / "20210428-134956_data.txt").write_text("HW_CONF,000003LP,0;\n\nACQ_CONF,ACQ_ALS_022H;\n")
    (sequence / "images" / "0000" / "20210428-134956-1.vig").write_bytes(b"\1\2")
    message = fault(tmp_path)
    assert message.count("sequences of a UVP6") == 1
    assert "the images.zip of each sample in ecodata" in message


def test_the_zip_of_a_sequence_is_refused_with_what_to_give(tmp_path):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("0000/20210428-134956-1.vig", b"\1\2")
    assert "the images.zip of each sample in ecodata" in fault(tmp_path / "images.zip")


def test_vignettes_that_ecotaxa_inverts_are_said(tmp_path):
    picture(tmp_path / "sample_1" / "0" / "20210428-134956-1.png")
    (tmp_path / "sample_1" / "compute_vignettes.txt").write_text("gamma=2\n")
    images, listing = listed(tmp_path)
    assert len(images) == 1
    assert "EcoTaxa inverts such vignettes" in listing.warning_texts()[0]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_sample_of_a_uvp6_for_ecotaxa_is_read_and_said(tmp_path, zipped):
    sample = tmp_path / "sample_1"
    picture(sample / "0" / "20210428-134956-1.png")
    (sample / "compute_vignettes.txt").write_text("gamma=2\n")
    (sample / "ecotaxa_sample_1.tsv").write_text("img_file_name\tobject_id\n[t]\t[t]\n0/20210428-134956-1.png\ta\n")
    source = sample
    if zipped:
        source = tmp_path / "sample_1_images.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for file in sorted(sample.rglob("*.*")):
                archive.write(file, file.relative_to(sample))
    images, listing = listed(source)
    assert list(images) == ["0/20210428-134956-1.png"]
    assert [text for text in listing.warning_texts() if "EcoTaxa inverts such vignettes" in text]


# Pi-10


def untarred(folder):
    picture(folder / "Background.tif")
    for number in range(2):
        picture(folder / "RawImages" / f"pia7.2024-06-24.1454+N{number:08d}.tif")
    (folder / "HitsMisses.txt").write_text("2 0\n")


def test_the_background_of_a_pi10_is_left_out_of_its_tar(tmp_path):
    untarred(tmp_path / "untarred_1454")
    (tmp_path / "2024-06-24").mkdir()
    with tarfile.open(tmp_path / "2024-06-24" / "1454.tar", "w") as archive:
        for file in sorted((tmp_path / "untarred_1454").rglob("*.t*")):
            name = str(file.relative_to(tmp_path / "untarred_1454")).replace("/", "\\")
            archive.add(file, name)
    images, listing = listed(tmp_path / "2024-06-24" / "1454.tar")
    assert images == {
        f"RawImages/pia7.2024-06-24.1454+N{number:08d}.tif": {"instrument": "Pi-10", "eventDate": "2024-06-24T14:54"}
        for number in range(2)
    }
    assert listing.left_out["pi10_background"] == 1


def test_the_background_of_a_pi10_is_left_out_of_its_folder(tmp_path):
    untarred(tmp_path / "untarred_1454")
    images, listing = listed(tmp_path)
    assert [columns["eventDate"] for columns in images.values()] == ["2024-06-24T14:54"] * 2
    assert listing.left_out["pi10_background"] == 1


def test_a_background_of_another_archive_is_an_image(tmp_path):
    picture(tmp_path / "Background.tif")
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        archive.add(tmp_path / "Background.tif", "Background.tif")
    assert paths(tmp_path / "photos.tar") == ["Background.tif"]
