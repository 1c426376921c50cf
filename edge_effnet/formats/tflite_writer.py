"""Writes the records that `tflite` reads: the bytes of a flatbuffer, for files derived from other files.

Source of the slot numbers: schema.fbs of TensorFlow Lite / LiteRT, version 3 (a field's position in its table).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.flatbuffer import INT8, UINT32
from edge_effnet.formats.flatbuffer_writer import (
    Numbers,
    Scalar,
    Structure,
    Value,
    flatbuffer,
    index,
    small,
    truth,
    union_kind,
)
from edge_effnet.formats.records import SHOWN
from edge_effnet.formats.tflite import TfliteFile
from edge_effnet.formats.tflite_operators import TfliteOperator
from edge_effnet.formats.tflite_schema import (
    CUSTOM,
    IDENTIFIER,
    OPERATORS,
    OPTIONS,
    SCHEMA_VERSION,
    TENSOR_TYPES,
    Option,
)
from edge_effnet.formats.tflite_tensors import TfliteTensor

_CODES = {name: number for number, name in OPERATORS.items()}
_TYPES = {name: number for number, (name, _) in TENSOR_TYPES.items()}
#: Operator codes above this don't fit the older, narrower of two fields.
_MOST_OLD_CODE = 127
#: The schema's alignment of Buffer.data; engines read weights where they lie.
_BUFFER_ALIGNMENT = 16
_SIGNATURE = "serving_default"


def written_tflite(file: TfliteFile) -> bytes:
    """The flatbuffer of the records, without packed files; the same records give the same bytes.

    Constants are buffers of their own, in the order of the tensors; the metadata follow. Raises ModelFileError for an
    operator whose options the reader leaves out.
    """
    buffers: list[bytes | memoryview] = [b""]
    tensors = [_tensor(tensor, buffers) for tensor in file.tensors]
    codes = list(dict.fromkeys((step.code, step.version) for step in file.operators))
    subgraph = Structure(
        {
            0: tensors,
            1: _indices(file.inputs),
            2: _indices(file.outputs),
            3: [_operator(step, codes, file.name) for step in file.operators],
            4: "main",
        }
    )
    metadata = [_metadata(name, content, buffers) for name, content in file.metadata.items()]
    model: dict[int, Value] = {
        0: Scalar(SCHEMA_VERSION, UINT32),
        1: [_code(code, version, file.name) for code, version in codes],
        2: [subgraph],
        3: file.description,
        4: [_buffer(content) for content in buffers],
        6: metadata,
        7: [_signature(file)],
    }
    return flatbuffer(Structure(model), identifier=IDENTIFIER)


def _tensor(tensor: TfliteTensor, buffers: list[bytes | memoryview]) -> Structure:
    place = 0
    if tensor.data is not None:
        place = len(buffers)
        buffers.append(tensor.data)
    fields: dict[int, Any] = {
        0: _indices(tensor.shape),
        1: small(_TYPES[tensor.dtype]),
        2: index(place),
        3: tensor.name,
        5: truth(tensor.is_variable),
    }
    if len(tensor.scales):
        fields[4] = Structure(
            {
                2: Numbers(tensor.scales.astype(np.float32)),
                3: Numbers(tensor.zero_points.astype(np.int64)),
                6: Scalar(tensor.quantized_dimension),
            }
        )
    if tensor.signature:
        fields[7] = _indices(tensor.signature)
    return Structure(fields)


def _operator(step: TfliteOperator, codes: Sequence[tuple[str, int]], name: str) -> Structure:
    fields: dict[int, Any] = {
        0: index(codes.index((step.code, step.version))),
        1: _indices(step.inputs),
        2: _indices(step.outputs),
    }
    if step.code not in OPTIONS:
        raise ModelFileError(f"{name}: {step.code:.{SHOWN}} can't be written anew; expected the operators of our files")
    table = OPTIONS[step.code]
    if table.options:
        fields[3] = union_kind(table.kind)
        fields[4] = Structure({option.slot: _option(option, step.options) for option in table.options})
    return Structure(fields)


def _option(option: Option, values: Mapping[str, Any]) -> Scalar | Numbers:
    value = values.get(option.name, option.default)
    if option.kind is None:
        return _indices(value or ())
    if option.choices is not None and isinstance(value, str):
        value = option.choices.index(value)
    return Scalar(value, option.kind)


def _code(code: str, version: int, name: str) -> Structure:
    number = _CODES.get(code, CUSTOM)
    if number == CUSTOM:
        raise ModelFileError(f"{name}: {code:.{SHOWN}} can't be written anew; expected the operators of our files")
    return Structure({0: Scalar(min(number, _MOST_OLD_CODE), INT8), 2: Scalar(version), 3: Scalar(number)})


def _buffer(content: bytes | memoryview) -> Structure:
    return Structure({0: Numbers(content, _BUFFER_ALIGNMENT)} if len(content) else {})


def _metadata(name: str, content: bytes | memoryview, buffers: list[bytes | memoryview]) -> Structure:
    buffers.append(content)
    return Structure({0: name, 1: index(len(buffers) - 1)})


def _signature(file: TfliteFile) -> Structure:
    def named(tensors: Sequence[int]) -> list[Structure]:
        return [Structure({0: file.tensors[tensor].name, 1: index(tensor)}) for tensor in tensors]

    return Structure({0: named(file.inputs), 1: named(file.outputs), 2: _SIGNATURE, 4: index(0)})


def _indices(values: Sequence[int]) -> Numbers:
    return Numbers(np.asarray(values, np.int32))
