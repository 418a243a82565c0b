"""The size of a crop, from the manifest and the bytes to the probabilities."""

import csv
import dataclasses
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from pelagia.dataset.schema import Dataset
from pelagia.errors import ModelError, ParityError
from pelagia.images.preprocess import PreprocessSpec, load_sized
from pelagia.model.metadata import ModelFile
from pelagia.sources import list_images
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.machine.session import Session, stacked
from pelagia_inference.machine.verify import verify
from pelagia_inference.survey.pipeline import predict
from pelagia_training.data.batches import sizes_of
from pelagia_training.evaluation.evaluate import evaluate
from pelagia_training.export import export as exporting
from pelagia_training.export.export import export
from pelagia_training.export.quantize import quantize
from pelagia_training.network.backbone import SizeHead


def test_the_graph_has_a_second_input_with_a_free_batch_axis(sized: ModelFile) -> None:
    image, size = onnx.load_from_string(sized.data).graph.input
    assert (image.name, size.name) == ("image", "size")
    assert size.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert size.type.tensor_type.shape.dim[0].dim_param
    assert size.type.tensor_type.shape.dim[1].dim_value == 3
    verify(sized)


def test_the_size_changes_the_answer_and_a_quarter_turn_does_not(sized: ModelFile) -> None:
    session = Session(sized)
    pixels = np.full((4, 32, 32, 3), 120, np.uint8)
    sizes = np.array([(40, 80, 5), (80, 40, 5), (400, 800, 5), (40, 80, 50)], np.float32)
    rows = session.probabilities(pixels, sizes)
    assert np.allclose(rows[0], rows[1], atol=1e-6)
    assert np.abs(rows[0] - rows[2]).max() > 1e-3
    assert np.abs(rows[0] - rows[3]).max() > 1e-3


def test_a_model_that_takes_sizes_is_not_run_without(sized: ModelFile) -> None:
    with pytest.raises(ModelError, match="takes the images' sizes as well as their pixels"):
        Session(sized).probabilities(np.zeros((1, 32, 32, 3), np.uint8))


def test_a_model_that_takes_none_ignores_them(model: ModelFile) -> None:
    session, pixels = Session(model), np.full((2, 32, 32, 3), 90, np.uint8)
    assert not session.takes_size
    with_sizes = session.probabilities(pixels, np.ones((2, 3), np.float32))
    assert np.array_equal(session.probabilities(pixels), with_sizes)


def test_the_runner_takes_the_pixels_size_from_the_manifest(sized: ModelFile, survey: SimulatedSurvey) -> None:
    with survey.truth.open(newline="") as file:
        size_of = {row["path"]: float(row["pixel_size_um"]) for row in csv.DictReader(file)}
    session = Session(sized)
    images = list(list_images([survey.truth]))[:24]
    silent = [dataclasses.replace(image, columns={}) for image in images]
    given, unknown = ([one for batch in predict(some, sized) for one in batch] for some in (images, silent))
    changed = 0
    for one, without in zip(given, unknown, strict=True):
        fitted = load_sized(Path(one.file).read_bytes(), sized.metadata.preprocess)
        expected = session.probabilities(*stacked([fitted], [size_of[one.path]]))[0]
        assert one.probabilities is not None
        assert np.abs(one.probabilities - expected).max() < 1e-5
        changed += np.abs(one.probabilities - without.probabilities).max() > 1e-4
    assert changed > 12


def test_the_evaluation_has_the_trainers_figures(sized: ModelFile, dataset: Dataset) -> None:
    trained = [list(row) for row in sized.metadata.validation_confusion]
    assert evaluate(sized, dataset, "val").confusion.tolist() == trained


def test_the_gate_fails_where_the_manifest_states_other_sizes(
    sized_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "sizes_of", lambda records: sizes_of(records) * 2)
    with pytest.raises(ParityError, match="does not give the trainer's outputs"):
        export(sized_run, tmp_path / "model.onnx")


@pytest.mark.parametrize("kind", ["int8", "fp16"])
def test_a_smaller_model_computes_with_sizes_in_full(
    sized: ModelFile, dataset: Dataset, tmp_path: Path, kind: str
) -> None:
    small = quantize(sized, dataset, tmp_path / "small.onnx", kind=kind)  # type: ignore[arg-type]
    assert Session(small).takes_size
    graph = onnx.load_from_string(small.data).graph
    assert [one.type.tensor_type.elem_type for one in graph.input] == [onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT]
    readers = [node.op_type for node in graph.node if "size" in node.input]
    assert not {"QuantizeLinear", "Cast"} & set(readers)


def test_trainer_and_runner_find_the_same_sizes(dataset: Dataset) -> None:
    records, spec = dataset.split("val"), PreprocessSpec(size=32)
    images = [load_sized(dataset.file(one).read_bytes(), spec) for one in records]
    _, found = stacked(images, [float(one.extra["pixel_size_um"]) for one in records])
    assert np.array_equal(found, sizes_of(records))


def test_what_is_unknown_counts_as_the_middle() -> None:
    head = SizeHead(3)
    torch.nn.init.normal_(head.layers[2].weight)  # type: ignore[arg-type]
    head.fit(torch.tensor([[10.0, 20, 2], [40, 30, 8], [5, 5, 0]]))
    middle = torch.exp(head.middle)
    known = head(torch.tensor([[middle[0], middle[1], middle[2]]]))
    assert torch.allclose(head(torch.zeros(1, 3)), known, atol=1e-5)


def test_a_pixel_size_that_never_varied_has_no_say() -> None:
    head = SizeHead(3)
    torch.nn.init.normal_(head.layers[2].weight)  # type: ignore[arg-type]
    for sizes in ([[10.0, 20, 0], [40, 30, 0]], [[10.0, 20, 3.5], [40, 30, 3.5]]):
        head.fit(torch.tensor(sizes))
        rows = head(torch.tensor([[12.0, 20, 0], [12, 20, 3.5], [12, 20, 70]]))
        assert torch.equal(rows[0], rows[1])
        assert torch.equal(rows[0], rows[2])


def test_a_size_far_beyond_the_training_set_stays_within_bounds() -> None:
    head = SizeHead(3)
    torch.nn.init.normal_(head.layers[2].weight)  # type: ignore[arg-type]
    head.fit(torch.tensor([[10.0, 20, 1], [40, 30, 2]]))
    rows = head(torch.tensor([[1e6, 1e6, 1], [1e9, 1e9, 1]]))
    assert torch.equal(rows[0], rows[1])


def test_a_crops_sides_reach_the_model_through_the_runner(sized: ModelFile, tmp_path: Path) -> None:
    session, rows = Session(sized), []
    for side in (32, 320):
        cv2.imwrite(str(tmp_path / f"{side}.png"), np.full((side, side, 3), 130, np.uint8))
    for batch in predict(list_images([tmp_path]), sized):
        rows += [one.probabilities for one in batch]
    pixels = np.full((1, 32, 32, 3), 130, np.uint8)
    expected = [session.probabilities(pixels, np.array([[side, side, 0]], np.float32))[0] for side in (32, 320)]
    assert np.abs(np.stack(rows) - np.stack(expected)).max() < 1e-5  # type: ignore[arg-type]
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
