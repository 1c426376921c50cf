"""One function an operator: from a node of the graph to operators of a `.tflite` file, in int8 or in float32.

Rules of the integer operators: TFLite's quantization specification and the checks of its kernels.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge_effnet.exporters.outputs.tflite_tensors import TensorTable, fused
from edge_effnet.network.activations import LEAK, Kind
from edge_effnet.network.geometry import NO_PADDING, Padding, reach, same_padding
from edge_effnet.network.graph import (
    Activation,
    Add,
    Border,
    Conv2D,
    Convolution,
    Dense,
    DepthwiseConv2D,
    Flatten,
    FloatArray,
    GlobalMean,
    Mul,
    Node,
    Shape,
    Softmax,
    frame_nhwc,
)
from edge_effnet.network.operators import unsupported
from edge_effnet.numerics import SIGMOID_PARAMS, QuantParams, quantize
from edge_effnet.quantization.records import QuantizedWeight

#: Where several pixels are multiplied by their channels' factors at once. XNNPACK joins five tensors at most.
_FEW_CHANNELS, _MANY_PIXELS, _TOGETHER = 64, 3000, 4
#: Activations that are one operator of the format.
_ONE_OPERATOR: dict[Kind, str] = {
    "sigmoid": "LOGISTIC",
    "relu": "RELU",
    "relu6": "RELU6",
    "hard_swish": "HARD_SWISH",
    "leaky_relu": "LEAKY_RELU",
    "gelu": "GELU",
    "tanh": "TANH",
}


def emit_node(table: TensorTable, node: Node, params: QuantParams | None) -> int:
    """The node's operators; the index of its output. params: the output's, in int8; None in float32.

    Raises OperatorError for a node that the format can't hold.
    """
    inputs = [table.read(name, integer=params is not None) for name in node.inputs]
    match node:
        case Conv2D() | DepthwiseConv2D():
            return _convolution(table, node, inputs[0], params)
        case Dense():
            return _dense(table, node, inputs[0], params)
        case Activation():
            return _activation(table, node, inputs[0], params)
        case Add():
            output = table.make(node.name, table.shapes[node.name], params)
            options = schema.AddOptionsT(fusedActivationFunction=fused(node.activation))
            return table.operator("ADD", inputs, output, params is not None, options)
        case Mul():
            return _product(table, node, inputs, params)
        case GlobalMean():
            output = table.make(node.name, table.shapes[node.name], params)
            axes = table.writer.shared_constant("mean/axes", np.array([1, 2], np.int32))
            options = schema.ReducerOptionsT(keepDims=node.keep_dims)
            return table.operator("MEAN", [*inputs, axes], output, params is not None, options)
        case Flatten():
            shape = table.shapes[node.name]
            return table.reshape(inputs[0], table.make(node.name, shape, params), shape)
        case Border():
            return _border(table, node, inputs[0], params)
        case Softmax() if params is None:
            output = table.make(node.name, table.shapes[node.name], None)
            return table.writer.operator("SOFTMAX", inputs, output, options=schema.SoftmaxOptionsT(beta=1.0))
    raise unsupported(node, "the TFLite emitter")


def _activation(table: TensorTable, node: Activation, tensor: int, params: QuantParams | None) -> int:
    if node.kind == "swish":
        return _swish(table, node, tensor, params)
    if node.kind == "hard_sigmoid":
        return _hard_sigmoid(table, node, tensor)
    options = None
    if node.kind == "leaky_relu":
        options = schema.LeakyReluOptionsT(alpha=LEAK)
    elif node.kind == "gelu":
        options = schema.GeluOptionsT(approximate=True)
    output = table.make(node.name, table.shapes[node.name], params)
    return table.operator(_ONE_OPERATOR[node.kind], [tensor], output, params is not None, options)


def _hard_sigmoid(table: TensorTable, node: Activation, tensor: int) -> int:
    """relu6(x + 3) / 6, in float32: the format has no operator for it."""
    shape = table.shapes[node.name]
    three, sixth = (
        table.writer.constant(f"{node.name}/{name}", np.array([value], np.float32))
        for name, value in (("3", 3.0), ("1_6", 1 / 6))
    )
    options = schema.AddOptionsT(fusedActivationFunction=fused("relu6"))
    raised = table.operator("ADD", [tensor, three], table.make(f"{node.name}/raised", shape, None), False, options)
    return table.operator("MUL", [raised, sixth], table.make(node.name, shape, None), False, schema.MulOptionsT())


def _convolution(table: TensorTable, node: Convolution, tensor: int, params: QuantParams | None) -> int:
    """CONV_2D or DEPTHWISE_CONV_2D."""
    integer = params is not None
    if integer and isinstance(node, DepthwiseConv2D) and _side_by_side(node, table.shapes[node.name]):
        return _factors(table, node, tensor, params)
    tensor, scheme = _padded(table, node, tensor, integer)
    inputs = [tensor, table.weight(node, integer), table.bias(node, integer)]
    output = table.make(node.name, table.shapes[node.name], params)
    code = "CONV_2D" if isinstance(node, Conv2D) else "DEPTHWISE_CONV_2D"
    return table.operator(code, inputs, output, integer, _convolution_options(node, scheme))


def _padded(table: TensorTable, node: Convolution, tensor: int, integer: bool) -> tuple[int, int]:
    """SAME or VALID where one of them means this padding, otherwise an explicit PAD before a VALID convolution."""
    name = node.inputs[0]
    _, height, width, channels = table.shapes[name]
    rows, columns = (reach(size, node.dilation) for size in node.kernel)
    same = Padding(*same_padding(height, rows, node.stride), *same_padding(width, columns, node.stride))
    if node.padding == NO_PADDING:
        return tensor, schema.Padding.VALID
    if node.padding == same:
        return tensor, schema.Padding.SAME
    pad = node.padding
    shape = (1, height + pad.top + pad.bottom, width + pad.left + pad.right, channels)
    target = table.make(f"{node.name}/padded", shape, table.quantized.activations[name] if integer else None)
    return table.pad(f"{node.name}/pad", tensor, pad, target, integer), schema.Padding.VALID


def _dense(table: TensorTable, node: Dense, tensor: int, params: QuantParams | None) -> int:
    """float32 logits from float32 features, so that no two classes tie."""
    inputs = [tensor, table.weight(node, params is not None), table.bias(node, params is not None)]
    output = table.make(node.name, table.shapes[node.name], params)
    options = schema.FullyConnectedOptionsT(fusedActivationFunction=fused(node.activation))
    return table.operator("FULLY_CONNECTED", inputs, output, params is not None, options)


def _swish(table: TensorTable, node: Activation, tensor: int, params: QuantParams | None) -> int:
    """LOGISTIC and MUL of one tensor, side by side: XNNPACK runs the int8 pair as one table look-up."""
    shape, integer = table.shapes[node.name], params is not None
    gate = table.make(f"{node.name}/sigmoid", shape, SIGMOID_PARAMS if integer else None)
    table.operator("LOGISTIC", [tensor], gate, integer)
    return table.operator("MUL", [tensor, gate], table.make(node.name, shape, params), integer, schema.MulOptionsT())


def _product(table: TensorTable, node: Mul, inputs: list[int], params: QuantParams | None) -> int:
    """MUL; a gate for few channels is laid side by side for several pixels at once."""
    shape = table.shapes[node.name]
    output = table.make(node.name, shape, params)
    together = _pixels_together(shape) if params is not None and table.shapes[node.inputs[1]] != shape else 1
    if params is None or together == 1:
        return table.operator("MUL", inputs, output, params is not None, schema.MulOptionsT())
    values, factors = (table.quantized.activations[name] for name in node.inputs)
    gates = table.make(f"{node.name}/gates", (1, 1, 1, shape[3] * together), factors)
    table.operator("CONCATENATION", [inputs[1]] * together, gates, True, schema.ConcatenationOptionsT(axis=3))
    wide = _wide(shape, together)
    pixels = table.reshape(inputs[0], table.make(f"{node.name}/pixels", wide, values), wide)
    product = table.operator(
        "MUL", [pixels, gates], table.make(f"{node.name}/product", wide, params), True, schema.MulOptionsT()
    )
    return table.reshape(product, output, shape)


def _factors(table: TensorTable, node: DepthwiseConv2D, tensor: int, params: QuantParams | None) -> int:
    """A depthwise convolution of one pixel, for several pixels at once."""
    shape = table.shapes[node.name]
    together = _pixels_together(shape)
    wide, source, stored = (
        _wide(shape, together),
        table.quantized.activations[node.inputs[0]],
        table.quantized.weights[node.name],
    )
    pixels = table.reshape(tensor, table.make(f"{node.name}/pixels", wide, source), wide)
    repeated = QuantizedWeight(np.tile(stored.values, together), np.tile(stored.scales, together))
    inputs = [
        pixels,
        table.int8_weight(f"{node.name}/weight", node, repeated),
        table.int32_bias(node, np.tile(node.bias, together), repeated.scales),
    ]
    options = _convolution_options(node, schema.Padding.VALID)
    product = table.operator(
        "DEPTHWISE_CONV_2D", inputs, table.make(f"{node.name}/product", wide, params), True, options
    )
    return table.reshape(product, table.make(node.name, shape, params), shape)


def _border(table: TensorTable, node: Border, tensor: int, params: QuantParams | None) -> int:
    """Columns, then rows, of constant pixels joined on: a copy, where adding a constant frame would cost 0.5 ms."""
    shape, pad = table.shapes[node.name], node.padding
    frame = frame_nhwc(node, shape)
    inner = frame[:, pad.top : shape[1] - pad.bottom]
    columns = (inner[:, :, : pad.left], inner[:, :, shape[2] - pad.right :])
    tensor = _joined(table, f"{node.name}/columns", tensor, columns, inner.shape, params, axis=2)
    rows = (frame[:, : pad.top], frame[:, shape[1] - pad.bottom :])
    return _joined(table, node.name, tensor, rows, shape, params, axis=1)


def _joined(
    table: TensorTable,
    name: str,
    tensor: int,
    strips: tuple[FloatArray, FloatArray],
    shape: Shape,
    params: QuantParams | None,
    *,
    axis: int,
) -> int:
    """CONCATENATION of the strip before, the tensor and the strip after; empty strips are left out."""
    before, after = (
        [_strip(table, f"{name}/{side}", strip, params)] if strip.size else []
        for side, strip in zip(("before", "after"), strips, strict=True)
    )
    if not before and not after:
        return tensor
    output = table.make(name, shape, params)
    return table.operator(
        "CONCATENATION",
        [*before, tensor, *after],
        output,
        params is not None,
        schema.ConcatenationOptionsT(axis=axis),
    )


def _strip(table: TensorTable, name: str, values: FloatArray, params: QuantParams | None) -> int:
    if params is None:
        return table.writer.constant(name, values)
    integers = quantize(values, params.scale, params.zero_point)
    return table.writer.constant(
        name, integers, scales=np.array([params.scale], np.float32), zero_point=params.zero_point
    )


def _convolution_options(node: Convolution, scheme: int) -> object:
    common = {
        "padding": scheme,
        "strideW": node.stride,
        "strideH": node.stride,
        "dilationWFactor": node.dilation,
        "dilationHFactor": node.dilation,
        "fusedActivationFunction": fused(node.activation),
    }
    if isinstance(node, Conv2D):
        return schema.Conv2DOptionsT(**common)
    return schema.DepthwiseConv2DOptionsT(depthMultiplier=1, **common)


def _pixels_together(shape: Shape) -> int:
    """How many pixels are multiplied at once: XNNPACK calls its kernel for every row of factors, which costs as much as
    32 channels.
    """
    pixels = shape[1] * shape[2]
    return _TOGETHER if shape[3] <= _FEW_CHANNELS and pixels >= _MANY_PIXELS and pixels % _TOGETHER == 0 else 1


def _side_by_side(node: DepthwiseConv2D, shape: Shape) -> bool:
    return node.kernel == (1, 1) and node.stride == 1 and _pixels_together(shape) > 1


def _wide(shape: Shape, together: int) -> Shape:
    return (1, 1, shape[1] * shape[2] // together, shape[3] * together)
