"""Preprocessing, quantization arithmetic and the document against slow references that can be read off the
definitions.
"""

from __future__ import annotations

import io
import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from edge_effnet.cropping import resize_and_crop
from edge_effnet.decoding import decode
from edge_effnet.engines.numpy.operands import Affine
from edge_effnet.engines.numpy.rounding import (
    fixed_point,
    high_product,
    integer_range,
    multiply_fixed_point,
    requantize,
)
from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.metadata import ModelDocument
from edge_effnet.numerics import dequantize, quantize, softmax
from edge_effnet.preprocessing import Preprocessing

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BYTES = st.integers(0, 255)


# Resizing ------------------------------------------------------------------------------------------------------------


def triangle(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def cubic(x: float) -> float:
    """Keys' kernel with a = −0.5."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def resized_line(line: list[float], size: int, kernel: Any, support: float) -> list[float]:
    """Antialiased: the kernel is stretched by the reduction; weights outside the line are left out and the rest made
    1.
    """
    ratio = len(line) / size
    stretch = max(ratio, 1.0)
    found = []
    for index in range(size):
        centre = (index + 0.5) * ratio
        first, last = (
            max(int(centre - support * stretch + 0.5), 0),
            min(int(centre + support * stretch + 0.5), len(line)),
        )
        shares = [kernel((place - centre + 0.5) / stretch) for place in range(first, last)]
        found.append(sum(share * value for share, value in zip(shares, line[first:last], strict=True)) / sum(shares))
    return found


def resized(pixels: Any, width: int, height: int, kernel: Any, support: float) -> Any:
    """Rows first, rounded to levels, then columns: PIL keeps 8 bits in between."""

    def levels(values: list[float]) -> list[float]:
        return [float(min(max(math.floor(value + 0.5), 0), 255)) for value in values]

    rows = [levels(resized_line(row, width, kernel, support)) for row in pixels.tolist()]
    columns = [levels(resized_line(list(column), height, kernel, support)) for column in zip(*rows, strict=True)]
    return np.array(columns).T


@quick
@given(
    data=st.data(),
    width=st.integers(1, 14),
    height=st.integers(1, 14),
    resize=st.integers(1, 12),
    kind=st.sampled_from(["bilinear", "bicubic"]),
)
def test_resize_and_crop_pixel_by_pixel(data: Any, width: int, height: int, resize: int, kind: Any) -> None:
    """At most one level apart: PIL's weights have 22 fraction bits."""
    crop = data.draw(st.integers(1, resize))
    pixels = data.draw(arrays(np.uint8, (height, width), elements=BYTES))
    image = Image.fromarray(np.repeat(pixels[:, :, None], 3, axis=2))
    found = np.asarray(resize_and_crop(image, resize=resize, crop=crop, interpolation=kind))
    longer = int(Fraction(resize * max(width, height), min(width, height)))
    size = (resize, longer) if width <= height else (longer, resize)
    whole = (
        pixels.astype(float)
        if size == (width, height)
        else resized(pixels, *size, *((triangle, 1.0) if kind == "bilinear" else (cubic, 2.0)))
    )
    left, top = (round(Fraction(side - crop, 2)) for side in size)  # half to even, as Python rounds
    assert found.shape == (crop, crop, 3)
    assert np.abs(found[:, :, 1].astype(int) - whole[top : top + crop, left : left + crop]).max() <= 1


@quick
@given(
    pixel=st.tuples(BYTES, BYTES, BYTES),
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0.05, 1)] * 3),
    channels=st.sampled_from(["rgb", "bgr"]),
)
def test_normalising_in_exact_numbers(pixel: Any, mean: Any, std: Any, channels: Any) -> None:
    """(pixel / 255 − mean) / std, the statistics in the order of the channels; float32's own rounding alone."""
    found = Preprocessing(1, 1, mean=mean, std=std, channels=channels).normalise(np.array([[pixel]], np.uint8))[0, 0]
    order = (0, 1, 2) if channels == "rgb" else (2, 1, 0)
    for place, channel in enumerate(order):
        exact = (Fraction(pixel[place], 255) - Fraction(mean[channel])) / Fraction(std[channel])
        assert abs(Fraction(float(found[place])) - exact) <= abs(exact) * Fraction(1, 1 << 23) + Fraction(1, 1 << 40)


@quick
@given(red=BYTES, green=BYTES, blue=BYTES, alpha=BYTES)
def test_transparency_in_exact_numbers(red: int, green: int, blue: int, alpha: int) -> None:
    found = decode(Image.new("RGBA", (1, 1), (red, green, blue, alpha))).getpixel((0, 0))
    for level, value in zip(found, (red, green, blue), strict=True):  # type: ignore[arg-type]
        assert abs(level - Fraction(value * alpha + 255 * (255 - alpha), 255)) <= 1


