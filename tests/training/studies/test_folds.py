"""Cross-validation by group, doubtful labels, and the comparison with a random split."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cli_fixtures import Pelagia
from model_fixtures import REPOSITORY, TINY
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import ConfigError, DatasetError, InputError
from pelagia.model.metadata import ModelFile
from pelagia.sources import list_images
from pelagia.survey.journal import Survey
from pelagia.taxonomy import load_taxonomy
from pelagia_inference.machine.session import Session
from pelagia_labeling.tasks.push import read_prelabels
from pelagia_training.config import TrainConfig
from pelagia_training.data.resplit import resplit
from pelagia_training.evaluation.evaluate import Evaluation, evaluate
from pelagia_training.evaluation.evaluate_torch import evaluate_run
from pelagia_training.export.export import export
from pelagia_training.figures.calibrate import uncalibrated
from pelagia_training.runs.folder import read_run
from pelagia_training.studies.folds import CrossValidation, cross_validate
from pelagia_training.studies.leak import measure_leak
from pelagia_training.studies.suspects import find_suspects, is_doubted, self_confidence, write_suspects
from pelagia_training.train import train

FOLDS = 3


def config_of(dataset: Dataset, *changes: str) -> TrainConfig:
    settings = [f"dataset={dataset.root}", *TINY, "train.epochs=1", *changes]
    return load_config(REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, settings)


@pytest.fixture(scope="module")
def folds(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CrossValidation]:
    out = tmp_path_factory.mktemp("folds") / "cv"
    return out, cross_validate(config_of(dataset, f"data.cache={out.parent / 'cache'}"), FOLDS, out)


def test_counts_are_corrected_with_the_predictions_of_all_folds(
    folds: tuple[Path, CrossValidation],
    run: Path,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pelagia_training.counts.choose.TRIALS", 2)
    monkeypatch.setattr("pelagia_training.counts.choose.SURVEYS", 1)
    out, _ = folds
    counting = export(run, tmp_path / "model.onnx", folds=out).counting
    assert counting is not None
    assert (counting.source, counting.folds) == ("out of fold", FOLDS)
    assert sum(counting.images) == len(dataset.records)
    assert counting.groups == len({record.group for record in dataset.records})
    assert [one.composition for one in counting.simulated] == ["even", "skewed"]


def test_a_folder_that_is_no_cross_validation_cannot_correct_counts(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no out-of-fold predictions"):
        export(run, tmp_path / "model.onnx", folds=run)
    assert not (tmp_path / "model.onnx").exists()


def test_each_image_is_judged_once_by_the_run_that_held_its_group_out(
    folds: tuple[Path, CrossValidation], dataset: Dataset
) -> None:
    out, found = folds
    with Survey.open(out / "out_of_fold") as survey:
        rows = {row.path: row for row in survey}
    assert rows.keys() == {record.path for record in dataset.records}
    for number in range(1, FOLDS + 1):
        config, _ = read_run(out / f"fold-{number}")
        held_out = resplit(dataset, config.data.resplit).split("test")
        assert {record.path for record in held_out} == {
            path for path, row in rows.items() if row.columns["fold"] == str(number)
        }
        assert {record.path for record in found.folds[number - 1].records} == {record.path for record in held_out}
    assert found.together.images == len(dataset.records)
    figures = json.loads((out / "folds.json").read_text())
    scores = [fold["macro_f1"] for fold in figures["folds"]]
    named = [set(fold["group_names"]) for fold in figures["folds"]]
    assert named == [{record.group for record in fold.records} for fold in found.folds]
    assert figures["mean"]["macro_f1"] == pytest.approx(np.mean(scores))
    assert figures["standard_deviation"]["macro_f1"] == pytest.approx(np.std(scores, ddof=1))
    assert (out / "report.html").stat().st_size > 20_000


def test_the_folds_share_one_file_of_decoded_images(folds: tuple[Path, CrossValidation], dataset: Dataset) -> None:
    [file] = (folds[0].parent / "cache").glob("*.crops")
    assert file.stat().st_size // len(dataset.records) == 32 * 32 * 3 + 4 + 32
    for number in range(1, FOLDS + 1):
        assert " decoded images in " in (folds[0] / f"fold-{number}" / "train.log").read_text()


def test_a_bad_image_of_a_later_fold_is_reported_before_the_first_is_trained(dataset: Dataset, tmp_path: Path) -> None:
    broken = Dataset.read(shutil.copytree(dataset.root, tmp_path / "broken"))
    broken.file(broken.records[0]).write_bytes(b"no image")
    with pytest.raises(DatasetError, match="1 of 240 images of .* cannot be used"):
        cross_validate(config_of(broken, f"data.cache={tmp_path / 'cache'}"), FOLDS, tmp_path / "cv")
    assert not (tmp_path / "cv").exists()


def test_a_second_start_does_not_train_a_finished_fold_again(
    folds: tuple[Path, CrossValidation], dataset: Dataset, tmp_path: Path
) -> None:
    out, found = folds
    before = {path: path.stat().st_mtime_ns for path in out.glob("fold-*/best.safetensors")}
    said: list[object] = []
    again = cross_validate(config_of(dataset), FOLDS, out, said.append)
    assert [event for event in said if isinstance(event, str)] == [
        f"fold {number} of 3 is finished: not trained again" for number in (1, 2, 3)
    ]
    assert {path: path.stat().st_mtime_ns for path in out.glob("fold-*/best.safetensors")} == before
    assert np.array_equal(again.together.probabilities, found.together.probabilities)


def test_a_folder_of_another_config_is_refused(folds: tuple[Path, CrossValidation], dataset: Dataset) -> None:
    with pytest.raises(
        InputError,
        match=(
            r"fold-1 was trained with another config:\n  - train.lr: was 0.002, is now 0.01\n"
            r"name a new --out, or set the old values again"
        ),
    ):
        cross_validate(config_of(dataset, "train.lr=0.01"), FOLDS, folds[0])


def test_a_class_of_one_group_is_named_before_anything_is_trained(dataset: Dataset, tmp_path: Path) -> None:
    from pelagia_labeling.importers.dataset import import_dataset

    manifest = tmp_path / "m.csv"
    rows = [(record.path, record.class_name, record.group) for record in dataset.records]
    rows = [(path, "kraken" if index == 0 else name, group) for index, (path, name, group) in enumerate(rows)]
    manifest.write_text("path,class,group\n" + "".join(",".join(row) + "\n" for row in rows))
    lonely = import_dataset(dataset.root, tmp_path / "lonely", manifest=manifest)
    with pytest.raises(
        DatasetError, match=r"all images of 'kraken' are of one group: .* --set 'data.exclude=\[kraken\]'"
    ):
        cross_validate(config_of(lonely), FOLDS, tmp_path / "cv")
    assert not (tmp_path / "cv").exists()


def test_a_run_of_a_fold_exports_with_its_own_val_split_and_gives_the_same_figures(
    folds: tuple[Path, CrossValidation], dataset: Dataset, tmp_path: Path
) -> None:
    out, found = folds
    model = export(out / "fold-1", tmp_path / "fold.onnx")
    assert Session(model)
    figures = evaluate(ModelFile.read(tmp_path / "fold.onnx"), dataset, "test")
    assert figures.records == found.folds[0].records
    assert before_temperatures(figures, model) == pytest.approx(found.folds[0].probabilities, abs=1e-3)


def test_a_run_that_was_trained_on_held_out_images_is_refused_as_teacher_and_as_weights(
    folds: tuple[Path, CrossValidation], dataset: Dataset, tmp_path: Path
) -> None:
    for key in (f"model.weights={folds[0] / 'fold-1'}", f"train.distil.teachers=[{folds[0] / 'fold-1'}]"):
        with pytest.raises(ConfigError, match="it has seen images that are held out here"):
            train(config_of(dataset, key), tmp_path / "run")


def test_more_folds_than_groups_are_refused_before_anything_is_trained(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="fold .* of 100 would hold out no image: the dataset has too few groups"):
        cross_validate(config_of(dataset), 100, tmp_path / "cv")
    assert not (tmp_path / "cv").exists()


def test_folds_take_one_process(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="in one process: set devices=1"):
        cross_validate(config_of(dataset, "devices=2"), 2, tmp_path / "cv")


def test_torch_and_the_runner_agree_on_the_figures_of_a_run(run: Path, model: ModelFile, dataset: Dataset) -> None:
    by_torch, by_runner = evaluate_run(run, "test"), evaluate(model, dataset, "test")
    assert before_temperatures(by_runner, model) == pytest.approx(by_torch.probabilities, abs=1e-3)


def before_temperatures(figures: Evaluation, model: ModelFile) -> np.ndarray:
    assert model.metadata.calibration is not None
    return uncalibrated(figures.probabilities, model.metadata.calibration.temperatures)


def test_the_labels_that_were_changed_are_doubted_and_come_first() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, 1000)
    probabilities = random.dirichlet((0.5,) * 4, 1000)
    probabilities[np.arange(1000), truth] += 2.0
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = truth.copy()
    wrong = random.permutation(1000)[:50]
    labels[wrong] = (labels[wrong] + random.integers(1, 4, 50)) % 4
    worst = np.argsort(self_confidence(probabilities, labels))[:50]
    assert len(set(worst) & set(wrong)) >= 49
    doubted = np.flatnonzero(is_doubted(probabilities, labels))
    assert set(doubted) <= set(wrong)
    assert len(doubted) >= 15  # those on which the confidence is above the mean of the class
    assert self_confidence(np.array([[0.7, 0.2, 0.1]]), np.array([1])) == pytest.approx([0.2])


def test_a_class_that_the_model_is_never_sure_of_is_not_doubted_for_that() -> None:
    """Half of its images go to the other class by a little, as is usual for it: they are left alone."""
    probabilities = np.array([[0.9, 0.1]] * 50 + [[0.55, 0.45]] * 25 + [[0.45, 0.55]] * 25)
    labels = np.array([0] * 50 + [1] * 50)
    assert not is_doubted(probabilities, labels).any()


def test_the_list_of_suspects_is_what_push_takes(
    folds: tuple[Path, CrossValidation], dataset: Dataset, tmp_path: Path, pelagia: Pelagia
) -> None:
    out, found = folds
    made = pelagia("suspects", out, "--out", tmp_path / "suspects", "--most", "12")
    assert made.returncode == 0, made.stderr
    assert "12 of 240 labels to check again" in made.stdout
    images = list(list_images([tmp_path / "suspects" / "suspects.csv"]))
    assert len(images) == 12
    by_path = {record.path: record for record in dataset.records}
    assert all(image.read() == dataset.file(by_path[image.path]).read_bytes() for image in images)
    trust = self_confidence(found.together.probabilities, found.together.targets)
    worst = [found.together.records[index].path for index in np.argsort(trust, kind="stable")[:12]]
    assert sorted(image.path for image in images) == sorted(worst)
    with (tmp_path / "suspects" / "suspects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["label_probability"]) for row in rows] == sorted(float(row["label_probability"]) for row in rows)
    assert all(row["label"] == by_path[row["path"]].class_name for row in rows)
    assert all(row["station"] for row in rows)
    taxonomy = load_taxonomy(tmp_path / "suspects" / "taxonomy.yaml")
    assert taxonomy == dataset.meta.taxonomy
    prelabels = read_prelabels(tmp_path / "suspects" / "predictions", taxonomy)
    assert prelabels.by_sha256.keys() == {by_path[image.path].sha256 for image in images}


def test_suspects_of_another_dataset_and_of_a_plain_run_are_refused(
    folds: tuple[Path, CrossValidation], run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    other = replace(dataset, records=dataset.records[1:])
    with pytest.raises(DatasetError, match="is not the dataset that .* was made of"):
        find_suspects(folds[0], other)
    with pytest.raises(InputError, match=r"holds no out-of-fold predictions: make them with `pelagia train CONFIG --f"):
        find_suspects(run, dataset)
    with pytest.raises(InputError, match="no label of .* is in doubt"):
        write_suspects([], folds[0], dataset, tmp_path / "none")


def test_the_leak_is_the_same_training_on_a_random_split(run: Path, tmp_path: Path, pelagia: Pelagia) -> None:
    done = pelagia("leak", run, "--out", tmp_path / "random")
    assert done.returncode == 0, done.stderr
    by_group, at_random = evaluate_run(run, "test"), evaluate_run(tmp_path / "random", "test")
    config, _ = read_run(tmp_path / "random")
    own, _ = read_run(run)
    assert config.data.resplit is not None
    assert config.data.resplit.by == "image"
    assert config.model_copy(update={"data": own.data}) == own
    difference = at_random.headline["macro_f1"] - by_group.headline["macro_f1"]
    assert f"{abs(difference):.4f}" in done.stdout
    assert ("higher by" in done.stdout) == (difference > 0)
    assert f"report that of the split by group, {by_group.headline['macro_f1']:.4f}" in done.stdout
    assert f"{by_group.headline['accuracy']:.4f}" in done.stdout
    with pytest.raises(InputError, match="was trained on another split than its dataset's"):
        measure_leak(tmp_path / "random", tmp_path / "again")


def test_the_leak_of_a_dataset_without_groups_is_refused(run: Path, tmp_path: Path, dataset: Dataset) -> None:
    from pelagia_labeling.importers.dataset import import_dataset
    from pelagia_training.train import train

    manifest = tmp_path / "m.csv"
    rows = "".join(f"{record.path},{record.class_name}\n" for record in dataset.records)
    manifest.write_text("path,class\n" + rows)
    loose = import_dataset(dataset.root, tmp_path / "loose", manifest=manifest)
    train(config_of(loose), tmp_path / "run")
    with pytest.raises(InputError, match=r"has no groups, so its split is random already: .* --group-column"):
        measure_leak(tmp_path / "run", tmp_path / "random")
