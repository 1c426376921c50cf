"""The last dense layer of an `.onnx` file: found by what makes the output, and put in another's place.

The file is changed as protobuf has it on the wire: fields are kept byte for byte or left out, new ones are written
behind them. Values are read of files as `export` writes them, little-endian `raw_data`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.dense import DenseHead, FeatureMap, FeatureTensor, int8_rows
from edge_effnet.formats.onnx import OnnxFile
from edge_effnet.formats.onnx_graph import MAX_ITEMS, OnnxInitializer, OnnxNode
from edge_effnet.formats.onnx_properties import PACKED, PROPERTIES
from edge_effnet.formats.onnx_writer import float_value, node, tensor
from edge_effnet.formats.protobuf import Message, encoded_field, spans, tag
from edge_effnet.formats.records import SHOWN
from edge_effnet.heads import Output

#: ModelProto's graph; of GraphProto: nodes, initializers, outputs, and what is said of tensors.
_GRAPH, _NODE, _INITIALIZER, _OUTPUT, _ABOUT_TENSORS = 7, 1, 5, 12, (13, 14)
#: What may stand between the last dense layer and the output.
_BEHIND = ("Softmax", "Sigmoid", "Identity", "Cast", "Flatten")
#: What may stand between a constant and its use.
_WIDENED = ("DequantizeLinear", "Cast")
#: What may stand between the pooling and the dense layer.
_SAME_VALUES = ("Flatten", "Identity")
Array = npt.NDArray[Any]


def features_of(file: OnnxFile) -> FeatureTensor:
    """Name and number of the features: what the last dense layer reads, or the output of a file that gives features.

    Raises ModelFileError where the output isn't made by one Gemm of them.
    """
    dense = _dense_node(file)
    if dense is not None:
        return FeatureTensor(dense.inputs[0], _weights(file, dense).dims[1 if dense.attributes.get("transB") else 0])
    shape = file.output.shape or ()
    if file.document is not None and file.document.head.kind == "features" and len(shape) == 2 and shape[1]:
        return FeatureTensor(file.output.name, shape[1])
    raise ModelFileError(
        f"{file.name}: its output isn't made by a dense layer; expected a network that ends in pooled features and one"
    )


def map_of(file: OnnxFile) -> FeatureMap:
    """The last feature map, [N, D, H, W], whose mean over all positions is what the last dense layer reads.

    Raises ModelFileError for a network that ends otherwise.
    """
    makers = _makers(file)
    step = makers.get(features_of(file).name)
    while step is not None and step.op_type in _SAME_VALUES:
        step = makers.get(step.inputs[0])
    if step is None or step.op_type != "GlobalAveragePool":
        raise ModelFileError(
            f"{file.name}: its features aren't the mean of a feature map; expected global pooling and one dense layer"
        )
    return FeatureMap(step.inputs[0], "CHW")


def dense_head(file: OnnxFile) -> DenseHead | None:
    """The file's own last dense layer in float32; None where it gives features."""
    dense = _dense_node(file)
    if dense is None:
        return None
    values = _Values(file)
    weights = values.of(dense.inputs[1])
    weights = weights if dense.attributes.get("transB") else weights.T
    bias = values.of(dense.inputs[2]) if len(dense.inputs) > 2 else np.zeros(len(weights), np.float32)
    return DenseHead(np.ascontiguousarray(weights, np.float32), bias.astype(np.float32))


def with_dense(file: OnnxFile, head: DenseHead, output: Output) -> bytes:
    """The model with another last dense layer, its weights stored as the old one's (int8 a row, float16 or float32).

    output: whether a softmax follows. What alone served the old end is left out, as are the document and packed files.
    """
    dense, features = _dense_node(file), features_of(file)
    stored = "float32" if dense is None else _weights(file, dense).dtype
    data = memoryview(b"".join(file.covered))
    parts: list[memoryview | bytes] = []
    for opening, start, content, end in spans(data, 0, len(data), name=file.name):
        if opening == tag(PROPERTIES) and Message(data, content, end, name=file.name).text(1).startswith(PACKED):
            continue
        if opening == tag(_GRAPH):
            graph = Message(data, content, end, name=file.name)
            old = _kept(file, data, content, end, features.name)
            new = _dense(features.name, head, stored) + _end(len(head.bias), output, _batch(graph))
            parts.append(encoded_field(_GRAPH, b"".join([*old, new])))
        else:
            parts.append(data[start:end])
    return b"".join(parts)


def _dense(features: str, head: DenseHead, stored: str) -> bytes:
    """The fields of the new layer: its constants, what widens them, and itself; it makes `logits`."""
    weights = head.weights.astype(np.float32)
    fields = [tensor("logits/bias", head.bias.astype(np.float32))]
    if stored == "int8":
        integers, scales = int8_rows(weights)
        names = ("logits/weight/int8", "logits/weight/scale", "logits/weight/zero_point")
        values: tuple[Array, ...] = (integers, scales, np.zeros(len(scales), np.int8))
        fields += [tensor(name, value) for name, value in zip(names, values, strict=True)]
        fields.append(node("DequantizeLinear", names, "logits/weight", axis=0))
    elif stored == "float16":
        fields.append(tensor("logits/weight/float16", weights.astype(np.float16)))
        fields.append(node("Cast", ("logits/weight/float16",), "logits/weight", to=1))
    else:
        fields.append(tensor("logits/weight", weights))
    return b"".join([*fields, node("Gemm", (features, "logits/weight", "logits/bias"), "logits", transB=1)])


