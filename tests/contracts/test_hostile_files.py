"""Damaged and strange files of many kinds, classified in one run: each must become the right row."""

from __future__ import annotations

import csv
import io
import os
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cli_fixtures import Pelagia
from hostile_files import NAMES, files
from hostile_kit import Hostile, by_pillow, picture
from pelagia.images.preprocess import ImageError, decode
from pelagia.model.metadata import ModelFile
from pelagia.survey.journal import Survey
from pelagia.system.files import printable
from pelagia_inference.machine.setting import Setting
from pelagia_inference.survey.runner import classify

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="makes names and links that need Linux")

PACKED = (
    "cmyk.jpg",
    "turned_6.jpg",
    "empty.png",
    "claims_65535.png",
    "cut_at_20.png",
    "text.jpg",
    "animated_bad_filter.png",
)
LINKS = {
    "a_directory.png/inside.png": "",
    "dangling.png": "missing",
    "fifo_behind_a_link.png": "unreadable",
    "good_behind_a_link.png": "",
    "itself.png": "unreadable",
    "zero_behind_a_link.png": "unreadable",
}
TABLE = {
    "here.png": "",
    "gone.png": "missing",
    "gone/for/good.png": "missing",
    "here.png/below.png": "missing",
    "fifo.png": "unreadable",
    "a_directory.png": "unreadable",
    "n" * 300 + ".png": "unreadable",
}


@dataclass(frozen=True)
class Classified:
    rows: dict[str, dict[str, str]]
    reasons: dict[str, dict[str, str]]  # input -> name -> reason, or nothing
    stderr: str


@pytest.fixture(scope="module")
def hostile() -> dict[str, Hostile]:
    return files()


