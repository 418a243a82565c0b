"""A small survey without a network: two stations, three samples, a card of its model, labels of people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pelagia.config import validate
from pelagia.model.card import ModelCard
from pelagia.survey.additions import Confirmed, add_confirmed
from pelagia.survey.journal import Prediction, Survey
from pelagia.taxonomy import Taxonomy

TAXONOMY = validate(
    {
        "name": "small",
        "taxa": [
            {"name": "Animalia", "rank": "kingdom"},
            {"name": "Arthropoda", "rank": "phylum", "parent": "Animalia"},
            {"name": "Copepoda", "rank": "class", "parent": "Arthropoda", "aphia_id": 1080},
            {"name": "Calanus", "rank": "genus", "parent": "Copepoda", "aphia_id": 104152},
            {"name": "Chaetognatha", "rank": "phylum", "parent": "Animalia", "aphia_id": 2081},
        ],
        "classes": [
            {"name": "calanus", "taxon": "Calanus"},
            {"name": "copepod", "taxon": "Copepoda"},
            {"name": "copepod_part", "taxon": "Copepoda"},
            {"name": "arrow_worm", "taxon": "Chaetognatha"},
            {"name": "bubble", "taxon": None},
        ],
    },
    Taxonomy,
    "the taxonomy of the tests",
)
SAMPLES = {
    "A": {
        "sample": "A",
        "station": "S1",
        "eventDate": "2024-05-01T10:00:00Z",
        "decimalLatitude": "54.5",
        "decimalLongitude": "7.25",
        "minimumDepthInMeters": "0",
        "maximumDepthInMeters": "50",
        "sampleSizeValue": "5",
        "sampleSizeUnit": "millilitre",
        "instrument": "FlowCam",
    },
    "B": {
        "sample": "B",
        "station": "S2",
        "eventDate": "2024-05-02",
        "decimalLatitude": "55.125",
        "decimalLongitude": "8",
        "minimumDepthInMeters": "5",
        "maximumDepthInMeters": "5",
        "sampleSizeValue": "2.5",
        "sampleSizeUnit": "millilitre",
        "instrument": "FlowCam",
    },
}
IMAGES = {
    "A": ["calanus"] * 4 + ["copepod"] * 3 + ["copepod_part"] * 2 + ["bubble"] * 5,
    "B": ["calanus", "arrow_worm"] + ["bubble"] * 2,
}
"""Sample -> the likeliest class of each image."""


def make_survey(
    folder: Path,
    samples: dict[str, dict[str, str]] = SAMPLES,
    images: dict[str, list[str]] = IMAGES,
    *,
    taxonomy: Taxonomy = TAXONOMY,
    confirmed: Sequence[Confirmed] = (),
    card: bool = True,
) -> Path:
    """Writes the survey. The images of sample A are ``A/000.png``, ``A/001.png``, and so on; one of A failed."""
    text = ModelCard(
        name="small",
        created="2024-04-01T00:00:00Z",
        pelagia_version="0.1.0",
        taxonomy=taxonomy,
        validation_confusion=tuple((0,) * len(taxonomy.names) for _ in taxonomy.names),
    ).model_dump_json()
    with Survey.open_for_writing(
        folder, model_sha256="ab" * 32, classes=taxonomy.names, settings={}, model=text if card else ""
    ) as survey:
        for sample, names in images.items():
            rows = [
                Prediction(
                    f"{sample}/{number:03d}.png",
                    f"/images/{sample}/{number:03d}.png",
                    sha256=f"{number:064x}",
                    probabilities=(np.array(taxonomy.names) == name).astype(np.float32),
                    columns=samples[sample],
                )
                for number, name in enumerate(names)
            ]
            survey.add(rows)
        failed = Prediction("A/999.png", "/images/A/999.png", reason="damaged", message="cut", columns=samples["A"])
        survey.add([failed])
    with Survey.open(folder, to_add=True) as survey:
        add_confirmed(survey, confirmed)
    return folder
