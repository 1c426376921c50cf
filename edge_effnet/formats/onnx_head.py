"""The pooled features of an `.onnx` file: what the last dense layer reads."""

from __future__ import annotations

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.dense import FeatureTensor
from edge_effnet.formats.onnx import OnnxFile

#: What may stand between the last dense layer and the output.
_BEHIND = ("Softmax", "Sigmoid", "Identity", "Cast", "Flatten")
#: What may stand between a constant and its use.
_WIDENED = ("DequantizeLinear", "Cast")


def features_of(file: OnnxFile) -> FeatureTensor:
    """Name and number of the features; raises ModelFileError where the output isn't made by one Gemm of them."""
    makers = {name: node for node in file.nodes for name in node.outputs}
    node = makers.get(file.output.name)
    while node is not None and node.op_type in _BEHIND:
        node = makers.get(node.inputs[0])
    if node is None or node.op_type != "Gemm" or len(node.inputs) < 2:
        raise ModelFileError(
            f"{file.name}: its output isn't made by a dense layer; expected a network that ends in pooled features and "
            "one"
        )
    weights = node.inputs[1]
    while (maker := makers.get(weights)) is not None and maker.op_type in _WIDENED:
        weights = maker.inputs[0]
    dims = next((item.dims for item in file.initializers if item.name == weights), ())
    if len(dims) != 2:
        raise ModelFileError(f"{file.name}: its last dense layer has no weights of two sides; expected [C, D]")
    return FeatureTensor(node.inputs[0], dims[1] if node.attributes.get("transB") else dims[0])
