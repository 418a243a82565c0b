"""The whole loop with the commands that users type, against a real Label Studio."""

import csv
import json
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from pelagia.dataset.schema import Dataset
from pelagia.synthetic.survey import simulate_survey
from pelagia_labeling.studio.server import Studio


@pytest.mark.studio
@pytest.mark.slow
def test_images_become_labels_become_a_model_becomes_predictions_become_prelabels(
    pelagia: Pelagia, studio: Studio, tmp_path: Path
) -> None:
    def run(*arguments: object) -> str:
        done = pelagia(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    survey = simulate_survey(tmp_path / "survey", images=240, seed=11)
    project = ("--project", "The whole loop")
    push = ("label", "push", survey.manifest, *project, "--taxonomy", survey.taxonomy)
    assert "240 images added, 0 were there already" in run(*push)
    assert "0 images added, 240 were there already" in run(*push)

    half = tmp_path / "survey" / "half.csv"
    lines = survey.truth.read_text().splitlines(keepends=True)
    half.write_text("".join(lines[:1] + lines[1::2]))
    assert "120 labels submitted, 0 images had a label already, 0 paths are not in the project" in run(
        "label", "submit", half, *project
    )
    assert "120 labels submitted, 120 images had a label already" in run("label", "submit", survey.truth, *project)
    pulled = run("label", "pull", *project, "--group-column", "station", "--out", tmp_path / "dataset")
    assert "240 images; groups (by station)" in pulled
    dataset = Dataset.read(tmp_path / "dataset")
    with survey.truth.open(newline="") as file:
        truth = {row["path"]: row["class"] for row in csv.DictReader(file)}
    assert {record.source: record.class_name for record in dataset.records} == truth
    assert "is complete and unchanged" in run("dataset", "check", tmp_path / "dataset")

    settings = ("--set", f"dataset={tmp_path / 'dataset'}", "--set", "train.epochs=20", "--set", "preprocess.size=48")
    run("train", "configs/training/tiny_cpu.yaml", *settings, "--out", tmp_path / "run")
    assert "works here" in run("model", "verify", tmp_path / "run" / "model.onnx")
    exported = run("export", tmp_path / "run", "--out", tmp_path / "model.onnx")
    assert "same top-1 on all" in exported
    assert "works here" in run("model", "verify", tmp_path / "model.onnx")
    assert "The whole loop" not in run("model", "show", tmp_path / "model.onnx")

    unseen = simulate_survey(tmp_path / "unseen", images=120, seed=12)
    run("classify", tmp_path / "model.onnx", unseen.manifest, "--out", tmp_path / "predictions")
    with (tmp_path / "predictions" / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert len(rows) == 120
    assert all(row["station"].startswith("SEED12") for row in rows)

    prelabel = ("--project", "Prelabelled", "--taxonomy", unseen.taxonomy, "--predictions", tmp_path / "predictions")
    assert "120 predictions attached" in run("label", "push", unseen.manifest, *prelabel)

    evaluated = (
        "evaluate",
        tmp_path / "model.onnx",
        tmp_path / "dataset",
        "--split",
        "test",
        "--out",
        tmp_path / "evaluation",
    )
    run(*evaluated)
    figures = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert figures["images"] == len(dataset.split("test"))
    assert figures["macro_f1"] > 0.15, "ten classes at random give less than 0.1"
