"""`pelagia decide`: other verdicts from the same probabilities."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from model_fixtures import with_metadata_of
from pelagia.errors import InputError, SurveyError
from pelagia.model.card import card_of
from pelagia.model.decision import CoverageAndPrecision, Decision
from pelagia.model.metadata import ModelFile
from pelagia.model.policies import Policies, conservative_target
from pelagia.survey.journal import JOURNAL_FILE, Survey
from pelagia.survey.model_card import card_of_survey, require_card
from pelagia_inference.decisions.decide import decide
from pelagia_inference.decisions.policies import parse_overrides, policy_of

OLD = Path(__file__).resolve().parents[2] / "compatibility" / "0.1"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_balanced_policy_repeats_the_first_verdicts(opened: Survey, tmp_path: Path) -> None:
    card = require_card(opened)
    done = decide(opened, card, policy_of(card, "balanced"), tmp_path / "same.csv")
    assert (done.changed, done.failed) == (0, 0)
    assert all(first == now for first, now in done.pairs)
    rows = table(tmp_path / "same.csv")
    before = table(opened.folder / "predictions.csv")
    assert [{name: row[name] for name in before[0]} for row in rows] == before
    assert all(row["decision"] == row["first_decision"] for row in rows)


def test_everything_gives_each_image_its_likeliest_class_and_leaves_the_survey_alone(
    opened: Survey, tmp_path: Path
) -> None:
    journal = hashlib.sha256((opened.folder / JOURNAL_FILE).read_bytes()).hexdigest()
    card = require_card(opened)
    policy = policy_of(card, "everything")
    done = decide(opened, card, policy, tmp_path / "all.csv")
    rows = table(tmp_path / "all.csv")
    assert all(row["accepted_as"] == row["class"] and row["decision"] == "accepted" for row in rows)
    changed = [row for row in rows if row["accepted_as"] != row["first_accepted_as"]]
    assert done.changed == len(changed) > 0
    confusion = card.validation_confusion
    right = sum(confusion[place][place] for place in range(len(confusion)))
    assert policy.expected == CoverageAndPrecision(accepted=1.0, precision=right / sum(map(sum, confusion)))
    assert hashlib.sha256((opened.folder / JOURNAL_FILE).read_bytes()).hexdigest() == journal


def test_a_threshold_of_ones_own_replaces_that_of_the_class(opened: Survey, tmp_path: Path) -> None:
    card = require_card(opened)
    name = opened.counts_by_class().most_common(1)[0][0]
    never = policy_of(card, "everything", parse_overrides([f"{name}=never"]))
    decide(opened, card, never, tmp_path / "never.csv")
    rows = table(tmp_path / "never.csv")
    assert {row["decision"] for row in rows if row["class"] == name} == {"abstained"}
    assert {row["decision"] for row in rows if row["class"] != name} <= {"accepted"}
    assert "does not hold for the thresholds that you gave" in never.expectation
    some = policy_of(card, "everything", {name: 0.3})
    decide(opened, card, some, tmp_path / "some.csv")
    for row in table(tmp_path / "some.csv"):
        assert (row["decision"] == "accepted") == (row["class"] != name or float(row["probability"]) >= 0.3)


def test_conservative_uses_the_thresholds_that_the_export_chose(sure: ModelFile) -> None:
    strict = Decision(
        rule="thresholds", target_precision=0.99, classes=dict.fromkeys(sure.metadata.classes, 0.97), images=40
    )
    chosen = policy_of(card_of(sure.metadata, policies=Policies(conservative=strict)), "conservative")
    assert (chosen.decision, chosen.target, chosen.images) == (strict, 0.99, 40)
    fallback = policy_of(card_of(sure.metadata), "conservative")
    assert set(fallback.decision.classes.values()) == {0.99}
    assert fallback.expected is None
    assert "only if the probabilities are calibrated" in fallback.words
    assert conservative_target(0.95) == 0.99


def test_an_exported_model_has_the_policies_and_a_survey_keeps_them(model: ModelFile, folder: Path) -> None:
    assert model.policies is not None
    assert model.policies.conservative is not None
    assert model.policies.conservative.target_precision == conservative_target(model.metadata.decision.target_precision)
    assert model.policies.tracks is None  # stations are no tracks: they hold several classes
    with Survey.open(folder) as survey:
        card = card_of_survey(survey)
    assert card is not None
    assert card.policies is None  # `sure` has none, as models of older versions


def test_a_model_keeps_its_policies_through_a_file(sure: ModelFile, tmp_path: Path) -> None:
    policies = Policies(conservative=sure.metadata.decision)
    assert with_metadata_of(sure, tmp_path / "again.onnx", policies).policies == policies


def test_a_survey_of_an_older_version_needs_its_model(tmp_path: Path) -> None:
    shutil.copytree(OLD / "finished", tmp_path / "s")
    with Survey.open(tmp_path / "s") as survey:
        with pytest.raises(SurveyError, match="name the model with --model"):
            require_card(survey)
        card = require_card(survey, OLD / "model.onnx")
        done = decide(survey, card, policy_of(card, "balanced"))
    assert done.changed == 0


def test_another_model_is_refused(opened: Survey) -> None:
    with pytest.raises(InputError, match="is not the model of the survey"):
        require_card(opened, OLD / "model.onnx")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("copepod", "give a class and a probability from 0 to 1, or never"),
        ("copepod=1.5", "give a class and a probability"),
        ("=0.5", "give a class and a probability"),
        ("copepod=often", "give a class and a probability"),
    ],
)
def test_a_threshold_that_is_none_is_refused(option: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_overrides([option])


def test_the_command_says_what_changes_and_writes_only_what_it_is_asked_to(
    pelagia: Pelagia, folder: Path, tmp_path: Path
) -> None:
    before = sorted(folder.iterdir())
    done = pelagia("decide", folder, "--policy", "everything")
    assert done.returncode == 0, done.stderr
    assert "nothing was written" in done.stdout
    assert sorted(folder.iterdir()) == before
    out = tmp_path / "all.csv"
    again = pelagia("decide", folder, "--policy", "everything", "--out", out, "--json")
    said = json.loads(again.stdout)
    assert said["images"] == len(table(out)) == sum(pair["images"] for pair in said["decisions"])
    refused = pelagia("decide", folder, "--policy", "everything", "--out", out)
    assert (refused.returncode, "exists already" in refused.stderr) == (2, True)
    wrong = pelagia("decide", folder, "--class", "copepd=0.5")
    assert wrong.stderr == "error: --class: the model has no class 'copepd' (did you mean 'copepod'?)\n"
