"""Moving the normalisation of pixels into the network, so that an integer file takes the pixels as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import UsageError
from edge_effnet.network.geometry import NO_PADDING, Padding
from edge_effnet.network.graph import Border, Conv2D, Graph, Node
from edge_effnet.numerics import QuantParams
from edge_effnet.preprocessing import Preprocessing, Values

#: Pixels as they come: real number = pixel value.
_RAW_PIXELS = QuantParams(1.0, -128)


def fold_normalisation(graph: Graph, preprocessing: Preprocessing) -> tuple[Graph, QuantParams]:
    """A graph of the same function on pixels, and the parameters under which its input reads uint8 pixels − 128.

    With equal statistics in all channels the input's scale and zero point are the normalisation; the part of the mean
    that is no whole pixel goes into the first convolution's bias. Otherwise the input is raw pixels, mean and standard
    deviation go into the first convolution's weights and bias, and a border of each channel's mean pixel takes the
    place of its zero padding.
    """
    mean, std = (_in_order(values, preprocessing) for values in (preprocessing.mean, preprocessing.std))
    stem = graph.nodes[0]
    if not isinstance(stem, Conv2D):
        raise UsageError(f"the graph begins with {type(stem).__name__}; expected the stem's convolution")
    if len(set(mean)) == len(set(std)) == 1 and 0 <= mean[0] <= 1:
        return _by_zero_point(graph, stem, mean[0], std[0])
    return _by_weights(graph, stem, np.asarray(mean), np.asarray(std)), _RAW_PIXELS


def _in_order(values: Values, preprocessing: Preprocessing) -> Values:
    return values[::-1] if preprocessing.channels == "bgr" else values


def _by_zero_point(graph: Graph, stem: Conv2D, mean: float, std: float) -> tuple[Graph, QuantParams]:
    scale = 1.0 / (255.0 * std)
    pixel_zero = round(255.0 * mean)
    offset = (pixel_zero - 255.0 * mean) * scale
    bias = stem.bias + offset * stem.weight.sum(axis=(1, 2, 3), dtype=np.float64)
    changed = replace(stem, bias=bias.astype(np.float32))
    return replace(graph, nodes=(changed, *graph.nodes[1:])), QuantParams(scale, pixel_zero - 128)


def _by_weights(graph: Graph, stem: Conv2D, mean: npt.NDArray[Any], std: npt.NDArray[Any]) -> Graph:
    weight = stem.weight / (255.0 * std)
    bias = stem.bias - (stem.weight * (mean / std)).sum(axis=(1, 2, 3), dtype=np.float64)
    nodes: list[Node] = []
    source = stem.inputs
    if stem.padding != NO_PADDING:
        nodes.append(_border(stem.padding, source, mean))
        source = (nodes[0].name,)
    folded = replace(
        stem, weight=weight.astype(np.float32), bias=bias.astype(np.float32), inputs=source, padding=NO_PADDING
    )
    return replace(graph, nodes=(*nodes, folded, *graph.nodes[1:]))


def _border(padding: Padding, source: tuple[str], mean: npt.NDArray[Any]) -> Border:
    return Border("image/border", source, padding, tuple(float(value) for value in np.rint(255.0 * mean)))


def network_input(pixels: npt.NDArray[Any], params: QuantParams) -> npt.NDArray[Any]:
    """float32[1, H, W, 3] as a graph made by `fold_normalisation` takes it, from uint8[H, W, 3]."""
    return ((pixels.astype(np.float32) - (params.zero_point + 128)) * np.float32(params.scale))[None]
