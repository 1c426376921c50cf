"""The float network and its int8 likeness in torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from edge_effnet.network.graph import Activation, Graph, Mul, Node, is_activation, weighted
from edge_effnet.network.structure import responses
from edge_effnet.quantization.refine.elementwise import FakeQuantize, RoundedProduct, RoundedSwish, dense
from edge_effnet.quantization.refine.operators import Parameters, run, torch_layout
from edge_effnet.quantization.refine.parameters import Learned

#: Computes one node from its inputs.
Compute: TypeAlias = Callable[[Node, Sequence[Tensor]], Tensor]


def walk(graph: Graph, image: Tensor, compute: Compute, *, keep: Collection[str]) -> dict[str, Tensor]:
    """The named tensors and the output; the others are dropped as soon as no later node reads them."""
    wanted = {*keep, graph.output_name}
    tensors = {graph.input_name: image}
    last_use = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    for index, node in enumerate(graph.nodes):
        tensors[node.name] = dense(compute(node, [tensors[name] for name in node.inputs]))
        for name in set(node.inputs):
            if last_use[name] == index and name not in wanted:
                del tensors[name]
    return {name: tensors[name] for name in wanted}


class FloatNetwork:
    """The network that is to be matched."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._parameters: dict[str, Parameters] = {
            node.name: (torch_layout(node, node.weight), torch.from_numpy(node.bias.copy()))
            for node in weighted(graph.nodes)
        }

    @torch.no_grad()
    def __call__(self, image: Tensor, keep: Collection[str] = ()) -> dict[str, Tensor]:
        """The named tensors and the output, by name."""
        return walk(self._graph, image, self._compute, keep=keep)

    def _compute(self, node: Node, inputs: Sequence[Tensor]) -> Tensor:
        return run(node, inputs, self._parameters.get(node.name))


class Int8Network:
    """What int8 computes, to within the order of float32 sums and ties, with gradients for what is learned."""

    def __init__(self, learned: Learned) -> None:
        self._learned, self._graph = learned, learned.quantized.graph
        ranges, fixed = learned.ranges, learned.fixed
        #: Tensors that are rounded together with the swish that alone reads them.
        self._joined = {
            name
            for name, reader in responses(self._graph)
            if reader.kind == "swish" and name in ranges and reader.name in ranges and name not in fixed
        }
        self._float: dict[str, Parameters] = {
            node.name: (torch_layout(node, node.weight), torch.from_numpy(node.bias.copy()))
            for node in weighted(self._graph.nodes)
            if node.name not in learned.layers
        }

    def __call__(self, image: Tensor, keep: Collection[str] = (), *, turn: int = 0) -> dict[str, Tensor]:
        """The named tensors and the output, by name. turn: which part of a tensor tells its range (elementwise.py)."""

        def compute(node: Node, inputs: Sequence[Tensor]) -> Tensor:
            return self._compute(node, inputs, turn)

        return walk(self._graph, self._rounded(self._graph.input_name, image, turn), compute, keep=keep)

    def _compute(self, node: Node, inputs: Sequence[Tensor], turn: int) -> Tensor:
        ranges = self._learned.ranges
        integer = all(name in ranges for name in (node.name, *node.inputs))
        if integer and isinstance(node, Activation) and is_activation(node, "swish"):
            return self._swish(node, inputs[0], turn)
        if integer and isinstance(node, Mul) and inputs[1].shape != inputs[0].shape:
            return RoundedProduct.apply(*inputs, ranges[node.name].real())  # type: ignore[no-untyped-call]
        layer = self._learned.layers.get(node.name)
        parameters = layer.parameters() if layer else self._float.get(node.name)
        return self._rounded(node.name, run(node, inputs, parameters), turn)

    def _swish(self, node: Activation, values: Tensor, turn: int) -> Tensor:
        before, after = (self._learned.ranges[name].real() for name in (node.inputs[0], node.name))
        if node.inputs[0] not in self._joined:  # rounded by itself already, once more changes nothing
            before = before.detach()
        return RoundedSwish.apply(values, before, after, turn)  # type: ignore[no-untyped-call]

    def _rounded(self, name: str, values: Tensor, turn: int) -> Tensor:
        if name not in self._learned.ranges or name in self._joined:
            return values
        limits = self._learned.ranges[name].real()
        limits = limits.detach() if name in self._learned.fixed else limits
        return FakeQuantize.apply(values, limits, turn)  # type: ignore[no-untyped-call]
