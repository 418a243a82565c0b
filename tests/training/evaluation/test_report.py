"""The report of an evaluation, opened as a file in Chromium, without a network."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from pelagia.dataset.schema import Dataset, LabelAgreement
from pelagia.errors import InputError
from pelagia.model.metadata import ModelFile
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_training.evaluation.evaluate import Evaluation, evaluate, evaluation_of
from pelagia_training.evaluation.folder import as_json
from pelagia_training.evaluation.report import write_report
from pelagia_training.runs.logs import read_curves

WINDOWS = {"laptop": (1366, 768), "phone": (390, 844)}
EVIL = "<script>alert('x')</script>"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def evaluation(model: ModelFile, dataset: Dataset) -> Evaluation:
    return evaluate(model, dataset, "all")


@pytest.fixture(scope="module")
def report(evaluation: Evaluation, dataset: Dataset, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, evaluation, dataset, read_curves(run))
    return path


@pytest.fixture
def page(chromium: Browser, report: Path) -> Iterator[Page]:
    """The page in a window of a laptop, with every fault and every request of it on record."""
    context = chromium.new_context(viewport={"width": 1366, "height": 768}, offline=True)
    page = context.new_page()
    open_quietly(page, report)
    yield page
    context.close()


def open_quietly(page: Page, path: Path) -> None:
    """Opens a page that must say nothing on the console and ask for nothing but itself."""
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.on(
        "request",
        lambda request: (
            faults.append(request.url) if not request.url.startswith("data:") and request.url != path.as_uri() else None
        ),
    )
    page.goto(path.as_uri())
    page.wait_for_load_state()
    assert faults == []


def column(page: Page, section: str, number: int) -> list[str]:
    return page.locator(f"#{section} tbody tr > :nth-child({number})").all_inner_texts()


def test_it_shows_every_part_and_its_images_are_there(page: Page, evaluation: Evaluation) -> None:
    assert page.locator("h1").count() == 1
    headings = page.locator("h2").all_inner_texts()
    assert headings == [
        "Summary",
        "Classes",
        "Confusion matrix",
        "Most frequent confusions",
        "Calibration",
        "Learning curves",
        "Thresholds and unknown images",
        "Metrics by group",
        "Dataset",
    ]
    tiles = page.locator(".tiles dd").all_inner_texts()
    assert tiles[1].startswith(f"{evaluation.metrics.macro_f1:.3f}\n")
    interval = evaluation.intervals.headline["macro_f1"]
    assert interval is not None
    assert f"{interval.low:.3f}–{interval.high:.3f}" in tiles[1]
    images = page.locator("img")
    assert images.count() > 5
    assert page.evaluate("[...document.images].every(one => one.naturalWidth === 96 && one.alt.startsWith('labeled '))")
    assert page.locator("svg").count() == 4
    assert page.evaluate("[...document.querySelectorAll('svg')].every(one => one.parentElement.ariaLabel.length > 20)")
    assert page.evaluate("new Set([...document.querySelectorAll('[id]')].map(one => one.id)).size") == page.evaluate(
        "document.querySelectorAll('[id]').length"
    )


def test_every_link_of_the_contents_leads_somewhere(page: Page) -> None:
    targets = page.eval_on_selector_all("nav a", "links => links.map(one => one.hash)")
    assert len(targets) == 9
    assert all(page.locator(target).count() == 1 for target in targets)


def test_a_click_on_a_heading_sorts_the_table_by_it_and_a_second_click_turns_it(page: Page) -> None:
    f1 = page.locator("#classes thead th").nth(3)
    f1.locator("button").click()
    values = [float(text.split()[0]) for text in column(page, "classes", 4)]
    assert values == sorted(values, reverse=True)
    assert f1.get_attribute("aria-sort") == "descending"
    f1.locator("button").press("Enter")
    assert [float(text.split()[0]) for text in column(page, "classes", 4)] == values[::-1]
    page.locator("#classes thead th").first.locator("button").click()
    names = column(page, "classes", 1)
    assert names == sorted(names)
    assert f1.get_attribute("aria-sort") is None


def test_the_switch_turns_counts_into_rates(page: Page, evaluation: Evaluation) -> None:
    first = page.locator("#matrix tbody tr").first
    counts = [text for text in first.locator("td").all_inner_texts() if text]
    assert sum(map(int, counts)) == evaluation.metrics.support[0]
    page.get_by_role("button", name="Rates").click()
    rates = [text for text in first.locator("td").all_inner_texts() if text]
    assert all(text.endswith("%") for text in rates)
    assert page.get_by_role("button", name="Rates").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Counts").click()
    assert [text for text in first.locator("td").all_inner_texts() if text] == counts


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window(chromium: Browser, report: Path, window: str, scheme: str) -> None:
    width, height = WINDOWS[window]
    context = chromium.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        offline=True,  # type: ignore[arg-type]
    )
    page = context.new_page()
    open_quietly(page, report)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll, figure')].every(one => one.offsetWidth <= innerWidth)"
    )
    assert page.evaluate(_CONTRAST) >= 4.5
    context.close()


_CONTRAST = """() => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number)
      .map(one => one / 255).map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const page = light(getComputedStyle(document.body).backgroundColor);
  return Math.min(...["h1", "p.soft", "td", "figcaption", "a", ".range"].map(name => {
    const text = light(getComputedStyle(document.querySelector(name)).color);
    return (Math.max(page, text) + 0.05) / (Math.min(page, text) + 0.05);
  }));
}"""


def test_names_that_people_give_are_text_and_never_markup(
    model: ModelFile, survey: SimulatedSurvey, chromium: Browser, tmp_path: Path
) -> None:
    """Classes, stations and file names with markup in them, through the whole of the import."""
    rows = survey.truth.read_text().splitlines()
    manifest = tmp_path / "truth.csv"
    names = {name: f"{name}{EVIL}" for name in model.metadata.classes}
    station = rows[0].split(",").index("station")
    cells = [[names.get(cell, cell) for cell in row.split(",")] for row in rows[1:]]
    for row in cells:
        row[station] += "<b>&amp;"
    manifest.write_text("\n".join([rows[0], *(",".join(row) for row in cells)]))
    strange = import_dataset(survey.root, tmp_path / EVIL.replace("/", ""), manifest=manifest, group_column="station")
    answers = evaluate(
        model,
        replace(
            strange,
            records=tuple(
                replace(record, class_name=record.class_name.removesuffix(EVIL)) for record in strange.records
            ),
        ),
        "all",
    )
    classes = tuple(names[name] for name in answers.classes)
    result = evaluation_of(strange.records, answers.probabilities, classes, strange, EVIL, model=(EVIL, ""))
    write_report(tmp_path / "report.html", result, strange)
    context = chromium.new_context(offline=True)
    page = context.new_page()
    open_quietly(page, tmp_path / "report.html")
    assert column(page, "classes", 1) == list(classes)
    assert page.locator("b").count() == 0
    assert page.locator("script").count() == 1
    context.close()


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a training run, because it has no metrics.csv"):
        read_curves(tmp_path)


def test_curves_of_a_damaged_file_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(b"epoch,loss\n1,\xff\xfe\n")
    with pytest.raises(InputError, match=r"metrics.csv is damaged: leave out --run"):
        read_curves(tmp_path)


PEOPLE = LabelAgreement(
    images=412,
    people=3,
    groups=20,
    agreement=0.88,
    alpha=0.81,
    alpha_interval=(0.77, 0.84),
    macro_f1=0.86,
    macro_f1_interval=(0.80, 0.90),
)


def test_the_agreement_of_people_stands_beside_the_macro_f1_of_the_model(
    chromium: Browser, evaluation: Evaluation, dataset: Dataset, tmp_path: Path
) -> None:
    write_report(tmp_path / "report.html", replace(evaluation, label_agreement=PEOPLE), dataset)
    page = chromium.new_page(offline=True)
    open_quietly(page, tmp_path / "report.html")
    names = page.locator(".tiles dt").all_inner_texts()
    assert names[1:3] == ["Macro-F1", "Macro-F1 between people"]
    assert page.locator(".tiles dd").nth(2).inner_text() == "0.860\n0.800–0.900"
    assert "412 images that two or more of 3 people labeled" in page.locator("#headline").inner_text()
    assert as_json(replace(evaluation, label_agreement=PEOPLE))["label_agreement"] == PEOPLE.model_dump(mode="json")
    page.close()
