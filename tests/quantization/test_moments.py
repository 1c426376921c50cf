"""What each layer's weights multiply, against patches cut out one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.networks import graph_of, inputs_of, pointwise

from edge_effnet.network.geometry import Padding
from edge_effnet.network.graph import Conv2D, Dense, DepthwiseConv2D, GlobalMean
from edge_effnet.quantization.measure.passes import Wanted, measure
from edge_effnet.quantization.rounding import by_output

PADDING = Padding(1, 1, 1, 1)


def slow_patches(tensor: Any, kernel: int, stride: int) -> Any:
    """float[positions, kh, kw, C] of [H, W, C], padded by 1."""
    padded = np.pad(tensor, ((1, 1), (1, 1), (0, 0)))
    height, width = padded.shape[:2]
    return np.array(
        [
            padded[y : y + kernel, x : x + kernel]
            for y in range(0, height - kernel + 1, stride)
            for x in range(0, width - kernel + 1, stride)
        ]
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_moments_of_every_kind(stride: int) -> None:
    random = np.random.default_rng(0)
    conv = Conv2D(
        "conv",
        ("image",),
        random.standard_normal((4, 3, 3, 3)).astype(np.float32),
        np.zeros(4, np.float32),
        stride,
        PADDING,
    )
    single = DepthwiseConv2D(
        "single",
        ("image",),
        random.standard_normal((3, 3, 3)).astype(np.float32),
        np.zeros(3, np.float32),
        stride,
        PADDING,
    )
    mean = GlobalMean("mean", ("conv",), keep_dims=False)
    dense = Dense("dense", ("mean",), random.standard_normal((2, 4)).astype(np.float32), np.zeros(2, np.float32))
    graph = graph_of([conv, single, mean, dense], channels=3, height=7, width=9)
    images = inputs_of(graph, 5)
    found = measure(graph, list(iter(images)), Wanted(moments=10_000)).moments
    patches = np.concatenate([slow_patches(image[0].astype(np.float64), 3, stride) for image in images])
    expected = {
        "conv": [patches.reshape(len(patches), -1)],
        "single": [patches[..., channel].reshape(len(patches), -1) for channel in range(3)],
    }
    outputs = patches.reshape(len(patches), -1) @ by_output(conv).T.astype(np.float64)
    expected["dense"] = [outputs.reshape(5, -1, 4).mean(axis=1)]
    assert set(found) == set(expected)
    for name, groups in expected.items():
        for group, samples in enumerate(groups):
            np.testing.assert_allclose(found[name].mean[group], samples.mean(axis=0), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(
                found[name].covariance[group], np.cov(samples.T, bias=True), rtol=1e-3, atol=1e-4
            )


def test_large_images_are_sampled_evenly() -> None:
    graph = graph_of([pointwise("conv", "image", np.random.default_rng(0), 2, 3)], channels=2, height=90, width=110)
    images = inputs_of(graph, 3)
    found = measure(graph, list(images), Wanted(moments=10_000)).moments["conv"]
    values = np.concatenate([image.reshape(-1, 2) for image in images])
    deviation = values.std()
    np.testing.assert_allclose(found.mean[0], values.mean(axis=0), atol=0.1 * deviation)
    np.testing.assert_allclose(found.covariance[0], np.cov(values.T), atol=0.1 * deviation**2)


@pytest.mark.parametrize(("photos", "sampled"), [(3, True), (8, False), (40, False)])
def test_few_samples_are_kept_as_they_are(photos: int, sampled: bool) -> None:
    """A squeeze's input has one position a photo: its samples take less memory than their products."""
    random = np.random.default_rng(0)
    mean = GlobalMean("mean", ("image",), keep_dims=False)
    dense = Dense("dense", ("mean",), random.standard_normal((2, 8)).astype(np.float32), np.zeros(2, np.float32))
    graph = graph_of([mean, dense], channels=8, height=4, width=4)
    images = inputs_of(graph, photos)
    found = measure(graph, list(images), Wanted(moments=10_000)).moments["dense"]
    samples = np.stack([image[0].mean(axis=(0, 1), dtype=np.float64) for image in images])
    assert found.sampled == sampled
    np.testing.assert_allclose(found.mean[0], samples.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.covariance[0], np.cov(samples.T, bias=True), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(found.covariance, found.covariance)
