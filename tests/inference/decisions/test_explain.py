"""`pelagia explain`: one image of a survey."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from browser_fixtures import SCHEMES, Scheme, faults_of
from cli_fixtures import Pelagia
from pelagia.dataset.schema import Dataset
from pelagia.embeddings import Embeddings, read_embeddings, writing_embeddings
from pelagia.errors import InputError, MissingExtra
from pelagia.model.metadata import ModelFile
from pelagia.survey.additions import Confirmed, Flag, add_confirmed, set_flags
from pelagia.survey.journal import Prediction, Survey
from pelagia.survey.model_card import require_card
from pelagia_inference.decisions import commands
from pelagia_inference.decisions.explain import Similar, explain, tree_of
from pelagia_inference.decisions.page import page_of


def test_the_tree_adds_the_probabilities_of_the_classes_below_each_taxon(opened: Survey) -> None:
    card = require_card(opened)
    row = next(iter(opened))
    assert row.probabilities is not None
    levels = tree_of(card, dict(zip(opened.classes, map(float, row.probabilities), strict=True)))
    sums = {level.name: level.probability for level in levels if level.rank}
    for place, (taxon, _) in enumerate(card.taxonomy.shared_taxa()):
        assert sums[taxon.name] == pytest.approx(float(card.decider.membership[place] @ row.probabilities), abs=1e-6)
    assert sum(level.probability for level in levels if level.depth == 0) == pytest.approx(1, abs=1e-6)
    assert {level.name for level in levels if not level.rank} == set(opened.classes)


def test_an_image_is_found_by_its_path_its_file_or_the_end_of_its_path(opened: Survey) -> None:
    row = next(iter(opened))
    for name in (row.path, row.file, Path(row.path).name):
        assert explain(opened, name).row.path == row.path
    with pytest.raises(InputError, match="has no image 'nothing.png'"):
        explain(opened, "nothing.png")


def test_an_explanation_has_the_picture_the_rule_flags_and_what_people_said(folder: Path, pelagia: Pelagia) -> None:
    with Survey.open(folder, to_add=True) as survey:
        row = next(iter(survey))
        set_flags(survey, [Flag(row.path, "blurred", "sharpness 3"), Flag("other.png", "clipped")])
        add_confirmed(survey, [Confirmed(row.path, "copepod", "Ada")])
    with Survey.open(folder) as survey:
        found = explain(survey, row.path, require_card(survey))
    assert found.pixels is not None
    assert [flag.flag for flag in found.flags] == ["blurred"]
    assert found.confirmed is not None
    assert found.rule is not None
    shown = pelagia("explain", folder, row.path)
    assert shown.returncode == 0, shown.stderr
    height, width = found.pixels.shape[:2]
    for words in (f"{width} x {height} pixels", found.rule.words, "flag: blurred (sharpness 3)", "copepod by Ada"):
        assert words in shown.stdout


def test_the_most_similar_references_come_first_and_the_image_itself_is_none_of_them(
    sure: ModelFile, folder: Path, dataset: Dataset, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    random = np.random.default_rng(0)
    with Survey.open(folder, to_add=True) as survey:
        row = next(iter(survey))
        own = random.normal(size=8).astype(np.float16)
        survey.keep_embeddings()
        survey.add([Prediction(row.path, row.file, row.sha256, probabilities=row.probabilities, embedding=own)])
    records = dataset.split("train")[:4]
    held_out = dataset.split("test")[0]
    vectors = np.stack([own, -own, own + np.float16(0.1), random.normal(size=8), own]).astype(np.float16)
    hashes = [row.sha256, *(record.sha256 for record in records[1:]), held_out.sha256]
    with writing_embeddings(tmp_path / "r.parquet", sure.sha256) as file:
        file.add([record.path for record in (*records, held_out)], hashes, vectors)
    references = read_embeddings(tmp_path / "r.parquet")
    with Survey.open(folder) as survey:
        found = explain(survey, row.path, require_card(survey), references, dataset)
        with pytest.raises(InputError, match="another model"):
            explain(survey, row.path, references=Embeddings("0" * 64, (), (), vectors[:0]))
        other = next(one for one in survey if one.path != row.path)
        assert "has no embedding of this image" in explain(survey, other.path, references=references).no_similar
    assert (found.similar[0].path, found.similar[-1].path) == (records[2].path, records[1].path)
    assert found.similar[0].class_name == records[2].class_name
    assert len(found.similar) == 3


def test_the_page_has_the_pictures_inside_and_runs_no_name(opened: Survey, tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>.png"
    row = next(iter(opened))
    probabilities = row.probabilities
    found = explain(opened, row.path, require_card(opened))
    hidden = {"<b>": "<i>", "turned": "\u202egnp.x"}
    with Survey.open_for_writing(
        tmp_path / "bad", model_sha256="f" * 64, classes=opened.classes, settings={}
    ) as survey:
        survey.add([Prediction(bad, row.file, row.sha256, probabilities=probabilities, columns=hidden)])
        named = explain(survey, bad)
    page = page_of(found, "out", "tiny")
    assert page.count('src="data:image/webp;base64,') == 1
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert found.rule is not None
    assert found.rule.words in page
    hostile = page_of(named, "<x>", "<y>")
    assert hostile.count("<script") == 1  # that of all pages
    assert "<b>" not in hostile
    assert "<x>" not in hostile
    assert "\u202e" not in hostile
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.png" in hostile


def test_the_command_makes_a_page_once(pelagia: Pelagia, folder: Path, tmp_path: Path) -> None:
    with Survey.open(folder) as survey:
        name = next(iter(survey)).path
    done = pelagia("explain", folder, name, "--out", tmp_path / "page.html")
    assert done.stdout == f"written: {tmp_path / 'page.html'}\n"
    assert pelagia("explain", folder, name, "--out", tmp_path / "page.html").returncode == 2


@pytest.mark.browser
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_no_fault_on_the_page(chromium: Browser, opened: Survey, tmp_path: Path, scheme: Scheme) -> None:
    row = next(iter(opened))
    found = explain(opened, row.path, require_card(opened))
    assert found.pixels is not None
    similar = tuple(Similar(f"{at}.png", 0.9, "copepod", pixels) for at, pixels in enumerate((found.pixels, None)))
    flagged = replace(found, similar=similar, flags=(Flag(row.path, "blurred", "sharpness 3"),))
    (tmp_path / "page.html").write_text(page_of(flagged, "out", "tiny"), encoding="utf-8")
    assert faults_of(chromium, tmp_path / "page.html", scheme) == []


def test_a_page_needs_jinja_and_the_text_does_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Survey.open(folder) as survey:
        name = next(iter(survey)).path
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setattr("pelagia.options.find_spec", lambda name: None)
    commands.explain(folder, name)
    assert "probability" in capsys.readouterr().out
    with pytest.raises(MissingExtra, match=r"`pelagia explain --out` needs the package 'jinja2'.*\[report\]"):
        commands.explain(folder, name, tmp_path / "page.html")
