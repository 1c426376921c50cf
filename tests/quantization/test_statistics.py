"""The streaming pass against plain numpy over all values at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.networks import float_graph, graph_of, inputs_of, narrow_state

from edge_effnet.errors import CalibrationError
from edge_effnet.network.execute import execute
from edge_effnet.network.graph import Activation
from edge_effnet.quantization.measure.passes import Wanted, measure
from edge_effnet.quantization.measure.statistics import BINS

ONE_NODE = graph_of([Activation("out", ("image",), "swish")], channels=3)


def exact_bins(values: Any) -> Any:
    """Values in the middle of 1/1024 steps, which no bin border of a power of two meets."""
    return (np.rint(values * 512) / 512 + 1 / 1024).astype(np.float32)


def test_extremes_and_means_of_every_tensor() -> None:
    graph = float_graph(narrow_state("b0"), "b0")
    images = inputs_of(graph, 4)
    tensors: dict[str, list[Any]] = {}
    for image in images:
        execute(graph, image, hook=lambda name, tensor: tensors.setdefault(name, []).append(tensor.copy()) or tensor)  # type: ignore[func-returns-value]
    found = measure(graph, images, Wanted(statistics=4)).statistics
    assert list(found) == list(tensors)
    for name, values in tensors.items():
        flat = np.concatenate([value.reshape(-1, value.shape[-1]) for value in values]).astype(np.float64)
        statistics = found[name]
        assert (statistics.low, statistics.high) == (flat.min(), flat.max())
        assert statistics.mean_low == pytest.approx(np.mean([value.min() for value in values]), rel=1e-6)
        assert statistics.mean_high == pytest.approx(np.mean([value.max() for value in values]), rel=1e-6)
        np.testing.assert_array_equal(statistics.channel_low, flat.min(axis=0))
        np.testing.assert_array_equal(statistics.channel_high, flat.max(axis=0))
        np.testing.assert_allclose(
            statistics.channel_mean, flat.mean(axis=0), rtol=1e-5, atol=1e-6 * np.abs(flat).max()
        )


@pytest.mark.parametrize("factors", [(1, 1, 1), (0.01, 1, 60), (60, 1, 0.01), (0, 3, 0)], ids=str)
def test_histograms_double_their_reach_without_losing_a_value(factors: tuple[float, ...]) -> None:
    images = [exact_bins(image * factor) for factor, image in zip(factors, inputs_of(ONE_NODE, 3), strict=True)]
    histogram = measure(ONE_NODE, list(images), Wanted(statistics=10_000)).statistics["image"].histogram
    values = np.concatenate(images).reshape(-1, 3)
    largest = np.abs(values).max(axis=0)
    np.testing.assert_array_equal(np.exp2(np.rint(np.log2(histogram.reach))), histogram.reach)
    assert (histogram.reach >= largest).all()
    assert (histogram.reach / 2 < largest).all()
    for channel, reach in enumerate(histogram.reach):
        expected, edges = np.histogram(values[:, channel], bins=BINS, range=(-reach, reach))
        np.testing.assert_array_equal(histogram.counts[channel], expected)
        np.testing.assert_allclose(histogram.centers[channel], (edges[1:] + edges[:-1]) / 2, atol=1e-12)


def test_values_on_the_ends_of_the_reach_are_counted() -> None:
    image = np.zeros(ONE_NODE.input_shape, np.float32)
    image[0, 0, 0], image[0, 1, 1] = 2.0, -2.0
    histogram = measure(ONE_NODE, [image], Wanted(statistics=10_000)).statistics["image"].histogram
    assert histogram.reach.tolist() == [2.0] * 3
    assert histogram.counts[:, [0, BINS // 2, -1]].tolist() == [[1, 28, 1]] * 3


def test_the_order_of_the_photos_does_not_matter() -> None:
    images = [exact_bins(image * factor) for factor, image in zip((0.1, 9, 1), inputs_of(ONE_NODE, 3), strict=True)]
    there, back = (
        measure(ONE_NODE, list(order), Wanted(statistics=10_000)).statistics["image"]
        for order in (images, images[::-1])
    )
    np.testing.assert_array_equal(there.histogram.counts, back.histogram.counts)
    assert (there.low, there.high) == (back.low, back.high)
    np.testing.assert_allclose(there.channel_mean, back.channel_mean, rtol=1e-12)


def test_extremes_are_exact_where_the_histogram_is_sampled() -> None:
    graph = graph_of([Activation("out", ("image",), "swish")], channels=2, height=401, width=301)
    image = np.random.default_rng(0).standard_normal(graph.input_shape).astype(np.float32)
    image[0, 200, 137, 0] = -77.0
    found = measure(graph, [image], Wanted(statistics=10_000)).statistics["image"]
    assert (found.low, found.channel_low[0]) == (-77.0, -77.0)
    assert found.histogram.reach.tolist() == [128.0, 8.0]
    assert 2**15 < found.histogram.counts.sum() <= 2**17
    shares = found.histogram.counts / found.histogram.counts.sum(axis=1, keepdims=True)
    assert (shares * found.histogram.centers).sum(axis=1) == pytest.approx(image.reshape(-1, 2).mean(axis=0), abs=0.02)


def test_of_channels_is_what_those_channels_alone_would_give() -> None:
    images = inputs_of(ONE_NODE, 3)
    images = [image * np.array([1, 20, 0.1], np.float32) for image in images]
    narrow = graph_of([Activation("out", ("image",), "swish")], channels=2)
    part = measure(ONE_NODE, list(images), Wanted(statistics=10_000)).statistics["image"].of_channels(np.array([0, 2]))
    alone = measure(
        narrow, [np.ascontiguousarray(image[..., [0, 2]]) for image in images], Wanted(statistics=10_000)
    ).statistics["image"]
    assert (part.low, part.high) == (alone.low, alone.high)
    np.testing.assert_array_equal(part.histogram.counts, alone.histogram.counts)
    np.testing.assert_array_equal(part.channel_mean, alone.channel_mean)
    assert part.low <= part.mean_low <= part.mean_high <= part.high


def test_without_a_photo() -> None:
    with pytest.raises(CalibrationError, match="calibration without a photo; expected at least 1"):
        measure(ONE_NODE, [], Wanted(statistics=1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_broken_network(value: float) -> None:
    image = np.zeros(ONE_NODE.input_shape, np.float32)
    image[0, 2, 2, 1] = value
    with pytest.raises(CalibrationError, match="NaN or infinite values; the checkpoint is broken"):
        measure(ONE_NODE, [image], Wanted(statistics=1))
