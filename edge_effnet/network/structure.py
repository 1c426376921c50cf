"""What a graph is made of, found from operators and shapes alone: blocks, chains, gates, swishes, parts.

A *trunk* is a run of tensors of one width that operators pass channel by channel. An MBConv block is a trunk from the
convolution that widens it ("expand", the stem for a first block) to the one that narrows it ("project"); in a fused
block the first convolution has a k×k kernel and there is no depthwise one (arXiv 1801.04381 and 2104.00298).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from edge_effnet.network.graph import (
    Activation,
    Add,
    Conv2D,
    DepthwiseConv2D,
    GlobalMean,
    Graph,
    Mul,
    Node,
    is_activation,
)
from edge_effnet.network.kernels import is_pointwise
from edge_effnet.network.operators import tensor_shapes

Readers: TypeAlias = Mapping[str, tuple[Node, ...]]


@dataclass(frozen=True, eq=False)
class Gate:
    """Squeeze-excitation: product = trunk · sigmoid(excite(activation(reduce(mean(trunk))))).

    tensors: from the excitation to what the product reads, as wide as the trunk.
    """

    product: Mul
    mean: GlobalMean
    reduce: Conv2D
    excite: Conv2D
    tensors: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Block:
    """One MBConv or fused block. inner: its trunk's tensors, from the expand convolution to what `project` reads.

    depthwise: None in a fused block. gates: none in Lite variants.
    """

    name: str
    expand: Conv2D
    depthwise: DepthwiseConv2D | None
    project: Conv2D
    gates: tuple[Gate, ...]
    inner: tuple[str, ...]

    @property
    def channels(self) -> int:
        """Width of the block's inside."""
        return len(self.expand.bias)


@dataclass(frozen=True)
class Chain:
    """Tensors that share their channels' scales: `makers` are convolutions, `readers` convolutions of one group."""

    tensors: tuple[str, ...]
    makers: tuple[str, ...]
    readers: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """Tensors that would be computed in float together. joint: a bottleneck, which joins parts."""

    name: str
    tensors: tuple[str, ...]
    joint: bool


def only_reader(readers: Readers, tensor: str, *kinds: type) -> Node | None:
    """The one node that reads a tensor, if it is of one of these kinds; None where several read it, or none."""
    found = readers[tensor]
    return found[0] if len(found) == 1 and isinstance(found[0], kinds or (object,)) else None


def find_blocks(graph: Graph) -> tuple[Block, ...]:
    """All blocks in order, each with a trunk that nothing outside of it reads."""
    readers, nodes, pooled = graph.consumers(), graph.by_name(), pooled_tensors(graph)
    starts = [node for node in graph.nodes if isinstance(node, Conv2D) and node.groups == 1 and node.name not in pooled]
    found = [block for node in starts if (block := _block(graph, node, nodes, readers)) is not None]
    names = Counter(block.name for block in found)
    return tuple(block if names[block.name] == 1 else replace(block, name=block.project.name) for block in found)


def _block(graph: Graph, expand: Conv2D, nodes: Mapping[str, Node], readers: Readers) -> Block | None:
    inner, gates = [expand.name], list[Gate]()
    depthwise: DepthwiseConv2D | None = None
    while inner[-1] not in graph.outputs:
        gate = gate_of(inner[-1], nodes, readers)
        following = gate.product if gate else only_reader(readers, inner[-1])
        if isinstance(following, DepthwiseConv2D):
            depthwise = depthwise or following
        elif isinstance(following, Conv2D):
            activated = len(inner) > 1 or expand.activation != "none"
            if not activated or following.activation != "none" or not is_pointwise(following) or following.groups > 1:
                return None
            return Block(_base(expand, depthwise, following), expand, depthwise, following, tuple(gates), tuple(inner))
        elif following is None or not (gate or isinstance(following, Activation)):
            return None
        if gate:
            gates.append(gate)
        inner.append(following.name)
    return None


def _base(expand: Conv2D, depthwise: DepthwiseConv2D | None, project: Conv2D) -> str:
    """What the names of a block's convolutions have in common, for people: "blocks.3"."""
    first = (depthwise or expand).name
    parts = []
    for one, other in zip(first.split("."), project.name.split("."), strict=False):
        if one != other:
            break
        parts.append(one)
    return ".".join(parts) or project.name


