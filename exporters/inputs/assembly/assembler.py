"""Builds the graph from operators in the order in which a file applies them; factors fold on the way.

Folding is done in float64 and rounded to float32 once (Ioffe & Szegedy, arXiv 1502.03167, for batch norm).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters.inputs.assembly.layers import check_alike, check_weight, float32, made_convolution
from edge_effnet.exporters.inputs.assembly.value import MAX_ELEMENTS, Floats, Value, refuse
from edge_effnet.network.activations import Kind
from edge_effnet.network.geometry import NO_PADDING, Padding, conv_size, reach, trimmed
from edge_effnet.network.graph import (
    Activation,
    Add,
    Border,
    Conv2D,
    DepthwiseConv2D,
    GlobalMean,
    Mul,
    Node,
    is_activation,
)

Array: TypeAlias = npt.NDArray[Any]
INPUT_NAME = "image"
#: A file that makes more operators than this is no image classifier.
MAX_NODES = 20_000


@dataclass(eq=False)
class Assembler:
    """The nodes made so far; every one gives an image [1, H, W, C], after pooling one of a single pixel.

    normalisation: (scale, shift) that the file applies to its input, known once something reads it.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    normalisation: tuple[Floats, Floats] | None = None
    _settled: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def image(self, axes: str, height: int, width: int, channels: int) -> Value:
        """The network's input."""
        return Value(INPUT_NAME, axes, height, width, channels)

    def add_node(self, node: Node) -> str:
        """Appends a node under a name of its own."""
        name, count = node.name or "node", 1
        while name in self.nodes or name == INPUT_NAME:
            count += 1
            name = f"{node.name}.{count}"
        if len(self.nodes) >= MAX_NODES:
            refuse(f"more than {MAX_NODES} operators", "an image classifier")
        self.nodes[name] = replace(node, name=name)
        return name

    # Layers ----------------------------------------------------------------------------------------------------------

    def convolution(
        self,
        value: Value,
        weight: Array,
        *,
        bias: Array | None,
        name: str,
        stride: int = 1,
        padding: Padding = NO_PADDING,
        dilation: int = 1,
        groups: int = 1,
    ) -> Value:
        """weight float[out, kh, kw, in / groups]; one group a channel makes a depthwise convolution."""
        check_weight(weight, bias, name)
        out, kernel_h, kernel_w, per_group = weight.shape
        if (
            "H" not in value.axes
            or "W" not in value.axes
            or "C" not in value.axes
            or per_group * groups != value.channels
        ):
            refuse(
                f"{name!r}, weights {list(weight.shape)} in {groups} groups on {list(value.shape)}", "channels that fit"
            )
        inner, padding, outer = self._with_border(value, padding)
        height, width = inner.height - outer.top - outer.bottom, inner.width - outer.left - outer.right
        top, bottom = trimmed(height, reach(kernel_h, dilation), stride, (padding.top, padding.bottom))
        left, right = trimmed(width, reach(kernel_w, dilation), stride, (padding.left, padding.right))
        padding = Padding(top, bottom, left, right)
        source, weight, bias = self._taken_in(inner, weight, np.zeros(out) if bias is None else bias, padding, groups)
        node = made_convolution(name, source, weight, bias, stride, padding, dilation, groups)
        new_h = conv_size(height, reach(kernel_h, dilation), stride, top, bottom)
        new_w = conv_size(width, reach(kernel_w, dilation), stride, left, right)
        if min(new_h, new_w) < 1:
            refuse(f"{name!r} with a window of {kernel_h}×{kernel_w} on {height}×{width}", "a larger image")
        return Value(self.add_node(node), value.axes, new_h, new_w, out)

    def dense(self, value: Value, weight: Array, *, bias: Array | None, name: str) -> Value:
        """weight float[out, in], on [N, in]: a convolution over the whole image, of one pixel behind a pooling."""
        if weight.ndim != 2 or value.axes not in ("NC", "C") or weight.shape[1] != value.elements:
            refuse(
                f"{name!r}, weights {list(weight.shape)} on {list(value.shape)}", "[N, inputs] and [outputs, inputs]"
            )
        sides = {"H": value.height, "W": value.width, "C": value.channels}
        zero = np.zeros(len(weight)) if bias is None else bias
        if value.flattened and value.scale is not None:
            scale, shift = value.factors
            zero = zero + weight.astype(np.float64) @ shift
            weight = weight * scale
            value = replace(value, scale=None, shift=None)
        shape = [sides[axis] for axis in value.order]
        order = [value.order.index(axis) for axis in "HWC"]
        kernel = weight.reshape(len(weight), *shape).transpose(0, *(1 + index for index in order))
        image = replace(value, axes="NHWC")
        return replace(self.convolution(image, kernel, bias=zero, name=name), axes="NC")

    def affine(self, value: Value, scale: Array | float, shift: Array | float, *, what: str = "a product") -> Value:
        """scale · x + shift, each one number or one a channel; stays pending."""
        scale, shift = (value.channel_vector(np.asarray(part), what) for part in (scale, shift))
        return self._factored_by(value, scale, shift, what)

    def _factored_by(self, value: Value, scale: Floats, shift: Floats, what: str) -> Value:
        """scale[C] · x + shift[C], pending."""
        if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
            raise CheckpointError(
                f"{what}: NaN or infinite factors; expected numbers: training diverged, bring an earlier one"
            )
        if value.scale is not None and (scale == 1).all() and (shift == 3).all():
            value = self.settled(value)  # so that what follows is seen as a hard sigmoid
        old_scale, old_shift = value.factors
        border = None if value.border is None else value.border * scale + shift
        return replace(value, scale=old_scale * scale, shift=old_shift * scale + shift, border=border)

    def activation(self, value: Value, kind: Kind, *, name: str) -> Value:
        """Elementwise; relu6(x + 3) is seen as 6 · hard_sigmoid(x)."""
        scale, shift = value.factors
        if kind == "relu6" and np.allclose(scale, 1, atol=1e-6) and (shift == 3).all() and value.padding == NO_PADDING:
            gate = self.activation(replace(value, scale=None, shift=None), "hard_sigmoid", name=name)
            return self.affine(gate, 6.0, 0.0)
        value = self.settled(value)
        node = self.nodes.get(value.node)
        made: Node = Activation(name, (value.node,), kind)
        if isinstance(node, Conv2D | DepthwiseConv2D | Add) and node.activation == "none":
            made = replace(node, activation=kind) if kind == "relu" or kind == "relu6" else made
        return replace(value, node=self._once((value.node, kind), made))

    def add(self, left: Value, right: Value, *, name: str) -> Value:
        """Sum of two tensors of one shape."""
        left, right = self.settled(left), self.settled(right)
        check_alike(left, right, name)
        return replace(left, node=self.add_node(Add(name, (left.node, right.node))))

    def multiply(self, left: Value, right: Value, *, name: str) -> Value:
        """Product of two tensors of one shape, or with a gate of one pixel; x · sigmoid(x) is a swish."""
        left, right = self._scaled(left), self._scaled(right)
        if right.height * right.width > left.height * left.width:
            left, right = right, left
        kind = self._gated(left.node, right.node) or self._gated(right.node, left.node)
        factor = left.factors[0] * right.factors[0]
        if kind:
            source = left.node if self._gated(left.node, right.node) else right.node
            node = self._once((source, kind), Activation(name, (source,), kind))
        else:
            if right.height * right.width > 1 or left.channels != right.channels:
                check_alike(left, right, name)
            node = self.add_node(Mul(name, (left.node, right.node)))
        result = replace(left, node=node, scale=None, shift=None)
        return result if (factor == 1).all() else self._factored_by(result, factor, np.zeros_like(factor), name)

    def pad(self, value: Value, padding: Padding, *, border: float = 0.0) -> Value:
        """A border of one number around the image; stays pending."""
        if padding == NO_PADDING:
            return value
        if value.padding != NO_PADDING:
            value = self.settled(value)
        height = value.height + padding.top + padding.bottom
        width = value.width + padding.left + padding.right
        if height * width * value.channels > MAX_ELEMENTS:
            refuse(f"a border {padding}", "an image of a size that networks have")
        values = np.full(value.channels, border)
        return replace(value, height=height, width=width, padding=padding, border=values)

    def mean(self, value: Value, *, name: str, axes: str) -> Value:
        """Over height and width; axes: the file's, of the result."""
        value = value if value.padding == NO_PADDING else self.settled(value)
        node = self._once((value.node, "mean"), GlobalMean(name, (value.node,), keep_dims=True))
        if value.node == INPUT_NAME:
            refuse("a mean of the image itself", "convolutions before it")
        return replace(value, node=node, height=1, width=1, axes=axes)

    # What is pending -------------------------------------------------------------------------------------------------

    def settled(self, value: Value) -> Value:
        """The same tensor with nothing pending: factors folded into the weights that make it, where there are some."""
        if value.plain:
            self._note_input(value)
            return value
        if value.flattened:
            refuse("factors for each element of a flattened image", "a dense layer behind it")
        node = self._factored(value)
        if value.padding != NO_PADDING:
            border = np.zeros(value.channels) if value.border is None else value.border
            values = tuple(float(item) for item in border)
            key = (node, value.padding, values)
            node = self._once(key, Border(f"{node}.border", (node,), value.padding, values))
        return replace(value, node=node, scale=None, shift=None, padding=NO_PADDING, border=None)

    def _factored(self, value: Value) -> str:
        self._note_input(value)
        if value.node == INPUT_NAME or value.scale is None:
            return value.node
        scale, shift = value.factors
        if (scale == 1).all() and (shift == 0).all():
            return value.node
        node, key = self.nodes[value.node], (value.node, scale.tobytes(), shift.tobytes())
        if isinstance(node, Conv2D | DepthwiseConv2D) and node.activation == "none":
            along = scale if isinstance(node, DepthwiseConv2D) else scale[:, None, None, None]
            weight, bias = node.weight * along, node.bias * scale + shift
            return self._once(key, replace(node, weight=float32(weight, node.name), bias=float32(bias, node.name)))
        name = f"{value.node}.scaled"
        kernel = float32(scale[None, None], name)
        return self._once(key, DepthwiseConv2D(name, (value.node,), kernel, float32(shift, name)))

    def _note_input(self, value: Value) -> None:
        if value.node != INPUT_NAME:
            return
        if self.normalisation is None:
            self.normalisation = value.factors
        elif not all(np.array_equal(a, b) for a, b in zip(self.normalisation, value.factors, strict=True)):
            refuse("two different normalisations of the image", "one")

    def _folds_back(self, value: Value) -> bool:
        node = self.nodes.get(value.node)
        return node is None or (isinstance(node, Conv2D | DepthwiseConv2D) and node.activation == "none")

    def _scaled(self, value: Value) -> Value:
        """A tensor with at most a factor pending, for products."""
        shifted = value.shift is not None and bool((value.shift != 0).any())
        if value.padding != NO_PADDING or shifted or self._folds_back(value) or value.flattened:
            return self.settled(value)
        return value

    def _gated(self, tensor: str, gate: str) -> Kind | None:
        node = self.nodes.get(gate)
        if not is_activation(node, "sigmoid", "hard_sigmoid") or node is None or node.inputs != (tensor,):
            return None
        return "swish" if is_activation(node, "sigmoid") else "hard_swish"

    def _with_border(self, value: Value, padding: Padding) -> tuple[Value, Padding, Padding]:
        """(value, the convolution's padding, what of the value's sides is that padding)."""
        if value.padding == NO_PADDING:
            return value, padding, NO_PADDING
        if value.border is not None and value.border.any():
            return self.settled(value), padding, NO_PADDING
        own = value.padding
        both = Padding(
            own.top + padding.top, own.bottom + padding.bottom, own.left + padding.left, own.right + padding.right
        )
        return replace(value, padding=NO_PADDING, border=None), both, own

    def _taken_in(
        self, value: Value, weight: Array, bias: Array, padding: Padding, groups: int
    ) -> tuple[str, Array, Array]:
        """(input tensor, weight, bias) with the pending factors in the weights, here or where the input is made."""
        scale, shift = value.factors
        if value.scale is None or self._folds_back(value) or (shift.any() and padding != NO_PADDING):
            return self._factored(value), weight, bias
        per_group = weight.shape[3]
        parts = [slice(start, start + per_group) for start in range(0, len(scale), per_group)]
        blocks = np.split(weight.astype(np.float64), groups)
        bias = np.asarray(bias, np.float64) + np.concatenate(
            [
                np.tensordot(block, shift[part], axes=(3, 0)).sum(axis=(1, 2))
                for block, part in zip(blocks, parts, strict=True)
            ]
        )
        scaled = [block * scale[part] for block, part in zip(blocks, parts, strict=True)]
        return value.node, np.concatenate(scaled), bias

    def _once(self, key: tuple[Any, ...], node: Node) -> str:
        if key not in self._settled:
            self._settled[key] = self.add_node(node)
        return self._settled[key]
