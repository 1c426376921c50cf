"""The plain records that pass between the stages of quantization."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.network.activations import Kind
from edge_effnet.network.graph import Activation, FloatArray, Graph, Node, is_activation
from edge_effnet.network.operators import is_copy
from edge_effnet.numerics import SIGMOID_PARAMS, QuantParams

#: Told the name of a stage, how much of it is done and how much there is; for progress bars.
Progress: TypeAlias = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """int8 weights in the node's own layout, symmetric and per output channel.

    values: int8, -127..127; scales: float32[out]; real = values · scales along the output axis.
    """

    values: npt.NDArray[np.int8]
    scales: FloatArray

    def dequantized(self) -> FloatArray:
        """float32 in the node's layout; the output axis is last for depthwise [kh, kw, C], first otherwise."""
        axis = -1 if self.values.ndim == 3 else 0
        shape = [1] * self.values.ndim
        shape[axis] = -1
        return self.values.astype(np.float32) * self.scales.reshape(shape)


@dataclass(frozen=True, eq=False)
class QuantizedGraph:
    """A graph with the parameters of its integer arithmetic.

    activations: tensor name → int8 parameters; a tensor that isn't listed stays float32.
    weights: name of a weighted node → its int8 weights; biases stay in the graph as float32 and are rounded to int32
    at input scale · weight scale by the emitters. summary: the document's `quantization` object.
    """

    graph: Graph
    activations: Mapping[str, QuantParams] = field(default_factory=dict)
    weights: Mapping[str, QuantizedWeight] = field(default_factory=dict)
    summary: Mapping[str, Any] | None = None


#: Activations that the engines have int8 kernels for; the others are computed in float32 between int8 tensors.
INT8_KINDS: frozenset[Kind] = frozenset({"swish", "sigmoid", "relu", "relu6", "hard_swish"})


def is_fixed(node: Node) -> bool:
    """Whether the kernels fix the output's parameters: a sigmoid has 1/256, a copy those of its input."""
    return is_activation(node, "sigmoid") or is_copy(node)


def with_fixed(graph: Graph, activations: Mapping[str, QuantParams]) -> dict[str, QuantParams]:
    """The activations with those that the kernels fix as they have to be; a copy of a float32 tensor keeps its own."""
    found = dict(activations)
    for node in graph.nodes:
        if node.name in found and is_fixed(node):
            found[node.name] = found.get(node.inputs[0], found[node.name]) if is_copy(node) else SIGMOID_PARAMS
    return found


def is_integer(node: Node, activations: Container[str]) -> bool:
    """Whether the node is computed in int8: its output and all inputs are int8, and there is a kernel."""
    if isinstance(node, Activation) and node.kind not in INT8_KINDS:
        return False
    return all(name in activations for name in (node.name, *node.inputs))
