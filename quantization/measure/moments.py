"""How the inputs of every weight vary together: the second moments that better rounding needs.

One streaming pass. They come from some output positions of each layer and photo, evenly spread, which is far more than
a layer has inputs once a few dozen photos are through.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.network.graph import Conv2D, Dense, DepthwiseConv2D, Graph, Weighted, weighted
from edge_effnet.network.kernels import conv_patches, depthwise_taps

#: Positions of a photo at most: of a convolution, and of a depthwise one, whose channels have few weights each.
_POSITIONS, _DEPTHWISE_POSITIONS = 1024, 64
#: Samples of a layer wait to be multiplied together, of several photos where these are few: so many bytes, or this
#: share of what their products take. A squeeze's input, one position a photo, mostly never gets so far.
_WAITING_BYTES, _WAITING_SHARE = 1 << 20, 0.5


@dataclass(frozen=True, eq=False)
class InputMoments:
    """Moments of what each output channel's weights multiply, zero padding included.

    mean: float64[groups, K]. groups: those of a convolution, or the channels of a depthwise one; K counts the weights
    of one output channel, in the order of `rounding.by_output`. known: the covariance, [groups, K, K] of float64 or
    float32, or where `sampled` the samples that it comes from, float32[groups, N, K], which take less memory.
    """

    mean: npt.NDArray[np.float64]
    known: npt.NDArray[Any]
    sampled: bool = False

    @property
    def covariance(self) -> npt.NDArray[np.float64]:
        """float64[groups, K, K], made each time."""
        if not self.sampled:
            return np.asarray(self.known, np.float64)
        return _centred(self.known.transpose(0, 2, 1) @ self.known, self.known.shape[1], self.mean).astype(np.float64)

    def means_only(self) -> InputMoments:
        """Without the covariance, which is large and only rounding needs."""
        return InputMoments(self.mean, np.zeros((0, 0, 0)))


class MomentSums:
    """Sums over photos, once for all nodes that see the same windows of the same tensor."""

    def __init__(self) -> None:
        self._sums: dict[Any, _Sum] = {}
        self._readers: dict[str, dict[Any, Weighted]] | None = None

    def add(self, graph: Graph, name: str, tensor: npt.NDArray[np.float32]) -> None:
        """One photo's tensor, for those that read it."""
        if self._readers is None:
            self._readers = {}
            for node in weighted(graph.nodes):
                self._readers.setdefault(node.inputs[0], {}).setdefault(_windows(node), node)
        for key, node in self._readers.get(name, {}).items():
            self._sums.setdefault(key, _Sum()).add(_samples(node, tensor))

    def merge(self, other: MomentSums) -> None:
        """Adds the sums over other photos, which are given up one by one: they are large."""
        for key in tuple(other._sums):
            self._sums.setdefault(key, _Sum()).merge(other._sums.pop(key))

    def finished(self, graph: Graph) -> dict[str, InputMoments]:
        """Name of each weighted node → moments of its input; the sums are used up."""
        moments = {key: self._sums.pop(key).finished() for key in tuple(self._sums)}
        return {node.name: moments[_windows(node)] for node in weighted(graph.nodes)}


@dataclass
class _Sum:
    """Sums over photos. total: float64[groups, K]; products: float32[groups, K, K]; waiting: what is in neither yet."""

    count: int = 0
    total: Any = 0.0
    products: Any = 0.0
    waiting: list[npt.NDArray[np.float32]] = field(default_factory=list)

    def add(self, samples: npt.NDArray[np.float32]) -> None:
        self.waiting.append(samples)
        groups, _, size = samples.shape
        most = max(_WAITING_BYTES, _WAITING_SHARE * 4 * groups * size**2)
        if sum(part.nbytes for part in self.waiting) >= most:
            self._sum_up()

    def merge(self, other: _Sum) -> None:
        self.waiting += other.waiting
        if not self.count:
            self.count, self.total, self.products = other.count, other.total, other.products
        elif other.count:
            self.count += other.count
            self.total += other.total
            self.products += other.products

    def finished(self) -> InputMoments:
        if not self.count:
            samples = np.concatenate(self.waiting, axis=1)
            if samples.shape[1] < samples.shape[2]:
                return InputMoments(samples.mean(axis=1, dtype=np.float64), samples, sampled=True)
        self._sum_up()
        mean = self.total / self.count
        return InputMoments(mean, _centred(self.products, self.count, mean))

    def _sum_up(self) -> None:
        if not self.waiting:
            return
        samples = np.concatenate(self.waiting, axis=1)
        self.waiting.clear()
        products = np.matmul(samples.transpose(0, 2, 1), samples)
        ones = np.ones((1, 1, samples.shape[1]), np.float32)
        total = np.matmul(ones, samples)[:, 0]
        if self.count:
            self.total += total
            self.products += products
        else:
            self.total, self.products = total.astype(np.float64), products
        self.count += samples.shape[1]


def _centred(products: npt.NDArray[np.float32], count: int, mean: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The covariance, in place of the sum of products over `count` samples."""
    for group, middle in zip(products, mean, strict=True):
        group[...] = group / np.float64(count) - np.outer(middle, middle)
    return products


def _windows(node: Weighted) -> tuple[Any, ...]:
    """What decides which numbers a node's weights meet."""
    if isinstance(node, Dense):
        return node.inputs[0], Dense
    groups = node.groups if isinstance(node, Conv2D) else None
    return node.inputs[0], node.kernel, node.stride, node.padding, node.dilation, groups


def _samples(node: Weighted, tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32[groups, positions, K]."""
    if isinstance(node, Dense):
        return tensor[None]
    if isinstance(node, Conv2D):
        patches = conv_patches(node, tensor)
        return _spread(patches.reshape(-1, *patches.shape[-2:])).transpose(1, 0, 2)
    return _depthwise_samples(node, tensor)


def _spread(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    step = max(1, len(rows) // _POSITIONS)
    return rows[step // 2 :: step]


def _depthwise_samples(node: DepthwiseConv2D, tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    taps = [tap for line in depthwise_taps(node, tensor) for tap in line]
    _, height, width, _ = taps[0].shape
    count = min(_DEPTHWISE_POSITIONS, height * width)
    position = np.linspace(0, height * width - 1, count).astype(np.int64)
    chosen = [tap[0, position // width, position % width] for tap in taps]
    return np.ascontiguousarray(np.stack(chosen).transpose(2, 1, 0))
