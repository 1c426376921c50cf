"""What refinement learns of an int8 network, and how it becomes a quantized graph again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from edge_effnet.network.graph import Graph, Weighted, weighted, with_nodes
from edge_effnet.network.operators import is_copy
from edge_effnet.numerics import params_for_range
from edge_effnet.quantization.records import QuantizedGraph, QuantizedWeight, is_fixed, with_fixed
from edge_effnet.quantization.refine.elementwise import RoundedWeights
from edge_effnet.quantization.refine.operators import Parameters, our_layout, per_output, torch_layout

#: A gain is exp(this · what is learned): so many percent for each 0.01.
_GAIN = 0.01
#: Step of a bias whose output isn't int8, as a share of the largest bias; and how far a weight may start from the
#: middle of its step.
_FLOAT_BIAS_STEP, _OFF_MIDDLE = 0.001, 0.45
State: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class LearnedLayer:
    """One weighted node. steps: weights in steps; bias: in `bias_step`; gain: per channel, in hundredths."""

    node: Weighted
    scales: Tensor
    bias_step: float
    steps: Tensor
    bias: Tensor
    gain: Tensor

    def parameters(self) -> Parameters:
        """Weight and bias as int8 holds them."""
        gain = torch.exp(self.gain * _GAIN)
        rounded = RoundedWeights.apply(self.steps)  # type: ignore[no-untyped-call]
        weight = rounded * per_output(self.scales * gain, self.steps)
        return weight, self.bias * self.bias_step * gain

    def node_and_weight(self) -> tuple[Weighted, QuantizedWeight]:
        """The node with its bias, and its int8 weights."""
        gain = torch.exp(self.gain * _GAIN)
        values = our_layout(self.node, self.steps.round().clamp(-127, 127)).astype(np.int8)
        bias = (self.bias * self.bias_step * gain).numpy().astype(np.float32)
        return replace(self.node, bias=bias), QuantizedWeight(values, (self.scales * gain).numpy().astype(np.float32))


@dataclass(frozen=True, eq=False)
class LearnedRange:
    """A tensor's lowest and highest number, in steps of `scale`, what its step was in the beginning."""

    scale: float
    limits: Tensor

    def real(self) -> Tensor:
        """float32[2]."""
        return self.limits * self.scale


@dataclass(frozen=True, eq=False)
class Learned:
    """All that may change. layers: by node; ranges: of the int8 tensors; fixed: those whose range can't change."""

    quantized: QuantizedGraph
    layers: dict[str, LearnedLayer]
    ranges: dict[str, LearnedRange]
    fixed: frozenset[str]

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor that is learned, by a name of its own; its kind stands before the colon."""
        for name, layer in self.layers.items():
            yield from ((f"{kind}:{name}", getattr(layer, kind)) for kind in ("steps", "bias", "gain"))
        for name, learned in self.ranges.items():
            if name not in self.fixed:
                yield f"range:{name}", learned.limits

    def state(self) -> State:
        """A copy of all that is learned."""
        return {name: tensor.detach().clone() for name, tensor in self.named()}

    def restore(self, state: State) -> None:
        """Back to a copy."""
        with torch.no_grad():
            for name, tensor in self.named():
                tensor.copy_(state[name])

    def back(self) -> QuantizedGraph:
        """The quantized graph that this stands for."""
        with torch.no_grad():
            made = {name: layer.node_and_weight() for name, layer in self.layers.items()}
            ranges = {
                name: self.quantized.activations[name]
                if name in self.fixed
                else params_for_range(*(float(limit) for limit in learned.real()))
                for name, learned in self.ranges.items()
            }
        graph = with_nodes(self.quantized.graph, {name: node for name, (node, _) in made.items()})
        weights = {**self.quantized.weights, **{name: weight for name, (_, weight) in made.items()}}
        return replace(self.quantized, graph=graph, activations=with_fixed(graph, ranges), weights=weights)


def learnable(quantized: QuantizedGraph, exact: Graph) -> Learned:
    """The parameters of a quantized graph as tensors that gradients reach.

    exact: the float graph it was rounded from, node by node: weights start where they were before rounding, but never
    beyond the step they were rounded to.
    """
    sources = {node.name: node for node in weighted(exact.nodes)}
    layers = {
        node.name: _layer(node, sources[node.name], quantized)
        for node in weighted(quantized.graph.nodes)
        if node.name in quantized.weights
    }
    ranges = {
        name: LearnedRange(params.scale, torch.tensor([params.low / params.scale, params.high / params.scale]))
        for name, params in quantized.activations.items()
    }
    fixed = {node.name for node in quantized.graph.nodes if is_fixed(node)}
    for node in quantized.graph.nodes:
        if node.name in ranges and is_copy(node):
            ranges[node.name] = ranges.get(node.inputs[0], ranges[node.name])
    learned = Learned(quantized, layers, ranges, frozenset({*fixed, quantized.graph.input_name}))
    for _, tensor in learned.named():
        tensor.requires_grad_()
    return learned


def _layer(node: Weighted, source: Weighted, quantized: QuantizedGraph) -> LearnedLayer:
    stored, output = quantized.weights[node.name], quantized.activations.get(node.name)
    whole, scales = torch_layout(node, stored.values), torch.from_numpy(stored.scales.copy())
    exact = torch_layout(source, source.weight) / per_output(scales, whole)
    bias = torch.from_numpy(node.bias.copy())
    bias_step = output.scale if output else max(_FLOAT_BIAS_STEP * float(bias.abs().max()), 1e-6)
    steps = exact.clamp(whole - _OFF_MIDDLE, whole + _OFF_MIDDLE)
    return LearnedLayer(node, scales, bias_step, steps, bias / bias_step, torch.zeros_like(scales))
