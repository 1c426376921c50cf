"""What a change to the graph costs in time, put in the unit of what it saves: logit noise power.

Time is counted in tiles, the channels of one pixel that an engine's kernel handles at once; a convolution's tile stands
for all that is done with it on average. Only shares of the whole network's tiles matter.
"""

from __future__ import annotations

import math

from edge_effnet.network.graph import Conv2D, DepthwiseConv2D, Graph
from edge_effnet.network.operators import tensor_shapes

#: Channels that XNNPACK's kernels handle at once, on x86 and on ARM.
_TILE = 16
#: Share of the noise that a share of the time must save: 1 % of the time for 0.3 dB.
_NOISE_FOR_TIME = 6.0


def tiles(channels: int) -> int:
    """Tiles of one pixel."""
    return -(-channels // _TILE)


def pixels(shape: tuple[int, ...]) -> int:
    """Pixels of a tensor [N, H, W, C]."""
    return math.prod(shape[1:3])


def noise_per_tile(graph: Graph, noise: float) -> float:
    """The logit noise power that a tile of work must save, where the network has `noise` in all."""
    shapes = tensor_shapes(graph)
    convolutions = (shapes[node.name] for node in graph.nodes if isinstance(node, Conv2D | DepthwiseConv2D))
    return _NOISE_FOR_TIME * noise / sum(pixels(shape) * tiles(shape[3]) for shape in convolutions)