@quick
@given(arrays(np.uint16, (2, 3), elements=st.integers(0, 65535)))
def test_sixteen_bits_to_eight(values: Any) -> None:
    found = np.asarray(decode(Image.fromarray(values)))[:, :, 0]
    divisor = 1 if values.max() <= 255 else 257
    assert found.tolist() == [[round(Fraction(int(value), divisor)) for value in row] for row in values]


@quick
@given(arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 4), st.just(3)), elements=BYTES), st.integers(1, 8))
def test_orientation_pixel_by_pixel(pixels: Any, orientation: int) -> None:
    """EXIF 2.3: where the stored row 0 and column 0 lie in the upright picture."""
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    found = np.asarray(decode(buffer.getvalue()))
    height, width, _ = pixels.shape
    for y in range(height):
        for x in range(width):
            right, down = width - 1 - x, height - 1 - y
            place = {
                1: (y, x),
                2: (y, right),
                3: (down, right),
                4: (down, x),
                5: (x, y),
                6: (x, down),
                7: (right, down),
                8: (right, y),
            }[orientation]
            assert found[place].tolist() == pixels[y, x].tolist()


# Quantization --------------------------------------------------------------------------------------------------------

REALS = st.floats(-1e3, 1e3, width=32)


@quick
@given(
    arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 4)), elements=REALS),
    st.data(),
    st.sampled_from(["int8", "uint8", "int32"]),
)
def test_quantizing_number_by_number(values: Any, data: Any, dtype: str) -> None:
    """Divide, round half to even, add the zero point, saturate; a scale for each row."""
    scales = data.draw(
        arrays(np.float32, (len(values), 1), elements=st.sampled_from([0.25, 0.5, 1.0, 2.0, 0.125]))
    )  # exact quotients
    limits = np.iinfo(dtype)
    zero_point = data.draw(st.integers(max(limits.min, -128), min(limits.max, 255)))
    found = quantize(values, scales, zero_point, dtype=dtype)
    for row, given_row, scale in zip(found.tolist(), values.tolist(), scales[:, 0].tolist(), strict=True):
        exact = [round(Fraction(value) / Fraction(scale)) + zero_point for value in given_row]
        assert row == [min(max(value, limits.min), limits.max) for value in exact]


@quick
@given(arrays(np.int8, 4), st.floats(1e-6, 10), st.integers(-128, 127))
def test_dequantizing_number_by_number(integers: Any, scale: float, zero_point: int) -> None:
    found = dequantize(integers, scale, zero_point)
    assert found.dtype == np.float32
    assert found.tolist() == [float(np.float32((int(value) - zero_point) * scale)) for value in integers]


@quick
@given(arrays(np.float32, st.integers(1, 6), elements=st.floats(-80, 80, width=32)))
def test_softmax_term_by_term(logits: Any) -> None:
    powers = [math.exp(float(value)) for value in logits]
    assert softmax(logits).tolist() == pytest.approx(
        [power / math.fsum(powers) for power in powers], rel=1e-6, abs=1e-9
    )


@quick
@given(arrays(np.float32, st.integers(1, 5), elements=st.floats(allow_nan=False, allow_infinity=False, width=32)))
def test_softmax_of_any_finite_logits_sums_to_one(logits: Any) -> None:
    found = softmax(logits)
    assert np.isfinite(found).all()
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
    assert found[int(logits.argmax())] == found.max()  # logits closer than float32 shows in the scores tie


@quick
@given(st.floats(1e-9, 200, exclude_min=True))
def test_a_fixed_point_factor_is_the_nearest_of_31_bits(factor: float) -> None:
    mantissa, exponent = fixed_point(factor)
    assert 1 << 30 <= mantissa < 1 << 31
    assert abs(Fraction(mantissa) * Fraction(2) ** (exponent - 31) - Fraction(factor)) <= Fraction(2) ** (exponent - 32)


@quick
@given(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(1 << 30, (1 << 31) - 1))
def test_the_high_product_is_rounded_half_away_from_zero(left: int, right: int) -> None:
    exact = Fraction(left * right, 1 << 31)
    away = math.floor(abs(exact) + Fraction(1, 2))
    assert int(high_product(np.array([left], np.int64), right, bits=31)[0]) == (away if exact >= 0 else -away)


