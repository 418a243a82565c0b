"""A survey: complete, interrupted, and with the damaged files that disks at sea hold."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cli_fixtures import Pelagia
from pelagia.errors import InputError, SurveyError
from pelagia.model.metadata import ModelFile
from pelagia.survey.journal import Survey
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.machine.setting import Setting
from pelagia_inference.survey.runner import classify


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_every_image_becomes_one_row_with_the_manifests_columns(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    result = classify(model, [survey.manifest], tmp_path / "out")
    rows, manifest = rows_of(result.csv), rows_of(survey.manifest)
    assert [row["path"] for row in rows] == sorted(row["path"] for row in manifest)
    assert {row["status"] for row in rows} == {"ok"}
    stations = {row["path"]: row["station"] for row in manifest}
    assert all(row["station"] == stations[row["path"]] for row in rows)
    assert all(float(row["probability"]) >= float(row["probability_2"]) >= float(row["probability_3"]) for row in rows)
    assert result.counts.total() == survey.images


def test_a_folder_and_its_manifest_give_the_same_classes(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    by_folder = rows_of(classify(model, [survey.root], tmp_path / "folder").csv)
    by_manifest = rows_of(classify(model, [survey.manifest], tmp_path / "manifest").csv)
    assert {row["path"]: row["class"] for row in by_folder} == {row["path"]: row["class"] for row in by_manifest}


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_number_of_workers_changes_no_byte(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path, workers: int
) -> None:
    expected = classify(model, [survey.root], tmp_path / "default").csv.read_bytes()
    assert classify(model, [survey.root], tmp_path / "other", setting=Setting(workers)).csv.read_bytes() == expected


def test_bad_images_are_rows_with_their_reasons(model: ModelFile, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    whole = cv2.imencode(".jpg", np.full((40, 60, 3), 128, np.uint8))[1].tobytes()
    (folder / "whole.jpg").write_bytes(whole)
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("not an image")
    (folder / "empty.tif").write_bytes(b"")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    result = classify(model, [folder], tmp_path / "out")
    found = {row["path"]: (row["status"], row["reason"]) for row in rows_of(result.csv)}
    assert found == {
        "whole.jpg": ("ok", ""),
        "truncated.jpg": ("failed", "undecodable"),
        "text.png": ("failed", "undecodable"),
        "empty.tif": ("failed", "empty"),
        "gone.png": ("failed", "missing"),
    }
    assert result.failures == {"undecodable": 2, "empty": 1, "missing": 1}


def test_a_manifest_row_without_a_file_is_a_failed_row(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    copy_some(survey, tmp_path / "images", slice(0, 1))
    (tmp_path / "manifest.csv").write_text("path,station\nnot/here.jpg,S1\nimages/0.jpg,S2\n")
    rows = rows_of(classify(model, [tmp_path / "manifest.csv"], tmp_path / "out").csv)
    [row] = [row for row in rows if row["path"] == "not/here.jpg"]
    assert (row["status"], row["reason"], row["station"]) == ("failed", "missing", "S1")


def test_a_second_run_does_nothing_again(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    first = classify(model, [survey.root], tmp_path / "out")
    before = first.csv.read_bytes()
    second = classify(model, [survey.root], tmp_path / "out")
    assert (second.progress.done, second.progress.before) == (0, survey.images)
    assert second.csv.read_bytes() == before


def test_images_that_arrived_later_are_added(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    files = sorted(survey.root.rglob("*.jpg"))[:20]
    folder.mkdir()
    for file in files[:10]:
        shutil.copy(file, folder / file.name)
    classify(model, [folder], tmp_path / "out")
    for file in files[10:]:
        shutil.copy(file, folder / file.name)
    again = classify(model, [folder], tmp_path / "out")
    assert (again.progress.before, again.progress.done) == (10, 10)
    assert len(rows_of(again.csv)) == 20


def test_a_survey_of_other_inputs_is_refused(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    classify(model, [survey.root], tmp_path / "out")
    with pytest.raises(SurveyError, match="was made with another set of settings"):
        classify(model, [survey.manifest.parent / "images"], tmp_path / "out")


def test_a_wrong_input_leaves_no_survey_behind(model: ModelFile, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for wrong, message in (
        (tmp_path / "none", "there is no file or folder at"),
        (tmp_path / "empty", "there is no image in"),
    ):
        with pytest.raises(InputError, match=message):
            classify(model, [wrong], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _heeding_ctrl_c() -> None:
    """A job in the background is started with Ctrl-C ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _wait_for_rows(folder: Path, process: "subprocess.Popen[Any]") -> None:
    """Until rows are committed: the write-ahead log is bigger than that of an empty survey, or 30 s are over."""
    log = folder / "survey.sqlite-wal"
    for _ in range(3000):
        if process.poll() is not None:
            raise AssertionError(process.stderr.read() if process.stderr else "ended by itself")
        if log.exists() and log.stat().st_size > 40_000:
            return
        time.sleep(0.01)
    raise AssertionError("no row was written in 30 s")


