"""A small survey with real pictures on the disk, hostile names, flags, measures, labels of people and failures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from pelagia.model.card import ModelCard
from pelagia.model.decision import Decision, Verdict
from pelagia.survey.additions import Confirmed, Flag, Measured, add_confirmed, add_measures, set_flags
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia.taxonomy import LabelClass, Taxonomy

EVIL = "<script>alert(1)</script>"
CLASSES = ("copepod", "diatom", f"odd {EVIL}", "never")
STATIONS = ("S1", "S2", "S10")
EACH = 12


def picture(folder: Path, name: str, seed: int) -> tuple[Path, str]:
    """Writes a picture of 80 x 40 pixels and returns its file and SHA-256."""
    pixels = np.random.default_rng(seed).integers(90, 200, (40, 80), np.uint8)
    data = cv2.imencode(".png", cv2.GaussianBlur(pixels, (9, 9), 0))[1].tobytes()
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file, sha256_of(data)


def rows(folder: Path) -> Iterator[Prediction]:
    """Twelve images of each of three stations, one with a hostile name, and two that failed."""
    random = np.random.default_rng(0)
    for at, station in enumerate(STATIONS):
        for number in range(EACH):
            name = f"{EVIL}.png" if (at, number) == (0, 0) else f"{station}/{number:02}.png"
            file, sha256 = picture(folder, name, 100 * at + number)
            best = number % 3
            probabilities = np.full(len(CLASSES), 0.05, np.float32)
            probabilities[best] = 0.3 + 0.05 * number
            probabilities /= probabilities.sum()
            columns = {
                "station": station,
                "eventDate": f"2024-05-0{3 - at}",
                "decimalLatitude": str(54 + at),
                "decimalLongitude": str(3 + at / 2),
                "minimumDepthInMeters": str(10 * at),
                "maximumDepthInMeters": str(10 * at + 5),
                "pixel_size_um": "2.5" if station == "S1" else "",
            }
            verdict = Verdict("accepted", CLASSES[best]) if number > 5 else Verdict("abstained")
            unknown = float(random.normal())
            yield Prediction(
                name, str(file), sha256, probabilities=probabilities, unknown=unknown, verdict=verdict, columns=columns
            )
    yield Prediction("S1/cut.jpg", str(folder / "S1/cut.jpg"), reason="truncated", message=f"ends early {EVIL}")
    yield Prediction("S2/cut.jpg", str(folder / "S2/cut.jpg"), reason="truncated", message="ends early")


@pytest.fixture(scope="session")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the survey."""
    root = tmp_path_factory.mktemp("report")
    card = ModelCard(
        name=f"model {EVIL}",
        created="2024-01-01",
        pelagia_version="0",
        taxonomy=Taxonomy(name="odd", classes=tuple(LabelClass(name=name) for name in CLASSES)),
        decision=Decision(rule="thresholds"),
        unknown_threshold=1.5,
        validation_confusion=((0,) * len(CLASSES),) * len(CLASSES),
    )
    with Survey.open_for_writing(
        root / "survey",
        model_sha256="a" * 64,
        classes=CLASSES,
        settings={},
        decides=True,
        model=card.model_dump_json(),
    ) as survey:
        survey.add(rows(root / "images"))
    with Survey.open(root / "survey", to_add=True) as survey:
        add_confirmed(survey, [Confirmed("S2/03.png", f"other {EVIL}", "Ana")])
        set_flags(survey, [Flag("S1/01.png", "blurred")], [Flag("S10", "no_volume", EVIL)])
        names = [row.path for row in survey if row.ok]
        add_measures(
            survey,
            [Measured(name, {"esd_um": 20.0 + at, "biovolume_um3": 4e3 * (1 + at)}) for at, name in enumerate(names)],
        )
    return root / "survey"
