"""What is remarkable about images that are classified: in their rows, in the summary, and in the log."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from cli_fixtures import Pelagia
from encoders.image_kinds import chunk, png, samples
from encoders.tiff_writer import RGB, Page, tiff
from pelagia.images.remarks import LOW_VALUES, NO_END, PAGES, REMEDIES
from pelagia.model.metadata import ModelFile
from pelagia_inference.survey.runner import classify
from pelagia_inference.survey.survey_log import LOG_FILE


@pytest.fixture
def images(tmp_path: Path, encode) -> Path:
    folder = tmp_path / "cast"
    folder.mkdir()
    twelve = samples(1, 12)
    (folder / "a.tif").write_bytes(tiff(Page(twelve, bits=16)))
    (folder / "b.tif").write_bytes(tiff(Page(twelve, bits=16), Page(twelve, bits=16)))
    (folder / "c.tif").write_bytes(tiff(Page(twelve, bits=16, tags={281: [4095]})))
    (folder / "d.png").write_bytes(png(twelve, 16, 0, extra=chunk(b"sBIT", b"\x0c")))
    (folder / "e.tif").write_bytes(tiff(Page(samples(3, 16), RGB, 16, planar=True)))
    (folder / "f.jfif").write_bytes(encode("JPEG")[:-2])
    (folder / "g.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300))
    (folder / "h.tif").write_bytes(tiff(Page(samples(1, 7).astype(np.float16), bits=16)))
    (folder / "i.jpg").write_bytes(encode("JPEG"))
    return folder


EXPECTED = {
    "a.tif": ("ok", "", LOW_VALUES[4095]),
    "b.tif": ("ok", "", f"{PAGES}; and {LOW_VALUES[4095]}"),
    "c.tif": ("ok", "", ""),
    "d.png": ("ok", "", ""),
    "e.tif": ("ok", "", ""),
    "f.jfif": ("ok", "", NO_END),
    "g.HEIC": (
        "failed",
        "unsupported",
        "a HEIC photo: convert it to JPEG or PNG; a phone can be set to take JPEG (most compatible)",
    ),
    "h.tif": ("failed", "unsupported", "pixels of type float16; 8 and 16 bit are supported"),
    "i.jpg": ("ok", "", ""),
}
WARNINGS = {
    f"2 images: {LOW_VALUES[4095]} (the first is a.tif); {REMEDIES[LOW_VALUES[4095]]}",
    f"1 image: {PAGES} (the first is b.tif); {REMEDIES[PAGES]}",
    f"1 image: {NO_END} (the first is f.jfif)",
}


def test_remarks_are_in_the_rows_and_counted_once_for_the_run(model: ModelFile, images: Path, tmp_path: Path) -> None:
    result = classify(model, [images], tmp_path / "out")
    with result.csv.open(encoding="utf-8-sig", newline="") as file:
        rows = {row["path"]: (row["status"], row["reason"], row["message"]) for row in csv.DictReader(file)}
    assert rows == EXPECTED
    assert set(result.warnings) == WARNINGS
    log = (tmp_path / "out" / LOG_FILE).read_text()
    assert all(f"WARNING {text}\n" in log for text in WARNINGS)


def test_a_run_that_is_resumed_warns_of_all_images(model: ModelFile, images: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.tif"
    shutil.move(images / "a.tif", late)
    classify(model, [images], tmp_path / "out")
    shutil.move(late, images / "a.tif")
    assert set(classify(model, [images], tmp_path / "out").warnings) == WARNINGS


def test_the_command_warns(pelagia: Pelagia, model: ModelFile, images: Path, tmp_path: Path) -> None:
    done = pelagia("classify", model.path, images, "--out", tmp_path / "out", "--quiet")
    assert {f"warning: {text}" for text in WARNINGS} <= set(done.stderr.splitlines())


def test_an_import_warns_and_records_the_remarks(pelagia: Pelagia, images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "classes" / "a")
    done = pelagia("dataset", "import", tmp_path / "classes", "--out", tmp_path / "out")
    assert f"warning: 2 images: {LOW_VALUES[4095]}; {REMEDIES[LOW_VALUES[4095]]}" in done.stderr.splitlines()
    assert f"{NO_END}: 1" in (tmp_path / "out" / "dataset.yaml").read_text().replace("'", "")
