"""Calibration, thresholds and out-of-distribution score of a model, and their assessment on labelled images."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cli_fixtures import Pelagia
from pelagia.dataset.schema import Dataset
from pelagia.model.metadata import ModelFile
from pelagia_inference.machine.session import Session
from pelagia_training.data.batches import load_fitted, targets_of
from pelagia_training.evaluation.assess import assess
from pelagia_training.evaluation.evaluate import evaluate
from pelagia_training.export import reliability
from pelagia_training.figures.metrics import reliability_diagram
from pelagia_training.network.backbone import Normalized, build_network, last_layer, shows_features

HALF = (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("backbone", "size", "shown"),
    [("test_resnet", 32, True), ("test_vit", 160, True), ("deit_tiny_distilled_patch16_224", 224, False)],
)
def test_a_network_of_one_head_shows_its_features(backbone: str, size: int, shown: bool) -> None:
    network = Normalized(build_network(backbone, 3, pretrained=False, drop_rate=0.0, options={}), HALF, HALF)
    images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    assert shows_features(network, images) == shown


def test_features_that_have_collapsed_give_no_score_and_say_why() -> None:
    network = Normalized(build_network("test_resnet", 3, pretrained=False, drop_rate=0.0, options={}), HALF, HALF)
    torch.nn.init.zeros_(last_layer(network).bias)
    random = np.random.default_rng(0)
    width = last_layer(network).in_features
    features = np.outer(1 + random.random(50), random.random(width)).astype(np.float32)
    logits = random.random((50, 3)).astype(np.float32)
    vim, _, why = reliability.fit_subspace(network, logits, features)
    assert vim is None
    assert why.startswith(f"the features of the training images have collapsed into 1 of {width} dimensions (")
    spread = features + random.normal(0, 0.1, features.shape).astype(np.float32)
    vim, _, why = reliability.fit_subspace(network, logits, spread)
    assert vim is not None
    assert why == ""


def test_the_tolerance_of_a_score_grows_with_the_spread_of_the_scores() -> None:
    narrow, wide = np.linspace(0, 0.1, 101, dtype=np.float32), np.linspace(0, 100, 101, dtype=np.float32)
    assert reliability.unknown_of(2, narrow, 0.95, 0.0).tolerance == 5e-3
    assert reliability.unknown_of(2, wide, 0.95, 0.0).tolerance == pytest.approx(0.9)


def test_the_metadata_hold_the_thresholds_and_temperatures_and_their_images(model: ModelFile, dataset: Dataset) -> None:
    data, val = model.metadata, dataset.split("val")
    assert data.schema_version == 2
    assert data.calibration is not None
    assert data.unknown is not None
    assert data.decision.rule == "thresholds"
    assert set(data.decision.classes) == set(data.classes)
    assert set(data.decision.taxa) == {taxon.name for taxon, _ in data.taxonomy.shared_taxa()}
    assert (data.calibration.images, data.decision.images) == (len(val), len(val))
    found = Session(model).answers(load_fitted(dataset, val, data.preprocess))
    passed = (found.scores <= data.unknown.threshold).mean()
    assert passed == pytest.approx(data.unknown.known_share, abs=1 / len(val))
    confusion = np.array(data.validation_confusion)
    right = found.probabilities.argmax(1) == targets_of(val, data.classes)
    assert np.trace(confusion) == right.sum()


def test_the_errors_before_and_after_are_those_of_the_labels(model: ModelFile, dataset: Dataset) -> None:
    records = dataset.split("test")
    found = Session(model).answers(load_fitted(dataset, records, model.metadata.preprocess))
    targets = targets_of(records, model.metadata.classes)
    result = assess(model.metadata, found.probabilities, targets, found.scores, found.scores[:3] + 1000)
    assert result.error == reliability_diagram(found.probabilities, targets).error
    assert (result.error_before is not None) == result.fitted
    assert result.unknown_flagged == 1.0
    assert result.known_flagged == (found.scores > model.metadata.unknown.threshold).mean()  # type: ignore[union-attr]
    evaluated = evaluate(model, dataset, "test").assessment
    assert evaluated.error == pytest.approx(result.error, abs=1e-4)
    assert evaluated.by_roll_up == result.by_roll_up
    assert evaluated.unknown_flagged is None


def test_images_of_an_unknown_class_are_assessed(model: ModelFile, dataset: Dataset) -> None:
    records = tuple(replace(one, class_name="kraken") if at % 3 else one for at, one in enumerate(dataset.records))
    found = evaluate(model, replace(dataset, records=records), "test").assessment
    assert found.unknown_flagged is not None
    assert found.known_flagged is not None


def test_the_command_shows_the_assessment(pelagia: Pelagia, model: ModelFile, dataset: Dataset) -> None:
    said = pelagia("evaluate", model.path, dataset.root).stdout
    for words in ("calibration error", "by thresholds", "with roll-up", "called unknown"):
        assert words in said
    shown = pelagia("model", "show", model.path).stdout
    assert "calibration error" in shown
    assert "of images of known classes have a lower score" in shown
