"""TFLite operators on the network's tensors.

Source of what each computes: LiteRT's kernels of the same names, and schema.fbs for the options.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge_effnet.exporters.inputs.assembly.assembler import Assembler
from edge_effnet.exporters.inputs.assembly.operands import (
    Arithmetic,
    Array,
    Operand,
    Probabilities,
    averaged,
    clipped,
    combined,
    same_window,
)
from edge_effnet.exporters.inputs.assembly.value import Value, refuse
from edge_effnet.network.activations import Kind
from edge_effnet.network.geometry import NO_PADDING, Padding


@dataclass(frozen=True, eq=False)
class Call:
    """An operator with its operands; name: of the tensor that it makes."""

    assembler: Assembler
    code: str
    name: str
    operands: Sequence[Operand | None]
    options: Mapping[str, Any]

    @property
    def value(self) -> Value:
        """The first operand, a tensor of the network."""
        found = self.operands[0] if self.operands else None
        if not isinstance(found, Value):
            refuse(f"{self.code} ({self.name!r}) behind a softmax or on a constant", "a tensor of the network")
        return found

    def constant(self, place: int) -> Array | None:
        """An operand that must be constant, None where it is absent."""
        found = self.operands[place] if place < len(self.operands) else None
        if found is None or isinstance(found, np.ndarray):
            return found
        refuse(f"{self.code} ({self.name!r}) with weights computed from the image", "constant weights")

    def needed(self, place: int) -> Array:
        """A constant that must be there."""
        found = self.constant(place)
        if found is None:
            refuse(f"{self.code} ({self.name!r}) without operand {place}", "a constant")
        return found

    def weights(self) -> Array:
        """The second operand as float32."""
        found = self.needed(1)
        if found.dtype.kind != "f":
            refuse(f"{self.code} ({self.name!r}) with {found.dtype} weights", "float weights: bring the float network")
        return found.astype(np.float32, copy=False)


def _fused(call: Call, value: Operand) -> Operand:
    """The activation that an operator carries."""
    kind = call.options.get("fused_activation_function", "NONE")
    if kind == "NONE" or not isinstance(value, Value):
        return value
    if kind not in ("RELU", "RELU6", "TANH"):
        refuse(f"{call.name!r} with the activation {kind}", "RELU, RELU6 or TANH")
    kinds: dict[str, Kind] = {"RELU": "relu", "RELU6": "relu6", "TANH": "tanh"}
    return call.assembler.activation(value, kinds[kind], name=f"{call.name}.{kinds[kind]}")


def _window(call: Call, kernel: tuple[int, int]) -> tuple[int, int, Padding]:
    """(stride, dilation, padding)."""
    options = call.options
    strides = {options["stride_h"], options["stride_w"]}
    dilations = {options["dilation_h_factor"], options["dilation_w_factor"]}
    if len(strides) > 1 or len(dilations) > 1:
        refuse(f"{call.name!r} with strides {strides} and dilations {dilations}", "the same along both sides")
    stride, dilation = strides.pop(), dilations.pop()
    same = options["padding"] == "SAME"
    return stride, dilation, same_window(call.value, kernel, stride, dilation) if same else NO_PADDING


def _conv(call: Call) -> Operand:
    weight = call.weights()
    if weight.ndim != 4 or call.value.axes != "NHWC":
        refuse(f"{call.name!r}, weights {list(weight.shape)} on {list(call.value.shape)}", "a 2-D convolution in NHWC")
    stride, dilation, padding = _window(call, (weight.shape[1], weight.shape[2]))
    made = call.assembler.convolution(
        call.value,
        weight,
        bias=call.constant(2),
        name=call.name,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=max(1, call.value.channels // max(1, weight.shape[3])),
    )
    return _fused(call, made)


def _depthwise(call: Call) -> Operand:
    weight = call.weights()
    if weight.ndim != 4 or weight.shape[0] != 1 or call.value.axes != "NHWC":
        refuse(f"{call.name!r}, weights {list(weight.shape)} on {list(call.value.shape)}", "a depthwise convolution")
    stride, dilation, padding = _window(call, (weight.shape[1], weight.shape[2]))
    made = call.assembler.convolution(
        call.value,
        weight.transpose(3, 1, 2, 0),
        bias=call.constant(2),
        name=call.name,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=call.value.channels,
    )
    return _fused(call, made)


def _dense(call: Call) -> Operand:
    value, weight = call.value, call.weights()
    if len(value.axes) == 4 and value.elements == value.channels and call.options.get("keep_num_dims"):
        kernel = weight[:, None, None, :]
        nhwc = replace(value, axes="NHWC")
        return _fused(call, call.assembler.convolution(nhwc, kernel, bias=call.constant(2), name=call.name))
    flat = value.reshaped((1, -1), "NHWC")
    return _fused(call, call.assembler.dense(flat, weight, bias=call.constant(2), name=call.name))


def _arithmetic(kind: Arithmetic) -> Callable[[Call], Operand]:
    def run(call: Call) -> Operand:
        left, right = call.operands[:2]
        if left is None or right is None:
            refuse(f"{call.name!r} without a second operand", "two")
        return _fused(call, combined(call.assembler, kind, left, right, name=call.name))

    return run


def _activation(kind: Kind) -> Callable[[Call], Operand]:
    return lambda call: call.assembler.activation(call.value, kind, name=call.name)


def _bound(call: Call) -> Operand:
    """MAXIMUM(x, 0)."""
    number = call.needed(1)
    if call.code != "MAXIMUM" or number.size != 1:
        refuse(f"{call.code} ({call.name!r})", "a ReLU")
    return clipped(call.assembler, call.value, float(number.reshape(-1)[0]), math.inf, name=call.name)


def _mean(call: Call) -> Operand:
    value = call.value
    axes = {int(axis) % len(value.axes) for axis in call.needed(1).reshape(-1)}
    return averaged(call.assembler, value, axes, keep="keep" if call.options["keep_dims"] else "drop", name=call.name)


def _average_pool(call: Call) -> Operand:
    kernel = (call.options["filter_height"], call.options["filter_width"])
    if kernel != (call.value.height, call.value.width) or call.value.axes != "NHWC":
        refuse(f"{call.name!r}, an average over windows of {list(kernel)}", "one over the whole image")
    return _fused(call, averaged(call.assembler, call.value, {1, 2}, keep="keep", name=call.name))


def _pad(call: Call) -> Operand:
    value, amounts = call.value, call.needed(1)
    number = float(call.needed(2).reshape(-1)[0]) if call.code == "PADV2" else 0.0
    if amounts.shape != (4, 2) or value.axes != "NHWC" or amounts.min() < 0 or amounts[0].any() or amounts[3].any():
        refuse(f"{call.name!r} with paddings {amounts.tolist()}", "a border around height and width")
    (top, bottom), (left, right) = amounts[1:3].tolist()
    return call.assembler.pad(value, Padding(top, bottom, left, right), border=number)


def _reshape(call: Call) -> Operand:
    given = call.constant(1)
    shape = call.options["new_shape"] if given is None else [int(side) for side in given.reshape(-1)[:8]]
    return call.value.reshaped(shape, "NHWC")


def _squeeze(call: Call) -> Operand:
    sides = call.value.shape
    dropped = {axis % len(sides) for axis in call.options["squeeze_dims"]} or set(range(1, len(sides) - 1))
    if any(sides[axis] != 1 for axis in dropped) or call.value.flattened:
        refuse(f"{call.name!r}, sides {sorted(dropped)} dropped of {list(sides)}", "sides of 1")
    kept = "".join(axis for index, axis in enumerate(call.value.axes) if index not in dropped)
    return replace(call.value, axes=kept) if "C" in kept else call.value.reshaped((1, -1), "NHWC")


def _expand(call: Call) -> Operand:
    sides = list(call.value.shape)
    axis = int(call.needed(1).reshape(-1)[0])
    sides.insert(axis % (len(sides) + 1), 1)
    return call.value.reshaped(sides, "NHWC")


def _softmax(call: Call) -> Operand:
    if call.value.elements != call.value.channels or not math.isclose(call.options["beta"], 1.0):
        refuse(f"{call.name!r}, a softmax of beta {call.options['beta']}", "beta 1 over the classes")
    return Probabilities(call.value)


OPERATORS: Mapping[str, Callable[[Call], Any]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "ADD": _arithmetic("add"),
    "SUB": _arithmetic("sub"),
    "MUL": _arithmetic("mul"),
    "DIV": _arithmetic("div"),
    "LOGISTIC": _activation("sigmoid"),
    "RELU": _activation("relu"),
    "RELU6": _activation("relu6"),
    "TANH": _activation("tanh"),
    "HARD_SWISH": _activation("hard_swish"),
    "MAXIMUM": _bound,
    "MEAN": _mean,
    "AVERAGE_POOL_2D": _average_pool,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _expand,
    "TRANSPOSE": lambda call: call.value.transposed([int(axis) for axis in call.needed(1).reshape(-1)]),
    "SOFTMAX": _softmax,
    "SHAPE": lambda call: np.asarray(call.value.shape, np.int32),
    "CAST": lambda call: call.value,
    "DEQUANTIZE": lambda call: call.value,
}