def test_failed_images_are_done_again_when_asked(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    whole = sorted(survey.root.rglob("*.jpg"))[0].read_bytes()
    (folder / "good.jpg").write_bytes(whole)
    (folder / "bad.jpg").write_bytes(whole[:100])
    assert classify(model, [folder], tmp_path / "out").failures == {"undecodable": 1}
    (folder / "bad.jpg").write_bytes(whole)
    assert classify(model, [folder], tmp_path / "out").failures == {"undecodable": 1}
    again = classify(model, [folder], tmp_path / "out", retry_failed=True)
    assert (again.progress.done, again.progress.before, dict(again.failures)) == (1, 1, {})
    assert [row["status"] for row in rows_of(again.csv)] == ["ok", "ok"]


def test_a_spreadsheet_takes_no_cell_for_a_formula(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    (tmp_path / "=1+2.jpg").write_bytes(sorted(survey.root.rglob("*.jpg"))[0].read_bytes())
    (tmp_path / "manifest.csv").write_text("path,note,latitude\n=1+2.jpg,@SUM(A1),-12.5\n")
    [row] = rows_of(classify(model, [tmp_path / "manifest.csv"], tmp_path / "out").csv)
    assert (row["path"], row["note"], row["latitude"]) == ("'=1+2.jpg", "'@SUM(A1)", "-12.5")


def test_the_options_for_scripts(pelagia: Pelagia, model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "bad.jpg").write_bytes(b"no")
    command = ("classify", model.path, tmp_path / "images", "--out")
    quiet = pelagia(*command, tmp_path / "quiet", "--quiet", "--strict")
    assert (quiet.returncode, quiet.stdout) == (8, "")
    lines = [json.loads(line) for line in pelagia(*command, tmp_path / "json", "--json").stdout.splitlines()]
    assert lines[-1]["event"] == "finished"
    assert (lines[-1]["done"], lines[-1]["failed"]) == (1, 1)
    assert Path(lines[-1]["csv"]).is_file()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_interrupted_it_names_the_command_that_resumes(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path, number: int, code: int
) -> None:
    folder = tmp_path / "the images"
    for copy in range(100):
        shutil.copytree(survey.root / "images", folder / str(copy))
    command = [
        sys.executable,
        "-m",
        "pelagia.cli",
        "classify",
        str(model.path),
        str(folder),
        "--out",
        str(tmp_path / "out"),
    ]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_heeding_ctrl_c
    )
    _wait_for_rows(tmp_path / "out", process)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    command_to_resume = f"pelagia classify {model.path} '{folder}' --out {tmp_path / 'out'}"
    assert f"interrupted; the results so far are stored. Resume with: {command_to_resume}\n" in stderr
    with Survey.open(tmp_path / "out") as opened:
        assert len(opened) > 0


def copy_some(survey: SimulatedSurvey, folder: Path, files: slice, names: str = "{}.jpg") -> Path:
    folder.mkdir(parents=True)
    for number, file in enumerate(sorted(survey.root.rglob("*.jpg"))[files]):
        shutil.copy(file, folder / names.format(number))
    return folder


def test_the_next_memory_card_is_not_taken_for_the_last_one(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    """The same mount point and the same file names, other images."""
    card = copy_some(survey, tmp_path / "card", slice(0, 5))
    classify(model, [card], tmp_path / "out")
    shutil.rmtree(card)
    copy_some(survey, card, slice(5, 10))
    with pytest.raises(SurveyError, match=r"0.jpg has the name of an image in the survey .* but is another image: "):
        classify(model, [card], tmp_path / "out")


def test_another_cruise_with_a_manifest_of_the_same_name_is_refused(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    for cruise, part in (("first", slice(0, 5)), ("second", slice(5, 10))):
        copy_some(survey, tmp_path / cruise, part, f"{cruise}-{{}}.jpg")
        names = "".join(f"{cruise}-{number}.jpg\n" for number in range(5))
        (tmp_path / cruise / "manifest.csv").write_text(f"path\n{names}")
    classify(model, [tmp_path / "first" / "manifest.csv"], tmp_path / "out")
    with pytest.raises(SurveyError, match="was made from other images .* and holds none of these"):
        classify(model, [tmp_path / "second" / "manifest.csv"], tmp_path / "out")


def test_a_folder_that_was_moved_is_resumed(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    copy_some(survey, tmp_path / "a" / "crops", slice(0, 5))
    classify(model, [tmp_path / "a" / "crops"], tmp_path / "out")
    (tmp_path / "a").rename(tmp_path / "b")
    assert classify(model, [tmp_path / "b" / "crops"], tmp_path / "out").progress.before == 5


def test_a_drive_that_was_not_there_is_read_when_it_is_back(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    copy_some(survey, tmp_path / "drive" / "images", slice(0, 5))
    (tmp_path / "drive" / "m.csv").write_text("path\n" + "".join(f"images/{number}.jpg\n" for number in range(5)))
    (tmp_path / "drive" / "images").rename(tmp_path / "unplugged")
    with pytest.raises(InputError, match="none of the 5 images exists"):
        classify(model, [tmp_path / "drive" / "m.csv"], tmp_path / "out")
    (tmp_path / "drive" / "images").mkdir()
    (tmp_path / "unplugged" / "0.jpg").rename(tmp_path / "drive" / "images" / "0.jpg")
    assert classify(model, [tmp_path / "drive" / "m.csv"], tmp_path / "out").failures == {"missing": 4}
    (tmp_path / "drive" / "images" / "0.jpg").rename(tmp_path / "unplugged" / "0.jpg")
    (tmp_path / "drive" / "images").rmdir()
    (tmp_path / "unplugged").rename(tmp_path / "drive" / "images")
    assert classify(model, [tmp_path / "drive" / "m.csv"], tmp_path / "out").failures == {}


def test_a_typing_error_in_the_second_input_makes_no_survey(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="there is no file or folder at"):
        classify(model, [survey.root, tmp_path / "tpyo"], tmp_path / "out")
    with pytest.raises(InputError, match="there is no provider 'gpu'"):
        classify(model, [survey.root], tmp_path / "out", provider="gpu")
    assert not (tmp_path / "out").exists()


def test_the_manifests_columns_keep_their_order(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    copy_some(survey, tmp_path / "in", slice(0, 1))
    (tmp_path / "in" / "m.csv").write_text("zone,path,area\n1,0.jpg,2\n")
    [row] = rows_of(classify(model, [tmp_path / "in" / "m.csv"], tmp_path / "out").csv)
    assert list(row)[-2:] == ["zone", "area"]
