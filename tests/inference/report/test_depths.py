"""The composition by depth shows corrected counts, as the tables do, and says so."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pelagia.model.card import ModelCard
from pelagia.survey.journal import Prediction, Survey
from pelagia.taxonomy import LabelClass, Taxonomy
from pelagia_inference.counts.options import CountOptions
from pelagia_inference.report.composition import matrix_of
from pelagia_inference.report.depths import count_bands, depth_chart
from pelagia_inference.report.gather import gather
from predictions.scores import CLASSES, counting, scores, survey_of

SKEWED = {5: np.array([0.85, 0.1, 0.04, 0.01]), 40: np.array([0.05, 0.05, 0.1, 0.8])}


def survey_with_depths(folder: Path) -> Path:
    """400 images at 5 m, 400 at 40 m, and one without a depth; one sample."""
    card = ModelCard(
        name="m",
        created="2024-01-01",
        pelagia_version="0",
        taxonomy=Taxonomy(name="t", classes=tuple(LabelClass(name=name) for name in CLASSES)),
        validation_confusion=((0,) * len(CLASSES),) * len(CLASSES),
        counting=counting(scores(shift=0.0)),
    )
    with Survey.open_for_writing(
        folder, model_sha256="a" * 64, classes=CLASSES, settings={}, model=card.model_dump_json()
    ) as survey:
        for depth, composition in SKEWED.items():
            drawn, _ = survey_of(scores(shift=0.0, seed=5), composition, images=400, seed=depth)
            columns = {"station": "S", "minimumDepthInMeters": str(depth)}
            survey.add(
                Prediction(f"{depth}/{at:03}.png", "/x", "c" * 64, probabilities=row, columns=columns)
                for at, row in enumerate(drawn.probabilities)
            )
        survey.add(
            [Prediction("none.png", "/x", "d" * 64, probabilities=drawn.probabilities[0], columns={"station": "S"})]
        )
    return folder


def shares_in(text: str, band: str) -> dict[str, int]:
    """The shares in percent that the alternative text of a chart names for a band."""
    [part] = [part for part in text.split("; ") if band in part]
    return {name: int(share) for name, share in re.findall(r"(\w+) (\d+)%", part)}


def test_the_composition_by_depth_is_corrected_and_says_so(tmp_path: Path) -> None:
    charts = {}
    with Survey.open(survey_with_depths(tmp_path / "s")) as survey:
        for correct in (True, False):
            options = CountOptions(correct=correct)
            data = gather(survey, options, 1)
            bands = count_bands(survey, data, options)
            assert bands is not None
            charts[correct] = depth_chart(data, bands, matrix_of(options.count(survey), ["S"]))
            for band, depth in (("5 m (400)", "4.5-5.5"), ("40 m (400)", "39.5-40.5")):
                rows = [one for one in bands.counts if one.sample == depth]
                best = {one.name: one.raw if one.corrected is None else one.corrected for one in rows}
                for name, share in shares_in(charts[correct].alt, band).items():
                    assert abs(100 * best[name] / 400 - share) <= 0.51
    assert charts[True].caption.startswith("Corrected counts")
    assert charts[False].caption.startswith("Counts of the machine and of people, not corrected.")
    assert charts[True].alt != charts[False].alt
    assert "1 images have no depth" in charts[True].caption
