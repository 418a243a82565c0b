"""The report of a survey: what it says, and how it behaves in Chromium without a network."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from browser_fixtures import SCHEMES, Scheme, faults_of
from cli_fixtures import Pelagia
from pelagia.errors import InputError, MissingExtra
from pelagia.options import needs
from pelagia.survey.additions import Confirmed, Flag, add_confirmed, set_flags
from pelagia.survey.journal import Prediction, Survey
from pelagia_inference.counts.options import CountOptions
from pelagia_inference.report.report import write_report

PHONE, LAPTOP = (390, 844), (1280, 800)


@pytest.fixture(scope="module")
def written(surveyed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    with Survey.open(surveyed) as survey:
        write_report(survey, out)
    return out


@pytest.fixture(params=[PHONE, LAPTOP], ids=["phone", "laptop"])
def page(request: pytest.FixtureRequest, chromium: Browser, written: Path) -> Iterator[Page]:
    """The page, with every fault, dialog and request on record; the test fails if there was one."""
    width, height = request.param
    context = chromium.new_context(viewport={"width": width, "height": height}, offline=True)
    page, faults = context.new_page(), list[str]()
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    own = written.as_uri()
    page.on("request", lambda sent: None if sent.url.startswith(("data:", own)) else faults.append(sent.url))
    page.goto(own)
    yield page
    assert faults == []
    context.close()


@pytest.mark.browser
def test_hostile_names_are_shown_and_do_nothing(page: Page) -> None:
    text = page.inner_text("body")
    assert text.count("<script>alert(1)</script>") >= 5  # class, model, flag, failure, people
    assert page.get_by_alt_text("<script>alert(1)</script>.png").count() == 1
    assert page.locator("script").count() == 1
    assert page.evaluate("document.querySelectorAll('[onerror], [onload], [onclick]').length") == 0


@pytest.mark.browser
def test_nothing_is_wider_than_the_window(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


@pytest.mark.browser
def test_every_chart_has_a_description_and_every_picture_loads(page: Page) -> None:
    assert page.evaluate("[...document.querySelectorAll('svg')].every(one => one.parentElement.ariaLabel.length > 20)")
    assert page.locator("svg").count() == 12  # transect, four classes, depth, map, two of sizes, three of scores
    pictures = page.locator(".pictures img")
    assert pictures.count() > 20
    assert page.evaluate(
        "Promise.all([...document.querySelectorAll('.pictures img')].map(one => one.decode())).then(() => true)"
    )


@pytest.mark.browser
def test_the_filters_work_with_the_keyboard(page: Page) -> None:
    shown = page.locator(".pictures li:not([hidden])")
    before = shown.count()
    page.focus("#by-sample")
    page.keyboard.press("ArrowDown")  # the first sample: S1
    assert 0 < shown.count() < before
    stations = shown.locator("figcaption").evaluate_all("all => all.map(one => one.lastChild.textContent)")
    assert set(stations) == {"S1"}
    page.select_option("#by-decision", "accepted")
    assert page.inner_text("#shown") == f"{shown.count()} images"
    assert set(
        page.locator(".pictures li:not([hidden])").evaluate_all("all => all.map(one => one.dataset.decision)")
    ) == {"accepted"}


def test_the_page_has_the_numbers_of_the_survey(written: Path) -> None:
    text = re.sub(r"<[^>]+>", " ", written.read_text(encoding="utf-8"))
    text = " ".join(text.split())
    assert "2 images could not be classified" in text
    assert "Counts by class" not in text  # a label is an attribute
    assert "copepod 11 0" in text  # of 12 images, one has a label of people
    assert "Samples by date" in text
    assert "not corrected for the errors of the model" in text
    assert "no volume" in text
    assert "copepod 11 5 0" in text  # to label next: of 12 images and 6 abstained, one has a label of people already


def test_a_command_in_a_warning_is_code_and_names_are_escaped(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    assert "1 of 4 samples have the flag no_volume of <code>pelagia check</code>: S10</p>" in text
    assert "`" not in re.sub(r"<script>.*</script>", "", text, flags=re.DOTALL)


def test_the_transect_is_in_the_order_of_the_dates(written: Path) -> None:
    page = written.read_text(encoding="utf-8")
    titles = re.findall(r"<title>(S\d+): ", page)[:3]
    assert titles == ["S10", "S2", "S1"]


def test_images_that_are_gone_are_counted_and_the_page_is_still_written(surveyed: Path, tmp_path: Path) -> None:
    moved = tmp_path / "survey"
    shutil.copytree(surveyed, moved)
    images = surveyed.parent / "images"
    images.rename(images.with_name("away"))
    try:
        with Survey.open(moved) as survey:
            report = write_report(survey, tmp_path / "r.html")
    finally:
        images.with_name("away").rename(images)
    assert report.pictures == 0
    assert re.search(r"\d+ chosen images are not shown: missing", report.path.read_text(encoding="utf-8"))


def test_thumbnails_stay_below_the_limit_and_each_class_keeps_its_first(surveyed: Path, tmp_path: Path) -> None:
    with Survey.open(surveyed) as survey:
        report = write_report(survey, tmp_path / "r.html", most_bytes=12_000)
    text = report.path.read_text(encoding="utf-8")
    assert sum(map(len, re.findall(r"base64,([^\"]+)", text))) <= 12_000
    assert report.pictures >= 3
    assert "chosen images are not shown: to keep the thumbnails below 0.012 MB" in text


def test_only_a_former_report_is_replaced(pelagia: Pelagia, surveyed: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert pelagia("report", surveyed, "--out", out).returncode == 0
    assert pelagia("report", surveyed, "--out", out).returncode == 0
    out.write_text("<p>my notes</p>", encoding="utf-8")
    refused = pelagia("report", surveyed, "--out", out)
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    assert out.read_text(encoding="utf-8") == "<p>my notes</p>"


def test_a_survey_without_columns_or_card_has_a_page_too(tmp_path: Path) -> None:
    with Survey.open_for_writing(tmp_path / "s", model_sha256="b" * 64, classes=["a", "b"], settings={}) as survey:
        survey.add([Prediction("x.png", "/nowhere/x.png", "c" * 64, probabilities=np.array([0.9, 0.1], np.float32))])
    with Survey.open(tmp_path / "s") as survey:
        text = write_report(survey, tmp_path / "r.html").path.read_text(encoding="utf-8")
    assert "There is no map" in text
    assert "give the file with --model" in text


def test_flags_of_samples_beyond_the_table_are_counted_and_labels_of_people_are_no_check(tmp_path: Path) -> None:
    row = Prediction("x.png", "/nowhere/x.png", "c" * 64, probabilities=np.array([0.9, 0.1], np.float32))
    with Survey.open_for_writing(tmp_path / "s", model_sha256="b" * 64, classes=["a", "b"], settings={}) as survey:
        survey.add([row])
        add_confirmed(survey, [Confirmed("x.png", "a")])
        assert "The samples were not checked" in write_report(survey, tmp_path / "r.html").path.read_text("utf-8")
        set_flags(survey, [], [Flag(f"S{at}", "blurred", f"share {at}") for at in range(302)])
        text = write_report(survey, tmp_path / "r.html").path.read_text("utf-8")
    assert "2 more flags of samples are in checks.csv" in text
    assert text.count("<td>share ") == 300


def test_an_empty_survey_and_an_unknown_column_are_refused(surveyed: Path, tmp_path: Path) -> None:
    with Survey.open_for_writing(tmp_path / "s", model_sha256="b" * 64, classes=["a"], settings={}) as survey:
        pass
    with Survey.open(tmp_path / "s") as survey, pytest.raises(InputError, match="has no images yet"):
        write_report(survey, tmp_path / "r.html")
    with Survey.open(surveyed) as survey, pytest.raises(InputError, match="did you mean 'station'"):
        write_report(survey, tmp_path / "r.html", counting=CountOptions(by=("statoin",)))


@pytest.mark.browser
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_no_fault_for_people_with_a_screen_reader(chromium: Browser, written: Path, scheme: Scheme) -> None:
    assert faults_of(chromium, written, scheme, ".class { content-visibility: visible }") == []


def test_without_jinja_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pelagia.options.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"`pelagia report` needs the package 'jinja2'.*\[report\]"):
        needs("report", "report")


def test_a_survey_whose_images_all_failed_has_a_page(tmp_path: Path) -> None:
    with Survey.open_for_writing(tmp_path / "s", model_sha256="b" * 64, classes=["a"], settings={}) as survey:
        survey.add([Prediction(f"{at}.png", f"/x/{at}.png", reason="empty", message="no bytes") for at in range(30)])
    with Survey.open(tmp_path / "s") as survey:
        text = write_report(survey, tmp_path / "r.html").path.read_text(encoding="utf-8")
    assert "30 images could not be classified" in text
    assert text.count("/png") == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no names of other bytes than Unicode")
def test_names_that_are_no_text_or_turn_the_line_around_are_escaped(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"mai \xe9t\xe9")
    columns = [{"station": station, "decimalLatitude": "1", "decimalLongitude": "2"} for station in ("\u202eA", "B")]
    share = np.array([0.9, 0.1], np.float32)
    with Survey.open_for_writing(folder, model_sha256="b" * 64, classes=["a", "b"], settings={}) as survey:
        survey.add([Prediction(f"{at}.png", "/x", "c" * 64, "", "", share, columns=columns[at]) for at in (0, 1)])
    with Survey.open(folder) as survey:
        text = write_report(survey, tmp_path / "r.html").path.read_text(encoding="utf-8")
    assert "<title>Survey mai \\udce9t\\udce9</title>" in text
    assert "\\u202eA" in text
    assert "\u202e" not in text
