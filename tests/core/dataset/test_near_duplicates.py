"""Near-duplicates are found and put into the same split."""

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cli_fixtures import Pelagia
from pelagia.dataset.assignment import Labeled, assign
from pelagia.dataset.check import leaks
from pelagia.dataset.near_duplicates import (
    MOST_BITS,
    SIGNATURE_BYTES,
    NearDuplicates,
    find_near_duplicates,
    join_groups,
    signature_of,
)
from pelagia.dataset.schema import Dataset, SplitMeta, class_counts, fingerprint, write_tables
from pelagia.errors import DatasetError
from pelagia.images.preprocess import Image, decode
from pelagia.sources import read_manifest
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_labeling.importers.dataset import import_dataset


def saved_again(file: Path, out: Path, quality: int = 60) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out), cv2.imread(str(file)), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return out


@pytest.fixture
def survey_with_copies(survey: SimulatedSurvey, tmp_path: Path) -> Path:
    """Folders of classes for some images; two of each ten were saved again under another name."""
    src = tmp_path / "crops"
    for index, image in enumerate(read_manifest(survey.truth)):
        if index < 100:
            target = src / image.columns["class"] / f"{index}{Path(image.file).suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(image.read())
            if index % 5 == 0:
                saved_again(target, target.with_name(f"{index}-again.jpg"))
    return src


def test_frames_that_all_look_the_same_are_not_joined_into_one_group_without_a_word(
    survey: SimulatedSurvey, tmp_path: Path
) -> None:
    scene = next(iter(read_manifest(survey.truth))).file
    for day in range(5):
        for frame in range(3):
            saved_again(scene, tmp_path / "frames" / "fish" / f"{day}_{frame}.jpg", quality=60 + 3 * day + frame)
    message = r"joining their groups would leave 1 of \d+ groups, .* import with --no-near-duplicates"
    with pytest.raises(DatasetError, match=message):
        import_dataset(tmp_path / "frames", tmp_path / "dataset")
    apart = import_dataset(tmp_path / "frames", tmp_path / "dataset", join_near_duplicates=False)
    assert len({record.group for record in apart.records}) == apart.meta.images
    assert {record.split for record in apart.records} == {"train", "val", "test"}


def test_copies_that_were_saved_again_stand_in_one_group_and_one_split(
    survey_with_copies: Path, tmp_path: Path
) -> None:
    dataset = import_dataset(survey_with_copies, tmp_path / "dataset")
    assert dataset.meta.images == 120
    by_name = {Path(record.source).stem: record for record in dataset.records}
    pairs = [(record, by_name[f"{stem}-again"]) for stem, record in by_name.items() if f"{stem}-again" in by_name]
    assert len(pairs) == 20
    found = [(one, other) for one, other in pairs if one.group == other.group]
    assert len(found) >= 19
    assert all(one.split == other.split for one, other in found)
    assert dataset.meta.split.near_duplicates == len(found)
    assert len({record.group for record in dataset.records}) == 120 - len(found)
    with (dataset.root / "near_duplicates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    listed = {frozenset((row["source_1"], row["source_2"])) for row in rows}
    assert listed == {frozenset((one.source, other.source)) for one, other in found}
    assert leaks(dataset) == []


def test_a_dataset_whose_split_cuts_a_pair_is_told_by_check_and_mended_by_a_new_import(
    survey_with_copies: Path, tmp_path: Path, pelagia: Pelagia
) -> None:
    dataset = import_dataset(survey_with_copies, tmp_path / "dataset")
    records = tuple(
        replace(record, group=record.sha256, split="test" if "-again" in record.source else "train")
        for record in dataset.records
    )
    counts = class_counts(records, dataset.class_names)
    meta = dataset.meta.model_copy(update={"fingerprint": fingerprint(records), "counts": counts})
    write_tables(dataset.root, meta, records)
    told = pelagia("dataset", "check", dataset.root)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("near-duplicates in two splits: ") == len(leaks(Dataset.read(dataset.root))) >= 19
    again = told.stderr.split("puts each pair into one: ")[1]
    fixed = pelagia(*again.split()[1:-1], tmp_path / "fixed")
    assert fixed.returncode == 0, fixed.stderr
    assert "near-duplicate pairs across two groups: " in fixed.stdout
    assert "; these groups were joined" in fixed.stdout
    assert pelagia("dataset", "check", tmp_path / "fixed").stdout.splitlines() == [
        f"{tmp_path / 'fixed'} is complete and unchanged"
    ]


def test_the_search_by_bands_misses_no_pair_within_the_bits() -> None:
    random = np.random.default_rng(0)
    base = random.integers(0, 256, (40, SIGNATURE_BYTES), np.uint8)
    looks = []
    for row in base:
        for bits in range(7):
            other = row.copy()
            for bit in random.choice(64, bits, replace=False):
                other[bit // 8] ^= 1 << (bit % 8)
            looks.append(other.tobytes())
    expected = {
        (one, other)
        for one, other in combinations(range(len(looks)), 2)
        if (int.from_bytes(looks[one][:8]) ^ int.from_bytes(looks[other][:8])).bit_count() <= MOST_BITS
    }
    assert {(pair.first, pair.second) for pair in find_near_duplicates(looks, range(len(looks)))} == expected
    assert len(expected) > 200
    assert find_near_duplicates(looks, ["one station"] * len(looks)) == []


def test_a_thousand_copies_of_one_image_end_in_one_group() -> None:
    look = np.random.default_rng(0).integers(0, 256, SIGNATURE_BYTES, np.uint8).tobytes()
    groups = [f"{index:04}" for index in range(1000)]
    pairs = find_near_duplicates([look] * 1000, groups)
    assert set(join_groups(groups, pairs, largest=1.0).groups) == {"0000"}
    joined = join_groups(groups, pairs)
    assert max(Counter(joined.groups).values()) <= joined.limit == 100
    assert all(joined.groups[pair.first] != joined.groups[pair.second] for pair in joined.apart)
    assert joined.apart


def test_plain_images_are_no_twins() -> None:
    grey = [np.full((40, 60, 3), value, np.uint8) for value in (0, 90, 255)]
    noise = [flat_with_noise(seed) for seed in range(3)]
    assert find_near_duplicates([signature_of(image) for image in [*grey, *noise]], range(6)) == []


def flat_with_noise(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(118, 122, (64, 64, 3), np.uint8)


def rotated(seed: int) -> NDArray[np.uint8]:
    """A fish of its own on a bright ground, faint as under water, as a rotated crop with black corners."""
    random = np.random.default_rng(seed)
    crop = np.full((120, 200, 3), 150, np.uint8)
    place = (random.integers(85, 115).item(), random.integers(50, 70).item())
    axes = (random.integers(45, 65).item(), random.integers(16, 28).item())
    cv2.ellipse(crop, place, axes, random.integers(-15, 15).item(), 0, 360, (125, 130, 125), -1)
    for _ in range(10):
        spot = (random.integers(50, 150).item(), random.integers(35, 85).item())
        cv2.circle(crop, spot, random.integers(3, 9).item(), random.integers(110, 160, 3).tolist(), -1)
    turn = cv2.getRotationMatrix2D((100, 60), 20, 1.0)
    turn[:, 2] += (14, 30)
    return np.asarray(cv2.warpAffine(crop, turn, (229, 181)), np.uint8)


def test_black_corners_of_rotated_crops_do_not_make_copies() -> None:
    looks = [signature_of(rotated(seed)) for seed in range(40)]
    assert all(len(look) > SIGNATURE_BYTES for look in looks)
    assert find_near_duplicates(looks, range(40)) == []
    assert find_near_duplicates([look[:SIGNATURE_BYTES] for look in looks], range(40))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: cv2.convertScaleAbs(image, alpha=1.1),
        lambda image: cv2.resize(image, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA),
        lambda image: decode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()),
    ],
    ids=["brighter", "smaller", "saved again"],
)
def test_copies_of_rotated_crops_are_found(change: Callable[[Image], Image]) -> None:
    originals = [rotated(seed) for seed in range(20)]
    looks = [signature_of(image) for image in originals] + [signature_of(change(image)) for image in originals]
    pairs = {(pair.first, pair.second) for pair in find_near_duplicates(looks, range(40))}
    assert pairs <= {(index, index + 20) for index in range(20)}
    assert len(pairs) >= 18


