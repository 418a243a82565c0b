"""New versions of a dataset, what differs between them, and the history of their labels."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from pelagia.dataset.check import check
from pelagia.dataset.schema import Dataset, SplitMeta
from pelagia.dataset.write import Candidate, write_dataset
from pelagia.errors import DatasetError, InputError
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.exports.export import export_dataset
from pelagia_labeling.importers.corrections import correct
from pelagia_labeling.importers.own_dataset import candidate_of
from pelagia_labeling.versions.history import events_of, lineage
from pelagia_labeling.versions.merge import merge
from pelagia_labeling.versions.parents import find_parent
from pelagia_labeling.versions.relabel import rename_class

Draw = Callable[[Sequence[str], Path, int], None]


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory, draw_images: Draw, taxonomy: Taxonomy) -> Dataset:
    """36 images of three classes at six stations, two of them in val and in test."""
    root = tmp_path_factory.mktemp("crops")
    draw_images([f"{at:02d}.png" for at in range(36)], root, 11)
    candidates = [
        Candidate(root / f"{at:02d}.png", taxonomy.names[at % 3], f"{at:02d}.png", f"S{at % 6}", "ann")
        for at in range(36)
    ]
    split = SplitMeta(group_column="station", fractions=(0.5, 0.25, 0.25))
    return write_dataset(root / "crops", candidates, source={"kind": "test"}, taxonomy=taxonomy, split=split)


def made_from(dataset: Dataset, out: Path, keep: slice = slice(None), **changes: object) -> Dataset:
    """A dataset of some of the same images, each with the same changes."""
    entries = [replace(candidate_of(dataset, record), **changes) for record in dataset.records[keep]]
    return write_dataset(
        out, entries, source={"kind": "test"}, taxonomy=dataset.meta.taxonomy, split=dataset.meta.split
    )


def test_a_table_of_labels_makes_a_version_and_diff_says_what_it_changed(
    crops: Dataset, tmp_path: Path, pelagia: Pelagia
) -> None:
    first, second, third = crops.records[:3]
    other = {"copepod": "medusa", "medusa": "detritus", "detritus": "copepod"}
    rows = [(first.path, other[first.class_name], "ben"), (second.source, second.class_name, "ben")]
    (tmp_path / "labels.csv").write_text("path,class,annotator\n" + "".join(",".join(row) + "\n" for row in rows))
    new = tmp_path / "new"
    done = pelagia("dataset", "relabel", crops.root, "--labels", tmp_path / "labels.csv", "--out", new)
    assert done.returncode == 0, done.stderr
    assert f"{first.path}: {first.class_name} -> {other[first.class_name]}" in done.stdout
    assert "1 labels changed, 1 were the same already" in done.stdout
    assert "1 with another class" in done.stdout  # of the parent
    made = Dataset.read(new)
    assert check(new) == []
    by_hash = {one.sha256: one for one in made.records}
    assert (by_hash[first.sha256].class_name, by_hash[first.sha256].annotators) == (other[first.class_name], "ben")
    assert by_hash[third.sha256].annotators == "ann"

    told = pelagia("dataset", "diff", crops.root, new, "--json", "--out", tmp_path / "changes.csv")
    found = json.loads(told.stdout)
    assert found["counts"] == {"added": 0, "removed": 0, "relabeled": 1, "moved": 0, "unchanged": 35}
    (image,) = found["images"]
    assert (image["sha256"], image["class_after"]) == (first.sha256, other[first.class_name])
    assert (tmp_path / "changes.csv").read_text().count(first.sha256) == 1
    text = pelagia("dataset", "diff", crops.root, new).stdout
    assert "0 added, 0 removed, 1 with another class, 0 in another split" in text


def test_faults_of_a_table_of_labels_are_all_said_and_nothing_is_made(
    crops: Dataset, tmp_path: Path, pelagia: Pelagia
) -> None:
    one = crops.records[0]
    rows = ["nowhere.png,copepod", f"{one.path},Copepod", f"{one.path},medusa", f"{one.path},copepod"]
    (tmp_path / "labels.csv").write_text("path,class\n" + "\n".join(rows) + "\n")
    done = pelagia("dataset", "relabel", crops.root, "--labels", tmp_path / "labels.csv", "--out", tmp_path / "new")
    assert done.returncode == 3
    for text in ("1 images are not in", "no class 'Copepod' (did you mean 'copepod'?)", "1 images have two classes"):
        assert text in done.stderr
    (tmp_path / "labels.csv").write_text("file,class\n")
    done = pelagia("dataset", "relabel", crops.root, "--labels", tmp_path / "labels.csv", "--out", tmp_path / "new")
    assert (done.returncode, "needs the columns path (or sha256) and class" in done.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


def test_a_class_gets_another_name_or_is_merged_if_that_is_asked_for(
    crops: Dataset, tmp_path: Path, pelagia: Pelagia
) -> None:
    done = pelagia("dataset", "rename-class", crops.root, "copepod", "Copépode", "--out", tmp_path / "renamed")
    assert done.returncode == 0, done.stderr
    renamed = Dataset.read(tmp_path / "renamed")
    before = {one.sha256: (one.class_name, one.split, one.annotators) for one in crops.records}
    assert {
        one.sha256: (one.class_name.replace("Copépode", "copepod"), one.split, one.annotators)
        for one in renamed.records
    } == before
    entry = renamed.meta.taxonomy.classes[0]
    assert (entry.name, entry.taxon, entry.hotkey) == ("Copépode", "Copepoda", "c")
    with pytest.raises(InputError, match="add --merge to make both one class"):
        rename_class(crops, "copepod", "medusa", tmp_path / "no")
    with pytest.raises(InputError, match=r"no class 'copepods' \(did you mean 'copepod'\?\)"):
        rename_class(crops, "copepods", "x", tmp_path / "no")
    merged = rename_class(crops, "copepod", "medusa", tmp_path / "merged", merge=True)
    assert merged.class_names == ("medusa", "detritus")
    assert Counter(one.class_name for one in merged.records) == {"medusa": 24, "detritus": 12}


def test_merging_keeps_splits_and_takes_shared_images_once(crops: Dataset, tmp_path: Path) -> None:
    one, two = made_from(crops, tmp_path / "one", slice(0, 20)), made_from(crops, tmp_path / "two", slice(10, 36))
    merged = merge(one, two, tmp_path / "all")
    assert merged.dataset.meta.fingerprint == crops.meta.fingerprint
    assert (merged.shared, merged.conflicts, merged.split_conflicts) == (10, (), ())
    assert [(parent.path, parent.added) for parent in merged.dataset.meta.parents] == [("../one", 16), ("../two", 10)]
    assert check(merged.dataset.root) == []


def test_an_image_with_two_classes_is_refused_or_decided_by_an_option(
    crops: Dataset, tmp_path: Path, pelagia: Pelagia
) -> None:
    two = made_from(crops, tmp_path / "two", slice(0, 3), class_name="detritus")
    differ = [one for one in crops.records[:3] if one.class_name != "detritus"]
    done = pelagia("dataset", "merge", crops.root, two.root, "--out", tmp_path / "all")
    assert done.returncode == 3
    assert f"{len(differ)} images have another class in each dataset: {differ[0].path}" in done.stderr
    assert "decide with --conflicts first (crops), second (two) or drop" in done.stderr

    def labels(conflicts: str) -> dict[str, str]:
        made = merge(crops, two, tmp_path / conflicts, conflicts=conflicts).dataset
        return {one.sha256: one.class_name for one in made.records}

    assert labels("first") == {one.sha256: one.class_name for one in crops.records}
    second = labels("second")
    assert {second[one.sha256] for one in differ} == {"detritus"}
    assert not {one.sha256 for one in differ} & set(labels("drop"))
    assert Dataset.read(tmp_path / "drop").meta.left_out == {"conflict": len(differ)}


def test_a_soft_label_goes_with_the_label_that_is_taken(crops: Dataset, tmp_path: Path) -> None:
    soft = {"soft_label": '{"detritus": 0.8, "copepod": 0.2}', "label_seen": "no", "depth": "5"}
    entries = [replace(candidate_of(crops, one), class_name="detritus", extra=soft) for one in crops.records[:3]]
    two = write_dataset(
        tmp_path / "two", entries, source={"kind": "test"}, taxonomy=crops.meta.taxonomy, split=crops.meta.split
    )
    other = next(one for one in crops.records[:3] if one.class_name != "detritus")
    for conflicts, taken in (("first", ""), ("second", soft["soft_label"])):
        merged = merge(crops, two, tmp_path / conflicts, conflicts=conflicts).dataset
        row = next(one for one in merged.records if one.sha256 == other.sha256)
        assert row.extra.get("soft_label", "") == taken
        assert row.extra.get("label_seen", "") == ("no" if taken else "")
        assert row.extra["depth"] == "5"


def test_counted_cells_are_kept_by_whatever_changes_labels(crops: Dataset, tmp_path: Path) -> None:
    counted = {"cells_counted": "4", "cells_votes": "ann: 4, ben: 4"}
    first = made_from(crops, tmp_path / "first", extra={"cells_counted": "", "cells_votes": ""})
    second = made_from(crops, tmp_path / "second", slice(1), extra=counted)
    sha256 = second.records[0].sha256

    def cells(dataset: Dataset) -> dict[str, str]:
        return {name: text for one in dataset.records if one.sha256 == sha256 for name, text in one.extra.items()}

    assert cells(merge(first, second, tmp_path / "merged").dataset) == counted
    assert cells(merge(second, first, tmp_path / "other").dataset) == counted
    assert cells(correct(first, second, tmp_path / "corrected").dataset) == counted
    assert cells(correct(second, first, tmp_path / "not counted again").dataset) == counted
    bare = export_dataset(second, tmp_path / "csv", "folders")
    assert "ben" not in (bare.out / "manifest.csv").read_text()


def test_a_group_in_two_splits_is_refused_or_decided_by_an_option(crops: Dataset, tmp_path: Path) -> None:
    trained = next(one for one in crops.records if one.split == "train")
    of_group = [at for at, one in enumerate(crops.records) if one.group == trained.group]
    entries = [replace(candidate_of(crops, crops.records[at]), split="test") for at in of_group[:2]]
    two = write_dataset(tmp_path / "two", entries, source={"kind": "test"}, taxonomy=crops.meta.taxonomy)
    with pytest.raises(DatasetError, match=rf"group {trained.group} \(train and test\)"):
        merge(crops, two, tmp_path / "all")
    for rule, split in (("first", "train"), ("second", "test"), ("held-out", "test")):
        made = merge(crops, two, tmp_path / rule, splits=rule).dataset
        assert {one.split for one in made.records if one.group == trained.group} == {split}
        assert check(made.root) == []


def test_history_names_every_version_and_says_which_is_missing(
    crops: Dataset, tmp_path: Path, pelagia: Pelagia
) -> None:
    shutil.copytree(crops.root, tmp_path / "v1")
    second = rename_class(Dataset.read(tmp_path / "v1"), "copepod", "Copepoda", tmp_path / "v2")
    kept = [candidate_of(second, one) for one in second.records[1:]]
    third = write_dataset(
        tmp_path / "v3", kept, source={"kind": "test"}, taxonomy=second.meta.taxonomy, parents=[second]
    )
    gone, stays = second.records[0], next(one for one in second.records[1:] if one.class_name == "Copepoda")
    found = lineage(third)
    assert [one.meta.name for one in found.versions] == ["crops", "v2", "v3"]
    events = dict(events_of(found.versions, {}))
    assert [(one.event, one.class_name) for one in events[stays.sha256]] == [
        ("added", "copepod"),
        ("relabeled", "Copepoda"),
        ("same", "Copepoda"),
    ]
    assert events[gone.sha256][-1].event == "removed"
    told = pelagia("dataset", "history", third.root, "--image", stays.source)
    assert told.returncode == 0, told.stderr
    assert [line.split()[1] for line in told.stdout.splitlines()[2:]] == ["added", "relabeled", "same"]
    done = pelagia("dataset", "history", third.root, "--out", tmp_path / "history.csv")
    assert "3 versions, 36 images" in done.stdout
    with (tmp_path / "history.csv").open(encoding="utf-8", newline="") as file:
        assert Counter(row["event"] for row in csv.DictReader(file))["removed"] == 1

    (tmp_path / "v2").rename(tmp_path / "moved")
    assert [one.meta.name for one in lineage(third).versions] == ["crops", "v2", "v3"]
    shutil.rmtree(tmp_path / "moved")
    told = pelagia("dataset", "history", third.root, "--image", stays.sha256[:10])
    assert "a parent was not found, so its labels are missing: ../v2" in told.stderr
    assert pelagia("dataset", "history", third.root, "--image", "nothing.png").returncode == 2


def test_the_parent_of_a_pull_is_the_latest_version_of_the_project_or_is_asked_for(
    crops: Dataset, tmp_path: Path
) -> None:
    def pulled(name: str, keep: slice, project: str = "P", parents: Sequence[Dataset] = ()) -> Dataset:
        entries = [candidate_of(crops, one) for one in crops.records[keep]]
        source = {"kind": "label_studio", "project": project}
        return write_dataset(tmp_path / name, entries, source=source, parents=parents)

    assert find_parent(tmp_path / "out", "P") is None
    first = pulled("first", slice(0, 30))
    pulled("other", slice(0, 9), project="Q")
    second = rename_class(first, "copepod", "Copepoda", tmp_path / "renamed")
    found = find_parent(tmp_path / "out", "P")
    assert found is not None
    assert found.root == second.root
    same = pulled("same", slice(0, 30), parents=[second])  # the first labels again, so the first fingerprint
    assert same.meta.fingerprint == first.meta.fingerprint
    found = find_parent(tmp_path / "out", "P")
    assert found is not None
    assert found.root == same.root
    assert [one.meta.name for one in lineage(same).versions] == ["first", "renamed", "same"]
    pulled("third", slice(0, 12))
    with pytest.raises(InputError, match="2 datasets of the project 'P' could be the parent"):
        find_parent(tmp_path / "out", "P")
