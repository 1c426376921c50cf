"""Names for people: those of the blocks where the network is made of blocks, the file's own elsewhere.

One network gets the same names, and so the same bytes, by whatever road it comes.
"""

from __future__ import annotations

from dataclasses import replace

from edge_effnet.network.graph import (
    Activation,
    Add,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalMean,
    Graph,
    Node,
)
from edge_effnet.network.structure import gate_of, pooled_tensors

OUTPUT_NAME, FEATURES_NAME = "logits", "features"


def named(graph: Graph) -> Graph:
    """The graph with the names that a state dict's network has, as far as its structure tells them."""
    names = _by_structure(graph)
    dense = isinstance(graph.by_name()[graph.output_name], Dense)
    names[graph.output_name] = OUTPUT_NAME if dense else FEATURES_NAME
    taken = set(names.values()) | {graph.input_name}
    for node in graph.nodes:
        if node.name not in names:
            names[node.name] = _free(_clean(node.name), taken)
            taken.add(names[node.name])
    nodes = tuple(_renamed(node, names) for node in graph.nodes)
    return replace(graph, nodes=nodes, outputs=tuple(names[name] for name in graph.outputs))


def _renamed(node: Node, names: dict[str, str]) -> Node:
    inputs = tuple(names.get(name, name) for name in node.inputs)
    return replace(node, name=names[node.name], inputs=inputs)  # type: ignore[arg-type]


def _by_structure(graph: Graph) -> dict[str, str]:
    """Old name → new one along the trunk, from the image to the pooling; none where a name would stand twice."""
    ends = _end_names(graph)
    walk = _Walk(graph, dict(ends))
    for node in graph.nodes:
        if node.name not in ends:
            walk.take(node)
    found = walk.names
    return found if len(set(found.values())) == len(found) else {}


class _Walk:
    """The trunk's nodes in order, each told by what follows: stem, then blocks that a projection or a sum ends.

    A block's convolutions: `expand` (activated, also a plain or fused block's), `depthwise`, `project` (not activated).
    """

    def __init__(self, graph: Graph, names: dict[str, str]) -> None:
        self.names = names
        self._nodes, self._readers, self._pooled = graph.by_name(), graph.consumers(), pooled_tensors(graph)
        self._index, self._parts, self._started = -1, set[str](), False

    def take(self, node: Node) -> None:
        """The next node."""
        if isinstance(node, Conv2D | DepthwiseConv2D) and node.name not in self._pooled:
            self._convolution(node)
        elif isinstance(node, Add) and node.name not in self._pooled and self._index >= 0:
            self.names[node.name] = f"blocks.{self._index}.add"
            self._parts = set()

    def _convolution(self, node: Conv2D | DepthwiseConv2D) -> None:
        activation = self._activation_of(node)
        activated = activation is not None or node.activation != "none"
        part = "depthwise" if isinstance(node, DepthwiseConv2D) else "expand" if activated else "project"
        base = "stem" if not self._started else f"{self._block(part)}.{part}"
        self._started = True
        self.names[node.name] = base
        if activation is not None:
            self.names[activation.name] = f"{base}.{activation.kind}"
        if base != "stem":
            self._gate((activation or node).name)
        if part == "project":
            self._parts = set()

    def _block(self, part: str) -> str:
        """The block that is begun, or a new one where none is or it has such a part already."""
        if not self._parts or part in self._parts or (part == "expand" and "depthwise" in self._parts):
            self._index, self._parts = self._index + 1, set()
        self._parts.add(part)
        return f"blocks.{self._index}"

    def _activation_of(self, node: Node) -> Activation | None:
        found = self._readers[node.name]
        return found[0] if len(found) == 1 and isinstance(found[0], Activation) else None

    def _gate(self, tensor: str) -> None:
        gate = gate_of(tensor, self._nodes, self._readers)
        if gate is None:
            return
        base = f"blocks.{self._index}.se"
        reduced = self._activation_of(gate.reduce)
        self.names.update({gate.mean.name: f"{base}.mean", gate.reduce.name: f"{base}.reduce"})
        self.names.update({gate.excite.name: f"{base}.expand", gate.product.name: f"{base}.scale"})
        self.names[gate.tensors[-1]] = f"{base}.gate"
        if reduced is not None:
            self.names[reduced.name] = f"{base}.reduce.{reduced.kind}"


def _end_names(graph: Graph) -> dict[str, str]:
    """The head convolution, its activation and the pooling."""
    nodes = graph.by_name()
    node = nodes[graph.output_name]
    names: dict[str, str] = {}
    if isinstance(node, Dense):
        node = nodes.get(node.inputs[0], node)
    if not isinstance(node, GlobalMean | Flatten):
        return {}
    names[node.name] = "pooled"
    before = nodes.get(node.inputs[0])
    if isinstance(before, Activation) and before.inputs[0] in nodes:
        names[before.name] = f"head.{before.kind}"
        before = nodes[before.inputs[0]]
    if isinstance(before, Conv2D):
        names[before.name] = "head"
    return names


def _clean(name: str) -> str:
    return name.strip("/").removesuffix(":0").replace("/", ".") or "node"


def _free(name: str, taken: set[str]) -> str:
    given, count = name, 1
    while given in taken:
        count += 1
        given = f"{name}.{count}"
    return given
