"""What must hold between an operator and its tensors: one broken thing at a time, and the message it gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.bounds import live_bytes
from edge_effnet.formats.tflite_operators import TfliteOperator
from edge_effnet.formats.tflite_rules import RULES, check_steps
from edge_effnet.formats.tflite_schema import OPTIONS
from edge_effnet.formats.tflite_tensors import TfliteTensor

WINDOW = {
    "padding": "SAME",
    "stride_w": 1,
    "stride_h": 1,
    "fused_activation_function": "NONE",
    "dilation_w_factor": 1,
    "dilation_h_factor": 1,
}
POOL = {
    "padding": "VALID",
    "stride_w": 2,
    "stride_h": 2,
    "filter_width": 2,
    "filter_height": 2,
    "fused_activation_function": "NONE",
}
DENSE = {"weights_format": "DEFAULT"}


def t(
    *shape: int, dtype: str = "float32", scale: Any = None, data: Any = None, axis: int = 0, variable: bool = False
) -> TfliteTensor:
    """A tensor; `scale`: one number or one a channel; `data`: a constant's values."""
    scales = np.atleast_1d(np.array([] if scale is None else scale, np.float32))
    values = None if data is None else memoryview(np.ascontiguousarray(data).tobytes())
    return TfliteTensor(
        "t",
        shape,
        dtype,
        (),
        scales,
        np.zeros(len(scales), np.int64),
        axis,
        0 if data is None else 1,
        values,
        variable,
        False,
    )


def i8(*shape: int, scale: Any = 0.1) -> TfliteTensor:
    return t(*shape, dtype="int8", scale=scale)


def weights(*shape: int, dtype: str = "float32", scale: Any = None, axis: int = 0) -> TfliteTensor:
    return t(*shape, dtype=dtype, scale=scale, axis=axis, data=np.ones(shape, dtype if dtype != "int4" else "int8"))


def numbers(*values: int, dtype: str = "int32", shape: tuple[int, ...] | None = None) -> TfliteTensor:
    return t(*(shape or (len(values),)), dtype=dtype, data=np.array(values, dtype))


def check(code: str, inputs: list[Any], output: TfliteTensor, **options: Any) -> None:
    """Through check_steps: tensors without values are the model's inputs."""
    tensors = [tensor for tensor in inputs if tensor is not None] + [output]
    places = iter(range(len(tensors)))
    indices = tuple(-1 if tensor is None else next(places) for tensor in inputs)
    given = tuple(index for index in indices if index >= 0 and tensors[index].data is None)
    check_steps(
        tensors,
        [TfliteOperator(code, 1, indices, (len(tensors) - 1,), options)],
        given,
        (len(tensors) - 1,),
        "m.tflite",
    )


IMAGE, OUT = t(1, 4, 4, 3), t(1, 4, 4, 8)
CONV = weights(8, 3, 3, 3)
BIAS = weights(8)
QUANTIZED = [
    i8(1, 4, 4, 3),
    weights(8, 1, 1, 3, dtype="int8", scale=[0.1] * 8),
    weights(8, dtype="int32", scale=[0.01] * 8),
]

