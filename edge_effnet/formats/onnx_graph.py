"""The parts of an ONNX graph: nodes, initializers, inputs and outputs, from their messages.

Source of the field numbers: onnx.proto (https://github.com/onnx/onnx, NodeProto, AttributeProto, TensorProto,
ValueInfoProto, TypeProto).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.protobuf import Message
from edge_effnet.formats.records import SHOWN, TensorFacts

MAX_ITEMS = 1 << 17
_MAX_OPERANDS = 1 << 12
_MAX_RANK = 32
_MAX_ELEMENTS = 1 << 31
_EXTERNAL = 1
#: Domains whose operators ONNX Runtime brings itself; "" and "ai.onnx" are the same.
KNOWN_DOMAINS = ("", "ai.onnx", "com.microsoft", "ai.onnx.ml")

#: TensorProto.DataType → (name, bits of an element); 0 bits: no fixed size.
DATA_TYPES: dict[int, tuple[str, int]] = {
    0: ("undefined", 0),
    1: ("float32", 32),
    2: ("uint8", 8),
    3: ("int8", 8),
    4: ("uint16", 16),
    5: ("int16", 16),
    6: ("int32", 32),
    7: ("int64", 64),
    8: ("string", 0),
    9: ("bool", 8),
    10: ("float16", 16),
    11: ("float64", 64),
    12: ("uint32", 32),
    13: ("uint64", 64),
    14: ("complex64", 64),
    15: ("complex128", 128),
    16: ("bfloat16", 16),
    17: ("float8_e4m3fn", 8),
    18: ("float8_e4m3fnuz", 8),
    19: ("float8_e5m2", 8),
    20: ("float8_e5m2fnuz", 8),
    21: ("uint4", 4),
    22: ("int4", 4),
    23: ("float4_e2m1", 4),
    24: ("float8_e8m0", 8),
    25: ("uint2", 2),
    26: ("int2", 2),
    27: ("float6_e2m3", 0),
    28: ("float6_e3m2", 0),
}
_BITS = dict(DATA_TYPES.values())
#: Fields that hold values as numbers instead of raw bytes: float, int32, string, int64, double, uint64 data.
_TYPED_DATA = frozenset({4, 5, 6, 7, 10, 11})
_STRING_DATA = 6
#: Fields of an attribute that hold tensors and graphs, which are checked like the main graph's.
_TENSORS, _SPARSE_TENSORS, _GRAPHS = (5, 10), (22, 23), (6, 11)
_GRAPH_SET = frozenset(_GRAPHS)
_NESTED = frozenset({*_TENSORS, *_SPARSE_TENSORS, *_GRAPHS})
#: TypeProto's kinds other than a tensor.
_OTHER_KINDS = {4: "sequence", 5: "map", 7: "opaque", 8: "sparse tensor", 9: "optional"}


@dataclass(frozen=True)
class OnnxNode:
    """One operator. `attributes`: int, float, str, tuples of int and, for tensors, OnnxInitializer; others are left
    out. holds_graph: whether an attribute is a graph of its own.
    """

    op_type: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    holds_graph: bool = False


@dataclass(frozen=True)
class OnnxInitializer:
    """A constant: `byte_length` is what its values take in memory; `dtype` is numpy's name or ONNX's for other
    types. raw: its values where they lie in the file, little-endian; None where they are written as numbers.
    """

    name: str
    dims: tuple[int, ...]
    dtype: str
    byte_length: int
    raw: memoryview | None = field(default=None, compare=False, repr=False)


def read_nodes(graph: Message) -> tuple[OnnxNode, ...]:
    """The graph's nodes in order; raises ModelFileError for an operator of an unknown domain or external weights."""
    return tuple(_node(message) for message in graph.messages(1, limit=MAX_ITEMS))


def read_initializers(graph: Message) -> tuple[OnnxInitializer, ...]:
    """The graph's constants, dense ones first; raises ModelFileError where one lies in another file or isn't whole."""
    dense = [read_initializer(message) for message in graph.messages(5, limit=MAX_ITEMS)]
    sparse = [part for message in graph.messages(15, limit=MAX_ITEMS) for part in _read_sparse(message)]
    return (*dense, *sparse)


def _read_sparse(message: Message) -> list[OnnxInitializer]:
    """A SparseTensorProto's values and their indices."""
    return [read_initializer(part) for part in (message.message(1), message.message(2)) if part is not None]


