"""The exported model, and the parity gate."""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import DatasetError, InputError, ModelError, ParityError
from pelagia.images.preprocess import Image, PreprocessSpec, decode, fit, load
from pelagia.model.metadata import ModelFile
from pelagia.model.onnx_file import has_external_data
from pelagia.system.files import sha256_of_file
from pelagia_training.config import TrainConfig
from pelagia_training.export.export import export
from pelagia_training.network import onnx_graph
from pelagia_training.network.backbone import Deployed, Normalized, build_network, example_inputs
from pelagia_training.train import train

REPOSITORY = Path(__file__).resolve().parents[3]
SPEC = PreprocessSpec(size=32)


def another_filter(data: bytes) -> Image:
    """What a pipeline with another library's default resize would do."""
    image = decode(data)
    scale = SPEC.size / max(image.shape[:2])
    width, height = (max(1, round(side * scale)) for side in (image.shape[1], image.shape[0]))
    return fit(cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8), SPEC)


def swapped_channels(data: bytes) -> Image:
    return np.ascontiguousarray(load(data, SPEC)[..., ::-1])


def stretched(data: bytes) -> Image:
    return load(data, PreprocessSpec(size=32, fit="stretch"))


def test_the_file_is_whole_valid_and_has_a_free_batch_axis(model: ModelFile, dataset: Dataset) -> None:
    proto = onnx.load_from_string(model.data)
    onnx.checker.check_model(proto, full_check=True)
    [image], [probabilities, unknown] = proto.graph.input, proto.graph.output
    assert [probabilities.name, unknown.name] == ["probabilities", "unknown"]
    assert [len(one.type.tensor_type.shape.dim) for one in (probabilities, unknown)] == [2, 1]
    assert unknown.type.tensor_type.shape.dim[0].dim_param
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert image.type.tensor_type.shape.dim[0].dim_param
    assert [dim.dim_value for dim in image.type.tensor_type.shape.dim[1:]] == [32, 32, 3]
    assert probabilities.type.tensor_type.shape.dim[0].dim_param
    assert not has_external_data(model.data)
    assert [path.name for path in model.path.parent.iterdir()] == [model.path.name]


def test_the_metadata_name_dataset_and_parity(model: ModelFile, dataset: Dataset) -> None:
    data = model.metadata
    assert data.classes == dataset.class_names
    assert data.dataset["fingerprint"] == dataset.meta.fingerprint
    assert data.parity.images == len(dataset.split("val"))
    assert data.parity.batch_sizes == (1, 8)
    assert data.parity.max_probability_difference <= 1e-4
    assert data.training["preprocess"] == asdict(data.preprocess)
    assert np.array(data.validation_confusion).shape == (len(data.classes), len(data.classes))


@pytest.mark.parametrize(
    "trainer", [another_filter, swapped_channels, stretched], ids=lambda function: function.__name__
)
def test_the_gate_fails_when_the_trainer_preprocessed_differently(run: Path, tmp_path: Path, trainer: object) -> None:
    with pytest.raises(
        ParityError, match="does not give the trainer's (outputs|out-of-distribution scores): .* nothing was written"
    ):
        export(run, tmp_path / "model.onnx", load_for_training=trainer)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_the_gate_passes_with_the_trainers_own_preprocessing(run: Path, tmp_path: Path) -> None:
    made = export(run, tmp_path / "model.onnx", load_for_training=lambda data: load(data, SPEC))
    assert made.metadata.parity.top1_disagreements == 0


def test_an_existing_model_is_not_overwritten(run: Path, model: ModelFile) -> None:
    before = sha256_of_file(model.path)
    with pytest.raises(InputError, match="exists already"):
        export(run, model.path)
    assert sha256_of_file(model.path) == before