SOUND: list[tuple[str, list[Any], TfliteTensor, dict[str, Any]]] = [
    ("CONV_2D", [IMAGE, CONV, BIAS], OUT, WINDOW),
    ("CONV_2D", [IMAGE, CONV], OUT, WINDOW),
    ("CONV_2D", [IMAGE, CONV, None], OUT, WINDOW),
    ("CONV_2D", [t(1, 4, 4, 6), weights(8, 3, 3, 3), BIAS], OUT, WINDOW),
    ("CONV_2D", [IMAGE, CONV, BIAS], t(1, 1, 1, 8), {**WINDOW, "padding": "VALID", "stride_w": 2, "stride_h": 2}),
    ("CONV_2D", QUANTIZED, i8(1, 4, 4, 8), WINDOW),
    ("CONV_2D", [IMAGE, weights(8, 1, 1, 3, dtype="int8", scale=0.1), BIAS], OUT, WINDOW),
    ("DEPTHWISE_CONV_2D", [IMAGE, weights(1, 3, 3, 6), weights(6)], t(1, 4, 4, 6), {**WINDOW, "depth_multiplier": 2}),
    ("FULLY_CONNECTED", [t(1, 2, 4), weights(5, 8), weights(5)], t(1, 5), DENSE),
    ("ADD", [t(1, 4, 4, 3), t(1, 1, 1, 3)], IMAGE, {}),
    ("MUL", [i8(1, 2), i8(1, 2)], i8(1, 2), {}),
    ("SUB", [t(3), t(2, 3)], t(2, 3), {}),
    ("MEAN", [IMAGE, numbers(1, -2)], t(1, 3), {"keep_dims": False}),
    ("MEAN", [IMAGE, numbers(1, 2)], t(1, 1, 1, 3), {"keep_dims": True}),
    ("AVERAGE_POOL_2D", [IMAGE], t(1, 2, 2, 3), POOL),
    ("MAX_POOL_2D", [IMAGE], t(1, 2, 2, 3), {**POOL, "padding": "SAME"}),
    ("CONCATENATION", [IMAGE, t(1, 4, 2, 3)], t(1, 4, 6, 3), {"axis": -2}),
    ("RESHAPE", [IMAGE], t(1, 48), {"new_shape": (1, -1)}),
    ("RESHAPE", [IMAGE, numbers(1, 48)], t(1, 48), {}),
    ("RESHAPE", [IMAGE], t(1, 48), {}),
    ("SQUEEZE", [t(1, 1, 1, 3)], t(1, 3), {"squeeze_dims": (1, -2)}),
    ("SQUEEZE", [t(1, 1, 1, 3)], t(3), {"squeeze_dims": ()}),
    ("PAD", [IMAGE, numbers(0, 0, 1, 1, 0, 1, 0, 0, shape=(4, 2))], t(1, 6, 5, 3), {}),
    ("PADV2", [IMAGE, numbers(0, 0, 1, 1, 0, 1, 0, 0, shape=(4, 2)), weights(1)], t(1, 6, 5, 3), {}),
    ("TRANSPOSE", [IMAGE, numbers(0, 3, 1, 2)], t(1, 3, 4, 4), {}),
    ("SOFTMAX", [t(1, 5)], t(1, 5), {"beta": 1.0}),
    ("SOFTMAX", [i8(1, 5)], i8(1, 5), {"beta": 1.0}),
    ("QUANTIZE", [IMAGE], i8(1, 4, 4, 3), {}),
    ("QUANTIZE", [t(1, 2, dtype="uint8", scale=0.1)], i8(1, 2), {}),
    ("DEQUANTIZE", [i8(1, 2)], t(1, 2), {}),
    ("DEQUANTIZE", [t(1, 2, dtype="float16")], t(1, 2), {}),
    ("LOGISTIC", [i8(1, 2, scale=50.0)], i8(1, 2, scale=1 / 256), {}),
    ("RELU", [t(1, 2)], t(1, 2), {}),
    ("RELU6", [i8(1, 2)], i8(1, 2), {}),
    ("HARD_SWISH", [t(1, 2)], t(1, 2), {}),
    ("LEAKY_RELU", [t(1, 2)], t(1, 2), {"alpha": 0.1}),
    ("GELU", [t(1, 2)], t(1, 2), {"approximate": True}),
    ("TANH", [t(1, 2)], t(1, 2), {}),
    ("GATHER", [t(1, 2)], t(7, 7), {}),  # no rule: left to a trial run
]


@pytest.mark.parametrize(("code", "inputs", "output", "options"), SOUND)
def test_sound_operators(code: str, inputs: list[Any], output: TfliteTensor, options: dict[str, Any]) -> None:
    check(code, inputs, output, **options)


#: Shape arithmetic of other converters: without a rule, so that their files go through the trial.
TRIED_ALONE = {"PACK", "STRIDED_SLICE", "DIV"}


def test_every_operator_with_options_has_a_rule() -> None:
    assert set(RULES) == set(OPTIONS) - TRIED_ALONE
    assert {code for code, *_ in SOUND} >= set(RULES)


