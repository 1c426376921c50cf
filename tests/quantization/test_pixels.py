"""The network on pixels against the network on normalised photos."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.networks import graph_of

from edge_effnet.errors import UsageError
from edge_effnet.network.execute import execute
from edge_effnet.network.geometry import Padding
from edge_effnet.network.graph import Activation, Add, Border, Conv2D, Graph
from edge_effnet.preprocessing import HALF, IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from edge_effnet.quantization.pixels import fold_normalisation, network_input

SYMMETRIC, SAME, NONE = Padding(1, 1, 1, 1), Padding(0, 1, 0, 1), Padding(0, 0, 0, 0)
STATISTICS = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": (HALF, HALF),
    "whole pixel": ((0.4, 0.4, 0.4), (0.25, 0.25, 0.25)),
    "zero": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "outside": ((-0.5, -0.5, -0.5), (1.0, 1.0, 1.0)),
}


def stem(padding: Padding) -> Graph:
    random = np.random.default_rng(0)
    conv = Conv2D(
        "stem",
        ("image",),
        random.standard_normal((6, 3, 3, 3)).astype(np.float32),
        random.standard_normal(6).astype(np.float32),
        2,
        padding,
    )
    return graph_of([conv, Activation("swish", ("stem",), "swish")], channels=3, height=14, width=14)


def outputs(graph: Graph, image: Any) -> Any:
    """float64[H, W, C] of the stem's convolution."""
    kept: dict[str, Any] = {}
    execute(graph, image.astype(np.float64), hook=lambda name, tensor: kept.setdefault(name, tensor))
    return kept["stem"][0]


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("padding", [SYMMETRIC, SAME, NONE], ids=["symmetric", "same", "none"])
@pytest.mark.parametrize("statistics", list(STATISTICS))
def test_the_folded_network_is_the_normalised_one(statistics: str, padding: Padding, channels: Any) -> None:
    """Inside to float32; at the border to what half a pixel does, since padding in an int8 file is a whole pixel."""
    preprocessing = Preprocessing(
        14, 14, mean=STATISTICS[statistics][0], std=STATISTICS[statistics][1], channels=channels
    )
    graph = stem(padding)
    folded, params = fold_normalisation(graph, preprocessing)
    pixels = np.random.default_rng(1).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    exact, found = outputs(graph, preprocessing.normalise(pixels)[None]), outputs(folded, network_input(pixels, params))
    assert found.shape == exact.shape
    edge = np.zeros(exact.shape[:2], bool)
    edge[: int(padding.top > 0)] = edge[:, : int(padding.left > 0)] = True
    edge[edge.shape[0] - int(padding.bottom > 0) :] = edge[:, edge.shape[1] - int(padding.right > 0) :] = True
    np.testing.assert_allclose(found[~edge], exact[~edge], atol=1e-4)
    node = graph.nodes[0]
    assert isinstance(node, Conv2D)
    half_pixel = (np.abs(node.weight) / (255 * np.asarray(preprocessing.std) * 2)).sum(axis=(1, 2, 3))
    off = np.abs(found - exact) / half_pixel
    assert off.max() <= 1.001
    if statistics == "zero":
        np.testing.assert_allclose(found, exact, atol=1e-4)


@pytest.mark.parametrize(
    ("statistics", "border", "scale"),
    [("imagenet", True, 1.0), ("half", False, 1 / 127.5), ("outside", True, 1.0), ("zero", False, 1 / 255)],
)
def test_what_the_input_becomes(statistics: str, border: bool, scale: float) -> None:
    mean, std = STATISTICS[statistics]
    folded, params = fold_normalisation(stem(SAME), Preprocessing(14, 14, mean=mean, std=std))
    assert isinstance(folded.nodes[0], Border) == border
    assert params.scale == pytest.approx(scale)
    assert params.zero_point == {"imagenet": -128, "half": 0, "outside": -128, "zero": -128}[statistics]


def test_every_pixel_is_an_integer_of_the_input() -> None:
    for mean, std in STATISTICS.values():
        _, params = fold_normalisation(stem(SAME), Preprocessing(14, 14, mean=mean, std=std))
        pixels = np.arange(256).astype(np.uint8).repeat(3).reshape(16, 16, 3)
        values = network_input(pixels, params)
        assert values.dtype == np.float32
        assert values.shape == (1, 16, 16, 3)
        np.testing.assert_allclose(
            values / params.scale + params.zero_point, pixels[None].astype(float) - 128, atol=1e-3
        )


def test_bgr_exchanges_the_statistics() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    found = []
    for channels in ("rgb", "bgr"):
        folded, params = fold_normalisation(stem(NONE), Preprocessing(14, 14, channels=channels))  # type: ignore[arg-type]
        found.append(outputs(folded, network_input(pixels, params)))
    assert np.abs(found[0] - found[1]).max() > 0.1


@pytest.mark.parametrize("statistics", ["imagenet", "half"])
def test_two_readers_of_the_image(statistics: str) -> None:
    """Two convolutions, each with its own padding, and their sum: both get the normalised image."""
    random = np.random.default_rng(0)

    def conv(name: str, kernel: int, padding: Padding) -> Conv2D:
        weight = random.standard_normal((4, kernel, kernel, 3)).astype(np.float32)
        return Conv2D(name, ("image",), weight, random.standard_normal(4).astype(np.float32), 1, padding)

    nodes = [conv("wide", 3, SYMMETRIC), conv("narrow", 1, NONE), Add("stem", ("wide", "narrow"))]
    same_as_normalised(graph_of(nodes, channels=3, height=14, width=14), statistics)


@pytest.mark.parametrize("statistics", ["imagenet", "half"])
def test_an_image_that_more_than_convolutions_read(statistics: str) -> None:
    """It is normalised by a convolution of one pixel first."""
    same_as_normalised(graph_of([Activation("stem", ("image",), "swish")], channels=3, height=14, width=14), statistics)


def same_as_normalised(graph: Graph, statistics: str) -> None:
    mean, std = STATISTICS[statistics]
    preprocessing = Preprocessing(14, 14, mean=mean, std=std)
    folded, params = fold_normalisation(graph, preprocessing)
    pixels = np.random.default_rng(1).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    exact, found = outputs(graph, preprocessing.normalise(pixels)[None]), outputs(folded, network_input(pixels, params))
    np.testing.assert_allclose(found[1:-1, 1:-1], exact[1:-1, 1:-1], atol=1e-4)


def test_statistics_for_other_channels() -> None:
    graph = graph_of([Activation("a", ("image",), "swish")], channels=1)
    with pytest.raises(UsageError, match="don't fit an image of 1 channels; expected one a channel"):
        fold_normalisation(graph, Preprocessing(6, 6))