@pytest.fixture(scope="module")
def classified(
    pelagia: Pelagia, model: ModelFile, hostile: dict[str, Hostile], tmp_path_factory: pytest.TempPathFactory
) -> Classified:
    root = tmp_path_factory.mktemp("hostile")
    packed = {"a\nnewline, and \udcff.png".encode("utf-8", "replace").decode(): by_pillow("PNG")}
    packed |= {name: hostile[name].data for name in PACKED}  # not first: then the folder would be the unpacked archive
    for fill, name in ((_files, "files"), (_names, "names"), (_links, "links"), (_table, "table")):
        (root / name).mkdir()
        fill(root / name, hostile)
    _archives(root, packed)
    inputs = ["files", "names", "links", "table/manifest.csv", "cast.zip", "cast.tar.gz"]
    result = pelagia("classify", model.path, *(root / name for name in inputs), "--out", root / "survey")
    assert result.returncode == 0, result.stderr
    reasons: dict[str, dict[str, str]] = {}
    with (root / "survey" / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    with Survey.open(root / "survey") as survey:
        for one in survey:
            where, _, name = one.path.partition("/")
            reasons.setdefault(where, {})[name] = one.reason
            assert one.ok == (not one.reason)
    return Classified(rows, reasons, result.stderr)


def _files(folder: Path, hostile: dict[str, Hostile]) -> None:
    for name, one in hostile.items():
        (folder / name).write_bytes(one.data)


def _names(folder: Path, _: dict[str, Hostile]) -> None:
    for seed, name in enumerate(NAMES):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(by_pillow("PNG", image=picture(seed)))


def _links(folder: Path, _: dict[str, Hostile]) -> None:
    (folder / "a_directory.png").mkdir()
    (folder / "a_directory.png" / "inside.png").write_bytes(by_pillow("PNG"))
    os.mkfifo(folder / "fifo.png")
    for name, target in (
        ("dangling.png", "nowhere.png"),
        ("fifo_behind_a_link.png", "fifo.png"),
        ("folder_behind_a_link.png", "a_directory.png"),
        ("good_behind_a_link.png", "a_directory.png/inside.png"),
        ("itself.png", "itself.png"),
        ("to_the_folder_above", ".."),
        ("zero_behind_a_link.png", "/dev/zero"),
    ):
        (folder / name).symlink_to(target)


def _table(folder: Path, _: dict[str, Hostile]) -> None:
    (folder / "here.png").write_bytes(by_pillow("PNG"))
    (folder / "a_directory.png").mkdir()
    os.mkfifo(folder / "fifo.png")
    (folder / "manifest.csv").write_text("path,station\n" + "".join(f"{name},S1\n" for name in TABLE))


def _archives(root: Path, packed: dict[str, bytes]) -> None:
    with zipfile.ZipFile(root / "cast.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in packed.items():
            archive.writestr(name, data)
    with tarfile.open(root / "cast.tar.gz", "w:gz") as tar:
        for name, data in packed.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_there_are_many(hostile: dict[str, Hostile]) -> None:
    assert len(hostile) + len(NAMES) + len(LINKS) + len(TABLE) > 150


def test_every_file_becomes_the_row_that_it_should(classified: Classified, hostile: dict[str, Hostile]) -> None:
    assert classified.reasons["files"] == {name: one.reason for name, one in hostile.items()}


def test_what_is_fine_has_the_pixels_that_were_drawn(hostile: dict[str, Hostile]) -> None:
    for name, one in hostile.items():
        if one.drawn is not None:
            pixels = decode(one.data)
            assert pixels.shape == one.drawn.shape, name
            assert np.abs(pixels.astype(int) - one.drawn).mean() <= one.tolerance, name


def test_pixels_do_not_depend_on_what_the_memory_held(hostile: dict[str, Hostile]) -> None:
    for name, one in hostile.items():
        if not one.reason:
            first = decode(one.data)
            del [np.full(first.shape, value, kind) for value in (85, 170) for kind in (np.uint8, np.uint16)][:]
            assert np.array_equal(decode(one.data), first), name


def test_no_name_is_lost_or_runs_in_a_spreadsheet(classified: Classified) -> None:
    expected = {printable(os.fsdecode(name)) for name in NAMES}
    assert len(expected) == len(NAMES)
    assert classified.reasons["names"] == dict.fromkeys(expected, "")
    shown = {path for path in classified.rows if path.startswith("names/")}
    assert shown == {f"names/{name}".replace("\r", "\n") for name in expected}


def test_links_pipes_and_devices_neither_block_nor_loop(classified: Classified) -> None:
    assert classified.reasons["links"] == LINKS


def test_what_a_manifest_names_and_the_disk_does_not_hold(classified: Classified) -> None:
    assert classified.reasons["table"] == TABLE


@pytest.mark.parametrize("archive", ["cast.zip", "cast.tar.gz"])
def test_the_same_through_archives(classified: Classified, hostile: dict[str, Hostile], archive: str) -> None:
    found = dict(classified.reasons[archive])
    assert [reason for name, reason in found.items() if name not in PACKED] == [""]
    assert {name: found[name] for name in PACKED} == {name: hostile[name].reason for name in PACKED}


def test_decoders_write_nothing_to_the_terminal(classified: Classified) -> None:
    [line] = [line for line in classified.stderr.splitlines() if not line.startswith("warning: ")]
    assert line.startswith("try the failed images again with: pelagia classify ")


def test_decoders_write_nothing_to_the_terminal_of_an_import(
    pelagia: Pelagia, hostile: dict[str, Hostile], tmp_path: Path
) -> None:
    (tmp_path / "source" / "copepod").mkdir(parents=True)
    for name in ("bad_filter.png", "bits_changed.jpg", "top_down.bmp"):
        (tmp_path / "source" / "copepod" / name).write_bytes(hostile[name].data)
    done = pelagia("dataset", "import", tmp_path / "source", "--out", tmp_path / "dataset")
    assert "left out: 1 images that cannot be decoded" in done.stdout
    assert [line for line in done.stderr.splitlines() if not line.startswith("warning: ")] == []


def test_decoders_would_write_to_the_terminal(hostile: dict[str, Hostile], capfd: pytest.CaptureFixture[str]) -> None:
    """Or the tests above could not fail."""
    with pytest.raises(ImageError):
        decode(hostile["bad_filter.png"].data)
    assert "libpng error" in capfd.readouterr().err


def test_a_file_without_permission_is_a_row(model: ModelFile, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "good.png").write_bytes(by_pillow("PNG"))
    (tmp_path / "disk" / "closed.png").write_bytes(by_pillow("PNG"))
    (tmp_path / "disk" / "closed.png").chmod(0)
    if os.access(tmp_path / "disk" / "closed.png", os.R_OK):
        pytest.skip("this user may read every file")
    done = classify(model, [tmp_path / "disk"], tmp_path / "survey")
    assert dict(done.failures) == {"unreadable": 1}


def test_files_that_vanish_during_the_run_are_rows(model: ModelFile, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for number in range(600):
        (tmp_path / "disk" / f"{number:03}.png").write_bytes(by_pillow("PNG"))

    def clean_up(_: object) -> None:
        for number in range(590, 600):
            (tmp_path / "disk" / f"{number}.png").unlink(missing_ok=True)

    done = classify(model, [tmp_path / "disk"], tmp_path / "survey", setting=Setting(1, batch=1), progress=clean_up)
    assert (sum(done.counts.values()), dict(done.failures)) == (590, {"missing": 10})
