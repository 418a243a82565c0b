"""A program of a user, which mypy --strict checks against the types of Pelagia's public names."""

from pathlib import Path

from numpy import float32
from numpy.typing import NDArray

import pelagia
from pelagia import Dataset, ModelFile, PelagiaError, Survey, Taxonomy, load_taxonomy, simulate_survey
from pelagia_inference import Session, classify, list_images, load_sized, predict, stacked
from pelagia_labeling import connect, import_dataset, pull, push, start_studio, stop_studio
from pelagia_training import TrainConfig, cross_validate, evaluate, export, load_config, quantize, train


def make_dataset(out: Path) -> Dataset:
    drawn = simulate_survey(out / "survey", images=240)
    classes: Taxonomy = load_taxonomy(drawn.taxonomy)
    return import_dataset(drawn.root, out / "dataset", manifest=drawn.truth, taxonomy=classes)


def make_model(config: Path, dataset: Dataset, out: Path) -> ModelFile:
    settings: TrainConfig = load_config(config, TrainConfig, [f"dataset={dataset.root}"])
    epoch: int = train(settings, out / "run").best_epoch
    print(f"the best epoch was {epoch}")
    model = export(out / "run", out / "model.onnx")
    return quantize(model, dataset, out / "model.int8.onnx")


def measure(model: ModelFile, dataset: Dataset) -> float:
    macro_f1: float = evaluate(model, dataset, split="test").headline["macro_f1"]
    return macro_f1


def measure_by_folds(settings: TrainConfig, out: Path) -> dict[str, float]:
    return cross_validate(settings, 5, out).together.headline


def count(model: ModelFile, images: Path, out: Path) -> dict[str, int]:
    done = classify(model, [images], out)
    with Survey.open(out) as survey:
        paths: list[str] = [row.path for row in survey]
    assert len(paths) == sum(done.counts.values()) + sum(done.failures.values())
    return dict(done.counts)


def probabilities(model: ModelFile, image: Path) -> NDArray[float32]:
    fitted = load_sized(image.read_bytes(), model.metadata.preprocess)
    return Session(model).probabilities(*stacked([fitted]))


def paths_of(model: ModelFile, folder: Path) -> list[str]:
    return [prediction.path for batch in predict(list_images([folder]), model) for prediction in batch]


def label(images: Path, classes: Taxonomy, out: Path) -> str:
    try:
        start_studio()
        connection = connect()
        added: int = push(connection, images, "Plankton", classes).added
        print(f"{added} images added")
        dataset: Dataset = pull(connection, "Plankton", out).dataset
        return dataset.meta.fingerprint
    except PelagiaError as error:
        return f"{error} (exit code {error.exit_code}, pelagia {pelagia.__version__})"
    finally:
        stopped: bool = stop_studio()
        print(f"stopped: {stopped}")
