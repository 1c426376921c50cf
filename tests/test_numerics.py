from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_effnet.errors import UsageError
from edge_effnet.numerics import SIGMOID_PARAMS, QuantParams, dequantize, params_for_range, quantize, softmax

REALS = st.floats(-1e4, 1e4, allow_nan=False)


def test_half_steps_round_to_even() -> None:
    assert quantize([0.5, 1.5, 2.5, -0.5, -1.5], 1.0).tolist() == [0, 2, 2, 0, -2]
    assert quantize([0.5, 1.5], 1.0, 1).tolist() == [1, 3]


def test_it_saturates_instead_of_wrapping() -> None:
    """1.01 / 0.0079 is 128: a plain cast to int8 would make it -128."""
    assert quantize([1.01, -1.01, 1e30, -1e30], 0.0079).tolist() == [127, -128, 127, -128]
    assert quantize([-5.0], 0.01, low=-127).tolist() == [-127]
    assert quantize([-5.0, 300.0], 1.0, dtype=np.uint8).tolist() == [0, 255]
    assert quantize([1e12], 1.0, dtype=np.int32).tolist() == [2**31 - 1]


def test_it_rounds_and_does_not_truncate() -> None:
    assert quantize([0.99, -0.99, 1.99], 1.0).tolist() == [1, -1, 2]


def test_scales_per_channel_broadcast() -> None:
    assert quantize([[1.0, 1.0], [2.0, 2.0]], np.array([[0.5], [1.0]])).tolist() == [[2, 2], [2, 2]]


def test_widened_before_the_zero_point_is_taken_off() -> None:
    assert dequantize(np.array([-128, 127], np.int8), 1.0, 127).tolist() == [-255.0, 0.0]
    assert dequantize(np.array([0, 255], np.uint8), 0.5, 255).tolist() == [-127.5, 0.0]


@given(value=REALS, scale=st.floats(1e-3, 10.0), zero_point=st.integers(-128, 127))
def test_the_nearest_integer(value: float, scale: float, zero_point: int) -> None:
    """Against exact rational arithmetic, apart from quotients within float64's error of a half step."""
    exact = Fraction(value) / Fraction(scale)
    expected = min(max(round(exact) + zero_point, -128), 127)
    found = int(quantize(value, scale, zero_point))
    assert found == expected or abs(abs(exact - round(exact)) - Fraction(1, 2)) < Fraction(1, 10**9)


@given(low=REALS, high=REALS)
def test_a_range_is_covered_and_holds_zero(low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    params = params_for_range(low, high)
    assert params.low <= 0.0 <= params.high
    step = params.scale
    assert params.low <= low + step / 2 * 1.001
    assert params.high >= high - step / 2 * 1.001
    assert int(quantize(0.0, params.scale, params.zero_point)) == params.zero_point


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (-0.0, 0.0), (0.0, 1e-30), (1e-12, 1e-12)])
def test_a_constant_tensor_gets_a_usable_scale(low: float, high: float) -> None:
    params = params_for_range(low, high)
    assert np.float32(params.scale) > 0


def test_ranges_of_one_sign_begin_at_zero() -> None:
    assert params_for_range(0.0, 6.0) == QuantParams(float(np.float32(6 / 255)), -128)
    assert params_for_range(2.0, 5.1).zero_point == -128
    assert params_for_range(-5.1, -2.0).zero_point == 127


def test_impossible_parameters() -> None:
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="is not a finite number above 0"):
            QuantParams(scale, 0)
    for zero_point in (-129, 128):
        with pytest.raises(UsageError, match=r"zero_point .* is not in -128\.\.127"):
            QuantParams(1.0, zero_point)


def test_parameters_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        SIGMOID_PARAMS.scale = 1.0  # type: ignore[misc]


def test_the_sigmoid_has_what_the_kernels_demand() -> None:
    assert QuantParams(1 / 256, -128) == SIGMOID_PARAMS


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=50))
def test_softmax(logits: list[float]) -> None:
    values = np.array(logits, np.float32)
    scores = softmax(values)
    assert scores.dtype == np.float32
    assert (scores >= 0).all()
    assert abs(float(scores.sum(dtype=np.float64)) - 1) < 1e-5
    assert scores[values.argmax()] == scores.max()
    np.testing.assert_allclose(softmax(values + np.float32(0)), scores)


def test_softmax_of_known_values() -> None:
    np.testing.assert_allclose(softmax(np.log(np.array([1, 2, 7], np.float32))), [0.1, 0.2, 0.7], rtol=1e-6)
    assert softmax(np.array([3e38, -3e38], np.float32)).tolist() == [1.0, 0.0]


def test_the_ends_of_int8_and_the_default_zero_point() -> None:
    """Written out, since other tests would shift with them."""
    params = QuantParams(0.5, 3)
    assert (params.low, params.high) == (0.5 * (-128 - 3), 0.5 * (127 - 3))
    assert dequantize(np.array([5], np.int8), 2.0).tolist() == [10.0]
    assert quantize([5.0], 2.5).tolist() == [2]
    assert (params_for_range(-255.0, 0.0).zero_point, params_for_range(0.0, 255.0).zero_point) == (127, -128)
