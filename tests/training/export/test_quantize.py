"""Quantization: what a quantized model keeps, what the gate refuses, and what the command reports."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from cli_fixtures import Pelagia
from model_fixtures import REPOSITORY, TINY
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import DatasetError, InputError, ModelError, ParityError
from pelagia.images.preprocess import Fitted
from pelagia.model.metadata import ModelFile, write_model
from pelagia.system.files import sha256_of
from pelagia.taxonomy import taxonomy_of_names
from pelagia_inference.machine.session import Session
from pelagia_inference.machine.verify import verify
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import load_fitted
from pelagia_training.evaluation.evaluate import evaluate
from pelagia_training.export.compare import Comparison, compare, speed_ratio
from pelagia_training.export.export import export
from pelagia_training.export.quantize import GATES, Kind, quantize
from pelagia_training.train import train

KINDS: tuple[Kind, ...] = ("int8", "fp16")


@pytest.fixture(scope="module")
def model(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    """A model that tells some classes apart: two that always say the same class agree, whatever happened to one."""
    folder = tmp_path_factory.mktemp("able")
    longer = ("train.epochs=20", "train.lr=5e-3", "train.ema_decay=0")
    overrides = [f"dataset={dataset.root}", *TINY, *longer]
    train(load_config(REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, overrides), folder / "run")
    return export(folder / "run", folder / "able.onnx")


@pytest.fixture(scope="module", params=KINDS)
def small(
    request: pytest.FixtureRequest, model: ModelFile, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> ModelFile:
    return quantize(model, dataset, tmp_path_factory.mktemp("small") / "small.onnx", kind=request.param)


@pytest.fixture
def black(dataset: Dataset, tmp_path: Path) -> Dataset:
    """The dataset, but the images of its training split are black."""
    root, black = tmp_path / "black", b"P6 8 8 255\n" + bytes(8 * 8 * 3)
    shutil.copytree(dataset.root, root)
    for record in dataset.split("train"):
        (root / record.path).write_bytes(black)
    records = [replace(one, sha256=sha256_of(black)) if one.split == "train" else one for one in dataset.records]
    return replace(dataset, root=root, records=type(dataset.records)(records))


def operations(model: ModelFile) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(model.data).graph.node]


def probabilities(model: ModelFile, dataset: Dataset, batch: int) -> np.ndarray:
    pixels = load_fitted(dataset, dataset.split("val"), model.metadata.preprocess)
    session = Session(model)
    return np.concatenate(
        [session.probabilities(pixels[start : start + batch]) for start in range(0, len(pixels), batch)]
    )


def test_the_file_is_smaller_whole_and_keeps_the_metadata(small: ModelFile, model: ModelFile) -> None:
    assert small.counting == model.counting is not None
    assert len(small.data) < 0.7 * len(model.data)
    assert [path.name for path in small.path.parent.iterdir()] == ["small.onnx"]
    own = {"quantisation", "tolerance", "references", "unknown"}
    assert small.metadata.model_dump(exclude=own) == model.metadata.model_dump(exclude=own)
    assert [one.sha256 for one in small.metadata.references] == [one.sha256 for one in model.metadata.references]


def test_the_metadata_hold_the_source_and_the_comparison(small: ModelFile, model: ModelFile, dataset: Dataset) -> None:
    measured = small.metadata.quantisation
    assert measured is not None
    assert (measured.float_sha256, measured.fingerprint) == (model.sha256, dataset.meta.fingerprint)
    assert measured.images == len(dataset.split("val"))
    assert measured.calibration_images == (len(dataset.split("train")) if measured.kind == "int8" else 0)
    agreement = probabilities(small, dataset, 8).argmax(1) == probabilities(model, dataset, 8).argmax(1)
    assert measured.top1_agreement == agreement.mean()
    assert measured.macro_f1 == evaluate(small, dataset, "val").metrics.macro_f1
    assert measured.float_macro_f1 == evaluate(model, dataset, "val").metrics.macro_f1


def test_the_out_of_distribution_score_is_computed_in_float_and_its_threshold_is_chosen_again(
    small: ModelFile, model: ModelFile, dataset: Dataset
) -> None:
    before, after = model.metadata.unknown, small.metadata.unknown
    assert before is not None
    assert after is not None
    pixels = load_fitted(dataset, dataset.split("val"), model.metadata.preprocess)
    scores = {one.path.name: Session(one).answers(pixels).scores for one in (small, model)}
    flagged = {name: (found > after.threshold).mean() for name, found in scores.items()}
    assert flagged[small.path.name] == pytest.approx(1 - before.known_share, abs=1 / len(pixels))
    assert after.threshold != before.threshold
    assert after.model_dump(exclude={"threshold", "tolerance"}) == before.model_dump(exclude={"threshold", "tolerance"})
    assert np.corrcoef(*scores.values())[0, 1] > 0.9
    proto = onnx.load_from_string(small.data)
    weights = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    [principal] = [kind for name, kind in weights.items() if name.endswith("principal")]
    assert principal == onnx.TensorProto.FLOAT


def test_the_ends_of_the_graph_stay_as_they_are(small: ModelFile, model: ModelFile) -> None:
    proto = onnx.load_from_string(small.data)
    onnx.checker.check_model(proto, full_check=True)
    [image], [output, score] = proto.graph.input, proto.graph.output
    assert (output.name, score.name) == ("probabilities", "unknown")
    assert score.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert output.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert image.type.tensor_type.shape.dim[0].dim_param
    assert output.type.tensor_type.shape.dim[0].dim_param
    readers = {name: node for node in proto.graph.node for name in node.input}
    met, value = [], "image"
    while not met or met[-1] not in ("QuantizeLinear", "Conv"):
        met.append(readers[value].op_type)
        value = readers[value].output[0]
    assert met[:4] == ["Transpose", "Cast", "Mul", "Sub"]
    constants = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type in ("Mul", "Sub") and node.input[1] in constants:
            assert constants[node.input[1]] == onnx.TensorProto.FLOAT
    makers = {name: node.op_type for node in proto.graph.node for name in node.output}
    assert makers["probabilities"] == "Softmax"
    assert {one.domain for one in proto.opset_import} == {""}


def test_every_convolution_is_int8_and_the_classifier_is_not(
    model: ModelFile, dataset: Dataset, tmp_path: Path
) -> None:
    made = quantize(model, dataset, tmp_path / "small.onnx")
    nodes = onnx.load_from_string(made.data).graph.node
    makers = {name: node.op_type for node in nodes for name in node.output}
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    assert len(convolutions) == operations(model).count("Conv") > 0
    assert {makers[name] for node in convolutions for name in node.input} == {"DequantizeLinear"}
    [classifier] = [node for node in nodes if node.op_type == "Gemm"]
    assert "DequantizeLinear" not in {makers.get(name) for name in classifier.input[1:]}


def test_weights_take_seven_bits_where_eight_could_overflow(model: ModelFile, dataset: Dataset, tmp_path: Path) -> None:
    made = quantize(model, dataset, tmp_path / "small.onnx")
    weights = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load_from_string(made.data).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert max(int(np.abs(weight.astype(int)).max()) for weight in weights) == 64


def test_any_number_of_images_at_once_gives_the_same_answers(small: ModelFile, dataset: Dataset) -> None:
    alone, together = probabilities(small, dataset, 1), probabilities(small, dataset, 7)
    assert np.abs(alone - together).max() <= small.metadata.tolerance
    assert np.allclose(together.sum(axis=1), 1, atol=1e-5)


def test_it_passes_its_self_test_and_a_larger_difference_is_noticed(small: ModelFile, model: ModelFile) -> None:
    assert small.metadata.tolerance == GATES[small.metadata.quantisation.kind].tolerance  # type: ignore[union-attr]
    assert verify(small).max_probability_difference <= 1e-6
    first, *rest = small.metadata.references
    for factor, refused in ((0.9, False), (1.1, True)):
        wrong = (first.probabilities[0] + factor * small.metadata.tolerance, *first.probabilities[1:])
        references = (first.model_copy(update={"probabilities": wrong}), *rest)
        off = replace(small, metadata=small.metadata.model_copy(update={"references": references}))
        if not refused:
            verify(off)
            continue
        with pytest.raises(ModelError, match="or use the float model that this one was made from"):
            verify(off)


def test_a_spoilt_calibration_is_refused_and_nothing_is_written(
    model: ModelFile, black: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ParityError, match="the int8 model differs too much from the float model: on 45 .* nothing was"):
        quantize(model, black, tmp_path / "out" / "small.onnx")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("images", "changed", "fewer_right", "loss", "passes"),
    [
        (10_000, 490, 0, 0.0, True),
        (10_000, 590, 0, 0.0, False),
        (10_000, 400, 300, 0.03, False),
        (10_000, 400, 300, 0.01, True),
        (40, 1, 1, 0.05, True),
        (40, 4, 2, 0.03, True),
        (40, 12, 0, 0.0, False),
        (40, 5, 5, 0.2, False),
    ],
)
def test_the_gate_is_strict_where_images_are_many_and_forgives_chance_where_they_are_few(
    images: int, changed: int, fewer_right: int, loss: float, passes: bool
) -> None:
    gate = GATES["int8"]
    assert gate.passes(images=images, changed=changed, fewer_right=fewer_right, loss=loss) == passes


def test_half_precision_needs_no_calibration(model: ModelFile, black: Dataset, tmp_path: Path) -> None:
    assert quantize(model, black, tmp_path / "small.onnx", kind="fp16").path.is_file()


def test_a_quantised_model_is_not_quantised_again(small: ModelFile, dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is quantized already: give the float model"):
        quantize(small, dataset, tmp_path / "again.onnx")
    disguised = small.metadata.model_copy(update={"quantisation": None})
    graph = onnx.load_from_string(small.data)
    del graph.metadata_props[:]
    write_model(tmp_path / "disguised.onnx", graph.SerializeToString(), disguised)
    with pytest.raises(ModelError, match="is quantized already"):
        quantize(ModelFile.read(tmp_path / "disguised.onnx"), dataset, tmp_path / "again.onnx")


def test_a_dataset_without_the_models_classes_is_refused(model: ModelFile, dataset: Dataset, tmp_path: Path) -> None:
    others = replace(dataset, meta=dataset.meta.model_copy(update={"taxonomy": taxonomy_of_names("x", ["kraken"])}))
    with pytest.raises(DatasetError, match=r"lacks 10 of the model's 10 classes \(.*\): give the dataset 'drawn'"):
        quantize(model, others, tmp_path / "small.onnx")


def test_classes_that_the_model_does_not_know_are_left_out(model: ModelFile, dataset: Dataset, tmp_path: Path) -> None:
    strange = replace(dataset.split("val")[0], class_name="kraken")
    more = replace(dataset, records=(*dataset.records, strange))
    said: list[str] = []
    made = quantize(model, more, tmp_path / "small.onnx", kind="fp16", report=said.append)
    assert "left out of 'val': 1 images of classes that the model does not know" in said
    assert made.metadata.quantisation.images == len(dataset.split("val"))  # type: ignore[union-attr]


@pytest.mark.parametrize("split", ["train", "val"])
def test_too_few_images_are_refused(model: ModelFile, dataset: Dataset, tmp_path: Path, split: str) -> None:
    rest = [record for record in dataset.records if record.split != split]
    few = replace(dataset, records=(*rest, *dataset.split(split)[:31]))
    with pytest.raises(
        DatasetError, match=f"the split '{split}' of .* holds 31 images .* too few: give a dataset with 32"
    ):
        quantize(model, few, tmp_path / "small.onnx")


def test_a_dataset_that_is_not_the_trained_one_is_reported(model: ModelFile, dataset: Dataset, tmp_path: Path) -> None:
    said: list[str] = []
    other = replace(dataset, meta=dataset.meta.model_copy(update={"fingerprint": "0" * 64}))
    quantize(model, other, tmp_path / "small.onnx", kind="fp16", report=said.append)
    assert any("was trained on another dataset" in line for line in said)


def test_an_existing_file_is_not_overwritten(model: ModelFile, dataset: Dataset) -> None:
    with pytest.raises(InputError, match="exists already"):
        quantize(model, dataset, model.path)


def test_both_models_are_compared_by_the_runners_metrics(small: ModelFile, model: ModelFile, dataset: Dataset) -> None:
    result = compare(model, small, dataset, "test", timed=False)
    assert result.speed is None
    assert result.change == pytest.approx(
        evaluate(small, dataset, "test").metrics.macro_f1 - evaluate(model, dataset, "test").metrics.macro_f1
    )


def test_a_model_is_as_fast_as_itself(model: ModelFile) -> None:
    images = [Fitted(np.zeros((32, 32, 3), np.uint8), 32, 32)] * 16
    assert 0.2 < speed_ratio(model, model, images) < 5


@pytest.mark.parametrize(
    ("speed", "change", "against"),
    [(1.5, 0.0, 0), (1.5, -0.009, 0), (1.1, 0.0, 1), (1.5, -0.02, 1), (0.9, -0.02, 2), (None, 0.0, 0)],
)
def test_the_advice_follows_from_speed_and_metrics(
    model: ModelFile, dataset: Dataset, speed: float | None, change: float, against: int
) -> None:
    large = evaluate(model, dataset, "test")
    small = replace(large, metrics=replace(large.metrics, macro_f1=large.metrics.macro_f1 + change))
    assert len(Comparison(large, small, speed).against) == against


def test_the_command_makes_it_and_the_runner_classifies_with_it(
    pelagia: Pelagia, model: ModelFile, dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "small.onnx"
    made = pelagia("quantize", model.path, "--calibration", dataset.root, "--out", out)
    assert made.returncode == 0, made.stderr
    assert "int8 gate passed: same top-1 on" in made.stdout
    assert "times as fast on this CPU" in made.stdout
    assert f"written: {out}; " in made.stdout.replace("\n", " ")
    done = pelagia("classify", out, dataset.root / "images", "--out", tmp_path / "survey")
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "survey" / "predictions.csv").read_text().splitlines()) == 1 + len(dataset.records)
    assert pelagia("model", "verify", out).returncode == 0
    assert "same top-1 on" in pelagia("model", "show", out).stdout


def test_the_command_says_that_half_precision_is_for_a_gpu(
    pelagia: Pelagia, model: ModelFile, dataset: Dataset, tmp_path: Path
) -> None:
    made = pelagia("quantize", model.path, "--calibration", dataset.root, "--out", tmp_path / "half.onnx", "--fp16")
    assert made.returncode == 0, made.stderr
    assert "not measured, because this model is for a GPU" in made.stdout


def test_garbage_is_refused_in_one_line(pelagia: Pelagia, model: ModelFile, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "garbage.onnx").write_bytes(b"\x08\x0aSolanum tuberosum")
    out = ("--out", tmp_path / "small.onnx")
    for arguments, code, said in (
        ((tmp_path / "garbage.onnx", "--calibration", dataset.root, *out), 4, "not an ONNX file"),
        ((model.path, "--calibration", tmp_path, *out), 3, "is not a dataset"),
        ((model.path, "--calibration", dataset.root, *out, "--split", "tets"), 2, "there is no split 'tets'"),
        ((model.path, "--calibration", dataset.root, "--out", model.path), 2, "exists already"),
    ):
        refused = pelagia("quantize", *arguments)
        assert refused.returncode == code, refused.stderr
        [line] = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
        assert said in line
        assert "Traceback" not in refused.stderr
    assert not (tmp_path / "small.onnx").exists()
