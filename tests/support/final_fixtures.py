"""A cross-validation of a tiny network, and a run on all images of the same recipe; each is made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_fixtures import REPOSITORY, TINY
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset

FOLDS = 2


@pytest.fixture(scope="session")
def cross_validation(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of two epochs; tests must not change the folder."""
    pytest.importorskip("torch")
    from pelagia_training.config import TrainConfig
    from pelagia_training.studies.folds import cross_validate

    out = tmp_path_factory.mktemp("final") / "cv"
    settings = [f"dataset={dataset.root}", *TINY, "train.ema_decay=0.5"]
    cross_validate(load_config(REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, settings), FOLDS, out)
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
