"""The real images of ../shared/data through the importers: counts, groups, versions."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from pelagia.dataset.check import check, split_warnings
from pelagia.taxonomy import load_taxonomy
from pelagia_labeling.importers.dataset import import_dataset

TAXONOMIES = Path(__file__).resolve().parents[3] / "configs" / "taxonomy"


@pytest.fixture(scope="module")
def flowcam(data_root, tmp_path_factory):
    src = data_root / "flowcam_northsea"
    taxonomy = load_taxonomy(TAXONOMIES / "flowcam_northsea.yaml")
    options = {"manifest": src / "manifest.csv", "group_column": "station", "taxonomy": taxonomy}
    return import_dataset(src, tmp_path_factory.mktemp("flowcam") / "ds", **options)


@pytest.fixture(scope="module")
def fish(data_root, tmp_path_factory):
    src = data_root / "fish4knowledge"
    taxonomy = load_taxonomy(TAXONOMIES / "fish4knowledge.yaml")
    options = {"manifest": src / "manifest.csv", "group_column": "track", "taxonomy": taxonomy}
    return import_dataset(src, tmp_path_factory.mktemp("fish") / "ds", **options)


@pytest.fixture(scope="module")
def zooscan(data_root, tmp_path_factory):
    return import_dataset(data_root / "ecotaxa_export", tmp_path_factory.mktemp("zooscan") / "ds")


def sides(dataset):
    found = defaultdict(set)
    for one in dataset.records:
        found[one.group].add(one.split)
    return found


def test_flowcam_is_imported_whole(flowcam):
    assert (flowcam.meta.images, flowcam.meta.left_out) == (5241, {})
    totals = {name: sum(splits.values()) for name, splits in flowcam.meta.counts.items()}
    assert (len(totals), min(totals.values()), max(totals.values())) == (15, 79, 700)


def test_no_station_of_flowcam_is_cut(flowcam):
    found = sides(flowcam)
    assert len(found) == 176
    assert {len(splits) for splits in found.values()} == {1}


def test_every_class_of_flowcam_stands_in_every_split(flowcam):
    assert split_warnings(flowcam.records) == []


def test_the_shares_of_flowcam_come_close_to_what_was_asked(flowcam):
    found = Counter(one.split for one in flowcam.records)
    assert found["train"] / 5241 == pytest.approx(0.7, abs=0.03)
    assert found["val"] / 5241 == pytest.approx(0.15, abs=0.03)


def test_flowcam_has_nothing_wrong(flowcam):
    assert check(flowcam.root) == []


def test_fish_are_imported_by_track(fish):
    assert (fish.meta.images, fish.meta.left_out) == (608, {})
    assert {len(splits) for splits in sides(fish).values()} == {1}
    assert check(fish.root) == []


def test_a_second_import_of_the_fish_is_the_same_version(fish, data_root, tmp_path):
    src = data_root / "fish4knowledge"
    again = import_dataset(src, tmp_path / "ds", manifest=src / "manifest.csv", group_column="track")
    assert again.meta.fingerprint == fish.meta.fingerprint


def test_class_folders_give_the_labels_of_the_manifest(fish, data_root, tmp_path):
    by_folder = import_dataset(data_root / "fish4knowledge", tmp_path / "ds")
    labels = {one.sha256: one.class_name for one in by_folder.records}
    assert labels == {one.sha256: one.class_name for one in fish.records}


def test_of_the_ecotaxa_export_the_validated_objects_are_taken(zooscan):
    assert zooscan.meta.images + zooscan.meta.left_out.get("duplicate", 0) == 308
    assert zooscan.meta.left_out["status_predicted"] == 69
    assert zooscan.meta.left_out["status_dubious"] == 60
    assert check(zooscan.root) == []


def test_all_objects_of_the_ecotaxa_export_are_taken_when_asked(data_root, tmp_path):
    statuses = frozenset({"validated", "predicted", "dubious"})
    made = import_dataset(data_root / "ecotaxa_export", tmp_path / "ds", statuses=statuses, conflicts="drop")
    assert made.meta.images + sum(made.meta.left_out.values()) == 437
