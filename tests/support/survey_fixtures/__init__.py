"""Surveys without a network: rows with chosen probabilities, for the tests of what is made from a survey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pelagia.model.card import ModelCard
from pelagia.model.decision import ABSTAINED, ACCEPTED, ROLLED_UP, Verdict
from pelagia.survey.additions import Confirmed, Measured, add_confirmed, add_measures
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia.taxonomy import LabelClass, Taxon, Taxonomy

CLASSES = ("Copépode", "detritus", "=medusa")
TAXONOMY = Taxonomy(
    name="sea",
    taxa=(
        Taxon(name="Animalia", rank="kingdom", aphia_id=2),
        Taxon(name="Copepoda", rank="class", parent="Animalia", aphia_id=1080),
        Taxon(name="Hydrozoa", rank="class", parent="Animalia"),
    ),
    classes=(
        LabelClass(name=CLASSES[0], taxon="Copepoda"),
        LabelClass(name=CLASSES[1]),
        LabelClass(name=CLASSES[2], taxon="Hydrozoa"),
    ),
)
NAMES = ("=1+1.png", "<script>alert(1)</script>.png", "été/動物 1.png", "a'b,c.png", "x/same.png", "y/same.png")
VERDICTS = (
    Verdict(ACCEPTED, CLASSES[0], "class"),
    Verdict(ACCEPTED, CLASSES[1]),
    Verdict(ROLLED_UP, "Animalia", "kingdom"),
    Verdict(ABSTAINED),
    Verdict(ACCEPTED, CLASSES[2], "class"),
    Verdict(ACCEPTED, CLASSES[2], "class"),
)

MakeSurvey = Callable[..., Survey]


def card() -> ModelCard:
    return ModelCard(
        name="sea <model>",
        created="2024-06-01T00:00:00Z",
        pelagia_version="0.1.0",
        taxonomy=TAXONOMY,
        validation_confusion=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    )


def columns(at: int) -> dict[str, str]:
    """The columns of image ``at``: three images at each of two stations."""
    station = at // 3
    return {
        "station": f"=St {station}",
        "eventDate": f"2024-05-0{station + 1}T10:2{at}:00",
        "decimalLatitude": f"{54.5 + station}",
        "decimalLongitude": f"{-3.25 - station}",
        "minimumDepthInMeters": "5",
        "maximumDepthInMeters": "5",
        "pixel_size_um": "2",
        "remark": "tab\tand a\nline" if at == 1 else "é",
    }


def write_survey(
    folder: Path, names: Sequence[str], images: Sequence[Path] = (), *, verdicts: Sequence[Verdict] = VERDICTS
) -> Survey:
    """A survey of images with these names, one of which failed; the last image has a confirmed label."""
    survey = Survey.open_for_writing(
        folder,
        model_sha256="f" * 64,
        classes=CLASSES,
        settings={},
        decides=True,
        model=card().model_dump_json(),
    )
    rows = []
    for at, name in enumerate(names):
        likely = np.full(3, 0.1, np.float32)
        likely[CLASSES.index(verdicts[at].name) if verdicts[at].name in CLASSES else 0] = 0.8
        data = images[at].read_bytes() if images else name.encode()
        file = str(images[at]) if images else f"/nowhere/{name}"
        rows.append(Prediction(name, file, sha256_of(data), "", "", likely, 0.5, verdicts[at], columns(at)))
    rows.append(Prediction("broken.png", "/nowhere/broken.png", reason="empty", message="no bytes", columns=columns(5)))
    survey.add(rows)
    add_confirmed(survey, [Confirmed(names[-1], CLASSES[0], "ann@example.org|Bo", "2024-07-01T08:09:10Z", "review")])
    sizes = {"area_px": 40.0, "length_px": 10.0, "width_px": 6.0, "esd_um": 14.5, "biovolume_um3": 1600.0}
    add_measures(survey, [Measured(name, sizes) for name in names[:-1]])
    return survey


@pytest.fixture
def sea(tmp_path: Path, put: Callable[..., Path]) -> Survey:
    """A survey of six images with names that are hard to write, all of which are on the disk, and one that failed."""
    images = [put(tmp_path / "images" / f"{at}.png", seed=at) for at in range(len(NAMES))]
    with write_survey(tmp_path / "survey", NAMES, images):
        pass
    return Survey.open(tmp_path / "survey")
