"""A survey of everything at once: archives, a bin of an IFCB, an export, and what is broken among them."""

import csv
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from pelagia.model.metadata import ModelFile
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.survey.runner import classify

BIN = "D20220519T124533_IFCB134"


@pytest.fixture
def inputs(survey: SimulatedSurvey, tmp_path: Path) -> list[Path]:
    """A zip, a compressed tar cut short, and a bin whose second row is corrupt, of the sample survey's images."""
    crops = sorted(path for path in survey.root.rglob("*") if path.suffix in {".png", ".jpg"})[:20]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in crops:
            archive.write(path, path.name)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path in crops:
            tar.add(path, path.name)
    (tmp_path / "b.tar.gz").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    row = "{0},1,{1}5,5,{2},30,0,0,0,0,0,1.5,0.1\n"
    (tmp_path / f"{BIN}.adc").write_text("".join(row.format(n, "0," * 11, width) for n, width in ((1, 40), (2, -4))))
    (tmp_path / f"{BIN}.roi").write_bytes(bytes(range(240)) * 5)
    return [tmp_path / "a.zip", tmp_path / "b.tar.gz", tmp_path / BIN]


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def test_archives_and_bins_are_classified_together(model: ModelFile, inputs: list[Path], tmp_path: Path) -> None:
    rows = rows_of(classify(model, inputs, tmp_path / "out").csv)
    assert sum(path.startswith("a.zip/") and row["status"] == "ok" for path, row in rows.items()) == 20
    assert {path: row["reason"] for path, row in rows.items() if row["reason"]} == {
        "b.tar.gz/b.tar.gz": "damaged",
        f"{BIN}_00002": "damaged",
    }
    assert rows[f"{BIN}_00001"]["sample"] == BIN
    assert rows[f"{BIN}_00001"]["status"] == "ok"
    twins = [path for path in rows if path.startswith("b.tar.gz/") and rows[path]["status"] == "ok"]
    assert twins
    assert all(rows[path]["class"] == rows[path.replace("b.tar.gz", "a.zip")]["class"] for path in twins)


def test_a_run_over_archives_and_bins_is_not_done_twice(model: ModelFile, inputs: list[Path], tmp_path: Path) -> None:
    first = classify(model, inputs, tmp_path / "out")
    whole = first.csv.read_bytes()
    again = classify(model, inputs, tmp_path / "out")
    assert (again.progress.done, again.csv.read_bytes()) == (0, whole)


def test_a_flowcam_run_is_classified_particle_by_particle(model: ModelFile, tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    run = tmp_path / "201-1"
    run.mkdir()
    for number in (1, 2):
        pillow.effect_noise((210, 80), 60).save(run / f"201-1_00000{number}.tif")
        pillow.new("L", (210, 80)).save(run / f"201-1_00000{number}_bin.tif")
    fields = ("id", "collage_file", "image_x", "image_y", "image_w", "image_h")
    cuts = [f"{10 * c + x}|201-1_00000{c}.tif|{70 * x}|5|60|50" for c in (1, 2) for x in (0, 1, 2)]
    cuts.append("99|201-1_000003.tif|0|0|9|9")
    lines = ["017", "num-fields|6", *(f"{name}|int32" for name in fields), *cuts]
    (run / "201-1.lst").write_text("\n".join(lines) + "\n")
    (run / "201-1.ctx").write_text("[Fluid]\nFluidVolumeImaged_ml=0.5\nCalibrationConstant=2.2\n")
    rows = rows_of(classify(model, [run], tmp_path / "out").csv)
    assert list(rows) == [f"201-1_{n:05d}" for n in (10, 11, 12, 20, 21, 22, 99)]
    assert {row["status"] for path, row in rows.items() if path != "201-1_00099"} == {"ok"}
    assert rows["201-1_00099"]["reason"] == "missing"
    assert (rows["201-1_00010"]["sampleSizeValue"], rows["201-1_00010"]["pixel_size_um"]) == ("0.5", "2.2")


def test_what_a_camera_wrote_into_a_photograph_comes_along_unless_the_manifest_says_otherwise(
    model: ModelFile, tmp_path: Path
) -> None:
    pillow = pytest.importorskip("PIL.Image")
    tags = pillow.Exif()
    tags.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    tags.get_ifd(0x8825).update({1: "N", 2: (54.0, 30.0, 0.0), 3: "E", 4: (7.0, 15.0, 0.0)})
    pillow.new("RGB", (64, 48)).save(tmp_path / "a.jpg", exif=tags)
    pillow.new("RGB", (64, 48)).save(tmp_path / "b.jpg", exif=tags)
    pillow.new("RGB", (64, 48)).save(tmp_path / "c.jpg")
    manifest = "path,decimalLatitude,station\na.jpg,,S1\nb.jpg,60.1,S2\nc.jpg,,\n"
    (tmp_path / "manifest.csv").write_text(manifest)
    rows = rows_of(classify(model, [tmp_path / "manifest.csv"], tmp_path / "out").csv)
    names = ("decimalLatitude", "station", "decimalLongitude", "eventDate")
    assert [[row[name] for name in names] for _, row in sorted(rows.items())] == [
        ["54.500000", "S1", "7.250000", "2024-05-06T07:08:09"],
        ["60.1", "S2", "", "2024-05-06T07:08:09"],
        ["", "", "", ""],
    ]


def test_a_table_of_another_program_is_classified_resumed_and_what_was_assumed_is_said(
    pelagia: Pelagia, model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    crops = sorted(path for path in survey.root.rglob("*") if path.suffix in {".png", ".jpg"})[:3]
    for path in crops:
        (tmp_path / path.name.upper()).write_bytes(path.read_bytes())
    lines = ["sep=;", "Photo No.;path", *(f"C:\\cruise\\{path.name};été" for path in crops), "no.png;x"]
    (tmp_path / "t.txt").write_bytes("\r\n".join(lines).encode("utf-16"))
    command = ("classify", model.path, tmp_path / "t.txt", "--out", tmp_path / "out")
    done = pelagia(*command, "--path-column", "photo no")
    assert done.returncode == 0, done.stderr
    assert "were found by their last parts, such as 'C:\\cruise\\" in done.stderr
    assert "(3 times)" in done.stderr
    rows = rows_of(tmp_path / "out" / "predictions.csv")
    assert [rows[path.name.upper()]["status"] for path in crops] == ["ok"] * 3
    assert (rows["no.png"]["reason"], rows[crops[0].name.upper()]["survey_path"]) == ("missing", "été")
    again = pelagia(*command, "--path-column", "photo no")
    assert "3 were done before" in again.stdout
    other = pelagia(*command)
    assert other.returncode != 0


def test_a_table_without_any_of_its_images_makes_no_survey(pelagia: Pelagia, model: ModelFile, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image\n/elsewhere/a.png\n/elsewhere/b.png\n")
    done = pelagia("classify", model.path, tmp_path / "t.csv", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "none of the 2 images exists; the first is '/elsewhere/a.png': a path of another computer" in done.stderr
    assert not (tmp_path / "out").exists()
