"""The last dense layer of an `.onnx` file: found by what makes the output, and put in another's place.

The file is changed as protobuf has it on the wire: fields are kept byte for byte or left out, new ones are written
behind them. Values are read of files as `export` writes them, little-endian `raw_data`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.dense import INNER_MAPS, JOINED, DenseHead, FeatureMap, FeatureTensor, int8_rows
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
_POOLS, _JOIN = ("GlobalAveragePool", "ReduceMean"), "Concat"
Array = npt.NDArray[Any]


def features_of(file: OnnxFile) -> FeatureTensor:
    """Name and number of the pooled features: what the last dense layer reads, without the means of other maps that
    stand behind them, or the output of a file that gives features.

    Raises ModelFileError where the output isn't made by one Gemm of them.
    """
    name, dense = _feature_name(file), _dense_node(file)
    if dense is None:
        return FeatureTensor(name, (file.output.shape or (0, 0))[1] or 0)
    size = _constant_of(file, dense.inputs[1]).dims[1 if dense.attributes.get("transB") else 0]
    return FeatureTensor(name, size - sum(found.size for found in _further_maps(file, dense)))


def _feature_name(file: OnnxFile) -> str:
    dense = _dense_node(file)
    if dense is not None:
        return _parts(file, dense.inputs[0])[0]
    shape = file.output.shape or ()
    if file.document is not None and file.document.head.kind == "features" and len(shape) == 2 and shape[1]:
        return file.output.name
    raise ModelFileError(
        f"{file.name}: its output isn't made by a dense layer; expected a network that ends in pooled features and one"
    )


def dense_maps(file: OnnxFile) -> tuple[FeatureMap, ...]:
    """The maps, [N, D, H, W], whose means over all positions the last dense layer reads, in order.

    Raises ModelFileError for a network that ends otherwise.
    """
    features, dense = features_of(file), _dense_node(file)
    name = _pooled(_makers(file), features.name)
    if name is None:
        raise ModelFileError(
            f"{file.name}: its features aren't the mean of a feature map; expected global pooling and one dense layer"
        )
    return (FeatureMap(name, features.size, "CHW"), *(() if dense is None else _further_maps(file, dense)))


def inner_maps(file: OnnxFile) -> tuple[FeatureMap, ...]:
    """What the last 1×1 convolution that takes channels away reads, at each of the coarsest sizes, coarsest first.

    In MBConv's networks that is the last block's expanded map at a stride of 32, and the one at 16.
    """
    nodes, _ = _needed(file, _feature_name(file))
    strides: dict[str, int] = {item.name: 1 for item in file.inputs}
    last: dict[int, FeatureMap] = {}
    for place, step in enumerate(file.nodes):
        known = [strides[name] for name in step.inputs if name in strides]
        if place not in nodes or not known or step.op_type in _POOLS:
            continue
        stride = max(known)
        if step.op_type == "Conv":
            filters, channels, *sides = _constant_of(file, step.inputs[1]).dims
            if sides == [1, 1] and filters < channels and step.inputs[0] in strides:
                last[stride] = FeatureMap(step.inputs[0], channels, "CHW")
            stride *= step.attributes.get("strides", (1,))[0]
        strides.update(dict.fromkeys(step.outputs, stride))
    return tuple(last[stride] for stride in sorted(last, reverse=True)[:INNER_MAPS])


def _pooled(makers: Mapping[str, OnnxNode], name: str) -> str | None:
    """The map that a tensor is the mean of; None where it isn't one's."""
    step = makers.get(name)
    while step is not None and step.op_type in _SAME_VALUES:
        step = makers.get(step.inputs[0])
    return step.inputs[0] if step is not None and step.op_type == "GlobalAveragePool" else None


def _parts(file: OnnxFile, name: str) -> tuple[str, ...]:
    """The means of maps that a tensor is put together of; otherwise itself."""
    makers = _makers(file)
    step = makers.get(name)
    if step is None or step.op_type != _JOIN or None in [_pooled(makers, part) for part in step.inputs]:
        return (name,)
    return step.inputs


def _further_maps(file: OnnxFile, dense: OnnxNode) -> tuple[FeatureMap, ...]:
    """The maps whose means the dense layer reads behind the features; raises ModelFileError for unknown ones."""
    parts = _parts(file, dense.inputs[0])[1:]
    makers, known = _makers(file), {found.name: found for found in inner_maps(file)} if parts else {}
    names = [_pooled(makers, part) for part in parts]
    if not set(names) <= set(known):
        raise ModelFileError(
            f"{file.name}: its last dense layer reads means of maps that aren't known; expected a file of edge-effnet's"
        )
    return tuple(known[name] for name in names if name is not None)


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


def with_dense(file: OnnxFile, head: DenseHead, maps: Sequence[FeatureMap], output: Output) -> bytes:
    """The model with another last dense layer, its weights stored as the old one's (int8 a row, float16 or float32).

    maps: those of `inner_maps` whose means stand behind the features. output: whether a softmax follows. What alone
    served the old end is left out, as are the document and packed files.
    """
    dense, features = _dense_node(file), _feature_name(file)
    stored = "float32" if dense is None else _constant_of(file, dense.inputs[1]).dtype
    data = memoryview(b"".join(file.covered))
    parts: list[memoryview | bytes] = []
    for opening, start, content, end in spans(data, 0, len(data), name=file.name):
        if opening == tag(PROPERTIES) and Message(data, content, end, name=file.name).text(1).startswith(PACKED):
            continue
        if opening == tag(_GRAPH):
            graph = Message(data, content, end, name=file.name)
            joined, read = _joined(features, maps)
            new = [joined, _dense(read, head, stored), _end(len(head.bias), output, _batch(graph))]
            parts.append(encoded_field(_GRAPH, b"".join([*_kept(file, data, content, end, features), *new])))
        else:
            parts.append(data[start:end])
    return b"".join(parts)


def _joined(features: str, maps: Sequence[FeatureMap]) -> tuple[bytes, str]:
    """(the fields of what puts the means of maps behind the features, the tensor with both)."""
    if not maps:
        return b"", features
    fields, parts = [], [features]
    for found in maps:
        parts.append(f"{found.name}/pooled")
        fields.append(node("GlobalAveragePool", (found.name,), f"{found.name}/mean"))
        fields.append(node("Flatten", (f"{found.name}/mean",), parts[-1], axis=1))
    return b"".join([*fields, node(_JOIN, parts, JOINED, axis=1)]), JOINED


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


def _constant_of(file: OnnxFile, name: str) -> OnnxInitializer:
    """The constant behind a layer's weights; raises ModelFileError where they have fewer than two sides."""
    makers = _makers(file)
    while (maker := makers.get(name)) is not None and maker.op_type in _WIDENED:
        name = maker.inputs[0]
    found = next((item for item in file.initializers if item.name == name and len(item.dims) > 1), None)
    if found is None:
        raise ModelFileError(f"{file.name}: {name!r:.{SHOWN}} are no weights of two sides or more; expected [C, D, …]")
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
