"""`pelagia compare`: two surveys of the same images. scikit-learn and SciPy are the judges."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from cli_fixtures import Pelagia
from pelagia.errors import InputError
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia_inference.decisions.compare import bray_curtis, compare, kappa_of

A, B = ("copepod", "detritus", "medusa"), ("medusa", "copepod", "egg")


def model_of(classes: tuple[str, ...]) -> str:
    return sha256_of("".join(classes).encode())


def made(
    folder: Path, classes: tuple[str, ...], answers: dict[str, str], content: dict[str, str] | None = None
) -> Path:
    """A survey with an answer of probability 0.9 - 0.01 * number for each path; the content is the path by default."""
    rows = []
    for number, (path, name) in enumerate(answers.items()):
        sha256 = sha256_of((content or {}).get(path, path).encode())
        columns = {"station": path[0]}
        if not name:
            rows.append(Prediction(path, f"/f/{path}", sha256, reason="undecodable", columns=columns))
            continue
        probabilities = np.full(len(classes), (0.1 + 0.01 * number) / (len(classes) - 1), np.float32)
        probabilities[classes.index(name)] = 0.9 - 0.01 * number
        rows.append(Prediction(path, f"/f/{path}", sha256, probabilities=probabilities, columns=columns))
    with Survey.open_for_writing(folder, model_sha256=model_of(classes), classes=classes, settings={}) as survey:
        survey.add(rows)
    return folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    first = {
        "a1": "copepod",
        "a2": "copepod",
        "a3": "medusa",
        "b1": "detritus",
        "b2": "medusa",
        "b3": "",
        "c1": "medusa",
    }
    second = {"a1": "copepod", "a2": "medusa", "a3": "medusa", "b1": "egg", "x2": "copepod", "b3": "egg", "d1": "egg"}
    moved = {"x2": "b2"}  # the same picture under another name
    return made(tmp_path / "a", A, first), made(tmp_path / "b", B, second, moved)


def test_the_samples_are_those_of_the_counts(tmp_path: Path) -> None:
    names = {"1": "S1", "2": " S1 ", "3": "NA", "4": ""}
    rows = [
        Prediction(
            path, f"/f/{path}", sha256_of(path.encode()), probabilities=np.eye(3, dtype=np.float32)[0], columns=columns
        )
        for path, name in names.items()
        for columns in [{"station": name, "minimumDepthInMeters": "5"}]
    ]
    with Survey.open_for_writing(tmp_path / "s", model_sha256="f" * 64, classes=A, settings={}) as survey:
        survey.add(rows)
        found = compare(survey, survey, by=["station", "depth"])
    assert found.by == ("station", "minimumDepthInMeters")
    assert {one.name: one.images for one in found.samples} == {"S1/5": 2, "(none)/5": 2}


def test_images_are_matched_by_content_and_classes_by_name(two: tuple[Path, Path], tmp_path: Path) -> None:
    with Survey.open(two[0]) as a, Survey.open(two[1]) as b:
        found = compare(a, b, by=["station"], out=tmp_path / "changed.csv")
    assert (found.images, found.only_a, found.only_b, found.failed) == (5, 1, 1, 1)
    assert found.changes == {("copepod", "medusa"): 1, ("detritus", "egg"): 1, ("medusa", "copepod"): 1}
    assert (found.images - found.compared, found.agreement) == (1, 0.5)  # b1: detritus and egg have no counterpart
    assert found.composition == {"copepod": (2, 2), "detritus": (1, 0), "medusa": (2, 2), "egg": (0, 1)}
    assert found.bray_curtis == pytest.approx(2 / 10)
    assert [(one.name, one.images, one.changed, round(one.bray_curtis, 4)) for one in found.samples] == [
        ("b", 2, 2, 1.0),
        ("a", 3, 1, round(2 / 6, 4)),
    ]
    assert [one.path for one in found.first] == ["a2", "b1", "b2"]  # both are surest of a2
    assert found.first[2].path_b == "x2"
    with (tmp_path / "changed.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["class_a"], row["class_b"]) for row in rows] == [
        ("a2", "copepod", "medusa"),
        ("b1", "detritus", "egg"),
        ("b2", "medusa", "copepod"),
    ]


def test_a_survey_compared_with_itself_has_no_changes(two: tuple[Path, Path]) -> None:
    with Survey.open(two[0]) as a, Survey.open(two[0]) as b:
        found = compare(a, b)
    assert (found.same_model, found.agreement, found.kappa, found.bray_curtis) == (True, 1.0, 1.0, 0.0)
    assert not found.changes
    assert not found.first


def test_other_bytes_under_one_path_are_no_pair(tmp_path: Path) -> None:
    first = made(tmp_path / "a", A, {"a1": "copepod", "a2": "medusa"})
    second = made(tmp_path / "b", A, {"a1": "copepod", "a2": "medusa"}, {"a2": "another picture"})
    with Survey.open(first) as a, Survey.open(second) as b:
        found = compare(a, b)
    assert (found.images, found.other_bytes, found.only_a, found.only_b) == (1, 1, 0, 0)


def test_copies_of_one_picture_are_paired_by_path_first(tmp_path: Path) -> None:
    same = dict.fromkeys(("a1", "a2", "a3", "a4"), "one picture")
    first = made(tmp_path / "a", A, {"a1": "copepod", "a2": "medusa", "a3": "detritus"}, same)
    second = made(tmp_path / "b", A, {"a2": "medusa", "a3": "detritus", "a4": "copepod"}, same)
    with Survey.open(first) as a, Survey.open(second) as b:
        found = compare(a, b)
    assert (found.images, found.agreement) == (3, 1.0)  # a1 is paired with a4


def test_surveys_of_other_images_are_refused(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a", A, {"a1": "copepod"}), made(tmp_path / "b", A, {"b1": "copepod"})
    with Survey.open(first) as a, Survey.open(second) as b, pytest.raises(InputError, match="no image is in both"):
        compare(a, b)


def test_kappa_and_bray_curtis_are_those_of_other_programs() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    distance = pytest.importorskip("scipy.spatial.distance")
    random = np.random.default_rng(3)
    one, other = random.integers(0, 5, (2, 400))
    table = np.bincount(one * 5 + other, minlength=25).reshape(5, 5)
    assert kappa_of(table) == pytest.approx(metrics.cohen_kappa_score(one, other), abs=1e-12)
    counts = random.integers(0, 50, (2, 9))
    assert bray_curtis(*counts) == pytest.approx(distance.braycurtis(*counts), abs=1e-12)
    assert kappa_of(np.array([[7, 0], [0, 0]])) is None


def test_the_command_prints_text_and_json(pelagia: Pelagia, two: tuple[Path, Path]) -> None:
    done = pelagia("compare", *two)
    assert done.returncode == 0, done.stderr
    for words in (
        "5 images are in both",
        "classes that only A has: detritus (1 images)",
        "Bray-Curtis",
        "look at first",
    ):
        assert words in done.stdout
    said = json.loads(pelagia("compare", *two, "--json", "--first", "1").stdout)
    assert (said["changed"], len(said["first"]), said["classes_only_b"]) == (3, 1, {"egg": 1})


@pytest.mark.parametrize("command", ["compare", "tracks", "explain", "report"])
def test_a_table_or_page_is_never_written_under_the_ending_of_another_format(
    pelagia: Pelagia, two: tuple[Path, Path], tmp_path: Path, command: str
) -> None:
    rest = {"compare": [two[1]], "tracks": ["--by-track", "station"], "explain": ["a.png"], "report": []}[command]
    done = pelagia(command, two[0], *rest, "--out", tmp_path / "out.xlsx")
    assert done.returncode == 2
    assert "out.xlsx: name a file that ends in ." in done.stderr
    assert not (tmp_path / "out.xlsx").exists()
