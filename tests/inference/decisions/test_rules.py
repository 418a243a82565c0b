"""The column `rule`: which rule gave the verdict, and what it compared."""

import csv
from pathlib import Path

import numpy as np

from pelagia.model.decision import ABSTAINED, ACCEPTED, ROLLED_UP, UNKNOWN, Decider, Decision
from pelagia.model.rules import RULE_OF, rules_of
from pelagia.survey.journal import Survey
from pelagia.survey.model_card import card_of_survey
from pelagia.taxonomy import Taxonomy

TAXONOMY = Taxonomy.model_validate(
    {
        "name": "t",
        "taxa": [{"name": "Crustacea", "rank": "subphylum"}],
        "classes": [
            {"name": "copepod", "taxon": "Crustacea"},
            {"name": "krill", "taxon": "Crustacea"},
            {"name": "detritus"},
        ],
    }
)


def test_each_rule_names_what_it_compared() -> None:
    rule = Decision(
        rule="thresholds", classes={"copepod": 0.8, "krill": 0.9, "detritus": None}, taxa={"Crustacea": 0.7}
    )
    decider = Decider(TAXONOMY, rule, unknown_above=2.0)
    probabilities = np.array(
        [[0.85, 0.1, 0.05], [0.5, 0.3, 0.2], [0.5, 0.1, 0.4], [0, 0.1, 0.9], [1, 0, 0]], np.float32
    )
    scores = [0.0, 0.0, 0.0, 0.0, 2.5]
    verdicts = decider(probabilities, np.array(scores, np.float32))
    assert [verdict.decision for verdict in verdicts] == [ACCEPTED, ROLLED_UP, ABSTAINED, ABSTAINED, UNKNOWN]
    rules = rules_of(decider, TAXONOMY.names, verdicts, probabilities, scores)
    assert [rule.text for rule in rules if rule] == [
        "class: copepod 0.850000 >= 0.800000",
        "taxon: Crustacea 0.800000 >= 0.700000",
        "none: copepod 0.500000 < 0.800000",
        "none: detritus 0.900000, never accepted",
        "unknown: 2.500000 > 2.000000",
    ]
    words = [rule.words for rule in rules if rule]
    assert words[0] == "The probability of copepod, 0.8500, reaches the threshold of this class, 0.8000."
    assert "add up to 0.8000, which reaches the threshold of this taxon, 0.7000" in words[1]
    assert "never accepts the likeliest class, detritus" in words[3]


def test_the_rule_of_every_image_fits_its_verdict_and_its_numbers(folder: Path) -> None:
    with Survey.open(folder) as survey:
        card = card_of_survey(survey)
    assert card is not None
    with (folder / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["decision"] for row in rows} == set(RULE_OF)
    for row in rows:
        kind, _, rest = row["rule"].partition(": ")
        assert kind == RULE_OF[row["decision"]]
        if kind == "class":
            assert rest.split() == [
                row["class"],
                row["probability"],
                ">=",
                f"{card.decision.classes[row['class']]:.6f}",
            ]
        elif kind == "unknown":
            assert rest.split()[:2] == [row["unknown_score"], ">"]
        elif kind == "taxon":
            assert rest.split()[0] == row["accepted_as"]