def gate_of(tensor: str, nodes: Mapping[str, Node], readers: Readers) -> Gate | None:
    """The squeeze-excitation that reads this tensor: a mean and a product, and nothing else."""
    found = readers[tensor]
    means = [node for node in found if isinstance(node, GlobalMean) and node.keep_dims]
    products = [node for node in found if isinstance(node, Mul) and node.inputs[0] == tensor]
    if len(found) != 2 or len(means) != 1 or len(products) != 1:
        return None
    reduce = only_reader(readers, means[0].name, Conv2D)
    tensors = _back_to_convolution(products[0].inputs[1], nodes, readers)
    excite = nodes.get(tensors[0]) if tensors else None
    if not (isinstance(reduce, Conv2D) and isinstance(excite, Conv2D) and _reaches(reduce, excite, nodes)):
        return None
    return Gate(products[0], means[0], reduce, excite, tuple(tensors))


def _back_to_convolution(tensor: str, nodes: Mapping[str, Node], readers: Readers) -> list[str]:
    """Tensor names from the nearest convolution before `tensor` up to it, channel by channel; [] where there's none."""
    names: list[str] = []
    while tensor in nodes and len(readers[tensor]) == 1:
        names.insert(0, tensor)
        node = nodes[tensor]
        if isinstance(node, Conv2D):
            return names
        if not isinstance(node, Activation | DepthwiseConv2D):
            return []
        tensor = node.inputs[0]
    return []


def _reaches(first: Node, last: Node, nodes: Mapping[str, Node]) -> bool:
    """Whether `last` reads `first` through activations, sums and convolutions of one pixel."""
    waiting = [last]
    while waiting:
        node = waiting.pop()
        if node.name == first.name:
            return True
        if isinstance(node, Activation | Add | Conv2D):
            waiting += [nodes[name] for name in node.inputs if name in nodes]
    return False


def find_gates(graph: Graph) -> tuple[tuple[Mul, str], ...]:
    """(product, gate tensor) for products with a gate of one pixel: a sigmoid's that nothing else reads."""
    nodes, readers, shapes = graph.by_name(), graph.consumers(), tensor_shapes(graph)
    found = []
    for node in graph.nodes:
        if not isinstance(node, Mul) or shapes[node.inputs[1]] == shapes[node.inputs[0]]:
            continue
        gate = nodes.get(node.inputs[1])
        if is_activation(gate, "sigmoid", "hard_sigmoid") and len(readers[node.inputs[1]]) == 1:
            found.append((node, node.inputs[1]))
    return tuple(found)


def find_chains(graph: Graph) -> tuple[Chain, ...]:
    """All maximal chains that can be rescaled: made by unactivated convolutions and plain additions alone."""
    nodes, readers = graph.by_name(), graph.consumers()
    linear = {node.name for node in graph.nodes if isinstance(node, Conv2D | Add) and node.activation == "none"}
    groups: dict[str, set[str]] = {name: {name} for name in linear}
    for node in graph.nodes:
        if isinstance(node, Add):
            merged = set().union(*(groups.get(name, {name}) for name in (node.name, *node.inputs)))
            groups.update(dict.fromkeys(merged, merged))
    position = {node.name: index for index, node in enumerate(graph.nodes)}
    chains = {frozenset(group) for group in groups.values() if group <= linear}
    ordered = sorted(chains, key=lambda chain: min(position[name] for name in chain))
    found = (_chain(graph, sorted(chain, key=position.__getitem__), nodes, readers) for chain in ordered)
    return tuple(chain for chain in found if chain is not None)


def _chain(graph: Graph, tensors: list[str], nodes: Mapping[str, Node], readers: Readers) -> Chain | None:
    reading = dict.fromkeys(node.name for name in tensors for node in readers[name] if node.name not in tensors)
    behind = [nodes[name] for name in reading]
    if set(graph.outputs) & set(tensors):
        return None
    if not all(isinstance(node, Conv2D) and node.groups == 1 for node in behind):
        return None
    makers = tuple(name for name in tensors if isinstance(nodes[name], Conv2D))
    return Chain(tuple(tensors), makers, tuple(reading))


