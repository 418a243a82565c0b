import random

import onnx
import pytest
from onnx import TensorProto, helper

from pelagia.model.onnx_file import NotOnnxError, has_external_data, read_metadata, with_metadata


def model(external=False):
    """A real ModelProto that adds a constant to its input."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [300], [0.5] * 300)
    if external:
        weight.ClearField("float_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="weights.bin")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 300]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weight])
    return helper.make_model(graph, producer_name="test").SerializeToString()


def test_what_is_written_is_read_back():
    data = with_metadata(with_metadata(model(), "a", "1"), "pelagia", "{}")
    assert read_metadata(data) == {"a": "1", "pelagia": "{}"}


@pytest.mark.parametrize("value", ["", "x" * 127, "x" * 128, "ø" * 100_000, "\n\0"])
def test_the_onnx_package_reads_what_is_written(value):
    proto = onnx.load_from_string(with_metadata(model(), "pelagia", value))
    onnx.checker.check_model(proto)
    assert [(entry.key, entry.value) for entry in proto.metadata_props] == [("pelagia", value)]


def test_what_the_onnx_package_writes_is_read():
    proto = onnx.load_from_string(model())
    helper.set_model_props(proto, {"author": "Ø", "empty": ""})
    assert read_metadata(proto.SerializeToString()) == {"author": "Ø", "empty": ""}


def test_the_last_value_of_a_key_counts():
    assert read_metadata(with_metadata(with_metadata(model(), "a", "1"), "a", "2")) == {"a": "2"}


def test_a_model_without_metadata_has_none():
    assert read_metadata(model()) == {}


@pytest.mark.parametrize("external", [False, True])
def test_weights_in_a_second_file_are_noticed(external):
    assert has_external_data(model(external)) is external


def external_tensor(name="w"):
    tensor = helper.make_tensor(name, TensorProto.FLOAT, [2], [0.5] * 2)
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def graph_of(*nodes, **more):
    return helper.make_graph(list(nodes), "g", [], [], **more)


def constant():
    return helper.make_node("Constant", [], ["c"], value=external_tensor())


def in_a_subgraph():
    branch = graph_of(constant())
    return helper.make_node("If", ["x"], ["y"], then_branch=graph_of(), else_branch=branch)


def nested(depth):
    node = constant()
    for _ in range(depth):
        node = helper.make_node("If", ["x"], ["y"], then_branch=graph_of(node))
    return node


def with_function():
    proto = helper.make_model(graph_of())
    proto.functions.append(helper.make_function("d", "f", [], ["c"], [constant()], []))
    return proto


def with_sparse():
    proto = helper.make_model(graph_of())
    sparse = proto.graph.sparse_initializer.add()
    sparse.values.CopyFrom(external_tensor("s"))
    return proto


PLACES = {
    "a constant of a node": lambda: helper.make_model(graph_of(constant())),
    "a subgraph": lambda: helper.make_model(graph_of(in_a_subgraph())),
    "an initializer of a subgraph": lambda: helper.make_model(
        graph_of(helper.make_node("If", ["x"], ["y"], then_branch=graph_of(initializer=[external_tensor()])))
    ),
    "a function": with_function,
    "a sparse weight": with_sparse,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_tensor_in_a_second_file_is_noticed_wherever_it_is(place):
    assert has_external_data(PLACES[place]().SerializeToString())


def test_graphs_that_are_nested_too_deeply_are_refused():
    assert has_external_data(helper.make_model(graph_of(nested(8))).SerializeToString())
    with pytest.raises(NotOnnxError, match="its graphs are nested more than"):
        has_external_data(helper.make_model(graph_of(nested(20))).SerializeToString())


def test_metadata_that_are_not_text_are_refused():
    data = with_metadata(model(), "a", "bbb").replace(b"bbb", b"\xff\xfe\xfd")
    with pytest.raises(NotOnnxError) as caught:
        read_metadata(data)
    assert str(caught.value) == "a key or value of the metadata is not text"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x00\x00\x00\x00", "a field without a number at byte 1"),
        (b"\x0b", "unsupported wire type 3 at byte 1"),
        (b"\x0a\x05abc", "a field at byte 2 runs over the end"),
        (b"\x08" + b"\xff" * 20, "a varint at byte 11 is truncated or too long"),
        (b"\x08\x80", "a varint at byte 2 is truncated or too long"),
        (b"PK\x03\x04 a zip file", "a field at byte 1 runs over the end"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "a field at byte 11 runs over the end"),
    ],
)
def test_bytes_that_are_no_message_say_where(data, message):
    with pytest.raises(NotOnnxError) as caught:
        read_metadata(data)
    assert str(caught.value).startswith(message.split(" at ")[0])


def read_all(data):
    try:
        return read_metadata(data), has_external_data(data)
    except NotOnnxError:
        return None


@pytest.mark.parametrize("seed", range(10))
def test_random_bytes_are_refused_or_read(seed):
    generator = random.Random(seed)
    for _ in range(300):
        read_all(generator.randbytes(generator.randint(0, 200)))


@pytest.mark.parametrize("seed", range(10))
def test_a_damaged_model_is_refused_or_read(seed):
    generator = random.Random(seed)
    data = with_metadata(model(external=True), "pelagia", "{}")
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(generator.randint(1, 6)):
            damaged[generator.randrange(len(data))] = generator.randrange(256)
        read_all(bytes(damaged))


def test_a_truncated_model_has_no_metadata_or_is_refused():
    data = with_metadata(model(), "pelagia", "{}")
    for length in range(len(data)):
        assert read_all(data[:length]) in (None, ({}, False))


def test_ten_megabytes_of_one_byte_fields_end():
    with pytest.raises(NotOnnxError):
        read_metadata(b"\x08\x01" * 500_000 + b"\x00")
