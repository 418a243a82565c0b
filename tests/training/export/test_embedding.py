"""Embeddings: as an output of a model, in a survey that was killed, and of an embedder before there is a model."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

timm = pytest.importorskip("timm")

from safetensors.torch import save_file

from benchmarks.harness import classify_command, environment, rows
from cli_fixtures import Pelagia
from pelagia.dataset.schema import Dataset
from pelagia.embeddings import read_embeddings
from pelagia.errors import InputError, ModelError, SurveyError
from pelagia.model.embedder import read_embedding_model
from pelagia.model.metadata import ModelFile
from pelagia.model.onnx_file import read_metadata
from pelagia.model.sealed import METADATA_KEY
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference import classify
from pelagia_inference.machine import providers
from pelagia_inference.machine.session import Session
from pelagia_inference.survey.embed import _require_same, embed
from pelagia_training.data.batches import load_fitted
from pelagia_training.export.export import export
from pelagia_training.export.quantize import quantize

posix = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")


@pytest.fixture(scope="module")
def embedding(run: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    return export(run, tmp_path_factory.mktemp("embedding") / "with.onnx", embedding=True)


def test_a_model_gives_its_embedding_only_where_it_is_asked_for(embedding: ModelFile, dataset: Dataset) -> None:
    images = load_fitted(dataset, dataset.split("test")[:9], embedding.metadata.preprocess)
    assert Session(embedding).answers(images).embedding is None
    found = Session(embedding, embedding=True).answers(images)
    assert found.embedding is not None
    assert found.embedding.shape == (9, embedding.embedding.dimensions)
    assert found.embedding.std() > 0
    assert embedding.embedding.max_difference < 1e-4
    np.testing.assert_array_equal(found.probabilities, Session(embedding).answers(images).probabilities)


def test_a_program_that_does_not_know_embeddings_reads_the_model_as_before(
    embedding: ModelFile, model: ModelFile
) -> None:
    first, other = (json.loads(read_metadata(one.data)[METADATA_KEY]) for one in (embedding, model))
    assert first.keys() == other.keys()
    assert first["parity"].keys() == other["parity"].keys()
    assert model.embedding is None
    with pytest.raises(ModelError, match="has no embedding: export its run again"):
        read_embedding_model(model.path)


def test_the_embedding_of_eight_orientations_is_their_mean(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    model = export(run, tmp_path / "turned.onnx", orientations=8, embedding=True)
    images = load_fitted(dataset, dataset.split("test")[:5], model.metadata.preprocess)
    session = Session(model, embedding=True)
    turned = np.ascontiguousarray(np.rot90(images, 1, (1, 2)))
    np.testing.assert_allclose(session.answers(turned).embedding, session.answers(images).embedding, rtol=1e-3)
    assert model.embedding.orientations == 8


def test_a_quantized_model_keeps_its_embedding(embedding: ModelFile, dataset: Dataset, tmp_path: Path) -> None:
    small = quantize(embedding, dataset, tmp_path / "small.onnx", kind="fp16")
    images = load_fitted(dataset, dataset.split("test")[:9], embedding.metadata.preprocess)
    whole, half = (Session(one, embedding=True).answers(images).embedding for one in (embedding, small))
    assert small.embedding.max_difference is None
    assert np.linalg.norm(half - whole) < 0.01 * np.linalg.norm(whole)


@posix
def test_a_survey_that_was_killed_has_the_embeddings_of_one_that_was_not(
    embedding: ModelFile, survey: SimulatedSurvey, tmp_path: Path, pelagia: Pelagia
) -> None:
    images, out = tmp_path / "images", tmp_path / "killed"
    for copy in range(8):
        shutil.copytree(survey.root, images / str(copy))
    embed(read_embedding_model(embedding.path), images, tmp_path / "whole.parquet")
    command = classify_command(embedding.path, [images], out, "--embeddings", "--workers", "1", "--batch", "4")
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not rows(out) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(rows(out))
    assert not (out / "embeddings.parquet").exists()
    classify(embedding, images, out)  # the survey knows that it has embeddings
    found, expected = read_embeddings(out), read_embeddings(tmp_path / "whole.parquet")
    assert 0 < before < len(found)
    assert sorted(found.paths) == sorted(expected.paths)
    assert found.model_sha256 == embedding.sha256
    by_path = dict(zip(expected.paths, zip(expected.sha256, expected.vectors, strict=True), strict=True))
    assert found.sha256 == tuple(by_path[path][0] for path in found.paths)
    other = np.stack([by_path[path][1] for path in found.paths]).astype(np.float32)
    np.testing.assert_allclose(found.vectors.astype(np.float32), other, rtol=2e-3, atol=2e-3)


def test_embeddings_are_added_to_a_survey_without_them_and_no_result_is_lost(
    embedding: ModelFile, model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    shutil.copytree(survey.root, images)
    first = classify(embedding, images, tmp_path / "out")
    gone = next(images.rglob("*.jpg"))
    kept = gone.rename(tmp_path / gone.name)
    result = classify(embedding, images, tmp_path / "out", embeddings=True)
    assert [text for text in result.warnings if text.startswith("1 images were classified before")]
    assert first.counts.total() - len(read_embeddings(tmp_path / "out")) == 1
    kept.rename(gone)
    result = classify(embedding, images, tmp_path / "out")
    assert result.progress.done == 1
    assert len(read_embeddings(tmp_path / "out")) == first.counts.total()
    assert result.counts == first.counts
    assert not result.failures
    assert not [text for text in result.warnings if "no embedding" in text]
    with pytest.raises(SurveyError, match="was made with another model"):
        classify(model, images, tmp_path / "out")


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_where_a_gpu_does_not_start_the_cpu_computes_the_embeddings(
    embedding: ModelFile, survey: SimulatedSurvey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with onnxruntime-gpu on a computer without a GPU."""
    if "cuda" in providers.installed():
        pytest.skip("CUDA may start here")
    names = [*providers.ort.get_available_providers(), "CUDAExecutionProvider"]
    monkeypatch.setattr(providers.ort, "get_available_providers", lambda: names)
    notes: list[str] = []
    model = read_embedding_model(embedding.path)
    assert embed(model, survey.root, tmp_path / "out.parquet", note=notes.append).images
    assert any("'cuda' is installed but does not start" in text for text in notes)
    with pytest.raises(InputError, match="does not start"):
        embed(model, survey.root, tmp_path / "other.parquet", provider="cuda")


