"""The simulated survey: the same seed gives the same bytes, another seed gives other stations, and nothing is blank."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from pelagia.errors import InputError, PelagiaError
from pelagia.synthetic.image import LENGTH, draw_image
from pelagia.synthetic.organisms import ORGANISMS
from pelagia.synthetic.station import Planned
from pelagia.synthetic.survey import (
    ABUNDANCE,
    STATIONS,
    SURVEY_COLUMNS,
    SimulatedSurvey,
    _plan,
    _station,
    simulate_survey,
    taxonomy_yaml,
)
from pelagia.taxonomy import load_taxonomy


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSurvey:
    return simulate_survey(tmp_path_factory.mktemp("sample") / "survey", images=240, seed=3)


def files_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first = simulate_survey(tmp_path / "a", images=40, seed=5)
    second = simulate_survey(tmp_path / "b", images=40, seed=5)
    assert files_of(first.root) == files_of(second.root)


def test_a_second_seed_shares_no_station_and_no_image(tmp_path: Path, survey: SimulatedSurvey) -> None:
    other = simulate_survey(tmp_path / "other", images=240, seed=33)
    assert not {row["station"] for row in rows_of(other.manifest)} & {
        row["station"] for row in rows_of(survey.manifest)
    }
    drawn = [
        {data for name, data in files_of(one.root).items() if name.startswith("images/")} for one in (survey, other)
    ]
    assert len(drawn[0]) == len(drawn[1]) == 240
    assert not drawn[0] & drawn[1]


def test_the_manifest_hides_the_class_that_the_truth_tells(survey: SimulatedSurvey) -> None:
    manifest, truth = rows_of(survey.manifest), rows_of(survey.truth)
    assert tuple(manifest[0]) == SURVEY_COLUMNS
    assert tuple(truth[0]) == ("path", "class", *SURVEY_COLUMNS[1:])
    assert [{name: value for name, value in row.items() if name != "class"} for row in truth] == manifest
    assert Counter(row["class"] for row in truth) == survey.counts


def test_every_row_has_its_file_and_every_file_its_row(survey: SimulatedSurvey) -> None:
    listed = [row["path"] for row in rows_of(survey.manifest)]
    assert sorted(listed) == sorted(name for name in files_of(survey.root) if name.startswith("images/"))
    assert {Path(path).suffix for path in listed} == {".jpg", ".png"}


def test_rows_hold_positions_times_depths_and_volumes(survey: SimulatedSurvey) -> None:
    for row in rows_of(survey.manifest):
        assert datetime.fromisoformat(row["eventDate"]).utcoffset() is not None
        assert -90 <= float(row["decimalLatitude"]) <= 90
        assert -180 <= float(row["decimalLongitude"]) <= 180
        assert 0 <= float(row["minimumDepthInMeters"]) < float(row["maximumDepthInMeters"])
        assert float(row["sampleSizeValue"]) > 0
        assert row["sampleSizeUnit"] in {"millilitre", "litre"}
        assert float(row["pixel_size_um"]) > 0
        assert row["sample"].startswith(row["station"])


def test_a_sample_has_one_volume_and_one_time(survey: SimulatedSurvey) -> None:
    seen: dict[str, set[tuple[str, str]]] = {}
    for row in rows_of(survey.manifest):
        seen.setdefault(row["sample"], set()).add((row["eventDate"], row["sampleSizeValue"]))
    assert {len(values) for values in seen.values()} == {1}


def test_the_classes_are_those_of_the_taxonomy(survey: SimulatedSurvey) -> None:
    assert (
        set(load_taxonomy(survey.taxonomy).names)
        == set(ORGANISMS)
        == set(survey.counts)
        == set(ABUNDANCE)
        == set(LENGTH)
    )
    assert survey.taxonomy.read_text(encoding="utf-8") == taxonomy_yaml()


def test_the_classes_of_the_taxonomy_have_keys_and_colours_of_their_own(survey: SimulatedSurvey) -> None:
    classes = load_taxonomy(survey.taxonomy).classes
    assert len({entry.hotkey for entry in classes} - {None}) == len(classes)
    assert len({entry.color for entry in classes} - {None}) == len(classes)


@pytest.mark.parametrize("images", [10, 30, 240])
def test_every_class_appears_when_there_are_images_enough(images: int) -> None:
    plan = _plan([_station(0, index) for index in range(min(STATIONS, images))], images, 0)
    assert {item.kind for item in plan} == set(ORGANISMS)


@pytest.mark.parametrize("images", [12, 16, 30, 240])
def test_there_are_at_least_twelve_stations(images: int) -> None:
    plan = _plan([_station(0, index) for index in range(min(STATIONS, images))], images, 0)
    assert len({item.station.name for item in plan}) >= 12
    assert len({item.path for item in plan}) == len(plan) == images


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_default_survey_has_sixty_of_each_class(seed: int) -> None:
    plan = _plan([_station(seed, index) for index in range(STATIONS)], 1800, seed)
    counts = Counter(item.kind for item in plan)
    assert min(counts.values()) >= 60
    assert counts["detritus"] > 2 * counts["fish_larva"]


def test_no_image_is_blank_and_sizes_vary(survey: SimulatedSurvey) -> None:
    shapes = set()
    for row in rows_of(survey.manifest):
        image = cv2.imread(str(survey.root / row["path"]), cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert 40 <= min(image.shape[:2]) <= max(image.shape[:2]) <= 160
        middle = cv2.GaussianBlur(image, (0, 0), 1.5).astype(np.float32)
        assert np.ptp(middle) > 25, f"{row['path']} shows nothing"
        shapes.add(image.shape[:2])
    assert len(shapes) > 100


def test_instruments_differ_in_polarity_and_colour(survey: SimulatedSurvey) -> None:
    levels: dict[str, list[float]] = {}
    grey: dict[str, set[bool]] = {}
    for row in rows_of(survey.manifest):
        image = cv2.imread(str(survey.root / row["path"]), cv2.IMREAD_COLOR)
        levels.setdefault(row["instrument"], []).append(float(np.median(image)))
        spread = np.abs(image[..., 0].astype(int) - image[..., 2]).mean()
        grey.setdefault(row["instrument"], set()).add(bool(spread < 1))
    assert max(levels.pop("darkfield profiler")) < 80
    assert min(min(values) for values in levels.values()) > 40
    assert grey["imaging cytometer"] == grey["flatbed scanner"] == {True}
    assert grey["flow imager"] == {False}


def test_an_image_does_not_depend_on_those_drawn_before_it() -> None:
    station = _station(7, 2)
    alone = draw_image(Planned(station, 4, "copepod"), 7)
    draw_image(Planned(station, 3, "detritus"), 7)
    assert np.array_equal(alone, draw_image(Planned(station, 4, "copepod"), 7))


def test_progress_counts_up_to_the_number_of_images(tmp_path: Path) -> None:
    seen: list[int] = []
    simulate_survey(tmp_path / "survey", images=15, progress=seen.append)
    assert seen == list(range(1, 16))


def test_one_image_is_a_survey(tmp_path: Path) -> None:
    survey = simulate_survey(tmp_path / "survey", images=1)
    assert (survey.images, survey.stations, sum(survey.counts.values())) == (1, 1, 1)


def test_an_existing_folder_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "survey"
    out.mkdir()
    (out / "note.txt").write_text("mine")
    with pytest.raises(PelagiaError, match="exists already"):
        simulate_survey(out, images=12)
    assert files_of(tmp_path) == {"survey/note.txt": b"mine"}


@pytest.mark.parametrize("images", [0, -5])
def test_less_than_one_image_is_refused(tmp_path: Path, images: int) -> None:
    with pytest.raises(InputError, match=f"a survey of {images} images cannot be drawn: ask for 1 or more"):
        simulate_survey(tmp_path / "survey", images=images)
    assert not list(tmp_path.iterdir())


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the seed -1 is negative: give 0 or more"):
        simulate_survey(tmp_path / "survey", images=12, seed=-1)


def test_an_interrupted_drawing_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_survey(tmp_path / "survey", images=20, progress=stop)
    assert not list(tmp_path.iterdir())


def test_more_stations_can_be_asked_for_and_the_first_ones_stay_the_same(tmp_path: Path) -> None:
    few = simulate_survey(tmp_path / "few", images=40, seed=3)
    many = simulate_survey(tmp_path / "many", images=40, seed=3, stations=40)
    assert (few.stations, many.stations) == (16, 40)
    positions = [
        {row["station"]: (row["decimalLatitude"], row["instrument"]) for row in rows_of(survey.manifest)}
        for survey in (few, many)
    ]
    assert positions[0].items() <= positions[1].items()


@pytest.mark.parametrize("stations", [0, 201])
def test_a_number_of_stations_out_of_range_is_refused(tmp_path: Path, stations: int) -> None:
    with pytest.raises(InputError, match=f"{stations} stations cannot be drawn: ask for 1 to 200"):
        simulate_survey(tmp_path / "survey", images=5, stations=stations)
    assert not (tmp_path / "survey").exists()
