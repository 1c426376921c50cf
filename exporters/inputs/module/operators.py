"""PyTorch's operators (ATen) on the network's tensors.

Source of what each computes: https://docs.pytorch.org/docs/stable/torch.compiler_ir.html and torch's
`native_functions.yaml`, whose argument order is kept.
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
    batch_norm,
    clipped,
    combined,
    same_window,
)
from edge_effnet.exporters.inputs.assembly.value import Value, refuse
from edge_effnet.network.activations import LEAK, Kind
from edge_effnet.network.geometry import NO_PADDING, Padding


@dataclass(frozen=True, eq=False)
class Call:
    """One operator of the exported graph: its arguments by position, defaults filled in, by `names`."""

    assembler: Assembler
    op: str
    name: str
    arguments: Mapping[str, Any]

    @property
    def value(self) -> Value:
        """The tensor that it works on."""
        found = next(iter(self.arguments.values()), None)
        if not isinstance(found, Value):
            refuse(f"{self.op} ({self.name!r}) behind a softmax or on a constant", "a tensor of the network")
        return found

    def get(self, key: str, default: Any = None) -> Any:
        """An argument by its name in the schema."""
        found = self.arguments.get(key)
        return default if found is None else found

    def weights(self, key: str) -> Array:
        """A constant argument as float32; raises OperatorError where it is computed from the image."""
        found = self.arguments.get(key)
        if not isinstance(found, np.ndarray):
            refuse(f"{self.op} ({self.name!r}) with a computed {key}", "constant weights")
        return found.astype(np.float32, copy=False)

    def optional(self, key: str) -> Array | None:
        """As `weights`, None where it is absent."""
        return None if self.arguments.get(key) is None else self.weights(key)


def _square(call: Call, key: str, default: int) -> int:
    found = call.get(key, default)
    sides = list(found) if isinstance(found, Sequence) else [found]
    if len(set(sides)) != 1:
        refuse(f"{call.name!r} with {key} {sides}", "the same along both sides")
    return int(sides[0])


def _conv(call: Call) -> Operand:
    weight, value = call.weights("weight"), call.value
    if weight.ndim != 4 or value.axes != "NCHW" or call.get("transposed"):
        refuse(f"{call.name!r}, weights {list(weight.shape)} on {list(value.shape)}", "a 2-D convolution")
    stride, dilation = _square(call, "stride", 1), _square(call, "dilation", 1)
    padding = call.get("padding", 0)
    if isinstance(padding, str):
        kernel = (weight.shape[2], weight.shape[3])
        around = same_window(value, kernel, stride, dilation) if padding == "same" else NO_PADDING
    else:
        height, width = (
            list(padding) * 2
            if isinstance(padding, Sequence) and len(padding) == 1
            else (padding if isinstance(padding, Sequence) else (padding, padding))
        )
        around = Padding(height, height, width, width)
    return call.assembler.convolution(
        value,
        weight.transpose(0, 2, 3, 1),
        bias=call.optional("bias"),
        name=call.name,
        stride=stride,
        padding=around,
        dilation=dilation,
        groups=call.get("groups", 1),
    )


def _batch_norm(call: Call) -> Operand:
    names = {"weight": "weight", "bias": "bias", "running_mean": "running_mean", "running_var": "running_var"}
    if call.get("training"):
        refuse(f"{call.name!r}, a batch norm in training mode", "module.eval()")
    parts = {new: found for new, old in names.items() if (found := call.optional(old)) is not None}
    if "running_mean" not in parts or "running_var" not in parts:
        refuse(f"{call.name!r}, a batch norm without running statistics", "track_running_stats=True")
    return batch_norm(call.assembler, call.value, parts, float(call.get("eps", 1e-5)), name=call.name)


def _linear(call: Call) -> Operand:
    value, weight = call.value, call.weights("weight")
    return call.assembler.dense(value, weight, bias=call.optional("bias"), name=call.name)


def _product(call: Call) -> Operand:
    second = call.get("mat2", call.get("other"))
    if not isinstance(second, np.ndarray) or second.ndim != 2:
        refuse(f"{call.name!r}, a product of two computed matrices", "constant weights")
    return call.assembler.dense(call.value, second.T.astype(np.float32), bias=None, name=call.name)


def _addmm(call: Call) -> Operand:
    value, weight = call.get("mat1"), call.weights("mat2")
    if not isinstance(value, Value) or call.get("beta", 1) != 1 or call.get("alpha", 1) != 1:
        refuse(f"{call.name!r}", "bias + tensor · weights")
    return call.assembler.dense(value, weight.T, bias=call.weights("self"), name=call.name)


def _activation(kind: Kind) -> Callable[[Call], Operand]:
    return lambda call: call.assembler.activation(call.value, kind, name=call.name)


def _arithmetic(kind: Arithmetic) -> Callable[[Call], Operand]:
    def run(call: Call) -> Operand:
        left, right = (_as_operand(call.arguments.get(key)) for key in ("self", "other"))
        if call.get("alpha", 1) != 1:
            right = combined(call.assembler, "mul", right, np.asarray(call.get("alpha")), name=call.name)
        return combined(call.assembler, kind, left, right, name=call.name)

    return run


def _as_operand(item: Any) -> Operand:
    return item if isinstance(item, Value | Probabilities) else np.asarray(item)


def _clamp(call: Call) -> Operand:
    low, high = (call.get(keys[0], call.get(keys[1], default)) for keys, default in (
        (("min", "min_val"), -math.inf), (("max", "max_val"), math.inf)))  # fmt: skip
    if call.op == "hardtanh":
        low, high = call.get("min_val", -1.0), call.get("max_val", 1.0)
    return clipped(call.assembler, call.value, float(low), float(high), name=call.name)


def _leaky(call: Call) -> Operand:
    slope = call.get("negative_slope", LEAK)
    if not math.isclose(slope, LEAK):
        refuse(f"{call.name!r}, a leaky ReLU of slope {slope}", f"the slope {LEAK}")
    return call.assembler.activation(call.value, "leaky_relu", name=call.name)


def _gelu(call: Call) -> Operand:
    if call.get("approximate", "none") != "tanh":
        refuse(f"{call.name!r}, GELU by the error function", "nn.GELU(approximate='tanh')")
    return call.assembler.activation(call.value, "gelu", name=call.name)


def _mean(call: Call) -> Operand:
    dims = call.get("dim")
    axes = range(len(call.value.axes)) if dims is None else dims if isinstance(dims, Sequence) else [dims]
    places = {axis % len(call.value.axes) for axis in axes}
    return averaged(call.assembler, call.value, places, keep="keep" if call.get("keepdim") else "drop", name=call.name)


def _pool(call: Call) -> Operand:
    value = call.value
    size = call.get("output_size", call.get("kernel_size"))
    sides = tuple(size) if isinstance(size, Sequence) else (size, size)
    whole = sides == (1, 1) if "output_size" in call.arguments else sides == (value.height, value.width)
    if not whole or (call.get("padding") and any(call.get("padding"))):
        refuse(f"{call.name!r}, an average to or over {sides}", "one over the whole image")
    return averaged(call.assembler, value, {value.axes.index("H"), value.axes.index("W")}, keep="keep", name=call.name)


def _view(call: Call) -> Operand:
    shape = call.get("size", call.get("shape"))
    return call.value.reshaped([int(side) for side in shape], "NCHW")


def _flatten(call: Call) -> Operand:
    sides = call.value.shape
    start, end = call.get("start_dim", 0) % len(sides), call.get("end_dim", -1) % len(sides)
    return call.value.reshaped((*sides[:start], math.prod(sides[start : end + 1]), *sides[end + 1 :]), "NCHW")


def _squeeze(call: Call) -> Operand:
    sides, dims = call.value.shape, call.get("dim")
    axes = dims if isinstance(dims, Sequence) else range(1, len(sides)) if dims is None else [dims]
    dropped = {axis % len(sides) for axis in axes if sides[axis] == 1}
    return call.value.reshaped([side for index, side in enumerate(sides) if index not in dropped], "NCHW")


def _unsqueeze(call: Call) -> Operand:
    sides = list(call.value.shape)
    sides.insert(call.get("dim") % (len(sides) + 1), 1)
    return call.value.reshaped(sides, "NCHW")


def _swapped(call: Call) -> Operand:
    order = list(range(len(call.value.axes)))
    first, second = call.get("dim0", 0), call.get("dim1", 1)
    order[first], order[second] = order[second], order[first]
    return call.value.transposed(order)


def _pad(call: Call) -> Operand:
    pads = list(call.get("pad", []))
    if call.get("mode", "constant") != "constant" or len(pads) not in (2, 4) or call.value.axes != "NCHW":
        refuse(f"{call.name!r} with pads {pads}", "a constant border around height and width")
    left, right, top, bottom = [*pads, 0, 0][:4]
    if min(pads) < 0:
        refuse(f"{call.name!r} with pads {pads}", "0 or more")
    return call.assembler.pad(call.value, Padding(top, bottom, left, right), border=float(call.get("value", 0.0)))


def _softmax(call: Call) -> Operand:
    value = call.value
    if value.axes[call.get("dim", -1) % len(value.axes)] != "C" or value.elements != value.channels:
        refuse(f"{call.name!r}, a softmax of {list(value.shape)}", "one over the classes")
    return Probabilities(value)


def _unchanged(call: Call) -> Operand:
    found = next(iter(call.arguments.values()))
    return found if isinstance(found, Probabilities) else call.value


def _slice(call: Call) -> Operand:
    sides = call.value.shape
    side = sides[call.get("dim", 0)]
    if slice(call.get("start"), call.get("end"), call.get("step", 1)).indices(side) != (0, side, 1):
        refuse(f"{call.name!r}, a part of a tensor", "the whole")
    return call.value


_SAME = ("dropout", "feature_dropout", "alpha_dropout", "clone", "contiguous", "detach", "alias", "to", "_to_copy",
         "lift_fresh_copy", "type_as", "float", "expand_as", "positive")  # fmt: skip
#: Name of an ATen operator, without its overload and the underscore of writing in place → what it does.
OPERATORS: Mapping[str, Callable[[Call], Any]] = {
    **dict.fromkeys(("conv2d", "convolution", "_convolution"), _conv),
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"), _batch_norm),
    "linear": _linear,
    "mm": _product,
    "matmul": _product,
    "addmm": _addmm,
    "silu": _activation("swish"),
    "sigmoid": _activation("sigmoid"),
    "relu": _activation("relu"),
    "relu6": _activation("relu6"),
    "hardswish": _activation("hard_swish"),
    "hardsigmoid": _activation("hard_sigmoid"),
    "tanh": _activation("tanh"),
    "leaky_relu": _leaky,
    "gelu": _gelu,
    **dict.fromkeys(("clamp", "hardtanh", "clip", "clamp_min", "clamp_max"), _clamp),
    "add": _arithmetic("add"),
    "sub": _arithmetic("sub"),
    "mul": _arithmetic("mul"),
    "div": _arithmetic("div"),
    "neg": lambda call: replace(call.assembler.affine(call.value, -1.0, 0.0)),
    "mean": _mean,
    **dict.fromkeys(("adaptive_avg_pool2d", "_adaptive_avg_pool2d", "avg_pool2d"), _pool),
    **dict.fromkeys(("view", "reshape", "_unsafe_view"), _view),
    "flatten": _flatten,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "permute": lambda call: call.value.transposed(list(call.get("dims"))),
    "transpose": _swapped,
    "t": _swapped,
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), _softmax),
    "slice": _slice,
    **dict.fromkeys(_SAME, _unchanged),
}
