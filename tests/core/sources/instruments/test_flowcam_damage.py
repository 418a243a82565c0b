"""FlowCam runs of which a part is missing, damaged or of another form."""

import tarfile
import zipfile

import pytest
from PIL import Image

from flowcam_runs import RUN, listed, written
from listing import fault, paths, why
from pelagia.images.preprocess import decode
from pelagia.sources.flowcam import collage


@pytest.fixture
def folder(tmp_path):
    return tmp_path / RUN


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


def test_a_damaged_collage_is_tried_once(folder, monkeypatch):
    written(folder)
    (folder / f"{RUN}_000001.tif").write_bytes(b"II*\0 nothing")
    tried = []
    monkeypatch.setattr(collage, "decode", lambda data: tried.append(len(data)) or decode(data))
    assert len({why(image) for image in listed(folder)[0]}) == 1
    assert len(tried) == 1
