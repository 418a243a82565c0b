"""The cells that people counted, from a real Label Studio into a dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pelagia.errors import InputError
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.agreement.cells import CellAgreement
from pelagia_labeling.agreement.report import as_json, html, text_lines
from pelagia_labeling.commands import label_push
from pelagia_labeling.labels.cells import cell_report, cells_of
from pelagia_labeling.labels.consensus import CellVote, Consensus
from pelagia_labeling.labels.pull import pull
from pelagia_labeling.labels.together import Verdict, apply_verdicts
from pelagia_labeling.people.read import project_agreement
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.cells_field import cells_result, has_cells
from pelagia_labeling.tasks.interface import build_interface, class_result, parse_config, reconcile
from pelagia_labeling.tasks.project import Task, require_project
from pelagia_labeling.tasks.push import push


def counted(*votes: tuple[str, str, float], label: str = "chain") -> Consensus:
    return Consensus(label, "", cells=tuple(CellVote(*vote) for vote in votes))


def test_the_number_is_the_median_and_who_counted_what_is_kept() -> None:
    found = cells_of(counted(("anna", "chain", 4), ("ben", "chain", 7), ("eva", "chain", 5)))
    assert found.columns() == {"cells_counted": "5", "cells_votes": "anna: 4, ben: 7, eva: 5"}
    even = cells_of(counted(("anna", "chain", 4), ("ben", "chain", 7)))
    assert (even.cells, even.columns()["cells_counted"]) == (5.5, "5.5")
    assert cells_of(counted(("anna", "chain", 4))).columns() == {"cells_counted": "4"}
    assert cells_of(counted()).columns() == {}


@pytest.mark.parametrize("typed", [-3, 2.5, 10_001, 1e300, float("nan"), float("inf")])
def test_a_number_that_cannot_be_one_of_cells_is_named_and_not_used(typed: float) -> None:
    report = cell_report([("a.png", counted(("anna", "chain", typed)))], asked=True)
    assert (report.counted, report.labeled) == (0, 1)
    (line,) = report.lines()
    assert line.startswith(f"cells not used: a.png (anna: {typed:g}): a number of cells is whole, from 1 to 10000")


def test_zero_is_what_label_studio_stores_when_a_number_is_removed_and_no_count() -> None:
    report = cell_report([("a.png", counted(("anna", "chain", 0)))], asked=True)
    assert report.counted == 0
    assert [*report.lines()] == [
        "cells not used: a.png (anna: 0): taken as not counted (Label Studio stores 0 when a number is removed)"
    ]


def test_who_named_another_class_counted_something_else() -> None:
    found = counted(("anna", "chain", 4), ("ben", "copepod", 1))
    assert cells_of(found).columns() == {"cells_counted": "4"}
    (line,) = cell_report([("a.png", found)], asked=True).lines()
    assert line == "cells not used: a.png (ben: 1): this person named another class"


def test_many_numbers_are_listed_in_part() -> None:
    report = cell_report([(f"{one}.png", counted(("anna", "chain", 0))) for one in range(25)], asked=True)
    assert [*report.lines()][-1] == "... and 5 more images like these"


def test_an_adjudicator_who_counted_wins_and_one_who_did_not_leaves_the_votes() -> None:
    task, votes = Task(1, {"sha256": "ab"}), counted(("anna", "chain", 4), ("ben", "copepod", 1), label="")
    own = Verdict("chain", "eva", (CellVote("eva", "chain", 6),))
    for verdict, cells in ((own, 6), (Verdict("chain", "eva"), 4), (Verdict("copepod", "eva"), 1)):
        ((_, decided),), _ = apply_verdicts([(task, votes)], {"ab": verdict})
        assert cells_of(decided).cells == cells


def test_a_page_that_asks_for_cells_goes_on_asking(taxonomy: Taxonomy) -> None:
    plain, asking = build_interface(taxonomy), build_interface(taxonomy, cells=True)
    assert (has_cells(parse_config(plain)), has_cells(parse_config(asking))) == (False, True)
    assert not reconcile(plain, taxonomy, used=True, title="p").update
    assert not reconcile(asking, taxonomy, used=True, title="p").update
    change = reconcile(plain, taxonomy, used=True, title="p", cells=True)
    assert (change.update, change.how) == (True, "a field for the number of cells added")


def test_a_sheet_has_no_field_for_cells(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a sheet has no field for cells: push the images of chains to a project of"):
        label_push(tmp_path, "P", tmp_path / "classes.yaml", sheets=36, count_cells=True)


@pytest.mark.studio
def test_people_who_counted_differently_give_the_median_in_the_dataset(
    connection: Connection,
    make_images: Callable[..., Path],
    taxonomy: Taxonomy,
    project: str,
    tasks_of: Callable[[str], dict[str, Task]],
    colleagues: dict[str, int],
    tmp_path: Path,
) -> None:
    images = make_images("same.png", "differ.png", "blank.png")
    push(connection, images, project, taxonomy)
    again = push(connection, images, project, taxonomy, count_cells=True)  # asked for later
    assert again.interface == "a field for the number of cells added"
    push(connection, images, project, taxonomy)  # and not forgotten
    assert has_cells(parse_config(require_project(connection, project).config))
    tasks = tasks_of(project)
    for path, person, cells in (
        ("same.png", "anna", 4),
        ("same.png", "ben", 4),
        ("differ.png", "anna", 4),
        ("differ.png", "ben", 7),
        ("blank.png", "anna", None),
    ):
        result = class_result("copepod") + ([] if cells is None else [cells_result(cells)])
        connection.client.annotations.create(id=tasks[path].id, result=result, completed_by=colleagues[person])
    report = pull(connection, project, tmp_path / "dataset")
    columns = {one.source: (one.extra["cells_counted"], one.extra["cells_votes"]) for one in report.dataset.records}
    assert columns == {
        "same.png": ("4", "anna@sea.example: 4, ben@sea.example: 4"),
        "differ.png": ("5.5", "anna@sea.example: 4, ben@sea.example: 7"),
        "blank.png": ("", ""),
    }
    assert report.cells.summary() == (
        "cells were counted on 2 of 3 labeled images; 1 of them differently by several people: column cells_counted of "
        "the manifest"
    )
    agreement = project_agreement(connection, project)
    assert agreement.cells == CellAgreement(images=2, shared=2, same=1, difference=1.5, relative=pytest.approx(3 / 11))
    assert [*text_lines(agreement)][-1] == (
        "cells: 2 images were counted, 2 of them by two or more people; on 1 of these all counted the same; two people "
        "differ by 1.50 cells on average (27% of their mean)"
    )
    assert "on 1 of these all counted the same" in html(agreement, "t")
    assert as_json(agreement)["cells"]["same"] == 1
    (line,) = report.cells.lines()
    assert line == (
        "counted differently: differ.png (anna@sea.example: 4, ben@sea.example: 7): 5.5 is used, the median"
    )