_SIDES = "expected four sides above 0"
BROKEN: list[tuple[str, list[Any], TfliteTensor, dict[str, Any], str]] = [
    ("CONV_2D", [IMAGE], OUT, WINDOW, "has 1 inputs and 1 outputs; expected 2 to 3 and one"),
    ("CONV_2D", [IMAGE, None, BIAS], OUT, WINDOW, "has 3 inputs"),
    ("CONV_2D", [t(4, 4, 3), CONV, BIAS], OUT, WINDOW, _SIDES),
    ("CONV_2D", [IMAGE, weights(8, 3, 0, 3), BIAS], OUT, WINDOW, _SIDES),
    ("CONV_2D", [IMAGE, weights(8, 3, 3, 2), BIAS], OUT, WINDOW, "their channels don't fit"),
    ("CONV_2D", [t(1, 4, 4, 9), CONV, BIAS], OUT, WINDOW, "their channels don't fit"),
    ("CONV_2D", [IMAGE, CONV, BIAS], t(1, 4, 5, 8), WINDOW, r"declares the output \[1, 4, 5, 8\]; its inputs give \[1, 4, 4, 8\]"),
    ("CONV_2D", [IMAGE, CONV, BIAS], OUT, {**WINDOW, "stride_h": 1 << 20}, r"its inputs give \[1, 0, 0, 8\]"),
    ("CONV_2D", [IMAGE, CONV, BIAS], OUT, {**WINDOW, "dilation_w_factor": 4000}, r"its inputs give \[1, 0, 0, 8\]"),
    ("CONV_2D", [IMAGE, weights(8, 5, 5, 3), BIAS], OUT, {**WINDOW, "padding": "VALID"}, r"its inputs give \[1, 0, 0, 8\]"),
    ("CONV_2D", [IMAGE, CONV, weights(7)], OUT, WINDOW, r"has the bias float32\[7\]; expected float32\[8\]"),
    ("CONV_2D", [IMAGE, CONV, weights(8, dtype="int32")], OUT, WINDOW, r"has the bias int32\[8\]; expected float32\[8\]"),
    ("CONV_2D", [IMAGE, CONV, BIAS], i8(1, 4, 4, 8), WINDOW, "takes float32 and gives int8"),
    ("CONV_2D", [t(1, 4, 4, 3, dtype="int64"), CONV, BIAS], t(1, 4, 4, 8, dtype="int64"), WINDOW, "takes int64 and gives int64; expected one of float32"),
    ("CONV_2D", [QUANTIZED[0], CONV, QUANTIZED[2]], i8(1, 4, 4, 8), WINDOW, "has float32 weights on int8"),
    ("CONV_2D", [QUANTIZED[0], weights(8, 1, 1, 3, dtype="int8"), QUANTIZED[2]], i8(1, 4, 4, 8), WINDOW, "has int8 weights without a scale"),
    ("CONV_2D", [QUANTIZED[0], weights(8, 1, 1, 3, dtype="int8", scale=[1] * 3, axis=3), QUANTIZED[2]], i8(1, 4, 4, 8), WINDOW, "has 3 weight scales"),
    ("CONV_2D", QUANTIZED, i8(1, 4, 4, 8, scale=None), WINDOW, r"with the scales \[\]; expected one of at least 1.18e-38"),
    ("CONV_2D", QUANTIZED, i8(1, 4, 4, 8, scale=[0.1, 0.2]), WINDOW, "with the scales"),
    ("CONV_2D", QUANTIZED, i8(1, 4, 4, 8, scale=1e-39), WINDOW, "with the scales"),
    ("CONV_2D", QUANTIZED, i8(1, 4, 4, 8, scale=1e-5), WINDOW, "scales by 1e[+]03; expected 4.66e-10 to less than"),
    ("DEPTHWISE_CONV_2D", [IMAGE, weights(1, 3, 3, 3)], IMAGE, {**WINDOW, "depth_multiplier": 1}, "has 2 inputs and 1 outputs; expected 3 to 3 and one"),
    ("DEPTHWISE_CONV_2D", [IMAGE, weights(1, 3, 3, 3), None], IMAGE, {**WINDOW, "depth_multiplier": 1}, "has no bias"),
    ("DEPTHWISE_CONV_2D", [IMAGE, weights(2, 3, 3, 3), weights(3)], IMAGE, {**WINDOW, "depth_multiplier": 1}, "their channels don't fit"),
    ("DEPTHWISE_CONV_2D", [IMAGE, weights(1, 3, 3, 4), weights(4)], t(1, 4, 4, 4), {**WINDOW, "depth_multiplier": 1}, "their channels don't fit"),
    ("DEPTHWISE_CONV_2D", [IMAGE, weights(1, 3, 3, 3), weights(3)], IMAGE, {**WINDOW, "depth_multiplier": 2}, "has the depth multiplier 2; expected 1"),
    ("FULLY_CONNECTED", [t(1, 8), weights(5, 2, 4), weights(5)], t(1, 5), DENSE, "expected DEFAULT with two sides above 0"),
    ("FULLY_CONNECTED", [t(1, 8), weights(5, 8), weights(5)], t(1, 5), {"weights_format": "SHUFFLED4x16INT8"}, "has SHUFFLED4x16INT8 weights"),
    ("FULLY_CONNECTED", [t(1, 9), weights(5, 8), weights(5)], t(1, 5), DENSE, "they don't fit"),
    ("FULLY_CONNECTED", [t(1, 8), weights(5, 8), weights(5)], t(1, 6), DENSE, "they don't fit"),
    ("FULLY_CONNECTED", [t(1, 8), weights(5, 8), weights(5)], t(), DENSE, "they don't fit"),
    ("ADD", [IMAGE, t(1, 4, 4, 2)], IMAGE, {}, "which can't be combined"),
    ("ADD", [t(*[1] * 6), t(*[1] * 6)], t(*[1] * 6), {}, "which can't be combined"),
    ("ADD", [IMAGE, t(1, 1, 1, 3)], t(1, 1, 1, 3), {}, r"its inputs give \[1, 4, 4, 3\]"),
    ("ADD", [IMAGE, i8(1, 4, 4, 3)], IMAGE, {}, "takes float32 and int8; expected one type"),
    ("ADD", [IMAGE, IMAGE], i8(1, 4, 4, 3), {}, "takes float32 and gives int8; expected one type"),
    ("ADD", [i8(2), i8(2)], i8(2, scale=1e-7), {}, r"scales by 1e\+06"),
    ("MUL", [i8(2), i8(2, scale=None)], i8(2), {}, r"with the scales \[\]"),
    ("MEAN", [IMAGE, numbers(4)], t(1, 3), {"keep_dims": False}, r"reduces axes \[4\] of \[1, 4, 4, 3\]; expected constant ones from -4 to 3"),
    ("MEAN", [IMAGE, t(2, dtype="int32")], t(1, 3), {"keep_dims": False}, "reduces axes None"),
    ("MEAN", [IMAGE, numbers(*range(300))], t(1, 3), {"keep_dims": False}, "reduces axes None"),
    ("MEAN", [IMAGE, numbers(1, 2)], t(1, 3), {"keep_dims": True}, r"its inputs give \[1, 1, 1, 3\]"),
    ("MEAN", [t(1, 0, 4, 3), numbers(1, 2)], t(1, 3), {"keep_dims": False}, "no empty side"),
    ("AVERAGE_POOL_2D", [t(4, 4)], t(4, 4), POOL, "has an input .*; expected four sides"),
    ("AVERAGE_POOL_2D", [IMAGE], t(1, 2, 2, 3), {**POOL, "filter_width": 1 << 30}, r"its inputs give \[1, 0, 0, 3\]"),
    ("MAX_POOL_2D", [IMAGE], i8(1, 2, 2, 3), POOL, "takes float32 and gives int8"),
    ("CONCATENATION", [IMAGE, None], IMAGE, {"axis": 1}, "expected tensors of 4 sides"),
    ("CONCATENATION", [IMAGE, IMAGE], t(1, 4, 8, 3), {"axis": 7}, "along axis 7"),
    ("CONCATENATION", [IMAGE, t(1, 5, 2, 3)], t(1, 4, 6, 3), {"axis": 2}, "their other sides differ"),
    ("CONCATENATION", [IMAGE, IMAGE], t(1, 4, 9, 3), {"axis": 2}, r"its inputs give \[1, 4, 8, 3\]"),
    ("CONCATENATION", [IMAGE, i8(1, 4, 4, 3)], t(1, 4, 8, 3), {"axis": 2}, "takes int8 and gives float32"),
    ("RESHAPE", [IMAGE], t(1, 49), {}, "the number of elements differs"),
    ("RESHAPE", [IMAGE, numbers(1, 24)], t(1, 48), {}, r"is told the shape \[1, 24\] and declares the output \[1, 48\]"),
    ("RESHAPE", [IMAGE], t(1, 48, dtype="int8"), {}, "takes float32 and gives int8"),
    ("SQUEEZE", [t(1, 3)], t(3), {"squeeze_dims": (5,)}, r"drops the sides \[5\] of \[1, 3\]; it has 2"),
    ("SQUEEZE", [t(1, 3)], t(3, 1), {"squeeze_dims": (0,)}, r"its inputs give \[3\]"),
    ("PAD", [IMAGE, numbers(0, 0, 1, 1)], t(1, 6, 5, 3), {}, "expected two constant numbers of at least 0 for each of 4 sides"),
    ("PAD", [t(4), numbers(-1, 0, shape=(1, 2))], t(3), {}, "pads by"),
    ("PAD", [t(4), numbers(1 << 30, 0, shape=(1, 2))], t(4), {}, "its inputs give"),
    ("PADV2", [t(4), numbers(1, 0, shape=(1, 2)), weights(2)], t(5), {}, r"pads float32 with float32\[2\]; expected one number"),
    ("PADV2", [t(4), numbers(1, 0, shape=(1, 2)), weights(1, dtype="int32")], t(5), {}, r"pads float32 with int32\[1\]"),
    ("TRANSPOSE", [IMAGE, numbers(0, 1, 2, 2)], IMAGE, {}, r"in the order \[0, 1, 2, 2\]; expected each of them once"),
    ("TRANSPOSE", [IMAGE, numbers(0, 3, 1, 2)], IMAGE, {}, r"its inputs give \[1, 3, 4, 4\]"),
    ("SOFTMAX", [t(1, 5)], t(1, 5), {"beta": float("nan")}, "has beta nan"),
    ("SOFTMAX", [t(1, 5)], t(1, 5), {"beta": 0.0}, "has beta 0.0"),
    ("SOFTMAX", [t()], t(), {"beta": 1.0}, r"on \[\]; expected a number above 0 and a tensor of at least one side"),
    ("SOFTMAX", [i8(1, 5, scale=1e-9)], i8(1, 5), {"beta": 1.0}, "has the scale 1e-09, too small for its fixed point"),
    ("SOFTMAX", [t(1, 5)], t(1, 6), {"beta": 1.0}, "declares the output"),
    ("QUANTIZE", [IMAGE], IMAGE, {}, "takes float32 and gives float32; expected float32 or integers to integers"),
    ("QUANTIZE", [i8(2)], i8(2, scale=1e-6), {}, r"scales by 1e\+05"),
    ("QUANTIZE", [t(2)], i8(3), {}, "declares the output"),
    ("DEQUANTIZE", [t(2)], t(2), {}, "takes float32 and gives float32; expected int8, uint8, int16, float16, int4 to float32"),
    ("DEQUANTIZE", [i8(2, scale=None)], t(2), {}, "takes int8 without a scale"),
    ("DEQUANTIZE", [i8(2)], t(3), {}, "declares the output"),
    ("LOGISTIC", [i8(2)], t(2), {}, "takes int8 and gives float32"),
    ("LOGISTIC", [i8(2, scale=None)], i8(2), {}, "with the scales"),
    ("RELU", [t(2)], t(3), {}, "declares the output"),
    ("RELU6", [i8(2, scale=1000.0)], i8(2), {}, r"scales by 1e\+04"),
    ("ADD", [i8(2, scale=2e-38), i8(2, scale=2e-38)], i8(2, scale=3e38), {}, r"scales by \S+; expected 4.66e-10"),
    ("ADD", [i8(2), i8(2, scale=1e-30)], i8(2), {}, r"scales by \S+; expected 4.66e-10 to less than 256"),
    ("RELU", [weights(2, dtype="float64")], t(2, dtype="float64"), {}, "works on float64; expected numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "inputs", "output", "options", "message"), BROKEN)
def test_broken_operators(
    code: str, inputs: list[Any], output: TfliteTensor, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(
        ModelFileError,
        match=rf"m\.tflite: operator 0 \({code}\) .*{message}.*; the file is damaged or was made wrongly",
    ):
        check(code, inputs, output, **options)


def test_every_rule_is_broken_once() -> None:
    assert {code for code, *_ in BROKEN} == set(RULES) - {"SUB", "HARD_SWISH", "LEAKY_RELU", "GELU", "TANH"}, (
        "those share a rule"
    )


def relu(source: int, target: int) -> TfliteOperator:
    return TfliteOperator("RELU", 1, (source,), (target,))


@pytest.mark.parametrize(
    ("operators", "message"),
    [
        ([relu(2, 1)], "reads 't', which no operator before it makes"),
        ([relu(0, 1), relu(0, 1)], "operator 1 .* makes 't', which is a constant, an input or made already"),
        ([relu(1, 0)], "reads 't'"),
        ([relu(0, 0)], "makes 't', which is a constant, an input or made already"),
        ([relu(0, 3)], "makes 't', which is a constant"),
        ([relu(0, 2)], "no operator makes the output 't'"),
        ([relu(0, 1), TfliteOperator("GATHER", 1, (0,), (4,))], "needs 4,000,000,016 bytes for its tensors at once"),
        ([TfliteOperator("WHILE", 1, (0,), (1,))], r"operator 0 \(WHILE\) is control flow, random or keeps a state"),
        ([TfliteOperator("RELU", 1, (0,), (1, 2))], "has 1 inputs and 2 outputs"),
    ],
)
def test_the_order_of_operators(operators: list[TfliteOperator], message: str) -> None:
    tensors = [t(2), t(2), t(2), weights(2), t(1000, 1000, 1000)]
    with pytest.raises(ModelFileError, match=message):
        check_steps(tensors, operators, (0,), (1,), "m")


@pytest.mark.parametrize("kind", ["string", "resource", "variant"])
def test_types_that_hold_pointers(kind: str) -> None:
    """RESHAPE and SQUEEZE of them made LiteRT follow pointers out of the file; unused ones are refused as well."""
    with pytest.raises(ModelFileError, match=f"m: tensor 't' is a {kind}; expected a network of plain numbers"):
        check_steps([t(2), t(2), t(2, dtype=kind)], [relu(0, 1)], (0,), (1,), "m")
    with pytest.raises(ModelFileError, match="tensor 't' keeps its values between runs"):
        check_steps([t(2), t(2), t(2, variable=True)], [relu(2, 1)], (0,), (1,), "m")


@pytest.mark.parametrize(
    ("image", "inputs"), [(weights(2), (0,)), (t(2), (0, 0)), (t(2, dtype="float64"), (0,)), (t(2, dtype="bool"), (0,))]
)
def test_inputs_that_are_something_else_as_well(image: TfliteTensor, inputs: tuple[int, ...]) -> None:
    """A constant buffer under the input ended in SIGSEGV when the image was written to it."""
    with pytest.raises(
        ModelFileError, match=r"m: the input .t. is .*, a constant or listed twice; expected a tensor of"
    ):
        check_steps([image, t(2)], [relu(0, 1)], inputs, (1,), "m")


def test_a_constant_output() -> None:
    with pytest.raises(ModelFileError, match="no operator makes the output"):
        check_steps([t(2), t(2), weights(2)], [relu(0, 1)], (0,), (2,), "m")


def test_a_huge_image() -> None:
    with pytest.raises(ModelFileError, match=r"is \[1, 5000, 1, 3\]; expected sides of at most 4096"):
        check_steps([t(1, 5000, 1, 3), t(1, 5000, 1, 3)], [relu(0, 1)], (0,), (1,), "m")


def test_what_lives_at_once() -> None:
    """A chain of four tensors of 200 bytes needs two at once, branches three."""
    sizes = dict.fromkeys(range(4), 200)
    assert live_bytes([((0,), (1,)), ((1,), (2,)), ((2,), (3,))], sizes, (3,)) == 400
    assert live_bytes([((0,), (1,)), ((0,), (2,)), ((1, 2), (3,))], sizes, (3,)) == 600
    assert live_bytes([((0,), (1,)), ((1,), (2,)), ((1,), (3,))], sizes, (3,)) == 400, "what nobody reads is let go"
