"""From assembled nodes to the `Graph`: the head in two dimensions, what isn't read left out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from edge_effnet.errors import OperatorError
from edge_effnet.exporters.inputs.assembly.assembler import INPUT_NAME, Assembler
from edge_effnet.exporters.inputs.assembly.names import named
from edge_effnet.exporters.inputs.assembly.value import Value, refuse
from edge_effnet.network.geometry import NO_PADDING
from edge_effnet.network.graph import (
    Activation,
    Add,
    Conv2D,
    Dense,
    Flatten,
    GlobalMean,
    Graph,
    Mul,
    Node,
)
from edge_effnet.network.operators import tensor_shapes


def finished(assembler: Assembler, image: Value, output: Value) -> Graph:
    """The graph from the image to a head's output [1, C]; raises OperatorError where the output isn't one."""
    output = assembler.settled(output)
    if output.axes.replace("N", "") != "C" and output.height * output.width > 1:
        refuse(f"an output of the shape {list(output.shape)}", "[N, classes]")
    raw = Graph(
        INPUT_NAME, (1, image.height, image.width, image.channels), tuple(assembler.nodes.values()), (output.node,)
    )
    tail = _Tail(assembler, {**tensor_shapes(raw)}, {})
    name = tail.flat(output.node)
    nodes = _reached(assembler.nodes, name)
    return named(Graph(INPUT_NAME, raw.input_shape, tuple(nodes), (name,)))


@dataclass(eq=False)
class _Tail:
    """Makes the flat twins of what follows the pooling."""

    assembler: Assembler
    shapes: dict[str, tuple[int, ...]]
    made: dict[str, str]

    def flat(self, name: str) -> str:
        """The tensor [N, C] of the same numbers as an image of one pixel, or of a whole image."""
        if name not in self.made:
            node = self.assembler.nodes.get(name)
            if node is None:
                raise OperatorError("the network gives its own image back; expected a classifier")
            self.made[name] = self.assembler.add_node(self._twin(node))
        return self.made[name]

    def _twin(self, node: Node) -> Node:
        if isinstance(node, GlobalMean):
            return replace(node, keep_dims=False)
        if isinstance(node, Conv2D) and self._whole(node):
            source = node.inputs[0]
            flat = self.flat(source) if self._pooled(source) else self.assembler.add_node(Flatten("flat", (source,)))
            return Dense(node.name, (flat,), node.weight.reshape(len(node.bias), -1), node.bias, node.activation)
        if isinstance(node, Activation) and self._ends(node.name):
            return Activation(node.name, (self.flat(node.inputs[0]),), node.kind)
        if isinstance(node, Add | Mul) and all(self._ends(name) for name in node.inputs):
            first, second = node.inputs
            return replace(node, inputs=(self.flat(first), self.flat(second)))
        return Flatten("flat", (node.name,))

    def _whole(self, node: Conv2D) -> bool:
        """Whether a convolution reads its whole input at once."""
        return (
            self.shapes[node.inputs[0]][1:3] == node.kernel
            and node.padding == NO_PADDING
            and node.groups == 1
            and node.dilation == 1
        )

    def _ends(self, name: str) -> bool:
        """Whether a tensor has a twin without a Flatten of its own."""
        node = self.assembler.nodes.get(name)
        return self._pooled(name) or (isinstance(node, Conv2D) and self._whole(node))

    def _pooled(self, name: str) -> bool:
        """Whether a tensor is computed from a pooling, or from a dense layer over a whole image, alone."""
        node = self.assembler.nodes.get(name)
        if isinstance(node, GlobalMean):
            return True
        if node is None or math.prod(self.shapes[name][1:3]) != 1:
            return False
        if isinstance(node, Conv2D) and self._whole(node) and node.kernel != (1, 1):
            return True
        return isinstance(node, Conv2D | Activation | Add | Mul) and all(self._pooled(one) for one in node.inputs)


def _reached(nodes: dict[str, Node], output: str) -> list[Node]:
    """The nodes that the output depends on, in their order."""
    wanted = {output}
    for name in reversed(nodes):
        if name in wanted:
            wanted.update(nodes[name].inputs)
    return [node for name, node in nodes.items() if name in wanted]


def without_head(graph: Graph) -> Graph:
    """The graph up to what its last dense layer reads, the features; as it is where it ends in none."""
    node = graph.by_name()[graph.output_name]
    if not isinstance(node, Dense):
        return graph
    kept = _reached(graph.by_name(), node.inputs[0])
    return named(Graph(graph.input_name, graph.input_shape, tuple(kept), (node.inputs[0],)))
