"""`pelagia label select` from a survey, an archive and a dataset to a manifest that push can read."""

import csv
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")
cv2 = pytest.importorskip("cv2")

from cli_fixtures import Pelagia
from pelagia.embeddings import EMBEDDINGS_FILE, writing_embeddings
from pelagia.errors import InputError
from pelagia.sources import list_images
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_labeling.selection.commands import label_select
from pelagia_labeling.selection.source import LABELED, Wanted, read_pool

CLASSES = ("copepod", "detritus", "diatom")
IMAGES = 60


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images of random shapes, of 4 stations; image 1 is image 0 saved again."""
    folder = tmp_path_factory.mktemp("selection") / "crops"
    folder.mkdir()
    random = np.random.default_rng(3)
    for at in range(IMAGES):
        image = np.full((64, 64), 210, np.uint8)
        for _ in range(6):
            cv2.circle(
                image, random.integers(0, 64, 2).tolist(), int(random.integers(2, 9)), int(random.integers(160)), -1
            )
        cv2.imwrite(str(folder / f"{at:02}.png"), image)
        if at == 0:
            cv2.imwrite(str(folder / "01.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    (folder / "01.jpg").replace(folder / "01.png")
    return folder


def survey_of(src: Path, out: Path, *, seed: int = 0, embeddings: bool = True) -> Path:
    """A survey of images; the two images that look the same are the least sure."""
    random = np.random.default_rng(seed)
    rows = []
    for at, image in enumerate(list_images(src)):
        probabilities = random.dirichlet(np.ones(3)).astype(np.float32)
        if at < 2:
            probabilities = np.array([0.4, 0.4, 0.2], np.float32)
        columns = {"station": f"S{at % 4}"}
        sha256 = sha256_of(image.read())
        rows.append(Prediction(image.path, str(image.file), sha256, probabilities=probabilities, columns=columns))
    origin = f'["{src.absolute().as_posix()}"]'
    with Survey.open_for_writing(out, model_sha256="ab" * 32, classes=CLASSES, settings={}, origin=origin) as survey:
        survey.add([*rows, Prediction("bad.png", "/bad.png", reason="empty", message="the file has no bytes")])
    if embeddings:
        with writing_embeddings(out / EMBEDDINGS_FILE, "ab" * 32) as file:
            vectors = np.random.default_rng(1).normal(size=(len(rows), 32))
            file.add([row.path for row in rows], [row.sha256 for row in rows], vectors)
    return out


@pytest.fixture(scope="module")
def survey(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return survey_of(crops, tmp_path_factory.mktemp("surveys") / "survey")


def manifest(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_manifest_names_copies_of_the_images_with_their_columns(
    pelagia: Pelagia, survey: Path, crops: Path, tmp_path: Path
) -> None:
    done = pelagia("label", "select", survey, "--budget", 59, "--sheet", 15, "--out", tmp_path / "next.csv")
    assert done.returncode == 0, done.stderr
    assert "left out: 1 failed when they were classified" in done.stdout
    assert "passed over: 1 near-duplicates of chosen images" in done.stdout
    assert "59 of 60 images chosen by margin-clusters (groups in the column cluster: " in done.stdout
    rows = manifest(tmp_path / "next.csv")
    images = list(list_images(tmp_path / "next.csv"))
    assert len(images) == len(rows) == 59
    assert [image.read() for image in images] == [(crops / Path(row["path"]).name).read_bytes() for row in rows]
    assert {row["station"] for row in rows} <= {"S0", "S1", "S2", "S3"}
    assert [row["rank"] for row in rows] == [str(at + 1) for at in range(59)]
    assert {row["strategy"] for row in rows} == {"margin-clusters"}
    assert len({row["cluster"] for row in rows}) in (3, 4)
    assert len({Path(row["path"]).name for row in rows} & {"00.png", "01.png"}) == 1
    again = pelagia("label", "select", survey, "--budget", 20, "--out", tmp_path / "next.csv")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    (tmp_path / "empty").mkdir()
    folder = pelagia("label", "select", survey, "--budget", 20, "--out", tmp_path / "empty")
    assert (folder.returncode, list((tmp_path / "empty").iterdir())) == (2, [])
    assert f"is a folder: name the file to make, such as {tmp_path / 'empty' / 'next.csv'}" in folder.stderr


def test_the_same_seed_chooses_the_same_and_quotas_hold(
    survey: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (tmp_path / name / "next.csv" for name in ("a", "b"))
    for out in (first, second):
        label_select(survey, 30, out, strategy="margin", per_station=6)
    shown = capsys.readouterr()
    assert "warning: only 24 of 30 images could be chosen" in shown.err
    assert "of stations whose quota is full" in shown.out
    assert first.read_bytes() == second.read_bytes()
    assert Counter(row["station"] for row in manifest(first)) == {f"S{at}": 6 for at in range(4)}


def test_what_is_labeled_is_not_chosen_again(crops: Path, tmp_path: Path) -> None:
    (some := tmp_path / "some" / "copepod").mkdir(parents=True)
    for path in sorted(crops.iterdir())[10:40]:
        shutil.copyfile(path, some / path.name)
    labeled = import_dataset(some.parent, tmp_path / "labeled")
    pool, _ = read_pool(survey_of(crops, tmp_path / "survey"), Wanted(labeled=(labeled.root,)))
    assert pool.left_out[LABELED] == 30
    assert len(pool) == 30
    assert pool.labeled_counts == {"copepod": 30}
    assert pool.labeled is not None
    assert len(pool.labeled) == 30
    whole, _ = read_pool(labeled.root, Wanted(vectors=False))
    assert {one.sha256 for one in whole.candidates} == {record.sha256 for record in labeled.records}
    with pytest.raises(InputError, match=f"can be chosen: 30 {LABELED}"):
        read_pool(labeled.root, Wanted(labeled=(labeled.root,), vectors=False))


def test_images_in_an_archive_are_copied_and_changed_ones_are_said(
    crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cast = tmp_path / "cast.zip"
    with zipfile.ZipFile(cast, "w") as archive:
        for path in sorted(crops.iterdir()):
            archive.write(path, f"a/{path.name}")
    made = survey_of(cast, tmp_path / "survey", embeddings=False)
    label_select(made, 10, tmp_path / "n.csv", strategy="entropy")
    found = {Path(row["path"]).name: row for row in manifest(tmp_path / "n.csv")}
    assert len(found) == 10
    assert all((tmp_path / row["path"]).read_bytes() == (crops / name).read_bytes() for name, row in found.items())
    assert {row["cluster"] for row in found.values()} == {""}
    with zipfile.ZipFile(cast, "w") as archive:
        for path in sorted(crops.iterdir()):
            archive.writestr(f"a/{path.name}", path.read_bytes() + b"\0" * (path.name != "05.png"))
    label_select(made, 10, tmp_path / "m.csv", strategy="entropy")
    assert [Path(row["path"]).name for row in manifest(tmp_path / "m.csv")] == ["05.png"]
    assert "left out: a/00.png: changed: the file holds another image than before" in capsys.readouterr().err


def test_a_strategy_says_what_it_lacks(crops: Path, survey: Path, tmp_path: Path) -> None:
    bare = survey_of(crops, tmp_path / "bare", embeddings=False)
    for src, words, text in (
        (bare, {}, "--strategy margin-clusters needs embeddings: classify with --embeddings, or"),
        (crops, {}, "neither a survey nor a dataset, so embeddings are needed"),
        (survey, {"strategy": "unknown"}, "needs out-of-distribution scores"),
        (survey, {"strategy": "disagreement"}, "needs a survey of a former model: name it with --former"),
        (survey, {"strategy": "margins"}, "there is no strategy 'margins' (did you mean 'margin'?)"),
        (survey, {"per_station": 3, "station_column": "st"}, "the images have no column 'st' (their columns: station)"),
        (crops, {"embeddings": survey, "strategy": "margin"}, "needs predictions: name a survey that"),
    ):
        with pytest.raises(InputError) as fault:
            label_select(src, 5, tmp_path / "n.csv", **words)  # type: ignore[arg-type]
        assert text in str(fault.value)
    assert not (tmp_path / "n.csv").exists()
    assert not (tmp_path / "n_images").exists()


def test_disagreement_prefers_what_a_former_model_called_otherwise(crops: Path, survey: Path, tmp_path: Path) -> None:
    former = survey_of(crops, tmp_path / "former", seed=9)
    pool, _ = read_pool(survey, Wanted(former=former, vectors=False))
    with Survey.open(survey) as one, Survey.open(former) as other:
        expected = [
            np.abs(a.probabilities - b.probabilities).sum() / 2 for a, b in zip(one, other, strict=True) if a.ok
        ]
    assert pool.disagreement == pytest.approx(np.array(expected), abs=2e-3)
    assert pool.disagreement is not None
    assert pool.disagreement.argmax() == int(np.argmax(expected))
