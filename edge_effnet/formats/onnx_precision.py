"""In which precision each ONNX node computes, as far as the file says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from edge_effnet.formats.onnx_graph import DATA_TYPES, OnnxInitializer, OnnxNode

#: Engines fuse these into the quantized operator before them.
_FUSED = ("Relu", "Clip")
_INTEGER_ARITHMETIC = ("ConvInteger", "MatMulInteger")
_QUANTIZED_PREFIX = "QLinear"
#: Operators whose result has a type of its own.
_OWN_TYPE = {
    "Shape": "int64",
    "Size": "int64",
    "NonZero": "int64",
    "ArgMax": "int64",
    "ArgMin": "int64",
    "DequantizeLinear": "float32",
}
_DEFAULT_QUANTIZED = "uint8"


def node_precisions(nodes: Sequence[OnnxNode], known: Mapping[str, str]) -> tuple[str, ...]:
    """Each node's precision: "int8" for integer arithmetic and for a node between DequantizeLinear and QuantizeLinear.

    known: tensor name → dtype, of inputs, initializers and whatever else the file says; these names count as constants
    when they stand among a node's inputs and no node makes them. Otherwise the dtype of the first output.
    """
    types = _types(nodes, known)
    int8 = _between_quantizers(nodes)
    return tuple(
        "int8" if int8[index] or _is_integer(node) else _first_type(node.outputs, types)
        for index, node in enumerate(nodes)
    )


def _is_integer(node: OnnxNode) -> bool:
    return node.op_type in _INTEGER_ARITHMETIC or node.op_type.startswith(_QUANTIZED_PREFIX)


def _first_type(names: Iterable[str], types: Mapping[str, str]) -> str:
    return next((types[name] for name in names if name in types), "unknown")


def _types(nodes: Sequence[OnnxNode], known: Mapping[str, str]) -> dict[str, str]:
    """Tensor name → dtype; what the file doesn't say follows the first input whose type is known."""
    types = dict(known)
    for node in nodes:
        made = _made_type(node, types)
        for name in node.outputs:
            types.setdefault(name, made)
    return types


def _made_type(node: OnnxNode, types: Mapping[str, str]) -> str:
    if node.op_type == "QuantizeLinear":
        return _first_type(node.inputs[2:3], types) if len(node.inputs) > 2 else _DEFAULT_QUANTIZED
    if node.op_type in ("Constant", "ConstantOfShape"):
        value = node.attributes.get("value")
        return value.dtype if isinstance(value, OnnxInitializer) else "float32"
    if node.op_type == "Cast":
        return DATA_TYPES.get(node.attributes.get("to", 0), ("unknown", 0))[0]
    return _OWN_TYPE.get(node.op_type) or _first_type(node.inputs, types)


def _between_quantizers(nodes: Sequence[OnnxNode]) -> list[bool]:
    """Which nodes take dequantized tensors alone and are quantized again at once, or after an activation that fuses."""
    maker = {name: index for index, node in enumerate(nodes) for name in node.outputs if name}
    readers: defaultdict[str, list[int]] = defaultdict(list)
    for index, node in enumerate(nodes):
        for name in node.inputs:
            readers[name].append(index)
    fed = _fed_by_quantized(nodes, maker)
    inside = [False] * len(nodes)
    for index in range(len(nodes) - 1, -1, -1):
        after = [reader for name in nodes[index].outputs for reader in readers[name]]
        ends = [
            nodes[reader].op_type == "QuantizeLinear" or (nodes[reader].op_type in _FUSED and inside[reader])
            for reader in after
        ]
        inside[index] = fed[index] and bool(ends) and all(ends)
    return inside


def _fed_by_quantized(nodes: Sequence[OnnxNode], maker: Mapping[str, int]) -> list[bool]:
    """Which nodes have a DequantizeLinear (or, for an activation, a fed node) before each input that a node makes."""
    fed = [False] * len(nodes)
    for index, node in enumerate(nodes):
        before = [maker[name] for name in node.inputs if name in maker]
        kinds = [nodes[made].op_type == "DequantizeLinear" or (node.op_type in _FUSED and fed[made]) for made in before]
        fed[index] = node.op_type != "QuantizeLinear" and bool(kinds) and all(kinds)
    return fed
