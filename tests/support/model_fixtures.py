"""A simulated dataset, networks trained on it for two epochs, and their models; each is made once a session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.model.decision import Decision
from pelagia.model.metadata import ModelFile, write_model
from pelagia.model.policies import Policies
from pelagia.sources import list_images
from pelagia.synthetic.survey import SimulatedSurvey, simulate_survey
from pelagia.taxonomy import load_taxonomy
from pelagia_labeling.importers.dataset import import_dataset

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = ("preprocess.size=32", "train.epochs=2", "train.batch_size=16", "model={backbone: test_resnet}")


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> SimulatedSurvey:
    return simulate_survey(tmp_path_factory.mktemp("sample") / "survey", images=240, seed=5)


@pytest.fixture(scope="session")
def dataset(survey: SimulatedSurvey, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return import_dataset(
        survey.root,
        tmp_path_factory.mktemp("dataset") / "drawn",
        manifest=survey.truth,
        group_column="station",
        taxonomy=load_taxonomy(survey.taxonomy),
    )


@pytest.fixture(scope="session")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    from pelagia_training.config import TrainConfig
    from pelagia_training.train import train

    out = tmp_path_factory.mktemp("runs") / "tiny"
    config = load_config(REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, [f"dataset={dataset.root}", *TINY])
    train(config, out)
    return out


@pytest.fixture(scope="session")
def model(run: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    from pelagia_training.export.export import export

    return export(run, tmp_path_factory.mktemp("models") / "tiny.onnx")


@pytest.fixture(scope="session")
def sized_run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network takes the size of each crop, trained long enough that the size matters."""
    pytest.importorskip("torch")
    from pelagia_training.config import TrainConfig
    from pelagia_training.train import train

    out = tmp_path_factory.mktemp("runs") / "sized"
    overrides = [f"dataset={dataset.root}", *TINY, "model={backbone: test_resnet, size: true}"]
    overrides += ["train.epochs=8", "train.lr=5e-3", "train.ema_decay=0"]
    train(load_config(REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, overrides), out)
    return out


@pytest.fixture(scope="session")
def sized(sized_run: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    from pelagia_training.export.export import export

    return export(sized_run, tmp_path_factory.mktemp("models") / "sized.onnx")


@pytest.fixture(scope="session")
def cross_validation(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of two epochs; tests must not change the folder."""
    pytest.importorskip("torch")
    from pelagia_training.config import TrainConfig
    from pelagia_training.studies.folds import cross_validate

    out = tmp_path_factory.mktemp("final") / "cv"
    settings = [f"dataset={dataset.root}", *TINY, "train.ema_decay=0.5"]
    cross_validate(load_config(REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, settings), 2, out)
    return out


@pytest.fixture(scope="session")
def final_run(cross_validation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on all images, with its model; tests must not change the folder."""
    from pelagia_training.export.finish import deliver
    from pelagia_training.runs.final import plan_final
    from pelagia_training.train import train

    out = tmp_path_factory.mktemp("final") / "run"
    config, final = plan_final(cross_validation)
    train(config, out, final=final)
    deliver(out)
    return out


def with_metadata_of(model: ModelFile, path: Path, policies: Policies | None = None, **changes: object) -> ModelFile:
    """The same graph, other metadata."""
    import onnx

    graph = onnx.load_from_string(model.data)
    del graph.metadata_props[:]
    write_model(path, graph.SerializeToString(), model.metadata.model_copy(update=changes), policies=policies)
    return ModelFile.read(path)


@pytest.fixture
def sure(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> ModelFile:
    """A model that makes every decision: the tiny network may never reach its own thresholds."""
    from pelagia_inference.survey.pipeline import predict

    found = [one for batch in predict(list_images([survey.root]), model) for one in batch]
    rows = np.stack([one.probabilities for one in found if one.probabilities is not None])
    middle = np.median(rows.max(axis=1))
    sums = rows @ model.metadata.decider.membership.T
    taxa = model.metadata.taxonomy.shared_taxa()
    decision = Decision(
        rule="thresholds",
        target_precision=0.95,
        classes=dict.fromkeys(model.metadata.classes, float(middle)),
        taxa={taxon.name: float(np.quantile(sums[:, at], 0.7)) for at, (taxon, _) in enumerate(taxa)},
    )
    assert model.metadata.unknown is not None
    limit = float(np.quantile([one.unknown for one in found], 0.8))
    unknown = model.metadata.unknown.model_copy(update={"threshold": limit})
    return with_metadata_of(model, tmp_path / "sure.onnx", decision=decision, unknown=unknown)
