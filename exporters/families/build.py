"""From identified weights to the float graph: layouts changed, batch norm folded in float64, padding worked out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import CheckpointError, UsageError
from edge_effnet.exporters.families.dialects import BATCH_NORM
from edge_effnet.exporters.families.head import HeadLayer
from edge_effnet.exporters.families.identify import Identified
from edge_effnet.exporters.families.records import BlockShape, Layer, Weights
from edge_effnet.exporters.inputs.stored import Tensor
from edge_effnet.network.activations import FUSED_LIMITS, Fused
from edge_effnet.network.geometry import Padding, conv_size, same_padding, symmetric_padding
from edge_effnet.network.graph import (
    Activation,
    Add,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    FloatArray,
    GlobalMean,
    Graph,
    Mul,
    Node,
)

INPUT_NAME = "image"
OUTPUT_NAME = "logits"
FEATURES_NAME = "features"
#: Below this the last stage would have no pixels to pool.
MINIMUM_IMAGE_SIZE = 32
MAXIMUM_IMAGE_SIZE = 2048
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def build_graph(
    model: Identified, weights: Weights, *, image_size: tuple[int, int], built_for: int, head: Sequence[HeadLayer] = ()
) -> Graph:
    """The float32 network for normalised images float32[1, H, W, C]; without a head it gives the pooled features.

    image_size: (height, width). built_for: the size for which a "same-baked" dialect (efficientnet-pytorch) worked its
    padding out. Raises CheckpointError for what float32 can't hold, UsageError for an impossible size.
    """
    if not all(MINIMUM_IMAGE_SIZE <= side <= MAXIMUM_IMAGE_SIZE for side in image_size):
        raise UsageError(
            f"image size {_shown(image_size)}: expected {MINIMUM_IMAGE_SIZE} to {MAXIMUM_IMAGE_SIZE} a side"
        )
    layers = {layer.name: layer for layer in model.body.layers}
    builder = _Builder(model, weights, layers, list(image_size), [built_for, built_for])
    tensor = builder.activated("stem", INPUT_NAME, stride=2)
    for index, block in enumerate(model.body.blocks):
        tensor = builder.block(f"blocks.{index}", block, tensor)
    tensor = builder.activated("head", tensor)
    pooled = builder.append(GlobalMean(FEATURES_NAME if not head else "pooled", (tensor,), keep_dims=False))
    output = builder.head(head, pooled)
    shape = (1, *image_size, model.body.in_channels)
    return Graph(INPUT_NAME, shape, tuple(builder.nodes), (output,))


def _shown(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}×{size[1]}"


def fold_batch_norm(
    weight: Tensor, norm: Mapping[str, Tensor], eps: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weight [out, …] and bias [out] that give conv + batch norm, in float64 (Ioffe & Szegedy, arXiv 1502.03167)."""
    values = {name: np.asarray(value, np.float64) for name, value in norm.items()}
    if (values["running_var"] < 0).any():
        raise CheckpointError("a batch norm has a negative running variance; the checkpoint is broken")
    scale = values["weight"] / np.sqrt(values["running_var"] + eps)
    shape = (-1,) + (1,) * (weight.ndim - 1)
    folded = np.array(weight, np.float64)
    folded *= scale.reshape(shape)  # in place: the largest layer is half of what B0 takes
    return folded, values["bias"] - values["running_mean"] * scale