def test_another_dataset_than_the_runs_is_refused(run: Path, tmp_path: Path, dataset: Dataset) -> None:
    from pelagia_labeling.importers.dataset import import_dataset

    import_dataset(dataset.root / "images", tmp_path / "other", seed=9)
    with pytest.raises(DatasetError, match="is not the dataset of this run"):
        export(run, tmp_path / "model.onnx", dataset=tmp_path / "other")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a training run: make one with `pelagia train CONFIG --out"):
        export(tmp_path, tmp_path / "model.onnx")


def test_a_folder_of_folds_is_refused_with_the_runs_in_it(run: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        shutil.copytree(run, tmp_path / f"cv/fold-{number}")
    with pytest.raises(InputError, match=r"cv is a cross-validation of 2 runs, .*: name one of them, .*fold-1,"):
        export(tmp_path / "cv", tmp_path / "model.onnx")


def test_the_file_holds_no_folder_of_its_builder(model: ModelFile, dataset: Dataset, run: Path) -> None:
    builders = {Path.cwd(), Path(sys.prefix), Path.home(), REPOSITORY, dataset.root, run, Path(onnx.__file__).parent}
    for folder in builders:
        assert str(folder).encode() not in model.data, folder
    proto = onnx.load_from_string(model.data)
    assert b"stack_trace" not in model.data
    assert not any(node.metadata_props or node.doc_string for node in proto.graph.node)
    assert model.metadata.training["dataset"] == dataset.root.name


def test_the_older_exporter_writes_no_folder_either() -> None:
    network = build_network("test_resnet", 3, pretrained=False, drop_rate=0.0, options={})
    deployed = Deployed(Normalized(network, (0.5,) * 3, (0.5,) * 3)).eval()
    proto = onnx_graph._by_tracing(deployed, example_inputs(deployed.classifier, 32), ["probabilities"])
    data = onnx_graph.without_traces(proto).SerializeToString()
    for folder in (Path.cwd(), Path(sys.prefix), Path.home()):
        assert str(folder).encode() not in data
    assert [value.name for value in proto.graph.input] == ["image"]


def test_a_model_without_the_score_is_exported_if_the_config_turns_it_off(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    settings = copy / "config.yaml"
    settings.write_text(settings.read_text().replace("  unknown: true", "  unknown: false"))
    said: list[str] = []
    made = export(copy, tmp_path / "model.onnx", report=said.append)
    assert made.metadata.unknown is None
    assert [value.name for value in onnx.load_from_string(made.data).graph.output] == ["probabilities"]
    assert not any("out-of-distribution score, because" in line for line in said)


def test_weights_that_are_used_twice_are_saved_and_exported(dataset: Dataset, tmp_path: Path) -> None:
    """coat_lite uses the same position encodings in all blocks of a stage."""
    base = REPOSITORY / "configs/training/tiny_cpu.yaml"
    changes = ["model={backbone: coat_lite_tiny}", "preprocess.size=32", "train.epochs=1", "train.warmup_epochs=0"]
    train(load_config(base, TrainConfig, [f"dataset={dataset.root}", *changes]), tmp_path / "run")
    assert export(tmp_path / "run", tmp_path / "model.onnx").metadata.parity.top1_disagreements == 0


def test_an_onnx_file_of_another_tool_is_refused(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("Identity", ["x"], ["y"])]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:])), tmp_path / "theirs.onnx")
    with pytest.raises(ModelError, match="is not a model of Pelagia: it has no classes"):
        ModelFile.read(tmp_path / "theirs.onnx")


def test_an_interrupted_run_is_exported_with_a_warning(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    state = (copy / "run.json").read_text()
    (copy / "run.json").write_text(state.replace('"status": "finished"', '"status": "running"'))
    said: list[str] = []
    export(copy, tmp_path / "model.onnx", report=said.append)
    assert said[0] == "warning: the run was interrupted after epoch 2 of 2: exporting its best weights so far"


@pytest.mark.parametrize("damage", ["cut", "other network", "killed between"])
def test_weights_that_are_not_the_runs_are_refused_in_one_line(run: Path, tmp_path: Path, damage: str) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    weights, settings, state = (copy / name for name in ("best.safetensors", "config.yaml", "run.json"))
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif damage == "other network":
        settings.write_text(settings.read_text().replace("test_resnet", "test_vit").replace("size: 32", "size: 160"))
    else:
        document = json.loads(state.read_text())
        state.write_text(json.dumps({**document, "best_epoch": document["best_epoch"] + 1}))
    with pytest.raises(InputError, match="train again|resume it with the `pelagia train` command") as caught:
        export(copy, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.onnx").exists()
