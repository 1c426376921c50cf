"""Moving the normalisation of pixels into the network, so that an integer file takes the pixels as they are."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import UsageError
from edge_effnet.network.geometry import NO_PADDING, Padding
from edge_effnet.network.graph import Border, Conv2D, DepthwiseConv2D, Graph, Node, with_nodes
from edge_effnet.network.rewrite import fresh_name, inserted_before, reading
from edge_effnet.network.structure import image_readers
from edge_effnet.numerics import QuantParams
from edge_effnet.preprocessing import Preprocessing

#: Pixels as they come: real number = pixel value.
_RAW_PIXELS = QuantParams(1.0, -128)


def fold_normalisation(graph: Graph, preprocessing: Preprocessing) -> tuple[Graph, QuantParams]:
    """A graph of the same function on pixels, and the parameters under which its input reads uint8 pixels − 128.

    With equal statistics in all channels the input's scale and zero point are the normalisation; the part of the mean
    that is no whole pixel goes into the biases of the convolutions that read the image. Otherwise the input is raw
    pixels, mean and standard deviation go into these convolutions' weights and biases, and a border of each channel's
    mean pixel takes the place of their zero padding. Where anything else reads the image, too, a depthwise convolution
    of one pixel normalises it first. Raises UsageError where mean and std don't fit the image's channels.
    """
    mean, std = (_in_order(values, preprocessing) for values in (preprocessing.mean, preprocessing.std))
    channels = graph.input_shape[-1]
    if len(mean) != channels or len(std) != channels:
        raise UsageError(f"mean {mean} and std {std} don't fit an image of {channels} channels; expected one a channel")
    readers = image_readers(graph)
    if readers is None:
        return _by_depthwise(graph, np.asarray(mean), np.asarray(std)), _RAW_PIXELS
    if len(set(mean)) == len(set(std)) == 1 and 0 <= mean[0] <= 1:
        return _by_zero_point(graph, readers, mean[0], std[0])
    return _by_weights(graph, readers, np.asarray(mean), np.asarray(std)), _RAW_PIXELS


def _in_order(values: tuple[float, ...], preprocessing: Preprocessing) -> tuple[float, ...]:
    return values[::-1] if preprocessing.channels == "bgr" else values


def _by_zero_point(graph: Graph, readers: tuple[Conv2D, ...], mean: float, std: float) -> tuple[Graph, QuantParams]:
    scale = 1.0 / (255.0 * std)
    pixel_zero = round(255.0 * mean)
    offset = (pixel_zero - 255.0 * mean) * scale

    def shifted(node: Conv2D) -> Node:
        bias = node.bias + offset * node.weight.sum(axis=(1, 2, 3), dtype=np.float64)
        return replace(node, bias=bias.astype(np.float32))

    return with_nodes(graph, {node.name: shifted(node) for node in readers}), QuantParams(scale, pixel_zero - 128)


def _by_weights(graph: Graph, readers: tuple[Conv2D, ...], mean: npt.NDArray[Any], std: npt.NDArray[Any]) -> Graph:
    for node in readers:
        weight = node.weight / (255.0 * std)
        bias = node.bias - (node.weight * (mean / std)).sum(axis=(1, 2, 3), dtype=np.float64)
        folded = replace(node, weight=weight.astype(np.float32), bias=bias.astype(np.float32), padding=NO_PADDING)
        graph = with_nodes(graph, {node.name: folded})
        if node.padding != NO_PADDING:
            make = partial(_border, graph.input_name, node.padding, mean)
            graph = inserted_before(graph, node.name, graph.input_name, make, name=f"{graph.input_name}/border")
    return graph


def _border(image: str, padding: Padding, mean: npt.NDArray[Any], name: str) -> Border:
    return Border(name, (image,), padding, tuple(float(value) for value in np.rint(255.0 * mean)))


def _by_depthwise(graph: Graph, mean: npt.NDArray[Any], std: npt.NDArray[Any]) -> Graph:
    image = graph.input_name
    name = fresh_name(graph, f"{image}/normalised")
    weight, bias = (1 / (255.0 * std)).astype(np.float32), (-mean / std).astype(np.float32)
    first = DepthwiseConv2D(name, (image,), weight[None, None], bias)
    return replace(graph, nodes=(first, *(reading(node, {image: name}) for node in graph.nodes)))


def network_input(pixels: npt.NDArray[Any], params: QuantParams) -> npt.NDArray[Any]:
    """float32[1, H, W, 3] as a graph made by `fold_normalisation` takes it, from uint8[H, W, 3]."""
    return ((pixels.astype(np.float32) - (params.zero_point + 128)) * np.float32(params.scale))[None]
