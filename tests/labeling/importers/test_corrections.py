"""A review's labels in a dataset of their own, and nothing else changed."""

from dataclasses import replace
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from pelagia.dataset.check import check
from pelagia.dataset.schema import Dataset
from pelagia.dataset.write import Candidate, write_dataset
from pelagia.errors import DatasetError
from pelagia_labeling.importers.corrections import correct


def review_of(dataset: Dataset, out: Path, labels: dict[int, str], left_out: dict[str, int] | None = None) -> Dataset:
    """A dataset of some images of ``dataset`` under other names, as a pull makes it: index of a record -> class."""
    chosen = [(dataset.records[index], name) for index, name in labels.items()]
    candidates = [
        Candidate(dataset.file(record), name, f"second/{record.path}", annotators="b") for record, name in chosen
    ]
    source = {"kind": "label_studio"}
    return write_dataset(out, candidates, source=source, taxonomy=dataset.meta.taxonomy, left_out=left_out)


def test_labels_change_and_images_groups_and_splits_stay(dataset: Dataset, tmp_path: Path, pelagia: Pelagia) -> None:
    first, second = dataset.records[0], dataset.records[40]
    other = next(name for name in dataset.class_names if name != first.class_name)
    review_of(dataset, tmp_path / "review", {0: other, 40: second.class_name})
    done = pelagia("dataset", "correct", dataset.root, "--review", tmp_path / "review", "--out", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert f"{first.path}: {first.class_name} -> {other}" in done.stdout
    assert "1 labels changed, 1 confirmed" in done.stdout
    new = Dataset.read(tmp_path / "new")
    assert check(new.root) == []

    def rest(found: Dataset) -> set[tuple[str, str, str, str]]:
        return {(record.sha256, record.group, record.split, str(record.extra)) for record in found.records}

    assert rest(new) == rest(dataset)
    changed = {record.sha256: record for record in new.records}
    assert changed[first.sha256].class_name == other
    assert changed[first.sha256].annotators == "b"
    labels = {record.sha256: record.class_name for record in dataset.records} | {first.sha256: other}
    assert {record.sha256: record.class_name for record in new.records} == labels
    assert new.meta.fingerprint != dataset.meta.fingerprint


def test_images_that_the_reviewers_left_out_are_counted_and_keep_their_labels(
    dataset: Dataset, tmp_path: Path, pelagia: Pelagia
) -> None:
    left_out = {"skipped": 3, "unsure": 1}
    review_of(dataset, tmp_path / "review", {0: dataset.records[0].class_name}, left_out)
    done = pelagia("dataset", "correct", dataset.root, "--review", tmp_path / "review", "--out", tmp_path / "new")
    assert "0 labels changed, 1 confirmed" in done.stdout
    assert "images without a label in the review keep the label that they had: 3 skipped, 1 unsure\n" in done.stderr
    assert Dataset.read(tmp_path / "new").meta.fingerprint == dataset.meta.fingerprint


def test_what_is_known_of_the_old_label_does_not_stay_with_the_new_one(dataset: Dataset, tmp_path: Path) -> None:
    old = {"label_seen": "no", "adjudicator": "cat", "votes": "ann: a, ben: b", "station": "S1"}
    records = tuple(replace(one, extra=one.extra | old) for one in dataset.records)
    new = correct(
        replace(dataset, records=records),
        review_of(dataset, tmp_path / "review", {0: records[0].class_name}),
        tmp_path / "new",
    ).dataset
    extras = {one.sha256: one.extra for one in new.records}
    reviewed = extras[records[0].sha256]
    assert [reviewed[name] for name in old] == ["", "", "", "S1"]
    assert extras[records[1].sha256] == records[1].extra


def test_a_review_of_other_images_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    review = review_of(dataset, tmp_path / "review", {0: dataset.class_names[0], 1: dataset.class_names[0]})
    with pytest.raises(DatasetError, match="share no image: name the dataset whose images were reviewed"):
        correct(replace(dataset, records=dataset.records[2:]), review, tmp_path / "new")