def _end(classes: int, output: Output, batch: int | str | None) -> bytes:
    """The fields of the graph's end: a softmax where it is asked for, and the output."""
    if output != "probabilities":
        return float_value(_OUTPUT, "logits", (batch, classes))
    return node("Softmax", ("logits",), output, axis=-1) + float_value(_OUTPUT, output, (batch, classes))


def _batch(graph: Message) -> int | str | None:
    """The first side of the graph's output: its length, its name, or None where the file doesn't say it."""
    kind = graph.messages(_OUTPUT, limit=MAX_ITEMS)[0].message(2)
    array = None if kind is None else kind.message(1)
    shape = None if array is None else array.message(2)
    sides = [] if shape is None else shape.messages(1, limit=MAX_ITEMS)
    return (sides[0].integer(1) or sides[0].text(2) or None) if sides else None


def _kept(file: OnnxFile, data: memoryview, start: int, end: int, last: str) -> list[memoryview]:
    """The graph's fields that the tensor `last` needs."""
    nodes, names = _needed(file, last)
    place, kept = 0, []
    for opening, first, content, stop in spans(data, start, end, name=file.name):
        field = Message(data, content, stop, name=file.name) if opening in _NAMED else None
        keep = opening != tag(_OUTPUT)
        if opening == tag(_NODE):
            keep, place = place in nodes, place + 1
        elif field is not None:
            keep = field.text(_NAMED[opening]) in names
        if keep:
            kept.append(data[first:stop])
    return kept


#: What opens a field that is about one tensor → the number of the field with its name.
_NAMED = {tag(_INITIALIZER): 8, **{tag(number): 1 for number in _ABOUT_TENSORS}}


def _needed(file: OnnxFile, last: str) -> tuple[Collection[int], Collection[str]]:
    """(places of the nodes, names of the tensors) that the tensor needs, itself among them."""
    nodes, names = set(), {last}
    for place in range(len(file.nodes) - 1, -1, -1):
        if names.intersection(file.nodes[place].outputs):
            nodes.add(place)
            names.update(file.nodes[place].inputs)
    return nodes, names


def _makers(file: OnnxFile) -> dict[str, OnnxNode]:
    return {name: node for node in file.nodes for name in node.outputs}


def _dense_node(file: OnnxFile) -> OnnxNode | None:
    """The last dense layer; None where the output is made by something else."""
    makers = _makers(file)
    step = makers.get(file.output.name)
    while step is not None and step.op_type in _BEHIND and makers.get(step.inputs[0]) is not None:
        step = makers[step.inputs[0]]
    return step if step is not None and step.op_type == "Gemm" and len(step.inputs) > 1 else None


def _weights(file: OnnxFile, dense: OnnxNode) -> OnnxInitializer:
    """The constant behind the layer's weights; raises ModelFileError where they aren't a matrix."""
    makers, name = _makers(file), dense.inputs[1]
    while (maker := makers.get(name)) is not None and maker.op_type in _WIDENED:
        name = maker.inputs[0]
    found = next((item for item in file.initializers if item.name == name and len(item.dims) == 2), None)
    if found is None:
        raise ModelFileError(f"{file.name}: its last dense layer has no weights of two sides; expected [C, D]")
    return found


@dataclass(frozen=True)
class _Values:
    """The values of a file's constants."""

    file: OnnxFile

    def of(self, name: str) -> Array:
        """float32, widened where they are stored as int8 of a row or float16; raises ModelFileError for others."""
        step = _makers(self.file).get(name)
        if step is None or step.op_type not in _WIDENED:
            return self._constant(name).astype(np.float32)
        values = self._constant(step.inputs[0]).astype(np.float32)
        if step.op_type == "Cast":
            return values
        sides = [-1 if side == step.attributes.get("axis", 1) else 1 for side in range(values.ndim)]
        scale, *zero_point = (self._constant(other).astype(np.float32) for other in step.inputs[1:])
        shift = zero_point[0] if zero_point else np.zeros_like(scale)
        found: Array = (values - shift.reshape(sides)) * scale.reshape(sides)
        return found

    def _constant(self, name: str) -> Array:
        item = next((item for item in self.file.initializers if item.name == name), None)
        if item is None or item.raw is None or item.dtype not in ("float32", "float16", "int8", "uint8"):
            found = "no constant" if item is None else f"{item.dtype}, or not as raw_data"
            raise ModelFileError(
                f"{self.file.name}: {name!r:.{SHOWN}} of its last dense layer is {found}; expected a file of "
                "edge-effnet's"
            )
        return np.frombuffer(item.raw, np.dtype(item.dtype).newbyteorder("<")).reshape(item.dims)
