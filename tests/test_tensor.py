"""The engine's input from pixels, against the arithmetic written out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_effnet import Preprocessing
from edge_effnet.engines import TensorInfo
from edge_effnet.tensor import InputTensor

SIDE = 6
SETTINGS = Preprocessing(SIDE, SIDE, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


def input_tensor(
    layout: str, dtype: str, *, scale: float = 0.0, zero_point: int = 0, known: bool = True
) -> InputTensor:
    session: Any = SimpleNamespace(
        layout=layout, input=TensorInfo("image", (1, SIDE, SIDE, 3), dtype, scale, zero_point)
    )
    return InputTensor(SETTINGS, session, known=known)


def image(seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def laid_out(values: Any, layout: str) -> Any:
    return values[None] if layout == "nhwc" else values.transpose(2, 0, 1)[None]


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_float_files_take_normalised_pixels(layout: str) -> None:
    found = input_tensor(layout, "float32").fill(image(0))
    expected = (image(0) / 255 - np.array(SETTINGS.mean)) / np.array(SETTINGS.std)
    assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_allclose(found, laid_out(expected, layout), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found, laid_out(SETTINGS.normalise(image(0)), layout))


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize(("scale", "known"), [(0.02, True), (0.0, True), (0.0, False)])
def test_our_integer_files_and_bytes_without_a_scale_take_the_pixels(layout: str, scale: float, known: bool) -> None:
    tensor = input_tensor(layout, "uint8", scale=scale, zero_point=117, known=known)
    assert tensor.raw
    np.testing.assert_array_equal(tensor.fill(image(0)), laid_out(image(0), layout))


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize(("dtype", "zero_point"), [("uint8", 117), ("int8", -11)])
def test_integer_files_of_other_makers_take_normalised_pixels_at_their_scale(
    layout: str, dtype: str, zero_point: int
) -> None:
    tensor = input_tensor(layout, dtype, scale=0.02, zero_point=zero_point, known=False)
    limits = np.iinfo(dtype)
    expected = np.clip(
        np.rint(SETTINGS.normalise(image(0)).astype(np.float64) / 0.02) + zero_point, limits.min, limits.max
    )
    found = tensor.fill(image(0))
    assert (tensor.raw, found.dtype) == (False, dtype)
    np.testing.assert_array_equal(found, laid_out(expected, layout))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_memory_is_used_again_and_filled_anew(dtype: str) -> None:
    tensor = input_tensor("nhwc", dtype)
    first = tensor.fill(image(0))
    second = tensor.fill(image(1)[:, :, ::-1])
    assert first is second
    np.testing.assert_array_equal(second, input_tensor("nhwc", dtype).fill(np.ascontiguousarray(image(1)[:, :, ::-1])))
