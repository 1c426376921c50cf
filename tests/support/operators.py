"""One case of every operator and activation, for whatever handles operators by their kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_effnet.network.activations import RESPONSES
from edge_effnet.network.geometry import Padding
from edge_effnet.network.graph import (
    Activation,
    Add,
    Border,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalMean,
    Mul,
    Node,
    Softmax,
)

RANDOM = np.random.default_rng(5)


def conv(kernel: tuple[int, int], channels: int, outputs: int, **options: Any) -> Conv2D:
    inputs = channels // options.get("groups", 1)
    weight = RANDOM.standard_normal((outputs, *kernel, inputs)) / (inputs * kernel[0]) ** 0.5
    bias = RANDOM.standard_normal(outputs).astype(np.float32)
    return Conv2D("node", ("image",), weight.astype(np.float32), bias, **options)


def depthwise(kernel: tuple[int, int], channels: int, **options: Any) -> DepthwiseConv2D:
    weight = RANDOM.standard_normal((*kernel, channels)).astype(np.float32)
    return DepthwiseConv2D("node", ("image",), weight, RANDOM.standard_normal(channels).astype(np.float32), **options)


#: Name → (node, shapes of its inputs); what stands in front of it in a graph is an image of 6 channels.
CASES: dict[str, tuple[Node, list[tuple[int, ...]]]] = {
    "1x1": (conv((1, 1), 6, 4), [(2, 5, 7, 6)]),
    "3x3 strided, padded": (conv((3, 3), 6, 4, stride=2, padding=Padding(0, 1, 1, 0)), [(2, 8, 6, 6)]),
    "5x3 relu": (conv((5, 3), 6, 4, padding=Padding(2, 2, 1, 1), activation="relu"), [(2, 5, 7, 6)]),
    "dilated": (conv((3, 3), 6, 4, dilation=2, padding=Padding(2, 2, 2, 2), activation="relu6"), [(2, 9, 7, 6)]),
    "grouped": (conv((3, 3), 6, 4, groups=2, padding=Padding(1, 1, 1, 1)), [(2, 5, 7, 6)]),
    "depthwise": (depthwise((3, 5), 6, stride=2, padding=Padding(1, 1, 2, 2)), [(2, 6, 7, 6)]),
    "depthwise, dilated": (depthwise((3, 3), 6, dilation=2, activation="relu6"), [(2, 7, 8, 6)]),
    "add": (Add("node", ("image", "image")), [(2, 3, 4, 6)] * 2),
    "add, relu": (Add("node", ("image", "image"), "relu"), [(2, 3, 4, 6)] * 2),
    "mul": (Mul("node", ("image", "image")), [(2, 3, 4, 6)] * 2),
    "gate": (Mul("node", ("image", "mean")), [(2, 3, 4, 6), (2, 1, 1, 6)]),
    "mean": (GlobalMean("node", ("image",), True), [(2, 3, 4, 6)]),
    "pooling": (GlobalMean("node", ("image",), False), [(2, 3, 4, 6)]),
    "flatten": (Flatten("node", ("image",)), [(2, 3, 4, 6)]),
    "border": (Border("node", ("image",), Padding(1, 2, 0, 1), (1.0, 2.0, 0.5, 0.0, 3.0, 1.0)), [(2, 3, 4, 6)]),
    "dense": (
        Dense("node", ("flat",), RANDOM.standard_normal((3, 6)).astype(np.float32), np.ones(3, np.float32)),
        [(2, 6)],
    ),
    "dense, relu": (
        Dense("node", ("flat",), RANDOM.standard_normal((3, 6)).astype(np.float32), np.zeros(3, np.float32), "relu"),
        [(2, 6)],
    ),
    "softmax": (Softmax("node", ("flat",)), [(2, 6)]),
    **{kind: (Activation("node", ("image",), kind), [(2, 3, 4, 6)]) for kind in RESPONSES},
}
