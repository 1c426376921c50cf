"""Changing a graph without changing what it computes: insert, replace, split, order and scale channels, fresh names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from edge_effnet.network.graph import (
    Activation,
    Add,
    Border,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    GlobalMean,
    Graph,
    Mul,
    Node,
    with_nodes,
)
from edge_effnet.network.operators import unsupported
from edge_effnet.network.structure import Block, Chain

Indices: TypeAlias = npt.NDArray[Any]
Factors: TypeAlias = npt.NDArray[Any]
AnyNode = TypeVar("AnyNode", bound=Node)


def fresh_name(graph: Graph, wanted: str) -> str:
    """`wanted`, with a number behind it where the graph has it already."""
    taken = {graph.input_name, *(node.name for node in graph.nodes)}
    found, number = wanted, 2
    while found in taken:
        found, number = f"{wanted}.{number}", number + 1
    return found


def replaced(graph: Graph, changed: Mapping[str, Sequence[Node]]) -> Graph:
    """The graph with each named node replaced by none, one or several; what they are called is up to the caller."""
    nodes = [new for node in graph.nodes for new in changed.get(node.name, (node,))]
    return replace(graph, nodes=tuple(nodes))


def inserted_before(graph: Graph, reader: str, tensor: str, make: Callable[[str], Node], *, name: str) -> Graph:
    """The graph with `make(fresh name)` in front of a node, which reads it in `tensor`'s place."""
    node = make(fresh_name(graph, name))
    old = graph.by_name()[reader]
    return replaced(graph, {reader: (node, reading(old, {tensor: node.name}))})


def reading(node: AnyNode, names: Mapping[str, str]) -> AnyNode:
    """The node with some of its inputs under other names."""
    return replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))  # type: ignore[arg-type]


def renamed(graph: Graph, names: Mapping[str, str]) -> Graph:
    """The graph with its tensors under other names; those that aren't listed keep theirs."""
    nodes = tuple(replace(reading(node, names), name=names.get(node.name, node.name)) for node in graph.nodes)
    outputs = tuple(names.get(name, name) for name in graph.outputs)
    return replace(graph, input_name=names.get(graph.input_name, graph.input_name), nodes=nodes, outputs=outputs)


def take_outputs(node: AnyNode, channels: Indices) -> AnyNode:
    """The node for some of its output channels (indices, int[n]); its inputs have these channels alone, too, where it
    passes them one by one. Raises OperatorError.
    """
    match node:
        case Conv2D(groups=1):
            return replace(node, weight=np.ascontiguousarray(node.weight[channels]), bias=node.bias[channels])
        case DepthwiseConv2D():
            weight = np.ascontiguousarray(node.weight[:, :, channels])
            return replace(node, weight=weight, bias=node.bias[channels])
        case Border():
            return replace(node, values=tuple(node.values[index] for index in channels))
        case Activation() | Add() | Mul() | GlobalMean():
            return node
    raise unsupported(node, "taking some channels of a result")


def take_inputs(node: AnyNode, channels: Indices) -> AnyNode:
    """A node that mixes channels, for some of its input channels; its bias stays. Raises OperatorError."""
    match node:
        case Conv2D(groups=1) | Dense():
            return replace(node, weight=np.ascontiguousarray(node.weight[..., channels]))
    raise unsupported(node, "taking some channels of an input")


def scale_outputs(node: Node, factors: Factors) -> Node:
    """The node with each output channel multiplied by its factor (float[C], above 0). Raises OperatorError."""
    exact = np.asarray(factors, np.float64)
    if getattr(node, "activation", "none") != "relu6":
        match node:
            case Conv2D() | Dense():
                columns = exact.reshape(-1, *[1] * (node.weight.ndim - 1))
                return replace(node, weight=_float32(node.weight * columns), bias=_float32(node.bias * exact))
            case DepthwiseConv2D():
                return replace(node, weight=_float32(node.weight * exact), bias=_float32(node.bias * exact))
    raise unsupported(node, "rescaling a result")


