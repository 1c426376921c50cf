"""ONNX operators on the network's tensors.

Source of what each computes: https://onnx.ai/onnx/operators/ (opset 11 to 22 and the older forms' attributes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge_effnet.exporters.inputs.assembly.operands import (
    Arithmetic,
    Operand,
    batch_norm,
    clipped,
    combined,
    hard_sigmoid,
    same_window,
)
from edge_effnet.exporters.inputs.assembly.value import Value, refuse
from edge_effnet.exporters.inputs.onnx import moves
from edge_effnet.exporters.inputs.onnx.call import Call
from edge_effnet.exporters.inputs.onnx.constants import clip_limits
from edge_effnet.network.activations import LEAK, Kind
from edge_effnet.network.geometry import NO_PADDING, Padding
from edge_effnet.network.graph import Conv2D, is_activation

#: HardSigmoid's default slope and offset.
_HARD_SIGMOID = (0.2, 0.5)
_SOFTMAX_BY_AXIS = 13


def _one(values: Sequence[int], what: str) -> int:
    if len(set(values)) != 1 or values[0] < 1:
        refuse(f"{what} {list(values)}", "the same along both sides")
    return int(values[0])


def _window(call: Call, kernel: tuple[int, int], stride: int, dilation: int) -> Padding:
    auto = call.step.attributes.get("auto_pad", "NOTSET") or "NOTSET"
    if auto.startswith("SAME"):
        return same_window(call.value, kernel, stride, dilation, lower="lower" if auto == "SAME_LOWER" else "")
    pads = call.step.attributes.get("pads", (0, 0, 0, 0))
    if auto == "VALID":
        return NO_PADDING
    if len(pads) != 4 or min(pads) < 0:
        refuse(f"{call.name!r} with pads {list(pads)}", "four of 0 or more")
    return Padding(top=pads[0], bottom=pads[2], left=pads[1], right=pads[3])


def _conv(call: Call) -> Operand:
    weight, bias, attributes = call.weights(1), call.constant(2), call.step.attributes
    if weight.ndim != 4 or call.value.axes != "NCHW":
        refuse(f"{call.name!r}, weights {list(weight.shape)} on {list(call.value.shape)}", "a 2-D convolution in NCHW")
    stride = _one(attributes.get("strides", (1, 1)), "strides")
    dilation = _one(attributes.get("dilations", (1, 1)), "dilations")
    kernel = (weight.shape[2], weight.shape[3])
    return call.assembler.convolution(
        call.value,
        weight.transpose(0, 2, 3, 1),
        bias=bias,
        name=call.name,
        stride=stride,
        padding=_window(call, kernel, stride, dilation),
        dilation=dilation,
        groups=attributes.get("group", 1),
    )


def _gemm(call: Call) -> Operand:
    attributes, weight, bias = call.step.attributes, call.weights(1), call.constant(2)
    if attributes.get("transA"):
        refuse(f"{call.name!r} with a transposed image", "transA 0")
    weight = weight if attributes.get("transB") else weight.T
    weight = weight * np.float32(attributes.get("alpha", 1.0)) if attributes.get("alpha", 1.0) != 1 else weight
    if bias is not None:
        bias = np.broadcast_to(bias * attributes.get("beta", 1.0), (1, len(weight))).reshape(-1)
    return call.assembler.dense(call.value, weight, bias=bias, name=call.name)


def _matmul(call: Call) -> Operand:
    weight = call.weights(1)
    if weight.ndim != 2:
        refuse(f"{call.name!r} with weights {list(weight.shape)}", "[inputs, outputs]")
    return call.assembler.dense(call.value, weight.T, bias=None, name=call.name)


def _batch_norm(call: Call) -> Operand:
    names = ("weight", "bias", "running_mean", "running_var")
    parts = {name: call.weights(place) for place, name in enumerate(names, 1)}
    return batch_norm(call.assembler, call.value, parts, call.step.attributes.get("epsilon", 1e-5), name=call.name)


def _activation(kind: Kind) -> Callable[[Call], Operand]:
    return lambda call: call.assembler.activation(call.value, kind, name=call.name)


def _arithmetic(kind: Arithmetic) -> Callable[[Call], Operand]:
    def run(call: Call) -> Operand:
        left, right = call.operands[:2]
        if left is None or right is None:
            refuse(f"{call.name!r} without a second operand", "two")
        return combined(call.assembler, kind, left, right, name=call.name)

    return run


def _clip(call: Call) -> Operand:
    return clipped(call.assembler, call.value, *clip_limits(call.step, call.constants), name=call.name)


def _hard_sigmoid(call: Call) -> Operand:
    slope = call.step.attributes.get("alpha", _HARD_SIGMOID[0])
    return hard_sigmoid(
        call.assembler, call.value, slope, call.step.attributes.get("beta", _HARD_SIGMOID[1]), name=call.name
    )


def _leaky(call: Call) -> Operand:
    slope = call.step.attributes.get("alpha", LEAK)
    if not math.isclose(slope, LEAK, rel_tol=1e-5):
        refuse(f"{call.name!r}, a leaky ReLU of slope {slope}", f"the slope {LEAK}")
    return call.assembler.activation(call.value, "leaky_relu", name=call.name)


def _gelu(call: Call) -> Operand:
    if call.step.attributes.get("approximate", "none") != "tanh":
        refuse(f"{call.name!r}, GELU by the error function", "its tanh form")
    return call.assembler.activation(call.value, "gelu", name=call.name)


def _bound(limit: str) -> Callable[[Call], Operand]:
    """Max(x, 0) and Min(relu(x), 6), as converters write ReLU6."""

    def run(call: Call) -> Operand:
        values = [item for item in call.operands if isinstance(item, Value)]
        numbers_ = [float(item.reshape(-1)[0]) for item in call.constants if item is not None and item.size == 1]
        if len(values) != 1 or len(numbers_) != 1:
            refuse(f"{call.step.op} ({call.name!r}) of two tensors", "a bound")
        value = values[0]
        if limit == "low":
            return clipped(call.assembler, value, numbers_[0], math.inf, name=call.name)
        node = call.assembler.nodes.get(value.node)
        if numbers_[0] == 6 and value.plain and isinstance(node, Conv2D) and node.activation == "relu":
            return call.assembler.activation(value, "relu6", name=call.name)
        if numbers_[0] == 6 and value.plain and node is not None and is_activation(node, "relu"):
            return call.assembler.activation(replace(value, node=node.inputs[0]), "relu6", name=call.name)
        refuse(f"{call.step.op} ({call.name!r}) with {numbers_[0]}", "min(relu(x), 6)")

    return run


OPERATORS: Mapping[str, Callable[[Call], Any]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "Relu": _activation("relu"),
    "Sigmoid": _activation("sigmoid"),
    "Swish": _activation("swish"),
    "HardSwish": _activation("hard_swish"),
    "Tanh": _activation("tanh"),
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky,
    "Gelu": _gelu,
    "Clip": _clip,
    "Min": _bound("high"),
    "Max": _bound("low"),
    "Add": _arithmetic("add"),
    "Sub": _arithmetic("sub"),
    "Mul": _arithmetic("mul"),
    "Div": _arithmetic("div"),
    "Neg": lambda call: call.assembler.affine(call.value, -1.0, 0.0),
    "Softmax": moves.softmax,
    "LogSoftmax": moves.softmax,
    "GlobalAveragePool": moves.global_average,
    "ReduceMean": moves.reduce_mean,
    "AveragePool": moves.average_pool,
    "Reshape": moves.reshape,
    "Flatten": moves.flatten,
    "Squeeze": moves.squeeze,
    "Unsqueeze": moves.unsqueeze,
    "Transpose": moves.transpose,
    "Pad": moves.pad,
    "Slice": moves.part,
    "Identity": moves.unchanged,
    "Dropout": moves.unchanged,
    "Cast": moves.unchanged,
    "Shape": lambda call: np.asarray(call.value.shape, np.int64)[
        call.step.attributes.get("start", 0) : call.step.attributes.get("end")
    ],
    "Size": lambda call: np.asarray(call.value.elements, np.int64),
}
