"""Verdicts on images: thresholds, the roll-up, and the out-of-distribution score."""

import numpy as np
import pytest

from pelagia.model.decision import Decider, Decision, Verdict
from taxonomy_fixtures import TREE

RULE = Decision(
    rule="thresholds",
    target_precision=0.95,
    classes={"calanus": 0.8, "copepod": 0.7, "fish": 0.6, "detritus": None},
    taxa={"Copepoda": 0.9, "Animalia": 0.75},
)


def said(*rows: tuple[float, ...], unknown: list[float] | None = None, limit: float | None = None) -> list[Verdict]:
    scores = None if unknown is None else np.array(unknown, np.float32)
    return Decider(TREE, RULE, limit)(np.array(rows, np.float32), scores)


def test_taxa_that_several_classes_share_are_told_from_the_deepest_up() -> None:
    found = [(taxon.name, sorted(below)) for taxon, below in TREE.shared_taxa()]
    assert found == [("Copepoda", ["calanus", "copepod"]), ("Animalia", ["calanus", "copepod", "fish"])]


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        ((0.85, 0.05, 0.05, 0.05), Verdict("accepted", "calanus", "genus")),
        ((0.05, 0.85, 0.05, 0.05), Verdict("accepted", "copepod", "class")),
        ((0.50, 0.45, 0.03, 0.02), Verdict("rolled_up", "Copepoda", "class")),
        ((0.40, 0.20, 0.30, 0.10), Verdict("rolled_up", "Animalia", "kingdom")),
        ((0.40, 0.10, 0.10, 0.40), Verdict("abstained")),
        ((0.00, 0.00, 0.02, 0.98), Verdict("abstained")),
    ],
)
def test_an_image_gets_the_deepest_name_that_is_sure(row: tuple[float, ...], verdict: Verdict) -> None:
    assert said(row) == [verdict]


def test_a_class_that_is_no_organism_has_no_rank() -> None:
    sure = RULE.model_copy(update={"classes": {**RULE.classes, "detritus": 0.5}})
    [found] = Decider(TREE, sure)(np.array([[0.1, 0.1, 0.1, 0.7]], np.float32), None)
    assert found == Verdict("accepted", "detritus", "")


def test_an_unknown_image_gets_no_name_however_sure_its_class_is() -> None:
    sure = (0.97, 0.01, 0.01, 0.01)
    assert said(sure, sure, unknown=[1.0, 1.5], limit=1.0) == [
        Verdict("accepted", "calanus", "genus"),
        Verdict("unknown"),
    ]


def test_a_model_of_before_decides_nothing() -> None:
    assert Decider(TREE, Decision())(np.eye(4, dtype=np.float32), None) == [Verdict()] * 4


def test_the_verdict_on_an_image_depends_on_no_other_image() -> None:
    rows = np.random.default_rng(0).dirichlet(np.full(4, 0.4), 500).astype(np.float32)
    decider = Decider(TREE, RULE)
    together = decider(rows, None)
    assert [decider(row[None], None)[0] for row in rows] == together
    assert len({one.decision for one in together}) == 3


def test_no_images_get_no_verdicts() -> None:
    assert Decider(TREE, RULE, 0.0)(np.empty((0, 4), np.float32), np.empty(0, np.float32)) == []


def test_classes_without_taxa_are_never_rolled_up() -> None:
    flat = TREE.model_copy(
        update={"taxa": (), "classes": tuple(one.model_copy(update={"taxon": None}) for one in TREE.classes)}
    )
    found = Decider(flat, RULE)(np.array([[0.50, 0.45, 0.03, 0.02]], np.float32), None)
    assert found == [Verdict("abstained")]
