from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge_effnet.errors import EngineError
from engines.numpy.single import Affine, assert_equal, build, draw_integers, one_operator, run_numpy, tensor

pytestmark = pytest.mark.litert
AFFINE = Affine(0.1, -11)
FRAME = np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_pad(dtype: str) -> None:
    image = draw_integers(np.random.default_rng(1), (1, 4, 5, 3)).astype(dtype)
    affine = AFFINE if dtype == "int8" else None
    found = assert_equal(
        one_operator(
            "PAD", [(image, affine)], ((1, 7, 8, 3), dtype, affine), options=schema.PadOptionsT(), constants=[FRAME]
        ),
        image,
    )
    assert (found[0, 0] == (-11 if affine else 0)).all()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_padv2(dtype: str) -> None:
    image = draw_integers(np.random.default_rng(2), (1, 4, 5, 3)).astype(dtype)
    affine = AFFINE if dtype == "int8" else None

    def describe(writer: Any) -> Any:
        source = tensor(writer, "image", image.shape, dtype, affine)
        value = writer.constant(
            "value",
            np.array([5], dtype),
            **({"scales": np.array([0.1], np.float32), "zero_point": -11} if affine else {}),
        )
        out = tensor(writer, "out", (1, 7, 8, 3), dtype, affine)
        writer.operator(
            "PADV2", [source, writer.constant("frame", FRAME), value], out, version=2, options=schema.PadV2OptionsT()
        )
        return {"image": source}, {"out": out}

    assert_equal(build(describe), image)


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_concatenation(axis: int) -> None:
    random = np.random.default_rng(3)
    arrays = [draw_integers(random, (1, 3, 3, 4)) for _ in range(3)]
    shape = np.concatenate(arrays, axis=axis).shape
    options = schema.ConcatenationOptionsT(axis=axis)
    assert_equal(
        one_operator("CONCATENATION", [(array, AFFINE) for array in arrays], (shape, "int8", AFFINE), options=options),
        *arrays,
    )


def test_reshape_and_squeeze() -> None:
    image = draw_integers(np.random.default_rng(4), (1, 1, 1, 12))
    constants = [np.array([1, 12], np.int32)]
    flat = ((1, 12), "int8", AFFINE)
    assert_equal(
        one_operator(
            "RESHAPE",
            [(image, AFFINE)],
            flat,
            options=schema.ReshapeOptionsT(newShape=[1, 12]),
            version=1,
            constants=constants,
        ),
        image,
    )
    assert_equal(
        one_operator("SQUEEZE", [(image, AFFINE)], flat, options=schema.SqueezeOptionsT(squeezeDims=[1, 2]), version=1),
        image,
    )


@pytest.mark.parametrize(
    ("code", "shape", "options", "constants", "message"),
    [
        ("RESHAPE", (1, 5), schema.ReshapeOptionsT(newShape=[1, 5]), [], r"turns \[1, 2, 2, 1\] into \[1, 5\]"),
        (
            "CONCATENATION",
            (1, 2, 2, 1),
            schema.ConcatenationOptionsT(axis=4),
            [],
            "has axis 4 and the activation NONE; expected an axis of 4",
        ),
        (
            "CONCATENATION",
            (1, 2, 2, 9),
            schema.ConcatenationOptionsT(axis=3),
            [],
            r"declares the output \[1, 2, 2, 9\], but its inputs give \[1, 2, 2, 1\]",
        ),
        ("PAD", (1, 2, 2, 1), schema.PadOptionsT(), [-FRAME], "expected two numbers ≥ 0 for each of 4 axes"),
        (
            "PAD",
            (1, 2, 2, 1),
            schema.PadOptionsT(),
            [FRAME],
            r"declares the output \[1, 2, 2, 1\], but its inputs give \[1, 5, 5, 1\]",
        ),
        ("PAD", (1, 2, 2, 1), schema.PadOptionsT(), [], "has 1 inputs; expected number 2 as well"),
    ],
)
def test_shapes_that_do_not_fit(
    code: str, shape: tuple[int, ...], options: Any, constants: list[Any], message: str
) -> None:
    image = np.zeros((1, 2, 2, 1), np.int8)
    with pytest.raises(EngineError, match=message):
        run_numpy(
            one_operator(code, [(image, AFFINE)], (shape, "int8", AFFINE), options=options, constants=constants), image
        )


def test_moving_between_scales_is_refused() -> None:
    image = np.zeros((1, 2, 2, 1), np.int8)
    file = one_operator(
        "CONCATENATION",
        [(image, AFFINE)],
        (image.shape, "int8", Affine(0.2, 0)),
        options=schema.ConcatenationOptionsT(axis=1),
    )
    with pytest.raises(EngineError, match="moves values between types or scales"):
        run_numpy(file, image)