@quick
@given(st.integers(-255, 255), st.floats(1e-3, 100))
def test_multiplying_by_a_fixed_point_factor(value: int, factor: float) -> None:
    """Rounded twice, so at most one step from the exact product."""
    found = int(multiply_fixed_point(np.array([value], np.int64), factor)[0])
    assert abs(found - Fraction(value) * Fraction(factor)) <= Fraction(1, 2) + Fraction(1, 2) + Fraction(
        abs(value), 1 << 20
    )


@quick
@given(st.integers(-(1 << 23), 1 << 23), st.sampled_from([2.0**-k for k in range(12)]), st.integers(-128, 127))
def test_requantizing_in_exact_numbers(total: int, factor: float, zero_point: int) -> None:
    """Sums that float32 holds and factors that are powers of two: no rounding but the one meant."""
    out = np.empty(1, np.int8)
    requantize(np.array([total], np.float32), factor, zero_point, (-128, 127), out)
    exact = round(Fraction(total) * Fraction(factor)) + zero_point
    assert int(out[0]) == min(max(exact, -128), 127)


@quick
@given(st.sampled_from([0.01, 0.05, 1.0, 7.0]), st.integers(-128, 127))
def test_the_range_of_relu6(scale: float, zero_point: int) -> None:
    low, high = integer_range((0.0, 6.0), Affine(np.float32(scale), zero_point), "int8")
    assert (low, high) == (
        max(zero_point, -128),
        min(zero_point + round(float(np.rint(np.float32(6.0) / np.float32(scale)))), 127),
    )


# The document --------------------------------------------------------------------------------------------------------

TEXT = st.sampled_from(["", "a", "Köln", "\n", "\u2028", "label", "0"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=4
)
#: Labels are one line of text each; others are refused.
LABEL = TEXT.filter(lambda text: "\0" not in text and text.splitlines() in ([], [text]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=2,
)
KNOWN = frozenset(ModelDocument("b0", 1, 1, None, Preprocessing(1, 1), "", {}).to_dict()) | {"weights_sha256"}


@st.composite
def documents(draw: Any) -> ModelDocument:
    classes = draw(st.integers(1, 4))
    crop = draw(st.integers(1, 64))
    return ModelDocument(
        variant=draw(TEXT),
        image_size=draw(st.integers(1, 1_000_000)),
        num_classes=classes,
        labels=draw(st.none() | st.lists(LABEL, min_size=classes, max_size=classes).map(tuple)),
        preprocessing=Preprocessing(
            crop + draw(st.integers(0, 9)),
            crop,
            draw(st.sampled_from(["bilinear", "bicubic"])),
            channels=draw(st.sampled_from(["rgb", "bgr"])),
        ),
        precision=draw(TEXT),
        source=draw(st.dictionaries(TEXT, JSON, max_size=3)),
        quantization=draw(st.none() | st.dictionaries(TEXT, JSON, max_size=3)),
        accuracy=draw(st.none() | st.dictionaries(TEXT, JSON, max_size=3)),
        created_by=draw(TEXT),
        weights_sha256=draw(st.none() | st.from_regex("[0-9a-f]{64}", fullmatch=True)),
        extra=draw(st.dictionaries(TEXT.filter(lambda key: key not in KNOWN), JSON, max_size=3)),
    )


@quick
@given(documents())
def test_a_document_comes_back_as_it_was(document: ModelDocument) -> None:
    text = document.to_json()
    assert ModelDocument.from_json(text) == document
    assert ModelDocument.from_json(text).to_json() == text == ModelDocument.from_json(text.encode()).to_json()


@settings(max_examples=100, deadline=None)
@given(documents(), st.data())
def test_a_document_with_one_field_of_any_value_is_read_or_refused(document: ModelDocument, data: Any) -> None:
    content = document.to_dict()
    content[data.draw(st.sampled_from(sorted(KNOWN)))] = data.draw(JSON)
    try:
        read = ModelDocument.from_json(json.dumps(content))
    except ModelFileError:
        return
    assert ModelDocument.from_json(read.to_json()) == read


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | TEXT.map(str.encode) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_no_document(text: bytes) -> None:
    with pytest.raises(ModelFileError):
        ModelDocument.from_json(text)


@pytest.mark.parametrize("std", [(1e-300, 1.0, 1.0), (1e-7, 1.0, 1.0)])
def test_statistics_that_would_make_infinite_inputs(std: Any) -> None:
    with pytest.raises(UsageError, match=r"make inputs above 1e\+06; expected those of pixels in 0\.\.1"):
        Preprocessing(8, 8, std=std)
    with pytest.raises(UsageError, match="expected finite numbers"):
        Preprocessing(8, 8, mean=(math.nan, 0.0, 0.0))