def test_no_two_tracks_of_rotated_fish_are_copies(data_root: Path) -> None:
    rows = list(read_manifest(data_root / "egu2017_fish" / "manifest.csv"))
    looks = [signature_of(decode(row.read())) for row in rows]
    assert find_near_duplicates(looks, [row.columns["track"] for row in rows]) == []


def test_a_pair_of_two_classes_is_joined_and_warned_of(tmp_path: Path) -> None:
    for index in range(12):
        for name in ("copepod", "medusa"):
            file = tmp_path / "src" / name / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            seed = index if name == "copepod" else 100 + index
            cv2.imwrite(str(file), rotated(seed))
    saved_again(tmp_path / "src" / "copepod" / "0.png", tmp_path / "src" / "medusa" / "again.jpg")
    made = import_dataset(tmp_path / "src", tmp_path / "ds")
    (warning,) = made.meta.warnings
    assert warning == (
        "1 of 1 pairs that look the same have two classes, such as copepod/0.png (copepod) and medusa/again.jpg "
        "(medusa): look at them in near_duplicates.csv; correct the labels, or import with --no-near-duplicates if the "
        "images are no copies"
    )
    assert (made.meta.split.near_duplicates, made.meta.split.largest_joined) == (1, 2)


def test_pairs_that_would_make_too_large_a_group_stay_apart_and_are_warned_of() -> None:
    look = np.random.default_rng(0).integers(0, 256, SIGNATURE_BYTES, np.uint8).tobytes()
    others = [
        np.random.default_rng(seed).integers(0, 256, SIGNATURE_BYTES, np.uint8).tobytes() for seed in range(1, 80)
    ]
    images = [Labeled("fish", f"g{at}", "", f"{at}.png", text) for at, text in enumerate([look] * 30 + others)]
    found = assign(images, SplitMeta())
    assert max(Counter(found.groups).values()) == found.split.largest_joined == 10
    (warning,) = found.warnings
    assert "stay in two groups: a joined group would have more than 10 images" in warning


def test_groups_are_joined_through_others() -> None:
    twins = [NearDuplicates(0, 3, 0, 1.0), NearDuplicates(3, 4, 0, 1.0)]
    assert join_groups(["c", "b", "b", "d", "a"], twins).groups == ["a", "b", "b", "a", "a"]


def test_no_two_stations_of_flowcam_share_an_image_and_one_station_has_an_image_twice(data_root: Path) -> None:
    rows = list(read_manifest(data_root / "flowcam_northsea" / "manifest.csv"))
    looks = [signature_of(decode(row.read())) for row in rows]
    assert find_near_duplicates(looks, [row.columns["station"] for row in rows]) == []
    [pair] = find_near_duplicates(looks, range(len(rows)))
    assert {rows[pair.first].path, rows[pair.second].path} == {
        "copepod_egg_clump/IHLS092018_003_009406.jpg",
        "copepod_egg_clump/IHLS092018_003_009413.jpg",
    }
