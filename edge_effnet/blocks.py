"""Finding the MBConv blocks of a graph and reordering their expanded channels, which changes nothing that is
computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.graph import Conv2D, DepthwiseConv2D, Graph, Node, with_nodes


@dataclass(frozen=True, eq=False)
class Block:
    """The convolutions of one MBConv block: `expand` is the stem for a first block without one of its own.

    reduce, excite: squeeze-excitation's two convolutions, None in Lite variants.
    """

    name: str
    expand: Conv2D
    depthwise: DepthwiseConv2D
    project: Conv2D
    reduce: Conv2D | None
    excite: Conv2D | None

    @property
    def channels(self) -> int:
        """Width of the block's inside."""
        return int(self.depthwise.bias.shape[0])


def find_blocks(graph: Graph) -> tuple[Block, ...]:
    """All blocks in order. A first block whose depthwise reads the stem takes the stem as its expansion."""
    nodes = graph.by_name()
    readers = graph.consumers()
    found = []
    for node in graph.nodes:
        if not isinstance(node, DepthwiseConv2D):
            continue
        prefix = node.name.removesuffix(".depthwise")
        expand = _producer(nodes, node.inputs[0])
        project = nodes.get(f"{prefix}.project")
        if isinstance(expand, Conv2D) and isinstance(project, Conv2D) and len(readers[node.inputs[0]]) == 1:
            reduce, excite = nodes.get(f"{prefix}.se.reduce"), nodes.get(f"{prefix}.se.expand")
            found.append(Block(prefix, expand, node, project, _conv_or_none(reduce), _conv_or_none(excite)))
    return tuple(found)


def _producer(nodes: Mapping[str, Node], tensor: str) -> Node | None:
    """The convolution behind a tensor, looking through its activation."""
    node = nodes.get(tensor)
    while node is not None and not isinstance(node, Conv2D | DepthwiseConv2D) and len(node.inputs) == 1:
        node = nodes.get(node.inputs[0])
    return node


def _conv_or_none(node: Node | None) -> Conv2D | None:
    return node if isinstance(node, Conv2D) else None


def permute_block(graph: Graph, block: Block, order: npt.NDArray[Any]) -> Graph:
    """The same function with the block's inner channels in another order (`order`: a permutation, int[channels])."""
    changed: list[Node] = [
        replace(block.expand, weight=_take(block.expand.weight, order, 0), bias=block.expand.bias[order]),
        replace(block.depthwise, weight=_take(block.depthwise.weight, order, 2), bias=block.depthwise.bias[order]),
        replace(block.project, weight=_take(block.project.weight, order, 3)),
    ]
    if block.reduce is not None and block.excite is not None:
        changed.append(replace(block.reduce, weight=_take(block.reduce.weight, order, 3)))
        changed.append(
            replace(block.excite, weight=_take(block.excite.weight, order, 0), bias=block.excite.bias[order])
        )
    return with_nodes(graph, {node.name: node for node in changed})


def _take(weight: npt.NDArray[np.float32], order: npt.NDArray[Any], axis: int) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(np.take(weight, order, axis=axis))
