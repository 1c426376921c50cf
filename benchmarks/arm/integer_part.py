"""A `.tflite` file cut where it leaves integers: what must be equal to the bit on every board.

The classifier behind it computes in float32, whose sums each processor takes in an order of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge_effnet.errors import ModelFileError
from edge_effnet.formats import read_tflite, with_document
from edge_effnet.formats.integrity import digest

_NAME = b"integers"


def integer_part(content: bytes) -> bytes:
    """The same network up to its last int8 tensor, flattened: its "logits" are those integers times their scale.

    Raises ModelFileError for a file without int8 tensors on the way to its output or without a document.
    """
    document = read_tflite(content).document
    if document is None:
        raise ModelFileError("the file has no document of edge-effnet; expected one that `edge-effnet export` made")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    values = _cut(model)
    model.metadata, model.signatureDefs = [], None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    cut = bytes(builder.Output())
    return with_document(
        cut, replace(document, num_classes=values, labels=None, weights_sha256=digest(read_tflite(cut).covered))
    )


def _cut(model: Any) -> int:
    """Drops the operators behind the last int8 tensor and puts a RESHAPE there; how many values it has."""
    graph = model.subgraphs[0]
    last = _last_integer(graph)
    maker = next(place for place, operator in enumerate(graph.operators) if last in operator.outputs)
    source = graph.tensors[last]
    values = int(np.prod(source.shape))
    flat = schema.TensorT(name=_NAME, shape=[1, values], type=source.type, buffer=0, quantization=source.quantization)
    graph.tensors.append(flat)
    graph.outputs = [len(graph.tensors) - 1]
    code = schema.BuiltinOperator.RESHAPE
    model.operatorCodes.append(schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1))
    options = schema.ReshapeOptionsT(newShape=[1, values])
    reshape = schema.OperatorT(opcodeIndex=len(model.operatorCodes) - 1, inputs=[last], outputs=graph.outputs)
    reshape.builtinOptionsType, reshape.builtinOptions = schema.BuiltinOptions.ReshapeOptions, options
    graph.operators = [*graph.operators[: maker + 1], reshape]
    return values


def _last_integer(graph: Any) -> int:
    """The int8 tensor nearest to the output, along each operator's first input."""
    makers = {output: operator for operator in graph.operators for output in operator.outputs}
    tensor = int(graph.outputs[0])
    while graph.tensors[tensor].type != schema.TensorType.INT8:
        if tensor not in makers:
            raise ModelFileError("the file computes nothing in int8; expected one exported with --precision int8")
        tensor = int(makers[tensor].inputs[0])
    return tensor
