"""Reads and writes the metadata of an .onnx file without the onnx package, so that a laptop at sea does not need it.

An ONNX file is one protobuf message, ModelProto (onnx/onnx.proto). Its field 7 is ``graph``; its field 14 is
``metadata_props``, a list of key-value pairs. Tensors are initializers of a graph, or attributes of a node; a node may
also hold graphs, and a model may hold functions with nodes. Field 14 of TensorProto (``data_location``) shows whether
its data are in another file. The protobuf encoding is that of
protobuf.dev/programming-guides/encoding. ``metadata_props`` is a repeated field, so metadata are added by appending to
the file.
"""

from __future__ import annotations

from collections.abc import Iterator

_METADATA_PROPS, _DATA_LOCATION = 14, 14
_TENSOR = "tensor"
_PARTS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: _TENSOR, 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: _TENSOR, 6: "graph", 10: _TENSOR, 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: _TENSOR, 2: _TENSOR},
}
"""The messages that can hold tensors: for each, the numbers of the fields with such messages, and what these are."""
_DEEPEST = 32
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_EXTERNAL = 1


class NotOnnxError(ValueError):
    """The bytes are not a ModelProto."""


def read_metadata(data: bytes) -> dict[str, str]:
    """Key and value of every entry of ``metadata_props``. Raises NotOnnxError."""
    view = memoryview(data)
    found: dict[str, str] = {}
    for field, value in _fields(view):
        if field == _METADATA_PROPS and isinstance(value, memoryview):
            pair = {number: bytes(part) for number, part in _fields(value) if isinstance(part, memoryview)}
            try:
                found[pair.get(1, b"").decode()] = pair.get(2, b"").decode()
            except UnicodeDecodeError:
                raise NotOnnxError("a key or value of the metadata is not text") from None
    return found


def with_metadata(data: bytes, key: str, value: str) -> bytes:
    """The same model with one more entry of ``metadata_props``."""
    pair = _length_delimited(1, key.encode()) + _length_delimited(2, value.encode())
    return data + _length_delimited(_METADATA_PROPS, pair)


def has_external_data(data: bytes) -> bool:
    """Whether a tensor is in another file: a weight, a constant of a node, or a tensor of a subgraph or function.

    Raises:
        NotOnnxError: the bytes are not a ModelProto, or its graphs are nested more than 32 messages deep.
    """
    waiting = [("model", memoryview(data), 0)]
    while waiting:
        kind, message, depth = waiting.pop()
        parts = _PARTS[kind]
        for field, value in _fields(message):
            part = parts.get(field)
            if part is None or not isinstance(value, memoryview):
                continue
            if part != _TENSOR:
                waiting.append((part, value, depth + 1))
            elif _is_external(value):
                return True
        if depth > _DEEPEST:
            raise NotOnnxError(f"its graphs are nested more than {_DEEPEST} messages deep")
    return False


def _is_external(tensor: memoryview) -> bool:
    return any(field == _DATA_LOCATION and value == _EXTERNAL for field, value in _fields(tensor))


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message; the value of a length-delimited field is a view of its bytes."""
    at = 0
    while at < len(view):
        tag, at = _read_varint(view, at)
        kind = tag & 7
        if tag >> 3 == 0:
            raise NotOnnxError(f"a field without a number at byte {at}")
        if kind == _VARINT:
            value, at = _read_varint(view, at)
            yield tag >> 3, value
            continue
        if kind == _LENGTH_DELIMITED:
            length, at = _read_varint(view, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise NotOnnxError(f"unsupported wire type {kind} at byte {at}")
        if at + length > len(view):
            raise NotOnnxError(f"a field at byte {at} runs over the end")
        yield tag >> 3, view[at : at + length]
        at += length


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(view) and shift < 70:
        byte = view[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise NotOnnxError(f"a varint at byte {at} is truncated or too long")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _length_delimited(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content
