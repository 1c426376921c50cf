"""How the inputs of every weight vary together: the second moments that better rounding needs.

One streaming pass; means are exact, covariances come from at most 1,024 output positions of each layer and photo,
evenly spread, which is far more than a layer has inputs once a few dozen photos are through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.network.execute import execute
from edge_effnet.network.graph import Conv2D, Dense, DepthwiseConv2D, Graph, Weighted, weighted
from edge_effnet.network.kernels import conv_patches, depthwise_taps

_POSITIONS = 1024


@dataclass(frozen=True, eq=False)
class InputMoments:
    """Moments of what each output channel's weights multiply, zero padding included.

    mean: float64[groups, K]; covariance: float64[groups, K, K]. groups is 1, or the channels of a depthwise
    convolution; K counts the weights of one output channel, in the order of `rounding.by_output`.
    """

    mean: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]

    def means_only(self) -> InputMoments:
        """Without the covariance, which is large and only rounding needs."""
        return InputMoments(self.mean, np.zeros((0, 0, 0)))


def collect_moments(graph: Graph, inputs: Iterable[npt.NDArray[np.float32]]) -> Mapping[str, InputMoments]:
    """Name of each weighted node → moments of its input, from a float run of the graph on each image [1, H, W, 3]."""
    readers: dict[str, list[Weighted]] = {}
    for node in weighted(graph.nodes):
        readers.setdefault(node.inputs[0], []).append(node)
    sums: dict[str, list[Any]] = {}

    def gather(name: str, tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        for node in readers.get(name, ()):
            _accumulate(sums.setdefault(node.name, [0, 0.0, 0.0]), _samples(node, tensor))
        return tensor

    for image in inputs:
        execute(graph, image, hook=gather)
    return {name: _finished(*found) for name, found in sums.items()}


def _samples(node: Weighted, tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32[groups, positions, K]."""
    if isinstance(node, Dense):
        return tensor[None]
    if isinstance(node, Conv2D):
        patches = conv_patches(node, tensor)
        return _spread(patches.reshape(-1, patches.shape[-1]))[None]
    return _depthwise_samples(node, tensor)


def _spread(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    step = max(1, len(rows) // _POSITIONS)
    return rows[step // 2 :: step]


def _depthwise_samples(node: DepthwiseConv2D, tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    taps = [tap for line in depthwise_taps(node, tensor) for tap in line]
    _, height, width, _ = taps[0].shape
    count = min(_POSITIONS // 2, height * width)
    position = np.linspace(0, height * width - 1, count).astype(np.int64)
    chosen = [tap[0, position // width, position % width] for tap in taps]
    return np.ascontiguousarray(np.stack(chosen).transpose(2, 1, 0))


def _accumulate(sums: list[Any], samples: npt.NDArray[np.float32]) -> None:
    sums[0] += samples.shape[1]
    sums[1] = sums[1] + samples.sum(axis=1, dtype=np.float64)
    sums[2] = sums[2] + np.matmul(samples.transpose(0, 2, 1), samples).astype(np.float64)


def _finished(count: int, total: npt.NDArray[np.float64], products: npt.NDArray[np.float64]) -> InputMoments:
    mean = total / count
    return InputMoments(mean, products / count - mean[:, :, None] * mean[:, None, :])
