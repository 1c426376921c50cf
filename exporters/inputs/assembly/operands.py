"""Arithmetic between tensors of the network and constants, alike in all files that spell it out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.exporters.inputs.assembly.allowance import Allowance, broadcast_count
from edge_effnet.exporters.inputs.assembly.assembler import Assembler
from edge_effnet.exporters.inputs.assembly.value import Value, refuse
from edge_effnet.heads import HeadKind
from edge_effnet.network.geometry import Padding, same_padding
from edge_effnet.network.graph import is_activation

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Probabilities:
    """A softmax of the network's output; nothing but the end may follow."""

    logits: Value


Operand: TypeAlias = Value | Probabilities | Array
Arithmetic: TypeAlias = Literal["add", "sub", "mul", "div"]
_ON_NUMBERS: Mapping[Arithmetic, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": lambda a, b: a // np.where(b == 0, 1, b) if a.dtype.kind in "iu" else a / b,
}


def combined(assembler: Assembler, kind: Arithmetic, left: Operand, right: Operand, *, name: str) -> Operand:
    """left (kind) right, for constants, for the network's tensors, and for both."""
    if isinstance(left, Probabilities) or isinstance(right, Probabilities):
        refuse(f"{name!r} behind a softmax", "the softmax at the end")
    if isinstance(left, Value) and isinstance(right, Value):
        return _of_tensors(assembler, kind, left, right, name)
    if isinstance(left, Value):
        return _with_constant(assembler, kind, left, np.asarray(right, np.float64), name)
    if isinstance(right, Value):
        return _constant_first(assembler, kind, np.asarray(left, np.float64), right, name)
    Allowance.of(0).spend(broadcast_count([np.asarray(left), np.asarray(right)]), repr(name))
    with np.errstate(all="ignore"):
        return np.asarray(_ON_NUMBERS[kind](np.asarray(left), np.asarray(right)))


def _of_tensors(assembler: Assembler, kind: Arithmetic, left: Value, right: Value, name: str) -> Value:
    if kind == "mul":
        return assembler.multiply(left, right, name=name)
    if kind == "div":
        refuse(f"{name!r}, a quotient of two tensors", "sums and products")
    return assembler.add(left, right if kind == "add" else assembler.affine(right, -1.0, 0.0), name=name)


def _with_constant(assembler: Assembler, kind: Arithmetic, value: Value, constant: Array, name: str) -> Value:
    if kind in ("add", "sub"):
        return assembler.affine(value, 1.0, constant if kind == "add" else -constant, what=repr(name))
    with np.errstate(all="ignore"):
        factor = constant if kind == "mul" else 1.0 / constant
    return assembler.affine(value, factor, 0.0, what=repr(name))


def _constant_first(assembler: Assembler, kind: Arithmetic, constant: Array, value: Value, name: str) -> Value:
    if kind == "div":
        refuse(f"{name!r}, a constant divided by a tensor", "sums and products")
    if kind == "sub":
        return assembler.affine(value, -1.0, constant, what=repr(name))
    return _with_constant(assembler, kind, value, constant, name)


def clipped(assembler: Assembler, value: Value, low: float, high: float, *, name: str) -> Value:
    """min(max(x, low), high) as a ReLU or as ReLU6 of a multiple; [0, 1] of x/6 + 1/2 is seen as a hard sigmoid."""
    if low == -math.inf and high == math.inf:
        return value
    if low != 0 or high <= 0:
        refuse(f"{name!r}, a clip to {low}..{high}", "from 0 on")
    if high >= 1e30:
        return assembler.activation(value, "relu", name=name)
    if high == 6:
        return assembler.activation(value, "relu6", name=name)
    wide = assembler.activation(_snapped(assembler.affine(value, 6 / high, 0.0)), "relu6", name=name)
    return assembler.affine(wide, high / 6, 0.0)


def _snapped(value: Value) -> Value:
    """x/6 + 1/2 written in float32 and taken times 6: exactly x + 3."""
    scale, shift = value.factors
    if np.allclose(scale, 1, atol=1e-5) and np.allclose(shift, 3, atol=1e-5):
        return replace(value, scale=np.ones_like(scale), shift=np.full_like(shift, 3.0))
    return value


def hard_sigmoid(assembler: Assembler, value: Value, slope: float, offset: float, *, name: str) -> Value:
    """clip(slope · x + offset, 0, 1)."""
    return clipped(assembler, assembler.affine(value, slope, offset), 0.0, 1.0, name=name)


def batch_norm(assembler: Assembler, value: Value, parts: Mapping[str, Array], eps: float, *, name: str) -> Value:
    """parts: "weight", "bias", "running_mean", "running_var", float[C] each; the first two may be missing."""
    variance = np.asarray(parts["running_var"], np.float64)
    if (variance < 0).any():
        refuse(f"{name!r}, a batch norm with a negative variance", "the variance of activations")
    if any(np.shape(part) != variance.shape for part in parts.values()):
        lengths = ", ".join(f"{key} {list(np.shape(part))}" for key, part in parts.items())
        refuse(f"the batch norm {name!r:.80} with {lengths}", "one number a channel in each")
    scale = np.asarray(parts.get("weight", np.ones_like(variance)), np.float64) / np.sqrt(variance + eps)
    shift = np.asarray(parts.get("bias", 0.0), np.float64) - np.asarray(parts["running_mean"], np.float64) * scale
    return per_channel(assembler, value, scale, shift, name=name)


def per_channel(assembler: Assembler, value: Value, scale: Array, shift: Array, *, name: str) -> Value:
    """scale[C] · x + shift[C], wherever the channels lie."""
    behind = len(value.axes) - value.axes.index("C") - 1
    shape = (-1,) + (1,) * behind
    return assembler.affine(value, scale.reshape(shape), shift.reshape(shape), what=repr(name))


def averaged(assembler: Assembler, value: Value, axes: set[int], *, keep: str, name: str) -> Value:
    """The mean over some of the file's axes, which must be height and width; keep: "keep" or "drop" them."""
    over = {value.axes[axis] for axis in axes if -len(value.axes) <= axis < len(value.axes)}
    sides = {"H": value.height, "W": value.width}
    if "C" in over or any(side > 1 and axis not in over for axis, side in sides.items()) or value.flattened:
        refuse(f"{name!r}, a mean over the axes {sorted(axes)} of {list(value.shape)}", "one over height and width")
    left = value.axes if keep == "keep" else "".join(axis for axis in value.axes if axis not in over)
    return assembler.mean(value, name=name, axes=left)


def same_window(value: Value, kernel: tuple[int, int], stride: int, dilation: int, *, lower: str = "") -> Padding:
    """TensorFlow's SAME for a convolution of this tensor; `lower`: "lower" puts the odd pixel before."""
    reaches = [(side - 1) * dilation + 1 for side in kernel]
    top, bottom = same_padding(value.height, reaches[0], stride)
    left, right = same_padding(value.width, reaches[1], stride)
    return Padding(bottom, top, right, left) if lower else Padding(top, bottom, left, right)


def head_of(assembler: Assembler, output: Operand) -> tuple[Value, HeadKind | None]:
    """(the tensor before the last softmax or sigmoid, which of them it was)."""
    if isinstance(output, Probabilities):
        return output.logits, "softmax"
    if not isinstance(output, Value):
        refuse("an output that depends on no image", "a classifier")
    node = assembler.nodes.get(output.node)
    if output.plain and node is not None and is_activation(node, "sigmoid"):
        return replace(output, node=node.inputs[0]), "sigmoid"
    return output, None
