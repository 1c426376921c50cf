"""The small frozen graph between checkpoint and file formats: NHWC, float32, batch norm already folded.

Every node is a frozen record with `name` (also the name of the tensor it makes) and `inputs` (tensor names).
Weights use TFLite's layouts (https://www.tensorflow.org/lite, schema.fbs): convolution [out, kh, kw, in],
depthwise [kh, kw, channels], dense [out, in].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32]
Shape: TypeAlias = tuple[int, ...]
Fused: TypeAlias = Literal["none", "relu6"]


@dataclass(frozen=True)
class Padding:
    """Zeros added around an image, in pixels. Negative numbers never occur: unused pads are trimmed to 0."""

    top: int
    bottom: int
    left: int
    right: int


NO_PADDING = Padding(0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Conv2D:
    """`weight` float32[out, kh, kw, in], `bias` float32[out]; `activation` is applied to the sum."""

    name: str
    inputs: tuple[str]
    weight: FloatArray
    bias: FloatArray
    stride: int = 1
    padding: Padding = NO_PADDING
    activation: Fused = "none"


@dataclass(frozen=True, eq=False)
class DepthwiseConv2D:
    """`weight` float32[kh, kw, channels], `bias` float32[channels]."""

    name: str
    inputs: tuple[str]
    weight: FloatArray
    bias: FloatArray
    stride: int = 1
    padding: Padding = NO_PADDING
    activation: Fused = "none"


@dataclass(frozen=True, eq=False)
class Dense:
    """`weight` float32[out, in], `bias` float32[out]; the classifier."""

    name: str
    inputs: tuple[str]
    weight: FloatArray
    bias: FloatArray


@dataclass(frozen=True)
class Swish:
    """x · sigmoid(x)."""

    name: str
    inputs: tuple[str]


@dataclass(frozen=True)
class Sigmoid:
    """1 / (1 + exp(-x))."""

    name: str
    inputs: tuple[str]


@dataclass(frozen=True)
class Add:
    """Sum of two tensors of one shape; `activation` as in a convolution."""

    name: str
    inputs: tuple[str, str]
    activation: Fused = "none"


@dataclass(frozen=True)
class Mul:
    """Product; the second tensor may be [1, 1, 1, C] (the squeeze-excitation gate)."""

    name: str
    inputs: tuple[str, str]


@dataclass(frozen=True)
class GlobalMean:
    """Mean over height and width; `keep_dims` gives [N, 1, 1, C], otherwise [N, C]."""

    name: str
    inputs: tuple[str]
    keep_dims: bool


@dataclass(frozen=True)
class Border:
    """Pads an image with one constant per channel: the normalised zero of raw pixels."""

    name: str
    inputs: tuple[str]
    padding: Padding
    values: tuple[float, ...]


Node: TypeAlias = Conv2D | DepthwiseConv2D | Dense | Swish | Sigmoid | Add | Mul | GlobalMean | Border
Weighted: TypeAlias = Conv2D | DepthwiseConv2D | Dense
WEIGHTED = (Conv2D, DepthwiseConv2D, Dense)


@dataclass(frozen=True, eq=False)
class Graph:
    """A network of one image input and one output; nodes stand in execution order.

    Raises ValueError when a node reads a tensor that no earlier node makes, or a name stands twice.
    """

    input_name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    output_name: str

    def __post_init__(self) -> None:
        known = {self.input_name}
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing or node.name in known:
                raise ValueError(
                    f"node {node.name!r}: " + (f"unknown inputs {missing}" if missing else "name used twice")
                )
            known.add(node.name)
        if self.output_name not in known:
            raise ValueError(f"output {self.output_name!r} is made by no node")

    def by_name(self) -> dict[str, Node]:
        """Node name → node."""
        return {node.name: node for node in self.nodes}

    def consumers(self) -> dict[str, tuple[Node, ...]]:
        """Tensor name → the nodes that read it, in order; the output and unread tensors give ()."""
        readers: dict[str, list[Node]] = {name: [] for name in (self.input_name, *(node.name for node in self.nodes))}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return {name: tuple(found) for name, found in readers.items()}

    def shapes(self) -> dict[str, Shape]:
        """Tensor name → its shape, the input's included."""
        shapes: dict[str, Shape] = {self.input_name: self.input_shape}
        for node in self.nodes:
            shapes[node.name] = _shape(node, shapes)
        return shapes

    def weight_bytes(self) -> int:
        """Bytes of all weights and biases as float32."""
        return sum(node.weight.nbytes + node.bias.nbytes for node in weighted(self.nodes))


def weighted(nodes: Iterable[Node]) -> list[Weighted]:
    """The nodes that hold weights, in order."""
    return [node for node in nodes if isinstance(node, WEIGHTED)]


def with_nodes(graph: Graph, changed: Mapping[str, Node]) -> Graph:
    """The graph with the named nodes replaced; the rest is shared, not copied."""
    return replace(graph, nodes=tuple(changed.get(node.name, node) for node in graph.nodes))


def output_channels(node: Weighted) -> int:
    """Number of output channels, the axis of per-channel scales."""
    return int(node.bias.shape[0])


def conv_size(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Pixels a convolution gives along one side."""
    return (size + before + after - kernel) // stride + 1


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: (before, after), the odd pixel after (https://www.tensorflow.org/api_docs/python/tf/nn)."""
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def symmetric_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """PyTorch's k//2 on both sides, the pad that the last window doesn't reach trimmed away."""
    before = kernel // 2
    out = conv_size(size, kernel, stride, before, before)
    return before, max((out - 1) * stride + kernel - size - before, 0)


def _conv_shape(node: Conv2D | DepthwiseConv2D, shape: Shape) -> Shape:
    kernel = node.weight.shape[1:3] if isinstance(node, Conv2D) else node.weight.shape[:2]
    pad = node.padding
    height = conv_size(shape[1], kernel[0], node.stride, pad.top, pad.bottom)
    width = conv_size(shape[2], kernel[1], node.stride, pad.left, pad.right)
    return shape[0], height, width, output_channels(node)


def _border_shape(node: Border, shape: Shape) -> Shape:
    pad = node.padding
    return shape[0], shape[1] + pad.top + pad.bottom, shape[2] + pad.left + pad.right, shape[3]


def _shape(node: Node, shapes: Mapping[str, Shape]) -> Shape:
    shape = shapes[node.inputs[0]]
    match node:
        case Conv2D() | DepthwiseConv2D():
            return _conv_shape(node, shape)
        case Dense():
            return shape[0], output_channels(node)
        case GlobalMean():
            return (shape[0], 1, 1, shape[3]) if node.keep_dims else (shape[0], shape[3])
        case Border():
            return _border_shape(node, shape)
        case _:
            return shape


def frame_nhwc(node: Border, shape: Shape) -> FloatArray:
    """float32[1, H, W, C] of the border's output shape: its constants around, zero inside."""
    pad = node.padding
    frame = np.empty((1, *shape[1:]), np.float32)
    frame[:] = np.asarray(node.values, np.float32)
    frame[:, pad.top : shape[1] - pad.bottom, pad.left : shape[2] - pad.right] = 0
    return frame
