"""From identified weights to the float graph: layouts changed, batch norm folded in float64, padding worked out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import CheckpointError, UsageError
from edge_effnet.exporters.families.identify import Identified
from edge_effnet.network.activations import Fused
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
from edge_effnet.variants import BlockSpec

INPUT_NAME = "image"
OUTPUT_NAME = "logits"
#: Below this the last stage would have no pixels to pool.
MINIMUM_IMAGE_SIZE = 32
MAXIMUM_IMAGE_SIZE = 2048
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def build_graph(model: Identified, *, image_size: int, built_for: int) -> Graph:
    """The float32 network for normalised images float32[1, image_size, image_size, 3].

    built_for: the size for which a "same-baked" dialect (efficientnet-pytorch) worked its padding out.
    Raises CheckpointError for NaN or infinite weights, UsageError for an impossible size.
    """
    if not MINIMUM_IMAGE_SIZE <= image_size <= MAXIMUM_IMAGE_SIZE:
        raise UsageError(f"image size {image_size}: expected {MINIMUM_IMAGE_SIZE} to {MAXIMUM_IMAGE_SIZE}")
    for name, values in model.weights.items():
        if not np.isfinite(values).all():
            raise CheckpointError(
                f"tensor {name} holds {int((~np.isfinite(values)).sum())} NaN or infinite values; training diverged?"
            )
    builder = _Builder(model, size=image_size, baked_size=built_for)
    tensor = builder.activated("stem", INPUT_NAME, stride=2)
    for index, block in enumerate(model.variant.blocks()):
        tensor = builder.block(f"blocks.{index}", block, tensor)
    tensor = builder.activated("head", tensor)
    pooled = builder.append(GlobalMean("pooled", (tensor,), keep_dims=False))
    classifier = (np.asarray(model.weights[f"classifier.{item}"], np.float32) for item in ("weight", "bias"))
    builder.append(Dense(OUTPUT_NAME, (pooled,), *classifier))
    return Graph(INPUT_NAME, (1, image_size, image_size, 3), tuple(builder.nodes), (OUTPUT_NAME,))


def fold_batch_norm(
    weight: npt.NDArray[Any], norm: Mapping[str, npt.NDArray[Any]], eps: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weight [out, …] and bias [out] that give conv + batch norm, in float64 (Ioffe & Szegedy, arXiv 1502.03167)."""
    values = {name: np.asarray(value, np.float64) for name, value in norm.items()}
    if (values["running_var"] < 0).any():
        raise CheckpointError("a batch norm has a negative running variance; the checkpoint is broken")
    scale = values["weight"] / np.sqrt(values["running_var"] + eps)
    shape = (-1,) + (1,) * (weight.ndim - 1)
    return np.asarray(weight, np.float64) * scale.reshape(shape), values["bias"] - values["running_mean"] * scale


@dataclass
class _Builder:
    """Appends nodes in order and keeps the spatial size; `baked_size` is what a baked SAME padding believes in."""

    model: Identified
    size: int
    baked_size: int
    nodes: list[Node] = field(default_factory=list)

    def append(self, node: Node) -> str:
        self.nodes.append(node)
        return node.name

    def block(self, name: str, block: BlockSpec, tensor: str) -> str:
        start = tensor
        if block.has_expand:
            tensor = self.activated(f"{name}.expand", tensor)
        tensor = self.activated(f"{name}.depthwise", tensor, stride=block.stride)
        if block.se_channels:
            tensor = self.squeeze_excitation(f"{name}.se", tensor)
        tensor = self.convolution(f"{name}.project", tensor)
        return self.append(Add(f"{name}.add", (tensor, start))) if block.has_residual else tensor

    def squeeze_excitation(self, name: str, tensor: str) -> str:
        mean = self.append(GlobalMean(f"{name}.mean", (tensor,), keep_dims=True))
        reduced = self.append(Activation(f"{name}.reduce.swish", (self.pointwise(f"{name}.reduce", mean),), "swish"))
        gate = self.append(Activation(f"{name}.gate", (self.pointwise(f"{name}.expand", reduced),), "sigmoid"))
        return self.append(Mul(f"{name}.scale", (tensor, gate)))

    def pointwise(self, name: str, tensor: str) -> str:
        """A 1×1 convolution with a bias of its own, outside the spatial bookkeeping."""
        weight, bias = (np.asarray(self.model.weights[f"{name}.{item}"], np.float32) for item in ("weight", "bias"))
        return self.append(Conv2D(name, (tensor,), np.ascontiguousarray(weight.transpose(0, 2, 3, 1)), bias))

    def activated(self, name: str, tensor: str, *, stride: int = 1) -> str:
        """Convolution, batch norm and the variant's activation."""
        if self.model.variant.activation == "relu6":
            return self.convolution(name, tensor, stride=stride, activation="relu6")
        return self.append(Activation(f"{name}.swish", (self.convolution(name, tensor, stride=stride),), "swish"))

    def convolution(self, name: str, tensor: str, *, stride: int = 1, activation: Fused = "none") -> str:
        weight, bias = self._folded(name)
        kernel = int(weight.shape[-1])
        padding = self._padding(kernel, stride)
        if name.endswith("depthwise"):
            depthwise = np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0))
            return self.append(DepthwiseConv2D(name, (tensor,), depthwise, bias, stride, padding, activation))
        return self.append(
            Conv2D(
                name, (tensor,), np.ascontiguousarray(weight.transpose(0, 2, 3, 1)), bias, stride, padding, activation
            )
        )

    def _folded(self, name: str) -> tuple[FloatArray, FloatArray]:
        prefix = f"{name}.bn."
        norm = {key.removeprefix(prefix): value for key, value in self.model.weights.items() if key.startswith(prefix)}
        weight, bias = fold_batch_norm(self.model.weights[f"{name}.weight"], norm, self.model.bn_eps)
        largest = max(float(np.abs(values).max(initial=0.0)) for values in (weight, bias))
        if not largest <= _LARGEST_FLOAT32:
            raise CheckpointError(
                f"batch norm of {name} folded into its convolution gives {largest:.3g}, more than float32 holds; "
                "training diverged?"
            )
        return weight.astype(np.float32), bias.astype(np.float32)

    def _padding(self, kernel: int, stride: int) -> Padding:
        """Padding at the current size; moves both sizes on to the convolution's output."""
        rule = self.model.dialect.padding
        if rule == "symmetric":
            before, after = symmetric_padding(self.size, kernel, stride)
        elif rule == "same":
            before, after = same_padding(self.size, kernel, stride)
        else:
            before, after = _baked(self.size, self.baked_size, kernel, stride)
        self.size = conv_size(self.size, kernel, stride, before, after)
        self.baked_size = -(-self.baked_size // stride)
        return Padding(before, after, before, after)


def _baked(size: int, baked_size: int, kernel: int, stride: int) -> tuple[int, int]:
    """SAME worked out for `baked_size` and used at `size`; pixels no window reaches are trimmed."""
    before, after = same_padding(baked_size, kernel, stride)
    out = conv_size(size, kernel, stride, before, after)
    return before, max((out - 1) * stride + kernel - size - before, 0)
