"""Writes parts of an ONNX graph as fields of GraphProto, for files derived from other files.

Source of the field numbers: onnx.proto (https://github.com/onnx/onnx; NodeProto, AttributeProto, TensorProto,
ValueInfoProto, TypeProto).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.formats.onnx_graph import DATA_TYPES
from edge_effnet.formats.protobuf import encoded_field, encoded_number

_NODE, _INITIALIZER = 1, 5
_INT, _FLOAT = 2, 1  # AttributeProto.INT, TensorProto.FLOAT
_NUMBERS = {name: number for number, (name, _) in DATA_TYPES.items()}


def node(op_type: str, inputs: Sequence[str], output: str, **attributes: int) -> bytes:
    """An operator with one output, named after it."""
    operands = b"".join(encoded_field(1, name.encode()) for name in inputs)
    content = operands + encoded_field(2, output.encode()) + encoded_field(3, output.encode())
    content += encoded_field(4, op_type.encode())
    for name, value in attributes.items():
        said = encoded_field(1, name.encode()) + encoded_number(3, value) + encoded_number(20, _INT)
        content += encoded_field(5, said)
    return encoded_field(_NODE, content)


def tensor(name: str, values: npt.NDArray[Any]) -> bytes:
    """A constant of any type that numpy and ONNX share."""
    dims = b"".join(encoded_number(1, side) for side in values.shape)
    data = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    said = dims + encoded_number(2, _NUMBERS[values.dtype.name])
    return encoded_field(_INITIALIZER, said + encoded_field(8, name.encode()) + encoded_field(9, data))


def float_value(number: int, name: str, sides: Sequence[int | str | None]) -> bytes:
    """A float32 input or output, in the field `number`. sides: lengths; the name of a free one, None without name."""
    shape = b"".join(encoded_field(1, _side(side)) for side in sides)
    kind = encoded_number(1, _FLOAT) + encoded_field(2, shape)
    return encoded_field(number, encoded_field(1, name.encode()) + encoded_field(2, encoded_field(1, kind)))


def _side(side: int | str | None) -> bytes:
    if side is None:
        return b""
    return encoded_number(1, side) if isinstance(side, int) else encoded_field(2, side.encode())
