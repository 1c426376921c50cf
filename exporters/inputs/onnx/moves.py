"""ONNX operators that reduce, reshape or surround a tensor.

Source of what each computes: https://onnx.ai/onnx/operators/.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from edge_effnet.exporters.inputs.assembly.assembler import Assembler
from edge_effnet.exporters.inputs.assembly.operands import Operand, Probabilities, averaged
from edge_effnet.exporters.inputs.assembly.value import Value, refuse
from edge_effnet.exporters.inputs.onnx.call import Call
from edge_effnet.exporters.inputs.onnx.constants import axes_of, numbers, shape_wanted, sliced
from edge_effnet.network.geometry import Padding

#: Opset from which a softmax has its axis at the end by default.
_SOFTMAX_BY_AXIS = 13


def softmax(call: Call) -> Operand:
    """A softmax over the classes."""
    value, axes = call.value, len(call.value.axes)
    axis = call.step.attributes.get("axis", -1 if call.opset >= _SOFTMAX_BY_AXIS else 1) % axes
    if value.axes[axis] != "C" or value.elements != value.channels:
        refuse(f"{call.name!r}, a softmax over axis {axis} of {list(value.shape)}", "one over the classes")
    return Probabilities(value)


def global_average(call: Call) -> Operand:
    """The mean over height and width."""
    places = {index for index, axis in enumerate(call.value.axes) if axis in "HW"}
    return averaged(call.assembler, call.value, places, keep="keep", name=call.name)


def reduce_mean(call: Call) -> Operand:
    """A mean over given axes."""
    value, axes = call.value, axes_of(call.step, call.constants)
    places = set(range(len(value.axes))) if axes is None else {axis % len(value.axes) for axis in axes}
    keep = "keep" if call.step.attributes.get("keepdims", 1) else "drop"
    return averaged(call.assembler, value, places, keep=keep, name=call.name)


def average_pool(call: Call) -> Operand:
    """An average over one window, the whole image."""
    kernel, pads = tuple(call.step.attributes.get("kernel_shape", ())), call.step.attributes.get("pads", (0,))
    if kernel == (1, 1) and set(call.step.attributes.get("strides", (1,))) == {1}:
        return call.value
    if kernel != (call.value.height, call.value.width) or any(pads):
        refuse(f"{call.name!r}, an average over windows of {list(kernel)}", "one over the whole image")
    return global_average(call)


def reshape(call: Call) -> Operand:
    """Another shape."""
    shape = call.step.attributes.get("shape") or numbers(call.constant(1))
    return call.value.reshaped(shape_wanted(call.step, shape, call.value.shape), "NCHW")


def flatten(call: Call) -> Operand:
    """All sides behind an axis as one."""
    sides, axis = call.value.shape, call.step.attributes.get("axis", 1) % (len(call.value.axes) + 1)
    return call.value.reshaped((math.prod(sides[:axis]), math.prod(sides[axis:])), "NCHW")


def squeeze(call: Call) -> Operand:
    """Sides of 1 dropped."""
    sides, axes = call.value.shape, axes_of(call.step, call.constants)
    dropped = {axis % len(sides) for axis in axes} if axes is not None else {i for i, n in enumerate(sides) if n == 1}
    if any(sides[axis] != 1 for axis in dropped) or 0 in dropped or call.value.flattened:
        refuse(f"{call.name!r}, sides {sorted(dropped)} dropped of {list(sides)}", "sides of 1, the batch kept")
    kept = "".join(axis for index, axis in enumerate(call.value.axes) if index not in dropped)
    if "C" not in kept:
        refuse(f"{call.name!r}, the classes' side dropped", "[N, classes]")
    return replace(call.value, axes=kept)


def unsqueeze(call: Call) -> Operand:
    """Sides of 1 added."""
    sides = list(call.value.shape)
    rank = len(sides) + len(axes_of(call.step, call.constants) or [])
    for axis in sorted(axis % rank for axis in axes_of(call.step, call.constants) or []):
        sides.insert(axis, 1)
    return call.value.reshaped(sides, "NCHW")


def transpose(call: Call) -> Operand:
    """Axes in another order."""
    rank = len(call.value.axes)
    return call.value.transposed(call.step.attributes.get("perm", tuple(reversed(range(rank)))))


def pad(call: Call) -> Operand:
    """A constant border."""
    value, attributes = call.value, call.step.attributes
    if attributes.get("mode", "constant") != "constant":
        refuse(f"{call.name!r}, a border of the kind {attributes.get('mode')}", "a constant one")
    pads = list(attributes["pads"]) if "pads" in attributes else numbers(call.constant(1))
    given = call.constant(2)
    number = attributes.get("value", 0.0) if given is None else float(given.reshape(-1)[0])
    axes = numbers(call.constant(3)) or list(range(len(value.axes)))
    return padded(call.assembler, value, axes, pads, number, call.name)


def padded(
    assembler: Assembler, value: Value, axes: Sequence[int], pads: Sequence[int], number: float, name: str
) -> Value:
    """A constant border; pads: what comes before each of the axes, then what comes behind."""
    around = dict.fromkeys("NHWC", (0, 0))
    if len(pads) != 2 * len(axes) or min(pads, default=0) < 0:
        refuse(f"{name!r} with pads {list(pads)}", "two of 0 or more for each axis")
    for place, axis in enumerate(axes):
        around[value.axes[axis]] = (pads[place], pads[place + len(axes)])
    if any(around["N"]) or any(around["C"]):
        refuse(f"{name!r}, a border around batch or channels", "one around height and width")
    return assembler.pad(value, Padding(*around["H"], *around["W"]), border=number)


def part(call: Call) -> Operand:
    """A part that is the whole."""
    sides = call.value.shape
    parts = sliced(call.step, call.constants, len(sides))
    if any(part.indices(side) != (0, side, 1) for part, side in zip(parts, sides, strict=True)):
        refuse(f"{call.name!r}, a part of a tensor", "the whole")
    return call.value


def unchanged(call: Call) -> Operand:
    """The operand as it is."""
    return call.value if call.operands[0] is None else call.operands[0]
