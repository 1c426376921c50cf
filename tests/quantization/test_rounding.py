"""Rounded weights: the rules of the format, and an output error no worse than that of nearest rounding."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_effnet.network.graph import Conv2D, Dense, DepthwiseConv2D, Weighted
from edge_effnet.quantization import rounding
from edge_effnet.quantization.measure.moments import InputMoments
from edge_effnet.quantization.rounding import by_output, round_for_output, round_to_nearest, weight_scales

KINDS = ("conv", "depthwise", "dense")
#: The share of the mean variance that directions unseen in calibration are given (rounding's own figure).
DAMPING = 0.01


def draw_node(kind: str, random: np.random.Generator, *, outputs: int = 5, inputs: int = 12) -> Weighted:
    bias = random.standard_normal(outputs).astype(np.float32)
    if kind == "depthwise":
        return DepthwiseConv2D("n", ("x",), random.standard_normal((3, 3, outputs)).astype(np.float32), bias)
    weight = random.standard_normal((outputs, inputs)).astype(np.float32)
    return (
        Dense("n", ("x",), weight, bias)
        if kind == "dense"
        else Conv2D("n", ("x",), weight.reshape(outputs, 1, 2, inputs // 2), bias)
    )


def draw_moments(node: Weighted, random: np.random.Generator, *, samples: int = 200) -> InputMoments:
    """Strongly correlated inputs; of fewer samples than weights, a singular covariance."""
    groups, size = (len(node.bias), 9) if isinstance(node, DepthwiseConv2D) else (1, by_output(node).shape[1])
    x = random.standard_normal((groups, samples, size)) + 2 * random.standard_normal((groups, samples, 1))
    mean = x.mean(axis=1)
    covariance = np.matmul(x.transpose(0, 2, 1), x) / samples - mean[:, :, None] * mean[:, None]
    return InputMoments(mean, covariance)


def output_error(node: Weighted, values: Any, moments: InputMoments, *, damping: float = DAMPING) -> Any:
    """float64[out]: mean square of the output's change, damping included."""
    groups, size = moments.mean.shape
    error = (by_output(node).astype(np.float64) - values).reshape(groups, -1, size)
    diagonal = damping * np.trace(moments.covariance, axis1=1, axis2=2)[:, None, None] / size * np.eye(size)
    return np.einsum("goi,gij,goj->go", error, moments.covariance + diagonal, error).reshape(-1)


def real(node: Weighted, rounded: Any) -> Any:
    return by_output(type(node)(node.name, node.inputs, rounded.dequantized(), node.bias)).astype(np.float64)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(KINDS), st.integers(0, 10**6), st.sampled_from([3, 200]), st.floats(0.2, 3))
def test_never_worse_than_nearest(kind: str, seed: int, samples: int, coarse: float) -> None:
    random = np.random.default_rng(seed)
    node = draw_node(kind, random)
    moments = draw_moments(node, random, samples=samples)
    scales = weight_scales(node, 0.1) * np.float32(coarse * 8)
    nearest, better = round_to_nearest(node, scales), round_for_output(node, scales, moments)
    assert (
        output_error(node, real(node, better), moments) <= output_error(node, real(node, nearest), moments) * (1 + 1e-9)
    ).all()
    for rounded in (nearest, better):
        assert rounded.values.dtype == np.int8
        assert rounded.values.shape == node.weight.shape
        assert np.abs(rounded.values.astype(int)).max() <= 127


