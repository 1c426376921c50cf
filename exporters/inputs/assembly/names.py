"""Names for people: those of the blocks where the network is made of blocks, the file's own elsewhere.

One network gets the same names, and so the same bytes, by whatever road it comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edge_effnet.errors import GraphError
from edge_effnet.network.graph import Activation, Add, Border, Dense, Flatten, GlobalMean, Graph, Node
from edge_effnet.network.structure import Block, find_blocks

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
    try:
        blocks = find_blocks(graph)
    except GraphError:
        return {}
    found: dict[str, str] = {}
    residual = _residuals(graph)
    for index, block in enumerate(_consecutive(graph, blocks)):
        for name, given in _block_names(
            graph, block, f"blocks.{index}", stem=block.expand.inputs[0] == graph.input_name
        ).items():
            found.setdefault(name, given)
        if block.project.name in residual:
            found[residual[block.project.name]] = f"blocks.{index}.add"
    found.update(_end_names(graph, found))
    if len(set(found.values())) != len(found):
        return {}
    return found


def _consecutive(graph: Graph, blocks: Iterable[Block]) -> list[Block]:
    order = {node.name: index for index, node in enumerate(graph.nodes)}
    return sorted(blocks, key=lambda block: order[block.project.name])


def _residuals(graph: Graph) -> dict[str, str]:
    """Projection → the sum that reads it."""
    return {node.inputs[place]: node.name for node in graph.nodes if isinstance(node, Add) for place in (1, 0)}


def _block_names(graph: Graph, block: Block, base: str, *, stem: bool) -> dict[str, str]:
    """Old name → new one for a block's convolutions, activations and gates."""
    names = {block.project.name: f"{base}.project"}
    parts = {block.expand.name: "stem" if stem else f"{base}.expand"}
    if block.depthwise is not None:
        parts[block.depthwise.name] = f"{base}.depthwise"
    nodes = graph.by_name()
    for name in block.inner:
        node = nodes[name]
        if isinstance(node, Activation) and node.inputs[0] in parts:
            names[name] = f"{parts[node.inputs[0]]}.{node.kind}"
    names.update(parts)
    for gate in block.gates:
        names.update({gate.mean.name: f"{base}.se.mean", gate.reduce.name: f"{base}.se.reduce"})
        names.update({gate.excite.name: f"{base}.se.expand", gate.product.name: f"{base}.se.scale"})
        names[gate.tensors[-1]] = f"{base}.se.gate"
        for node in graph.consumers()[gate.reduce.name]:
            if isinstance(node, Activation):
                names[node.name] = f"{base}.se.reduce.{node.kind}"
    return names


def _end_names(graph: Graph, found: dict[str, str]) -> dict[str, str]:
    """The head convolution, its activation and the pooling."""
    nodes = graph.by_name()
    node = nodes[graph.output_name]
    names: dict[str, str] = {}
    if isinstance(node, Dense):
        node = nodes.get(node.inputs[0], node)
    if not isinstance(node, GlobalMean | Flatten) or node.name in found:
        return {}
    names[node.name] = "pooled"
    before = nodes.get(node.inputs[0])
    if isinstance(before, Activation) and before.inputs[0] in nodes:
        names[before.name] = f"head.{before.kind}"
        before = nodes[before.inputs[0]]
    if before is not None and before.name not in found and not isinstance(before, Border | Add):
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