def test_a_provider_whose_embeddings_differ_from_those_of_the_cpu_is_not_used(
    embedding: ModelFile, survey: SimulatedSurvey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU under another name stands for a GPU."""
    monkeypatch.setitem(providers.PROVIDERS, "directml", providers.PROVIDERS["cpu"])
    model = read_embedding_model(embedding.path)
    _require_same(model, "directml")
    monkeypatch.setattr("pelagia_inference.survey.embed.EMBEDDING_TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="the provider directml's embeddings differ by 0 of a vector's length"):
        embed(model, survey.root, tmp_path / "other.parquet", provider="directml")
    notes: list[str] = []
    embed(model, survey.root, tmp_path / "other.parquet", note=notes.append)
    assert "use --provider cpu" in notes[0]


@pytest.mark.parametrize("backbone", ["test_resnett", "test_resnet.of_mine"])
def test_an_embedder_of_an_unknown_network_or_unknown_weights_is_refused(
    backbone: str, tmp_path: Path, pelagia: Pelagia
) -> None:
    done = pelagia("embedder", "--backbone", backbone, "--out", tmp_path / "embedder.onnx")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --backbone: timm")
    assert backbone in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_embedder_of_a_run_is_an_export(run: Path, tmp_path: Path, pelagia: Pelagia) -> None:
    made = tmp_path / "embedder.onnx"
    done = pelagia("embedder", "--backbone", "test_resnet", "--weights", run, "--out", made)
    assert done.returncode == 2
    assert "is a folder: name a file of weights; if it is a run of yours, use `pelagia export" in done.stderr


def test_an_embedder_of_a_size_that_does_not_fit_names_the_option(tmp_path: Path, pelagia: Pelagia) -> None:
    done = pelagia("embedder", "--backbone", "test_vit", "--size", 100, "--out", tmp_path / "embedder.onnx")
    assert done.returncode == 2
    assert "set --size to one of" in done.stderr


def test_before_there_is_a_model_an_embedder_gives_embeddings_and_no_classes(
    pelagia: Pelagia, dataset: Dataset, tmp_path: Path
) -> None:
    weights, made, out = tmp_path / "w.safetensors", tmp_path / "embedder.onnx", tmp_path / "d.parquet"
    save_file(timm.create_model("test_resnet", num_classes=7).state_dict(), weights)
    done = pelagia("embedder", "--backbone", "test_resnet", "--weights", weights, "--size", 32, "--out", made)
    assert done.returncode == 0, done.stderr
    assert "left out the head of the file, which has 7 classes" in done.stderr
    refused = pelagia("classify", made, dataset.root, "--out", tmp_path / "survey")
    assert refused.returncode == 4
    assert "embedder.onnx computes embeddings but knows no classes, so it is for `pelagia embed`" in refused.stderr
    (dataset_copy := tmp_path / "copy").mkdir()
    (dataset_copy / "broken.png").write_bytes(b"no image")
    shutil.copytree(dataset.root / "images", dataset_copy / "images")
    done = pelagia("embed", dataset_copy, "--model", made, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "left out: broken.png" in done.stderr
    found = read_embeddings(out)
    assert set(found.sha256) == {record.sha256 for record in dataset.records}
    (folder := tmp_path / "folder").mkdir()
    for target, fault in ((out, "exists already"), (folder, "is a folder: name the file to make, such as")):
        again = pelagia("embed", dataset_copy, "--model", made, "--out", target)
        assert again.returncode == 2
        assert fault in again.stderr