@dataclass
class _Builder:
    """Appends nodes in order and keeps the spatial size; `baked` is what a baked SAME padding believes in."""

    model: Identified
    weights: Weights
    layers: Mapping[str, Layer]
    size: list[int]
    baked: list[int]
    nodes: list[Node] = field(default_factory=list)

    def append(self, node: Node) -> str:
        self.nodes.append(node)
        return node.name

    def head(self, layers: Sequence[HeadLayer], tensor: str) -> str:
        """Linear layers on the features, the last one named as the output."""
        for index, layer in enumerate(layers):
            last = index == len(layers) - 1
            kind = layer.activation
            name = OUTPUT_NAME if last and kind is None else f"classifier.{index}"
            fused: Any = kind if kind in FUSED_LIMITS else "none"
            weight, bias = np.asarray(layer.weight, np.float32), layer.bias.astype(np.float32)
            tensor = self.append(Dense(name, (tensor,), weight, bias, fused))
            if kind is not None and fused == "none":
                tensor = self.append(Activation(f"{name}.{kind}", (tensor,), kind))
        return tensor

    def block(self, name: str, block: BlockShape, tensor: str) -> str:
        start = tensor
        if block.kind != "separable":
            tensor = self.activated(f"{name}.expand", tensor, stride=1 if block.kind == "mbconv" else block.stride)
        if block.kind in ("mbconv", "separable"):
            tensor = self.activated(f"{name}.depthwise", tensor, stride=block.stride)
        if block.se_channels:
            tensor = self.squeeze_excitation(f"{name}.se", tensor)
        if block.kind != "plain":
            tensor = self.convolution(f"{name}.project", tensor)
        return self.append(Add(f"{name}.add", (tensor, start))) if block.skip else tensor

    def squeeze_excitation(self, name: str, tensor: str) -> str:
        mean = self.append(GlobalMean(f"{name}.mean", (tensor,), keep_dims=True))
        reduced = self.pointwise(f"{name}.reduce", mean)
        kind = self.model.family.activation
        reduced = self.append(Activation(f"{name}.reduce.{kind}", (reduced,), kind))
        gate = self.append(Activation(f"{name}.gate", (self.pointwise(f"{name}.expand", reduced),), "sigmoid"))
        return self.append(Mul(f"{name}.scale", (tensor, gate)))

    def pointwise(self, name: str, tensor: str) -> str:
        """A 1×1 convolution with a bias of its own, outside the spatial bookkeeping."""
        conv = self.layers[name].conv
        weight, bias = (np.asarray(self.weights[f"{conv}.{item}"], np.float32) for item in ("weight", "bias"))
        return self.append(Conv2D(name, (tensor,), np.ascontiguousarray(weight.transpose(0, 2, 3, 1)), bias))

    def activated(self, name: str, tensor: str, *, stride: int = 1) -> str:
        """Convolution, batch norm and the family's activation."""
        kind = self.model.family.activation
        if kind == "relu" or kind == "relu6":
            return self.convolution(name, tensor, stride=stride, activation=kind)
        return self.append(Activation(f"{name}.{kind}", (self.convolution(name, tensor, stride=stride),), kind))

    def convolution(self, name: str, tensor: str, *, stride: int = 1, activation: Fused = "none") -> str:
        weight, bias = self._folded(self.layers[name])
        padding = self._padding(int(weight.shape[-1]), stride)
        if name.endswith("depthwise"):
            depthwise = np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0), np.float32)
            return self.append(DepthwiseConv2D(name, (tensor,), depthwise, bias, stride, padding, activation))
        ordered = np.ascontiguousarray(weight.transpose(0, 2, 3, 1), np.float32)
        return self.append(Conv2D(name, (tensor,), ordered, bias, stride, padding, activation))

    def _folded(self, layer: Layer) -> tuple[npt.NDArray[np.float64], FloatArray]:
        """Weight and bias, found to be within float32; the weight is rounded where it is laid out, one copy less."""
        norm = {item: self.weights[f"{layer.norm}.{item}"] for item in BATCH_NORM}
        weight, bias = fold_batch_norm(self.weights[f"{layer.conv}.weight"], norm, self.model.rules.bn_eps)
        largest = float(np.max([(values.max(initial=0.0), -values.min(initial=0.0)) for values in (weight, bias)]))
        if not largest <= _LARGEST_FLOAT32:
            raise CheckpointError(
                f"batch norm of {layer.name} folded into its convolution gives {largest:.3g}, more than float32 holds; "
                "training diverged, bring an earlier checkpoint"
            )
        return weight, bias.astype(np.float32)

    def _padding(self, kernel: int, stride: int) -> Padding:
        """Padding at the current size; moves both sizes on to the convolution's output."""
        sides = [self._side(axis, kernel, stride) for axis in range(2)]
        (top, bottom), (left, right) = sides
        return Padding(top, bottom, left, right)

    def _side(self, axis: int, kernel: int, stride: int) -> tuple[int, int]:
        rule, size = self.model.rules.padding, self.size[axis]
        if rule == "symmetric":
            before, after = symmetric_padding(size, kernel, stride)
        elif rule == "same":
            before, after = same_padding(size, kernel, stride)
        else:
            before, after = _baked(size, self.baked[axis], kernel, stride)
        self.size[axis] = conv_size(size, kernel, stride, before, after)
        self.baked[axis] = -(-self.baked[axis] // stride)
        return before, after


def _baked(size: int, baked_size: int, kernel: int, stride: int) -> tuple[int, int]:
    """SAME worked out for `baked_size` and used at `size`; pixels no window reaches are trimmed."""
    before, after = same_padding(baked_size, kernel, stride)
    out = conv_size(size, kernel, stride, before, after)
    return before, max((out - 1) * stride + kernel - size - before, 0)
