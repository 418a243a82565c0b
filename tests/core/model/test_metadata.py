import base64
import json

import numpy as np
import pytest
from onnx import TensorProto, helper
from pydantic import ValidationError

from pelagia.errors import ModelError
from pelagia.images.preprocess import PreprocessSpec, decode, fit, load
from pelagia.model.metadata import ModelFile, ModelMetadata, Parity, ReferenceImage, write_model
from pelagia.model.onnx_file import with_metadata
from pelagia.model.sealed import METADATA_KEY, sealed
from pelagia.system.files import sha256_of
from pelagia.taxonomy import taxonomy_of_names


def graph(external=False):
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [0.5])
    if external:
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="weights.bin")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    body = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weight])
    return helper.make_model(body).SerializeToString()


@pytest.fixture
def metadata(encode):
    return ModelMetadata(
        name="it",
        created="2026-01-01T00:00:00+00:00",
        pelagia_version="0",
        taxonomy=taxonomy_of_names("it", ["a", "b"]),
        preprocess=PreprocessSpec(size=32),
        normalisation={"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)},
        validation_confusion=((1, 0), (0, 1)),
        metrics={"macro_f1": 1.0, "auc": float("nan")},
        dataset={"fingerprint": "f"},
        training={"epochs": 1},
        parity=Parity(images=1, batch_sizes=(1, 8), top1_disagreements=0, max_probability_difference=0.0),
        references=(ReferenceImage.of("a.png", encode(), (0.25, 0.75)),),
    )


@pytest.fixture
def model(tmp_path, metadata):
    write_model(tmp_path / "m.onnx", graph(), metadata)
    return tmp_path / "m.onnx"


def refusal(path):
    with pytest.raises(ModelError) as caught:
        ModelFile.read(path)
    return str(caught.value).removeprefix(str(path))


def rewrite(path, **changes):
    """The model with other metadata: a later entry of the same key wins."""
    document = json.loads(ModelFile.read(path).metadata.model_dump_json()) | changes
    path.write_bytes(sealed(with_metadata(path.read_bytes(), METADATA_KEY, json.dumps(document))))


def test_what_is_written_is_read_back(model, metadata):
    read = ModelFile.read(model)
    assert read.metadata.model_dump_json() == metadata.model_dump_json()
    assert read.metadata.classes == ("a", "b")
    assert (read.path, read.sha256) == (model, sha256_of(model.read_bytes()))


def test_a_model_of_before_quantisation_is_read_and_is_a_float_one(model):
    document = json.loads(ModelFile.read(model).metadata.model_dump_json())
    del document["tolerance"], document["quantisation"]
    model.write_bytes(sealed(with_metadata(model.read_bytes(), METADATA_KEY, json.dumps(document))))
    old = ModelFile.read(model).metadata
    assert (old.tolerance, old.quantisation) == (1e-4, None)


def test_a_model_of_schema_1_knows_no_thresholds_and_no_unknown(model):
    document = json.loads(ModelFile.read(model).metadata.model_dump_json()) | {"schema_version": 1}
    document["decision"] = {"rule": "argmax"}
    del document["calibration"], document["unknown"]
    for reference in document["references"]:
        del reference["unknown"]
    model.write_bytes(sealed(with_metadata(model.read_bytes(), METADATA_KEY, json.dumps(document))))
    old = ModelFile.read(model)
    assert (old.metadata.calibration, old.metadata.unknown) == (None, None)
    assert not old.metadata.decider.decides
    assert not old.graph.scores_unknown


def test_a_reference_has_a_score_where_the_model_gives_one(metadata):
    unknown = {
        "dimensions": 3,
        "principal_share": 0.95,
        "weight": 0.25,
        "known_share": 0.95,
        "threshold": 1.0,
        "tolerance": 0.01,
    }
    with pytest.raises(
        ValidationError, match="'a.png' and the model do not agree whether there is an out-of-distribution score"
    ):
        ModelMetadata.model_validate(metadata.model_dump() | {"unknown": unknown})


def test_a_reference_image_keeps_its_bytes(model, encode):
    (reference,) = ModelFile.read(model).metadata.references
    assert reference.data == encode()
    assert reference.sha256 == sha256_of(encode())


def test_a_figure_that_is_not_a_number_survives(model):
    assert str(ModelFile.read(model).metadata.metrics) == "{'macro_f1': 1.0, 'auc': nan}"


def test_a_model_made_before_jpegs_were_reduced_goes_on_decoding_them_whole(model, encode):
    document = json.loads(ModelFile.read(model).metadata.model_dump_json())["preprocess"]
    assert document.pop("jpeg_scale") == "reduced"
    rewrite(model, preprocess=document)
    spec = ModelFile.read(model).metadata.preprocess
    assert spec == PreprocessSpec(size=32, jpeg_scale="full")
    large = encode("JPEG", height=600, width=800)
    assert np.array_equal(load(large, spec), fit(decode(large), spec))


def test_a_missing_model_is_one_line(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(ModelError) as caught:
        ModelFile.read(path)
    assert str(caught.value) == f"there is no model at {path}: make one with `pelagia export RUN --out {path}`"


def test_a_folder_is_no_model(tmp_path):
    assert refusal(tmp_path).removeprefix(f"the model {tmp_path}") == (
        " is a folder: name an .onnx file; if it is a training run, `pelagia export "
        f"{tmp_path} --out MODEL.onnx` makes one of it"
    )
    (tmp_path / "m.onnx").write_bytes(graph())
    assert refusal(tmp_path) == f"the model {tmp_path} is a folder: name the file, such as {tmp_path}/m.onnx"


def test_an_onnx_file_of_others_is_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(graph())
    assert refusal(tmp_path / "m.onnx") == (
        " is not a model of Pelagia: it has no classes and no preprocessing; export one with `pelagia export`"
    )


@pytest.mark.parametrize("data", [b"hello world", b"\0" * 50, b"\x89PNG\r\n\x1a\n\0\0\0\0"])
def test_a_file_that_is_no_onnx_is_refused(tmp_path, data):
    (tmp_path / "m.onnx").write_bytes(data)
    message = refusal(tmp_path / "m.onnx")
    assert message.startswith(" is not an ONNX file, or is damaged (")
    assert message.endswith("): copy it again")


def test_a_model_that_was_cut_while_it_was_copied_is_refused(model):
    data = model.read_bytes()
    for length in range(0, len(data), 13):
        model.write_bytes(data[:length])
        refusal(model)


def test_one_changed_bit_of_a_weight_is_noticed(model):
    data = bytearray(model.read_bytes())
    data[10] ^= 1
    model.write_bytes(bytes(data))
    assert "damaged" in refusal(model)


def test_weights_in_a_second_file_are_refused(tmp_path, metadata):
    write_model(tmp_path / "m.onnx", graph(external=True), metadata)
    assert refusal(tmp_path / "m.onnx") == " keeps weights in a second file: export it again with `pelagia export`"


def test_a_model_of_a_later_pelagia_is_refused(model):
    rewrite(model, schema_version=3)
    assert refusal(model) == (
        " was made by a newer Pelagia: it has schema 3, and this Pelagia reads 1 and 2; update Pelagia, or export the "
        "model again"
    )


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"temperature": 0}, "temperature: Input should be greater than 0"),
        ({"decision": {"rule": "guess"}}, "decision.rule: Input should be 'argmax' or 'thresholds'"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"references": []}, "references: Tuple should have at least 1 item after validation, not 0"),
    ],
)
def test_damaged_metadata_name_their_place(model, changes, fault):
    rewrite(model, **changes)
    expected = f"the metadata of {model} are damaged ({fault}): copy the file again"
    assert refusal(model) == expected


def test_metadata_that_are_no_json_are_refused(model):
    model.write_bytes(sealed(with_metadata(graph(), METADATA_KEY, "{")))
    assert refusal(model) == (
        f"the metadata of {model} are damaged (pelagia: Invalid JSON: EOF while parsing an object at line 1 column 1): "
        "copy the file again"
    )


def test_a_reference_image_that_is_no_base64_is_refused(model):
    (reference,) = json.loads(ModelFile.read(model).metadata.model_dump_json())["references"]
    rewrite(model, references=[reference | {"base64": "*"}])
    assert "references.0.base64: Value error, not base64: " in refusal(model)


def test_a_reference_image_has_a_probability_for_each_class(metadata):
    reference = ReferenceImage.of("a.png", b"x", (1.0,))
    document = metadata.model_dump() | {"references": (reference,)}
    with pytest.raises(ValidationError, match="'a.png' has 1 probabilities, but there are 2 classes"):
        ModelMetadata.model_validate(document)


def test_a_reference_image_is_encoded_as_it_was_found():
    assert base64.b64decode(ReferenceImage.of("a", b"\0\xff", (1.0,)).base64) == b"\0\xff"