def scale_inputs(node: Node, factors: Factors) -> Node:
    """The node as it computes the same from inputs divided by `factors` (float[C], above 0). Raises OperatorError."""
    match node:
        case Conv2D(groups=1) | Dense() | DepthwiseConv2D():
            return replace(node, weight=_float32(node.weight * np.asarray(factors, np.float64)))
    raise unsupported(node, "rescaling an input")


def _float32(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return values.astype(np.float32)


def rescale_chain(graph: Graph, chain: Chain, factors: npt.ArrayLike) -> Graph:
    """The same function with the chain's channels divided by `factors` (float[C], above 0)."""
    scale = np.asarray(factors, np.float64)
    changed: dict[str, Node] = {}
    nodes = graph.by_name()
    for name in chain.makers:
        changed[name] = scale_outputs(nodes[name], 1 / scale)
    for name in chain.readers:
        changed[name] = scale_inputs(changed.get(name, nodes[name]), scale)
    return with_nodes(graph, changed)


def permute_block(graph: Graph, block: Block, order: Indices) -> Graph:
    """The same function with the block's inner channels in another order (`order`: a permutation, int[channels])."""
    nodes = graph.by_name()
    wide = (*block.inner, *(tensor for gate in block.gates for tensor in gate.tensors))
    changed = {name: take_outputs(nodes[name], order) for name in wide}
    for reader in (block.project, *(gate.reduce for gate in block.gates)):
        changed[reader.name] = take_inputs(reader, order)
    return with_nodes(graph, changed)


def split_block(graph: Graph, block: Block, lanes: Sequence[Indices]) -> Graph:
    """The same function with the block's inside in parts of its channels, the narrow side summed.

    A trunk's tensor `x` becomes `x.lane0`, `x.lane1` …; see `lane_names`.
    """
    names = lane_names(graph, block, len(lanes))
    nodes = graph.by_name()
    changed: dict[str, list[Node]] = {}
    for name, own in names.items():
        changed[name] = [_lane(nodes[name], own[index], names, index, lanes[index]) for index in range(len(lanes))]
    for gate in block.gates:
        changed[gate.reduce.name] = _summed(graph, gate.reduce, names, lanes)
    changed[block.project.name] = _summed(graph, block.project, names, lanes)
    return replaced(graph, changed)


def lane_names(graph: Graph, block: Block, count: int) -> dict[str, tuple[str, ...]]:
    """Tensor of the block's inside, or of its gates → its name in each lane."""
    wide = list(block.inner)
    for gate in block.gates:
        wide += [gate.mean.name, *gate.tensors]
    return {name: tuple(fresh_name(graph, f"{name}.lane{index}") for index in range(count)) for name in wide}


def _lane(node: Node, name: str, names: Mapping[str, tuple[str, ...]], index: int, channels: Indices) -> Node:
    own = {whole: parts[index] for whole, parts in names.items()}
    return replace(reading(take_outputs(node, channels), own), name=name)


def _summed(graph: Graph, node: Conv2D, names: Mapping[str, tuple[str, ...]], lanes: Sequence[Indices]) -> list[Node]:
    """A convolution over all channels as the sum of one over each lane; the first keeps the bias."""
    parts: list[Conv2D] = []
    for index, channels in enumerate(lanes):
        part = reading(take_inputs(node, channels), {node.inputs[0]: names[node.inputs[0]][index]})
        bias = node.bias if index == 0 else np.zeros_like(node.bias)
        parts.append(replace(part, name=fresh_name(graph, f"{node.name}.lane{index}"), bias=bias))
    total = parts[0].name
    sums: list[Node] = []
    for index, part in enumerate(parts[1:], 1):
        name = node.name if index == len(lanes) - 1 else fresh_name(graph, f"{node.name}.sum{index}")
        sums.append(Add(name, (total, part.name), node.activation if name == node.name else "none"))
        total = name
    return [*replaced_activation(parts), *sums]


def replaced_activation(parts: Sequence[Node]) -> list[Node]:
    """Convolutions without their activation, which goes to their sum."""
    return [replace(part, activation="none") if isinstance(part, Conv2D) else part for part in parts]
