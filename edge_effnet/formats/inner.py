"""A model file that gives more of its tensors: the same bytes, and a few behind them that name further outputs.

In memory alone: files on disk have one output, as every reader of them expects. Pooled features, references for
unknown and heatmaps come from such a file, so that one run gives them all.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.flatbuffer import UINT32, FlatBuffer
from edge_effnet.formats.protobuf import encoded_field
from edge_effnet.formats.records import SHOWN
from edge_effnet.formats.source import open_source
from edge_effnet.formats.tflite import read_tflite
from edge_effnet.formats.tflite_schema import IDENTIFIER

_GRAPH, _OUTPUT = 7, 12
_FLOAT_TENSOR = bytes([0x0A, 0x02, 0x08, 0x01])  # TypeProto{tensor_type: {elem_type: FLOAT}}


def with_inner(data: bytes, names: Sequence[str], *, name: str) -> bytes:
    """The file with the tensors of these names as further outputs, in this order behind its own.

    Of an `.onnx` file they must be float32. Raises ModelFileError for a name that the file doesn't have.
    """
    _, view = open_source(data, name=name)
    return _tflite(data, names, name) if view[4:8] == IDENTIFIER else data + _onnx_outputs(names)


def _tflite(data: bytes, names: Sequence[str], name: str) -> bytes:
    """The list of outputs is written anew behind everything, and the offset that leads to it changed."""
    file = read_tflite(data, name=name)
    places = {tensor.name: index for index, tensor in enumerate(file.tensors)}
    for missing in (inner for inner in names if inner not in places):
        raise ModelFileError(f"{name}: has no tensor {missing!r:.{SHOWN}}; the file was changed, get it again")
    outputs = (*file.outputs, *(places[inner] for inner in names))
    at = FlatBuffer(memoryview(data), name=name).root().tables(2, limit=1)[0].position_of(2)
    changed = bytearray(data)
    changed += bytes(-len(changed) % UINT32.size)
    struct.pack_into("<I", changed, at, len(changed) - at)
    changed += struct.pack(f"<{1 + len(outputs)}i", len(outputs), *outputs)
    return bytes(changed)


def _onnx_outputs(names: Sequence[str]) -> bytes:
    """A graph of outputs alone: protobuf joins it to the one before (https://protobuf.dev, "Last One Wins")."""
    values = (encoded_field(1, inner.encode()) + encoded_field(2, _FLOAT_TENSOR) for inner in names)
    return encoded_field(_GRAPH, b"".join(encoded_field(_OUTPUT, value) for value in values))