def find_parts(graph: Graph) -> tuple[Part, ...]:
    """The graph's tensors in parts: what widens, what a spatial depthwise convolution begins, and the joints between.

    Lanes of one block are one part. Found in order; names are those of their first tensors without a lane's number.
    """
    joints = _joints(graph)
    keys: dict[str, tuple[object, ...]] = {graph.input_name: ("input",)}
    tensors: dict[tuple[object, ...], list[str]] = {}
    for node in graph.nodes:
        keys[node.name] = _part_key(node, keys, joints)
        tensors.setdefault(keys[node.name], []).append(node.name)
    tensors.pop(("input",), None)  # a border has the image's own parameters
    return tuple(Part(_shown(names[0]), tuple(names), key[0] == "joint") for key, names in tensors.items())


def pooled_tensors(graph: Graph) -> frozenset[str]:
    """What is computed from means alone: the insides of gates, and all that follows the pooling."""
    found: set[str] = set()
    for node in graph.nodes:
        if isinstance(node, GlobalMean) or found.issuperset(node.inputs):
            found.add(node.name)
    return frozenset(found)


def _joints(graph: Graph) -> frozenset[str]:
    """Bottlenecks: unactivated convolutions and sums of images that no activation reads, not even behind a sum."""
    pooled, readers = pooled_tensors(graph), graph.consumers()
    found: set[str] = set()
    for node in reversed(graph.nodes):
        if node.name in pooled or not isinstance(node, Conv2D | Add) or node.activation != "none":
            continue
        behind = readers[node.name]
        if all(not isinstance(reader, Activation | Add) or reader.name in found for reader in behind):
            found.add(node.name)
    return frozenset(found)


def _part_key(node: Node, keys: Mapping[str, tuple[object, ...]], joints: frozenset[str]) -> tuple[object, ...]:
    before = keys[node.inputs[0]]
    if node.name in joints:
        if isinstance(node, Add):
            order = list(keys)
            return keys[max((name for name in node.inputs if name in joints), key=order.index, default=node.inputs[0])]
        return ("joint", before)
    if isinstance(node, Conv2D) and before[0] in ("joint", "input"):
        return ("wide", before)
    if isinstance(node, DepthwiseConv2D) and node.kernel != (1, 1):
        return ("depthwise", before)
    return ("wide", before) if before[0] == "joint" else before


def _shown(name: str) -> str:
    return ".".join(part for part in name.split(".") if not part.startswith("lane"))


def responses(graph: Graph) -> Iterator[tuple[str, Activation]]:
    """(tensor, activation) for tensors that one activation alone reads, and that are no output."""
    for name, readers in graph.consumers().items():
        if len(readers) == 1 and isinstance(readers[0], Activation) and name not in graph.outputs:
            yield name, readers[0]


def linear_readers(graph: Graph, tensor: str) -> tuple[Node, ...] | None:
    """The convolutions that take a channel's factor into their weights, through means; None where something can't.

    A convolution with padding may: zero stays zero. A border can't, nor a second product.
    """
    found: dict[str, Node] = {}
    readers = graph.consumers()
    waiting = [tensor]
    while waiting:
        name = waiting.pop()
        if name in graph.outputs:
            return None
        for node in readers[name]:
            if (isinstance(node, GlobalMean) and node.keep_dims) or (isinstance(node, Mul) and node.inputs[0] == name):
                waiting.append(node.name)
            elif isinstance(node, DepthwiseConv2D) or (isinstance(node, Conv2D) and node.groups == 1):
                found[node.name] = node
            else:
                return None
    return tuple(found.values()) or None


def image_readers(graph: Graph) -> tuple[Conv2D, ...] | None:
    """The convolutions that read the image; None where anything else does, so that pixels can't be folded in."""
    readers = graph.consumers()[graph.input_name]
    found = tuple(node for node in readers if isinstance(node, Conv2D) and node.groups == 1)
    return found if found and len(found) == len(readers) else None
