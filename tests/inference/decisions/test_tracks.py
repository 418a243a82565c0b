"""`pelagia tracks`: one answer for each animal."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from cli_fixtures import Pelagia
from pelagia.errors import InputError
from pelagia.model.card import card_of
from pelagia.model.metadata import ModelFile
from pelagia.model.policies import Policies, TrackEvidence
from pelagia.model.tracks import fit_evidence, log_probabilities, track_probabilities
from pelagia.survey.journal import Prediction, Survey
from pelagia_inference.decisions.tracks import tracks_of, write_tracks

CLASSES = ("cod", "ling", "saithe")


@pytest.fixture
def fish(tmp_path: Path) -> Path:
    """Three tracks whose images are mixed in the order of their paths, one image without a track, one that failed."""
    probabilities = {
        "1.png": ("T1", [0.6, 0.3, 0.1]),
        "2.png": ("T2", [0.2, 0.7, 0.1]),
        "3.png": ("T1", [0.2, 0.5, 0.3]),
        "4.png": ("T1", [0.7, 0.2, 0.1]),
        "5.png": ("", [0.1, 0.1, 0.8]),
        "6.png": ("T10", [0.1, 0.1, 0.8]),
    }
    rows = [
        Prediction(path, f"/f/{path}", "s", probabilities=np.array(row, np.float32), columns={"track": track})
        for path, (track, row) in probabilities.items()
    ]
    rows.append(Prediction("7.png", "/f/7.png", reason="empty", columns={"track": "T1"}))
    with Survey.open_for_writing(tmp_path / "s", model_sha256="f" * 64, classes=CLASSES, settings={}) as survey:
        survey.add(rows)
    return tmp_path / "s"


def test_a_track_is_the_mean_log_probability_of_its_images(fish: Path) -> None:
    with Survey.open(fish) as survey:
        found = {track.name: track for track in tracks_of(survey, "track")}
    assert list(found) == ["T1", "T10", "T2"]
    product = np.array([0.6 * 0.2 * 0.7, 0.3 * 0.5 * 0.2, 0.1 * 0.3 * 0.1]) ** (1 / 3)
    assert found["T1"].probabilities == pytest.approx(product / product.sum(), abs=1e-6)
    assert (found["T1"].images, found["T1"].agreeing) == (3, pytest.approx(2 / 3))
    assert found["T2"].probabilities == pytest.approx([0.2, 0.7, 0.1], abs=1e-6)


def test_a_missing_value_is_no_track_and_spaces_do_not_make_another_one(tmp_path: Path) -> None:
    names = ["T1", " T1 ", "T1\t", "NA", "NA", "nan", "-999", " "]
    rows = [
        Prediction(f"{number}.png", "/f", "s", probabilities=np.array([0.6, 0.3, 0.1], np.float32), columns={"t": name})
        for number, name in enumerate(names)
    ]
    with Survey.open_for_writing(tmp_path / "s", model_sha256="f" * 64, classes=CLASSES, settings={}) as survey:
        survey.add(rows)
        assert [(track.name, track.images) for track in tracks_of(survey, "t")] == [("T1", 3)]
        assert write_tracks(survey, "t", None).without == 5


def test_with_exponent_one_the_images_count_as_independent() -> None:
    rows = np.array([[0.6, 0.4], [0.7, 0.3]])
    mean = log_probabilities(rows).mean(axis=0, keepdims=True)
    product = rows.prod(axis=0)
    assert track_probabilities(mean, np.array([2]), 1.0)[0] == pytest.approx(product / product.sum())
    assert track_probabilities(mean, np.array([1]), 0.4)[0] == pytest.approx(
        track_probabilities(mean, np.array([1]), 0.0)[0]
    )


def test_the_exponent_shows_how_far_the_images_of_a_track_are_independent() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(random.integers(0, 3, 300), 4)
    tracks = np.repeat(np.arange(300), 4).astype(str)

    def evidence(noise: np.ndarray) -> float:
        logits = noise + 1.0 * np.eye(3)[labels]
        powers = np.exp(logits)
        found = fit_evidence(powers / powers.sum(axis=1, keepdims=True), labels, tracks, "track")
        assert found is not None
        assert found.likelihood <= found.likelihood_before
        assert (found.tracks, found.images, found.column) == (300, 1200, "track")
        return found.exponent

    independent = random.normal(0, 1, (1200, 3))
    same = np.repeat(random.normal(0, 1, (300, 3)), 4, axis=0)  # each image of a track has the same error
    assert evidence(independent) > 0.7
    assert evidence(same) < 0.2


def test_stations_and_few_tracks_get_no_exponent() -> None:
    sure = np.tile([0.6, 0.4], (200, 1))
    mixed = np.tile([0, 1], 100)
    assert fit_evidence(sure, mixed, np.repeat(np.arange(20), 10).astype(str), "station") is None
    assert fit_evidence(sure, np.zeros(200, int), np.repeat(np.arange(4), 50).astype(str), "track") is None
    assert fit_evidence(sure[:0], mixed[:0], np.array([], str), "track") is None


def test_what_is_left_out_is_counted_and_the_column_must_be_there(fish: Path, tmp_path: Path) -> None:
    with Survey.open(fish) as survey:
        found = write_tracks(survey, "track", tmp_path / "t.csv")
        with pytest.raises(InputError, match=r"no column 'trak' \(did you mean 'track'\?\)"):
            list(tracks_of(survey, "trak"))
    assert (found.tracks, found.images, found.without, found.failed, found.mixed) == (3, 5, 1, 1, 1)
    assert "not calibrated for tracks" in found.how
    with (tmp_path / "t.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["track"], row["images"], row["class"]) for row in rows] == [
        ("T1", "3", "cod"),
        ("T10", "1", "saithe"),
        ("T2", "1", "ling"),
    ]


def test_a_model_that_knows_the_column_uses_its_exponent_and_decides(
    sure: ModelFile, folder: Path, tmp_path: Path, pelagia: Pelagia
) -> None:
    evidence = TrackEvidence(
        column="station", exponent=0.5, tracks=30, images=90, likelihood_before=1.0, likelihood=0.9
    )
    card = card_of(sure.metadata, policies=Policies(tracks=evidence))
    with Survey.open(folder) as survey:
        found = write_tracks(survey, "station", tmp_path / "t.csv", card)
        sharp = {track.name: track.probabilities.max() for track in tracks_of(survey, "station", card)}
        plain = {track.name: track.probabilities.max() for track in tracks_of(survey, "station")}
    assert all(sharp[name] >= plain[name] for name in plain)
    assert "N images count as N^0.5" in found.how
    assert found.decisions.total() == found.tracks == len(plain)
    done = pelagia("tracks", folder, "--by-track", "station", "--json")
    assert json.loads(done.stdout)["tracks"] == found.tracks
