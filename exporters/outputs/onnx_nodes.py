"""One function an operator: from a node of the graph to operators of an `.onnx` file."""

from __future__ import annotations

import math

import numpy as np

from edge_effnet.exporters.outputs.onnx_tensors import OnnxTensors
from edge_effnet.network.activations import LEAK, Fused
from edge_effnet.network.graph import (
    Activation,
    Add,
    Border,
    Conv2D,
    Convolution,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalMean,
    Mul,
    Node,
    Softmax,
    frame_nhwc,
)
from edge_effnet.network.operators import unsupported
from edge_effnet.numerics import SIGMOID_PARAMS, quantize


def emit_node(table: OnnxTensors, node: Node) -> str:
    """The node's operators; the name of its float32 output.

    Raises OperatorError for a node that the format can't hold.
    """
    inputs = [table.read(name) for name in node.inputs]
    output = f"{node.name}/float" if node.name in table.quantized.activations else node.name
    match node:
        case Conv2D() | DepthwiseConv2D():
            return _convolution(table, node, inputs[0], output)
        case Dense():
            target = output if node.activation == "none" else f"{output}/sum"
            total = table.node("Gemm", [inputs[0], table.weight(node), table.bias(node)], target, transB=1)
            return _clipped(table, total, output, node.activation)
        case Activation():
            return _activation(table, node, inputs[0], output)
        case Add():
            total = table.node("Add", inputs, output if node.activation == "none" else f"{output}/sum")
            return _clipped(table, total, output, node.activation)
        case Mul():
            return table.node("Mul", inputs, output)
        case GlobalMean():
            return _mean(table, node, inputs[0], output)
        case Flatten():
            last = table.node("Transpose", inputs, f"{output}/nhwc", perm=[0, 2, 3, 1])
            return table.node("Flatten", [last], output)
        case Border():
            return _float_border(table, node, inputs[0], output)
        case Softmax():
            return table.node("Softmax", inputs, output, axis=-1)
    raise unsupported(node, "the ONNX emitter")


def _convolution(table: OnnxTensors, node: Convolution, tensor: str, output: str) -> str:
    pad = node.padding
    target = output if node.activation == "none" else f"{output}/sum"
    total = table.node(
        "Conv",
        [tensor, table.weight(node), table.bias(node)],
        target,
        kernel_shape=list(node.kernel),
        strides=[node.stride, node.stride],
        dilations=[node.dilation, node.dilation],
        pads=[pad.top, pad.left, pad.bottom, pad.right],
        group=node.groups if isinstance(node, Conv2D) else len(node.bias),
    )
    return _clipped(table, total, output, node.activation)


def _clipped(table: OnnxTensors, tensor: str, output: str, activation: Fused) -> str:
    if activation == "none":
        return tensor
    if activation == "relu":
        return table.node("Relu", [tensor], output)
    limits = [table.constant(f"limit/{value:g}", np.array(value, np.float32)) for value in (0.0, 6.0)]
    return table.node("Clip", [tensor, *limits], output)


def _activation(table: OnnxTensors, node: Activation, tensor: str, output: str) -> str:
    match node.kind:
        case "swish":
            return _swish(table, node, tensor, output)
        case "relu" | "relu6":
            return _clipped(table, tensor, output, node.kind)
        case "sigmoid" | "tanh":
            return table.node(node.kind.capitalize(), [tensor], output)
        case "hard_swish":
            return table.node("HardSwish", [tensor], output)
        case "hard_sigmoid":
            return table.node("HardSigmoid", [tensor], output, alpha=1 / 6, beta=0.5)
        case "leaky_relu":
            return table.node("LeakyRelu", [tensor], output, alpha=LEAK)
        case "gelu":
            return _gelu(table, node, tensor, output)
    raise unsupported(node, "the ONNX emitter")


def _gelu(table: OnnxTensors, node: Activation, tensor: str, output: str) -> str:
    """x · σ(2 · √(2/π) · (x + 0.044715 x³)), its tanh form: opset 17 has no operator for it."""
    values = {"cubic": 0.044715, "one": 1.0, "inner": 2 * math.sqrt(2 / math.pi)}
    cubic, one, inner = (table.constant(f"gelu/{name}", np.array(v, np.float32)) for name, v in values.items())
    square = table.node("Mul", [tensor, tensor], f"{node.name}/square")
    bent = table.node("Add", [table.node("Mul", [square, cubic], f"{node.name}/cubic"), one], f"{node.name}/bent")
    argument = table.node("Mul", [tensor, bent], f"{node.name}/argument")
    gate = table.node("Sigmoid", [table.node("Mul", [argument, inner], f"{node.name}/scaled")], f"{node.name}/gate")
    return table.node("Mul", [tensor, gate], output)


def _swish(table: OnnxTensors, node: Activation, tensor: str, output: str) -> str:
    """Sigmoid and product; between int8 tensors with the sigmoid rounded to 1/256, as in the `.tflite` file.

    ONNX Runtime then runs both as integer table look-up and product. Left in float32 between a DequantizeLinear
    and a QuantizeLinear they are not fused to its QuickGelu, and B0 is slower than in float32.
    """
    gate = table.node("Sigmoid", [tensor], f"{node.name}/sigmoid")
    if node.name in table.quantized.activations and node.inputs[0] in table.quantized.activations:
        params = [
            table.constant("sigmoid/scale", np.array(SIGMOID_PARAMS.scale, np.float32)),
            table.constant("sigmoid/zero_point", np.array(SIGMOID_PARAMS.zero_point + 128, np.uint8)),
        ]
        gate = table.node("QuantizeLinear", [gate, *params], f"{node.name}/sigmoid/quantized")
        gate = table.node("DequantizeLinear", [gate, *params], f"{node.name}/sigmoid/dequantized")
    return table.node("Mul", [tensor, gate], output)


def _mean(table: OnnxTensors, node: GlobalMean, tensor: str, output: str) -> str:
    if node.keep_dims:
        return table.node("GlobalAveragePool", [tensor], output)
    return table.node("Flatten", [table.node("GlobalAveragePool", [tensor], f"{output}/mean")], output)


def integer_border(table: OnnxTensors, node: Border) -> str:
    """Zeros around the pixels, then the larger of them and a frame of constants: stays uint8, any batch."""
    params = table.quantized.activations[node.inputs[0]]
    frame = quantize(
        frame_nhwc(node, table.shapes[node.name]).transpose(0, 3, 1, 2),
        params.scale,
        params.zero_point + 128,
        dtype=np.uint8,
    )
    lowest = table.constant(f"{node.name}/lowest", np.array(0, np.uint8))
    padded = table.node("Pad", [table.integers[node.inputs[0]], _pads(table, node), lowest], f"{node.name}/padded")
    return table.node("Max", [padded, table.constant(f"{node.name}/frame", frame)], f"{node.name}/quantized")


def _float_border(table: OnnxTensors, node: Border, tensor: str, output: str) -> str:
    padded = table.node("Pad", [tensor, _pads(table, node)], f"{output}/padded")
    return table.node(
        "Add",
        [
            padded,
            table.constant(f"{node.name}/frame", frame_nhwc(node, table.shapes[node.name]).transpose(0, 3, 1, 2)),
        ],
        output,
    )


def _pads(table: OnnxTensors, node: Border) -> str:
    pad = node.padding
    return table.constant(
        f"{node.name}/pads", np.array([0, 0, pad.top, pad.left, 0, 0, pad.bottom, pad.right], np.int64)
    )
