"""The small frozen graph between inputs and file formats: NHWC, float32, batch norm already folded.

Every node is a frozen record with `name` (also the name of the tensor it makes) and `inputs` (tensor names). Names
serve people; what a node is for is found from operators and shapes (structure.py). Weights use TFLite's layouts
(https://www.tensorflow.org/lite, schema.fbs): convolution [out, kh, kw, in / groups], depthwise [kh, kw, channels],
dense [out, in]. What each operator computes stands in operators.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.network.activations import Fused, Kind
from edge_effnet.network.geometry import NO_PADDING, Padding

FloatArray: TypeAlias = npt.NDArray[np.float32]
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Conv2D:
    """`weight` float32[out, kh, kw, in / groups], `bias` float32[out]; `activation` is applied to the sum.

    stride, dilation: pixels, the same along both sides. groups: output channels in as many equal parts, in order,
    each reading its own part of the input channels.
    """

    name: str
    inputs: tuple[str]
    weight: FloatArray
    bias: FloatArray
    stride: int = 1
    padding: Padding = NO_PADDING
    activation: Fused = "none"
    dilation: int = 1
    groups: int = 1

    @property
    def kernel(self) -> tuple[int, int]:
        """Taps along height and width."""
        return self.weight.shape[1], self.weight.shape[2]


@dataclass(frozen=True, eq=False)
class DepthwiseConv2D:
    """`weight` float32[kh, kw, channels], `bias` float32[channels]: each channel by itself."""

    name: str
    inputs: tuple[str]
    weight: FloatArray
    bias: FloatArray
    stride: int = 1
    padding: Padding = NO_PADDING
    activation: Fused = "none"
    dilation: int = 1

    @property
    def kernel(self) -> tuple[int, int]:
        """Taps along height and width."""
        return self.weight.shape[0], self.weight.shape[1]


@dataclass(frozen=True, eq=False)
class Dense:
    """`weight` float32[out, in], `bias` float32[out]; on a tensor [N, in]."""

    name: str
    inputs: tuple[str]
    weight: FloatArray
    bias: FloatArray
    activation: Fused = "none"


@dataclass(frozen=True)
class Activation:
    """An elementwise function by its kind (activations.py), on a tensor of any shape."""

    name: str
    inputs: tuple[str]
    kind: Kind


@dataclass(frozen=True)
class Add:
    """Sum of two tensors of one shape; `activation` as in a convolution."""

    name: str
    inputs: tuple[str, str]
    activation: Fused = "none"


@dataclass(frozen=True)
class Mul:
    """Product of two tensors of one shape; the second may be [1, 1, 1, C] (the squeeze-excitation gate)."""

    name: str
    inputs: tuple[str, str]


@dataclass(frozen=True)
class GlobalMean:
    """Mean over height and width; `keep_dims` gives [N, 1, 1, C], otherwise [N, C]."""

    name: str
    inputs: tuple[str]
    keep_dims: bool


@dataclass(frozen=True)
class Flatten:
    """[N, H, W, C] → [N, H·W·C], channels running fastest."""

    name: str
    inputs: tuple[str]


@dataclass(frozen=True)
class Border:
    """Pads an image with one constant per channel: the normalised zero of raw pixels."""

    name: str
    inputs: tuple[str]
    padding: Padding
    values: tuple[float, ...]


@dataclass(frozen=True)
class Softmax:
    """exp(x) / Σ exp(x) over the last axis of [N, C]; at the end of a network that gives probabilities."""

    name: str
    inputs: tuple[str]


Convolution: TypeAlias = Conv2D | DepthwiseConv2D
Weighted: TypeAlias = Conv2D | DepthwiseConv2D | Dense
Node: TypeAlias = Weighted | Activation | Add | Mul | GlobalMean | Flatten | Border | Softmax
CONVOLUTIONS = (Conv2D, DepthwiseConv2D)
WEIGHTED = (Conv2D, DepthwiseConv2D, Dense)


@dataclass(frozen=True, eq=False)
class Graph:
    """A network of one image input; nodes stand in execution order. outputs: tensor names, the head's first.

    Raises ValueError when a node reads a tensor that no earlier node makes, or a name stands twice.
    """

    input_name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        known = {self.input_name}
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing or node.name in known:
                what = f"unknown inputs {missing}" if missing else "name used twice"
                raise ValueError(f"node {node.name!r}: {what}")
            known.add(node.name)
        for name in self.outputs or ("",):
            if name not in known:
                raise ValueError(f"output {name!r} is made by no node")

    @property
    def output_name(self) -> str:
        """The head's tensor, the first of the outputs."""
        return self.outputs[0]

    def by_name(self) -> dict[str, Node]:
        """Node name → node."""
        return {node.name: node for node in self.nodes}

    def consumers(self) -> dict[str, tuple[Node, ...]]:
        """Tensor name → the nodes that read it, in order; outputs and unread tensors give ()."""
        readers: dict[str, list[Node]] = {name: [] for name in (self.input_name, *(node.name for node in self.nodes))}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return {name: tuple(found) for name, found in readers.items()}

    def weight_bytes(self) -> int:
        """Bytes of all weights and biases as float32."""
        return sum(node.weight.nbytes + node.bias.nbytes for node in weighted(self.nodes))


def weighted(nodes: Iterable[Node]) -> list[Weighted]:
    """The nodes that hold weights, in order."""
    return [node for node in nodes if isinstance(node, WEIGHTED)]


def is_activation(node: object, *kinds: Kind) -> bool:
    """Whether a node is an activation of one of these kinds; of any where none is named."""
    return isinstance(node, Activation) and (not kinds or node.kind in kinds)


def with_nodes(graph: Graph, changed: Mapping[str, Node]) -> Graph:
    """The graph with the named nodes replaced; the rest is shared, not copied."""
    return replace(graph, nodes=tuple(changed.get(node.name, node) for node in graph.nodes))


def output_channels(node: Weighted) -> int:
    """Number of output channels, the axis of per-channel scales."""
    return int(node.bias.shape[0])


def frame_nhwc(node: Border, shape: Shape) -> FloatArray:
    """float32[1, H, W, C] of the border's output shape: its constants around, zero inside."""
    pad = node.padding
    frame = np.empty((1, *shape[1:]), np.float32)
    frame[:] = np.asarray(node.values, np.float32)
    frame[:, pad.top : shape[1] - pad.bottom, pad.left : shape[2] - pad.right] = 0
    return frame
