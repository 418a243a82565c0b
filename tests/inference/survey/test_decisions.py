"""The decision for each image, in addition to its most likely class."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cli_fixtures import Pelagia
from model_fixtures import with_metadata_of
from pelagia.errors import ModelError
from pelagia.model.decision import Decision
from pelagia.model.metadata import ModelFile
from pelagia.survey.journal import Survey
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.machine.verify import verify
from pelagia_inference.survey.runner import classify


@pytest.fixture
def old(model: ModelFile, tmp_path: Path) -> ModelFile:
    """The same network as an older Pelagia would have written it."""
    references = tuple(one.model_copy(update={"unknown": None}) for one in model.metadata.references)
    nothing = {"decision": Decision(), "unknown": None, "calibration": None, "references": references}
    return with_metadata_of(model, tmp_path / "old.onnx", schema_version=1, **nothing)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_has_the_decision_that_the_rule_makes(
    sure: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    done = classify(sure, [survey.root], tmp_path / "out")
    rows = {row["path"]: row for row in rows_of(done.csv)}
    with Survey.open(tmp_path / "out") as opened:
        found = list(opened)
        assert opened.counts_by_verdict() == done.verdicts
    classified = [one for one in found if one.probabilities is not None]
    probabilities = np.stack([one.probabilities for one in classified if one.probabilities is not None])
    scores = np.array([one.unknown for one in classified], np.float32)
    for one, verdict in zip(classified, sure.metadata.decider(probabilities, scores), strict=True):
        row = rows[one.path]
        assert one.verdict == verdict
        assert (row["decision"], row["accepted_as"], row["accepted_rank"]) == (
            verdict.decision,
            verdict.name,
            verdict.rank,
        )
        assert float(row["unknown_score"]) == pytest.approx(one.unknown, abs=1e-6)
        if verdict.decision == "accepted":
            assert row["accepted_as"] == row["class"]
    decisions = Counter(verdict.decision for verdict in done.verdicts.elements())
    assert decisions["accepted"] > 0
    assert decisions["rolled_up"] > 0
    assert decisions["abstained"] > 0
    assert decisions["unknown"] > 0
    assert decisions.total() == done.counts.total()


def test_failed_images_have_no_verdict(sure: ModelFile, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.png").write_bytes(b"nothing")
    done = classify(sure, [tmp_path / "in"], tmp_path / "out")
    [row] = rows_of(done.csv)
    assert row["status"] == "failed"
    assert [row[name] for name in ("decision", "accepted_as", "accepted_rank", "unknown_score")] == [""] * 4


def test_the_summary_counts_what_was_decided(
    pelagia: Pelagia, sure: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    done = pelagia("classify", sure.path, survey.root, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for words in ("most likely class", "rolled up to", "accepted ", "abstained ", "unknown "):
        assert words in done.stdout
    again = pelagia("classify", sure.path, survey.root, "--out", tmp_path / "out", "--json")
    last = json.loads(again.stdout.splitlines()[-1])
    assert set(last["decisions"]) == {"accepted", "rolled_up", "abstained", "unknown"}
    assert sum(last["decisions"].values()) == survey.images


def test_a_survey_that_an_older_version_began_is_resumed_as_it_was(
    old: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    images = sorted(survey.root.rglob("*.jpg"))
    for part in (images[:20], images[20:40]):
        for at, image in enumerate(part):
            (folder / f"{part is not images[:20]}{image.stem}{at}.jpg").write_bytes(image.read_bytes())
        done = classify(old, [folder], tmp_path / "out")
    assert len(rows_of(done.csv)) == len(list(folder.iterdir()))
    assert "decision" not in rows_of(done.csv)[0]
    assert not done.verdicts
    with Survey.open(tmp_path / "out") as opened:
        assert opened.meta["schema"] == "1"


def test_the_self_test_looks_at_the_score_too(model: ModelFile, tmp_path: Path) -> None:
    verify(model)
    first, *rest = model.metadata.references
    assert first.unknown is not None
    wrong = first.model_copy(update={"unknown": first.unknown + 0.1})
    off = with_metadata_of(model, tmp_path / "off.onnx", references=(wrong, *rest))
    with pytest.raises(
        ModelError, match="out-of-distribution score differs by 0.1 from the trainer's .allowed: 0.005.: do not"
    ):
        verify(off)