def read_initializer(message: Message) -> OnnxInitializer:
    """A TensorProto without its values."""
    name = message.text(8)
    where = f"{message.name}: initializer {name!r:.{SHOWN}}"
    if message.integer(14) == _EXTERNAL or message.has(13):
        raise ModelFileError(
            f"{where} has its values in another file; expected a self-contained file: save it again with the weights "
            f"inside, or edge-effnet export {message.name} -o whole.onnx"
        )
    dims = message.integers(1, limit=_MAX_RANK)
    dtype = data_type(message.integer(2), where)
    count = math.prod(dims)
    if min(dims, default=0) < 0 or count > _MAX_ELEMENTS:
        raise ModelFileError(
            f"{where} has the shape {list(dims)}; expected sides of at least 0 and at most {_MAX_ELEMENTS} elements"
        )
    size = (count * _BITS[dtype] + 7) // 8
    raw, bits = message.raw(9), _BITS[dtype]
    if bits and (len(raw) != size if raw else count and not message.holds(_TYPED_DATA)):
        raise ModelFileError(f"{where} is {dtype}{list(dims)} and needs {size} bytes, but the file holds {len(raw)}")
    length = size if bits else message.total_bytes(_STRING_DATA)
    return OnnxInitializer(name, dims, dtype, length, raw if len(raw) == length else None)


def data_type(number: int, where: str) -> str:
    """The name of a TensorProto.DataType; raises ModelFileError for an unknown one."""
    if number not in DATA_TYPES:
        raise ModelFileError(
            f"{where} has the unknown type {number}; expected 0 to {len(DATA_TYPES) - 1}, or a newer edge-effnet is "
            "needed"
        )
    return DATA_TYPES[number][0]


def read_values(graph: Message, number: int) -> tuple[TensorFacts, ...]:
    """The ValueInfoProtos in the field `number`."""
    return tuple(_value(message) for message in graph.messages(number, limit=MAX_ITEMS))


def read_value_types(graph: Message) -> dict[str, str]:
    """Name → dtype of the tensors inside the graph that the file describes; their shapes aren't read."""
    types: dict[str, str] = {}
    for message in graph.messages(13, limit=MAX_ITEMS):
        name, kind = message.text(1), message.message(2)
        tensor = None if kind is None else kind.message(1)
        if tensor is not None:
            types[name] = data_type(tensor.integer(1), f"{message.name}: tensor {name!r:.{SHOWN}}")
    return types


def _value(message: Message) -> TensorFacts:
    name = message.text(1)
    where = f"{message.name}: tensor {name!r:.{SHOWN}}"
    kind = message.message(2)
    tensor = None if kind is None else kind.message(1)
    if kind is None or tensor is None:
        other = [word for field_number, word in _OTHER_KINDS.items() if kind is not None and kind.has(field_number)]
        return TensorFacts(name, None, other[0] if other else "undefined")
    shape = tensor.message(2)
    sides = None if shape is None else tuple(_side(side, where) for side in shape.messages(1, limit=_MAX_RANK))
    return TensorFacts(name, sides, data_type(tensor.integer(1), where))


def _side(message: Message, where: str) -> int | None:
    """A side's length; None for a named or unknown one, also written as -1."""
    length = message.integer(1, -1)
    if not -1 <= length <= _MAX_ELEMENTS:
        raise ModelFileError(
            f"{where} has a side of length {length}; expected 0 to {_MAX_ELEMENTS}, or none for a free side"
        )
    return None if length < 0 else length


def _node(message: Message) -> OnnxNode:
    op_type, domain, name = message.text(4), message.text(7), message.text(3)
    where = f"{message.name}: node {name or op_type!r:.{SHOWN}}"
    if not op_type:
        raise ModelFileError(f"{where} names no operator; the file is damaged, get it again")
    if domain not in KNOWN_DOMAINS:
        known = ", ".join(repr(known) for known in KNOWN_DOMAINS)
        raise ModelFileError(
            f"{where} is {op_type:.{SHOWN}} of the domain {domain!r:.{SHOWN}}; expected one of {known}: other "
            "operators need code that isn't in the file"
        )
    inputs, outputs = (message.texts(number, limit=_MAX_OPERANDS) for number in (1, 2))
    items = message.messages(5, limit=_MAX_OPERANDS)
    attributes = dict(filter(None, map(_attribute, items)))
    return OnnxNode(op_type, domain, name, inputs, outputs, attributes, any(item.holds(_GRAPH_SET) for item in items))


def _nested(message: Message) -> list[OnnxInitializer]:
    """The tensors an attribute holds; its sparse tensors and graphs are checked alone."""
    if not message.holds(_NESTED):
        return []
    for number in _SPARSE_TENSORS:
        for sparse in message.messages(number, limit=MAX_ITEMS):
            _read_sparse(sparse)
    for number in _GRAPHS:
        for graph in message.messages(number, limit=MAX_ITEMS):
            read_nodes(graph)
            read_initializers(graph)
    return [read_initializer(tensor) for number in _TENSORS for tensor in message.messages(number, limit=MAX_ITEMS)]


def _attribute(message: Message) -> tuple[str, Any] | None:
    """(name, value) of a simple attribute or a tensor; None for others."""
    name, kind = message.text(1), message.integer(20)
    tensors = _nested(message)
    match kind:
        case 1:
            return name, message.real(2)
        case 2:
            return name, message.integer(3)
        case 3:
            return name, message.text(4)
        case 4 if tensors:
            return name, tensors[0]
        case 7:
            return name, message.integers(8, limit=MAX_ITEMS)
        case _:
            return None