def test_correlated_inputs_gain_much() -> None:
    random = np.random.default_rng(5)
    for kind in KINDS:
        node = draw_node(kind, random, outputs=32, inputs=150)
        moments, scales = draw_moments(node, random, samples=400), weight_scales(node, 0.1) * 8
        errors = [
            output_error(node, real(node, found), moments).sum()
            for found in (round_to_nearest(node, scales), round_for_output(node, scales, moments))
        ]
        assert errors[1] < 0.5 * errors[0], kind


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_near_the_best_of_all_choices(seed: int) -> None:
    """Five weights an output, each step from two below to two above tried; coordinate descent ends in a local best."""
    random = np.random.default_rng(seed)
    node = draw_node("dense", random, outputs=48, inputs=5)
    moments, scales = draw_moments(node, random), weight_scales(node, 0.1) * 8
    found = output_error(node, real(node, round_for_output(node, scales, moments)), moments)
    steps = np.array(list(itertools.product(range(-2, 3), repeat=5)))[:, None] + np.rint(
        by_output(node) / scales[:, None]
    )
    errors = by_output(node).astype(np.float64) - np.clip(steps, -127, 127) * scales[:, None].astype(np.float64)
    damped = moments.covariance[0] + DAMPING * np.trace(moments.covariance[0]) / 5 * np.eye(5)
    best = ((errors @ damped) * errors).sum(axis=-1).min(axis=0)
    assert (best <= found * (1 + 1e-4)).all()
    assert found.sum() <= 1.7 * best.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_deterministic(kind: str) -> None:
    node = draw_node(kind, np.random.default_rng(0))
    moments, scales = draw_moments(node, np.random.default_rng(1)), weight_scales(node, 0.1)
    first, second = (round_for_output(node, scales, moments).values for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("covariance", ["singular", "zero", "white", "dead"])
def test_hard_covariances(kind: str, covariance: str) -> None:
    random = np.random.default_rng(2)
    node = draw_node(kind, random)
    moments = draw_moments(node, random, samples=2)
    groups, size = moments.mean.shape
    if covariance != "singular":
        moments = InputMoments(
            moments.mean, np.broadcast_to(np.eye(size) * (covariance == "white"), (groups, size, size)).copy()
        )
    if covariance == "dead":  # inputs that are always 0
        moments = InputMoments(np.zeros_like(moments.mean), moments.covariance)
    scales = weight_scales(node, 0.1)
    found = round_for_output(node, scales, moments)
    assert np.isfinite(found.dequantized()).all()
    if covariance != "singular":  # nothing to trade against each other
        np.testing.assert_array_equal(found.values, round_to_nearest(node, scales).values)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_nothing_but_zeros_stay_zero(kind: str) -> None:
    node = draw_node(kind, np.random.default_rng(0))
    node = type(node)("n", ("x",), np.zeros_like(node.weight), node.bias)
    scales = weight_scales(node, 0.1)
    assert (scales > 0).all()
    for found in (
        round_to_nearest(node, scales),
        round_for_output(node, scales, draw_moments(node, np.random.default_rng(1))),
    ):
        assert not found.values.any()


@pytest.mark.parametrize("kind", KINDS)
def test_each_channel_has_its_largest_weight_at_127(kind: str) -> None:
    node = draw_node(kind, np.random.default_rng(7))
    scales = weight_scales(node, 0.1)
    assert scales.dtype == np.float32
    np.testing.assert_allclose(scales * 127, np.abs(by_output(node)).max(axis=1), rtol=1e-6)
    values = round_to_nearest(node, scales).values
    axes = (0, 1) if kind == "depthwise" else tuple(range(1, values.ndim))
    assert (np.abs(values.astype(int)).max(axis=axes) == 127).all()
    np.testing.assert_allclose(real(node, round_to_nearest(node, scales)), by_output(node), atol=scales.max() * 0.5001)


def test_a_dead_channel_takes_the_largest_scale() -> None:
    node = draw_node("dense", np.random.default_rng(0))
    weight = node.weight.copy()
    weight[1], weight[2] = 0, 1e-30
    scales = weight_scales(Dense("n", ("x",), weight, np.zeros_like(node.bias)), 0.1)
    assert scales[1] == scales[2] == scales.max()


def test_a_dead_channel_of_a_layer_of_small_weights() -> None:
    weight = np.array([[0.0, 0.0], [0.1, -0.05]], np.float32)
    assert weight_scales(Dense("n", ("x",), weight, np.zeros(2, np.float32)), 0.1).tolist() == pytest.approx(
        [0.1 / 127, 0.1 / 127]
    )


def test_nearest_saturates_at_127_on_both_sides() -> None:
    """−128 is no weight: kernels may rely on it."""
    node = Dense("n", ("x",), np.array([[-200.0, 200.0]], np.float32), np.zeros(1, np.float32))
    assert round_to_nearest(node, np.ones(1, np.float32)).values.tolist() == [[-127, 127]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inputs", [12, 70])
def test_no_single_step_would_be_better(kind: str, inputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where coordinate descent ends when it may take its time; with more inputs than are handled together, too."""
    monkeypatch.setattr(rounding, "_SWEEPS", 100)
    random = np.random.default_rng(3)
    node = draw_node(kind, random, outputs=40, inputs=inputs)
    size = 9 if kind == "depthwise" else inputs
    x = random.standard_normal((len(node.bias) if kind == "depthwise" else 1, 4 * size, size)) + 0.4
    moments = InputMoments(np.zeros(x.shape[::2]), np.matmul(x.transpose(0, 2, 1), x) / x.shape[1])
    scales = weight_scales(node, 0.1) * 8
    values = real(node, round_for_output(node, scales, moments))
    error = output_error(node, values, moments)
    assert error.sum() < 0.97 * output_error(node, real(node, round_to_nearest(node, scales)), moments).sum()
    for column in range(size):
        for step in (-1, 1):
            other = values.copy()
            other[:, column] += step * scales
            allowed = np.abs(other[:, column]) <= 127 * scales
            assert (error <= output_error(node, other, moments) * (1 + 1e-9))[allowed].all(), column


@pytest.mark.parametrize("kind", KINDS)
def test_the_inputs_unit_does_not_matter(kind: str) -> None:
    """The damping is a share of what inputs vary, so that small inputs are rounded like large ones."""
    random = np.random.default_rng(4)
    node = draw_node(kind, random)
    moments, scales = draw_moments(node, random), weight_scales(node, 0.1) * 8
    small = InputMoments(moments.mean * 2.0**-5, moments.covariance * 2.0**-10)
    values = round_for_output(node, scales, moments).values
    np.testing.assert_array_equal(round_for_output(node, scales, small).values, values)
    assert (values != round_to_nearest(node, scales).values).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_mean_of_the_inputs_does_not_hold_it_back(kind: str) -> None:
    """Only where inputs hardly vary beside their mean, which is what the damping of the square is for."""
    random = np.random.default_rng(4)
    node = draw_node(kind, random)
    moments, scales = draw_moments(node, random), weight_scales(node, 0.1) * 8
    values = [
        round_for_output(node, scales, InputMoments(np.full_like(moments.mean, mean), moments.covariance)).values
        for mean in (0, 3, 3e4)
    ]
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[2], round_to_nearest(node, scales).values)
    assert (values[0] != values[2]).any()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.floats(1e-40, 1e6), st.floats(0, 1e6), st.floats(1e-9, 10))
def test_biases_fit_32_bits_and_scales_are_never_zero(weight: float, bias: float, input_scale: float) -> None:
    node = Dense(
        "n",
        ("x",),
        np.full((2, 3), weight, np.float32) * np.array([[1], [-1e-3]], np.float32),
        np.full(2, bias, np.float32),
    )
    scales = weight_scales(node, input_scale).astype(np.float64)
    assert (scales > 0).all()
    assert np.isfinite(scales).all()
    assert (np.abs(node.bias) / (scales * input_scale) <= 2**29 * (1 + 1e-6)).all()


def test_channels_without_weights_take_the_largest_scale() -> None:
    """Exactly zero, and 1e-12 of the largest; a layer of zeros gets 1, so that nothing is divided by 0."""
    weight = np.zeros((4, 1, 1, 2), np.float32)
    weight[0], weight[1], weight[2] = 127.0, 127e-12, 127e-10
    node = Conv2D("x", ("i",), weight, np.zeros(4, np.float32))
    assert weight_scales(node, 1.0).tolist() == pytest.approx([1.0, 1.0, 1e-10, 1.0], rel=1e-6)
    zeros = Conv2D("x", ("i",), np.zeros((2, 1, 1, 2), np.float32), np.zeros(2, np.float32))
    assert weight_scales(zeros, 1.0).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("sign", [1, -1])
def test_no_weight_is_moved_past_127(sign: int) -> None:
    """Inputs that vary as one would have the first weight make up for the others, up to 128, which int8 turns into
    −128.
    """
    weight = sign * np.array([[127.0, 0.49, 0.49]], np.float32)
    node = Dense("n", ("x",), weight, np.zeros(1, np.float32))
    found = round_for_output(node, np.ones(1, np.float32), InputMoments(np.zeros((1, 3)), np.ones((1, 3, 3)))).values
    assert int(found[0, 0]) == sign * 127
    assert int(found.astype(int).sum()) == sign * 128
