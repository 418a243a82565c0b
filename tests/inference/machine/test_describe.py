"""What a model file says about itself."""

from dataclasses import replace

from cli_fixtures import Pelagia
from pelagia.model.counting import Drift, Simulated
from pelagia.model.metadata import ModelFile
from pelagia_inference.machine.describe import class_rows, model_facts
from predictions.scores import counting, scores


def test_the_facts_name_the_file_its_data_and_its_limits(model: ModelFile) -> None:
    facts = dict(model_facts(model))
    assert facts["name"] == model.metadata.name
    assert model.sha256 in facts["file"]
    assert facts["input"] == "uint8 N x 32 x 32 x 3, RGB, letterbox"
    assert facts["parity gate"].startswith(f"{model.metadata.parity.images} images, largest difference ")
    assert facts["unknown"].startswith("images with an out-of-distribution score above ")
    assert "made from" not in facts


def test_the_facts_say_how_counts_are_corrected_and_when_a_survey_is_warned_of(model: ModelFile) -> None:
    simulated = Simulated(
        composition="skewed", dirichlet=0.2, surveys=9, images=500, raw_error=0.02, corrected_error=0.01, coverage=0.9
    )
    drift = Drift(limit=0.125, false_warnings=0.05, groups=40)
    document = counting(scores(), simulated=(simulated,), drift=drift, unknown_limit=0.3)
    facts = dict(model_facts(replace(model, counting=document)))
    assert "2000 labeled images of 40 groups" in facts["counts"]
    assert "0.50 of the raw error at skewed composition" in facts["counts"]
    assert facts["drift limit"].startswith("0.125; ")
    assert "5% of 40 groups" in facts["drift limit"]
    assert "more than 30.0%" in facts["unknown share"]
    assert dict(model_facts(replace(model, counting=None)))["counts"].startswith("not corrected: ")


def test_each_class_has_its_training_images_and_its_taxa(model: ModelFile) -> None:
    rows = {name: (images, taxa) for name, images, taxa in class_rows(model.metadata)}
    assert list(rows) == list(model.metadata.classes)
    assert rows["copepod"] == (
        model.metadata.dataset["counts"]["copepod"]["train"],
        "Animalia > Arthropoda > Copepoda",
    )
    assert rows["detritus"][1] == "-"


def test_model_show_prints_both(pelagia: Pelagia, model: ModelFile) -> None:
    shown = pelagia("model", "show", model.path)
    assert shown.returncode == 0, shown.stderr
    assert f"network                {model.metadata.training['model']['backbone']}\n" in shown.stdout
    assert "Animalia > Arthropoda > Copepoda" in shown.stdout
