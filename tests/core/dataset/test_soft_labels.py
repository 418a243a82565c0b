from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pelagia.dataset.schema import MANIFEST_FILE, Dataset, LabelAgreement, fingerprint
from pelagia.dataset.soft_labels import (
    SOFT_LABEL,
    parse_soft_label,
    renamed_soft_label,
    soft_label_matrix,
    soft_label_text,
)
from pelagia.dataset.write import Candidate, write_dataset
from pelagia.errors import DatasetError
from pelagia_labeling.importers.dataset import import_dataset

CELL = '{"b": 0.7, "a": 0.3}'


@pytest.fixture
def candidates(class_folders: Path) -> list[Candidate]:
    """Images of the classes a, b and c; the first image of class b has a soft label."""
    files = sorted(class_folders.rglob("*.png"))
    found = [Candidate(path, "abc"[index % 3], path.name) for index, path in enumerate(files)]
    found[1] = replace(found[1], extra={SOFT_LABEL: CELL})
    return found


def test_a_cell_holds_the_probabilities_most_probable_first_and_certain_labels_need_none() -> None:
    assert soft_label_text({"a": 0.29999, "b": 0.70001, "c": 0.000001}) == CELL
    assert soft_label_text({"a": 0.99999, "b": 0.00001}) == ""
    assert parse_soft_label("", "a", ["a", "b"]) == {"a": 1.0}
    assert sum(parse_soft_label('{"b": 0.7, "a": 0.295}', "b", ["a", "b"]).values()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("b: 0.7; a: 0.3", "is not a JSON object"),
        ('["b"]', "is not a JSON object"),
        ('{"b": 0.7, "z": 0.3}', "'z' is not a class of the dataset"),
        ('{"b": 0.7, "a": 0.7}', "the probabilities sum to 1.4 and must sum to 1"),
        ('{"b": 1.7, "a": -0.7}', "the probability of 'b' is 1.7"),
        ('{"b": NaN, "a": 0.3}', "the probability of 'b' is nan"),
        ('{"b": 0.3, "a": 0.7}', "the class of the row, 'b', is not the most probable one"),
    ],
)
def test_a_wrong_cell_stops_the_dataset_before_it_is_written(
    candidates: list[Candidate], tmp_path: Path, cell: str, message: str
) -> None:
    wrong = [replace(one, extra={SOFT_LABEL: cell}) if one.extra else one for one in candidates]
    with pytest.raises(DatasetError) as error:
        write_dataset(tmp_path / "ds", wrong, source={})
    assert message in str(error.value)
    assert "soft_label" in str(error.value)
    assert not (tmp_path / "ds").exists()


def test_the_column_is_read_back_and_belongs_to_the_fingerprint(candidates: list[Candidate], tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "ds", candidates, source={})
    assert [one.extra[SOFT_LABEL] for one in dataset.records if one.extra.get(SOFT_LABEL)] == [CELL]
    certain = [replace(record, extra={}) for record in dataset.records]
    assert fingerprint(certain) != dataset.meta.fingerprint
    manifest = dataset.root / MANIFEST_FILE
    manifest.write_text(manifest.read_text().replace(": 0.7", ": 0.6").replace(": 0.3", ": 0.4"))
    with pytest.raises(DatasetError, match="was edited"):
        Dataset.read(dataset.root)


def test_merged_classes_add_their_probabilities(candidates: list[Candidate], tmp_path: Path) -> None:
    write_dataset(tmp_path / "ds", candidates, source={})
    renamed = import_dataset(tmp_path / "ds", tmp_path / "renamed", renames={"a": "c"})
    assert [one.extra[SOFT_LABEL] for one in renamed.records if one.extra.get(SOFT_LABEL)] == ['{"b": 0.7, "c": 0.3}']
    assert renamed_soft_label(CELL, "b", lambda name: "b") == ""  # nothing is left open
    three = '{"a": 0.4, "b": 0.3, "c": 0.3}'
    assert renamed_soft_label(three, "a", lambda name: {"c": "b"}.get(name, name)) == ""  # b is now more probable


def test_a_dataset_made_from_another_keeps_how_far_people_agreed_unless_classes_change(
    candidates: list[Candidate], tmp_path: Path
) -> None:
    people = LabelAgreement(images=50, people=2, groups=9, agreement=0.9, macro_f1=0.8, macro_f1_interval=(0.7, 0.9))
    write_dataset(tmp_path / "ds", candidates, source={}, label_agreement=people)
    assert import_dataset(tmp_path / "ds", tmp_path / "again", seed=7).meta.label_agreement == people
    assert import_dataset(tmp_path / "ds", tmp_path / "new", renames={"a": "c"}).meta.label_agreement is None


def test_the_matrix_leaves_out_other_classes() -> None:
    matrix = soft_label_matrix([('{"b": 0.6, "a": 0.3, "z": 0.1}', "b"), ("", "a")], ["a", "b"])
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [pytest.approx([1 / 3, 2 / 3]), [1.0, 0.0]]
