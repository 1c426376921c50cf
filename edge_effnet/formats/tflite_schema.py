"""The numbers of TFLite's published schema that the reader needs: types, operator codes, options.

Source: schema.fbs of TensorFlow Lite / LiteRT (tensorflow/compiler/mlir/lite/schema), version 3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_effnet.formats.flatbuffer import BOOL, FLOAT32, INT8, INT32

SCHEMA_VERSION = 3
IDENTIFIER = b"TFL3"
CUSTOM = 32

#: TensorType → (name, bits of an element); 0 bits: no fixed size.
TENSOR_TYPES: dict[int, tuple[str, int]] = {
    0: ("float32", 32),
    1: ("float16", 16),
    2: ("int32", 32),
    3: ("uint8", 8),
    4: ("int64", 64),
    5: ("string", 0),
    6: ("bool", 8),
    7: ("int16", 16),
    8: ("complex64", 64),
    9: ("int8", 8),
    10: ("float64", 64),
    11: ("complex128", 128),
    12: ("uint64", 64),
    13: ("resource", 0),
    14: ("variant", 0),
    15: ("uint32", 32),
    16: ("uint16", 16),
    17: ("int4", 4),
    18: ("bfloat16", 16),
    19: ("int2", 2),
    20: ("uint4", 4),
    21: ("float8_e4m3fn", 8),
    22: ("float8_e5m2", 8),
}
_NOT_IN_NUMPY = {"string", "resource", "variant", "int4", "bfloat16", "int2", "uint4", "float8_e4m3fn", "float8_e5m2"}
#: Names of those types that numpy has → little-endian dtype.
NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(name).newbyteorder("<") for name, _ in TENSOR_TYPES.values() if name not in _NOT_IN_NUMPY
}

PADDING = ("SAME", "VALID")
ACTIVATION = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
WEIGHTS_FORMAT = ("DEFAULT", "SHUFFLED4x16INT8")


@dataclass(frozen=True)
class Option:
    """A field of an options table. kind None: a vector of int32; `choices` name an enumeration's values."""

    name: str
    slot: int
    kind: struct.Struct | None = INT32
    default: Any = 0
    choices: tuple[str, ...] | None = None
    minimum: int | None = None


@dataclass(frozen=True)
class OptionsTable:
    """The options of an operator: `kind` is their number in the union BuiltinOptions, 0 where there are none."""

    kind: int = 0
    options: tuple[Option, ...] = ()


def _activation(slot: int) -> Option:
    return Option("fused_activation_function", slot, INT8, choices=ACTIVATION)


def _window() -> tuple[Option, ...]:
    return (
        Option("padding", 0, INT8, choices=PADDING),
        Option("stride_w", 1, minimum=1),
        Option("stride_h", 2, minimum=1),
    )


def _dilations(slot: int) -> tuple[Option, ...]:
    return Option("dilation_w_factor", slot, default=1, minimum=1), Option(
        "dilation_h_factor", slot + 1, default=1, minimum=1
    )


_POOL = OptionsTable(
    5, (*_window(), Option("filter_width", 3, minimum=1), Option("filter_height", 4, minimum=1), _activation(5))
)
_NONE = OptionsTable()
_DENSE = (
    _activation(0),
    Option("weights_format", 1, INT8, choices=WEIGHTS_FORMAT),
    Option("keep_num_dims", 2, BOOL, default=False),
    Option("asymmetric_quantize_inputs", 3, BOOL, default=False),
)
#: Operators whose options are read.
OPTIONS: dict[str, OptionsTable] = {
    "CONV_2D": OptionsTable(1, (*_window(), _activation(3), *_dilations(4))),
    "DEPTHWISE_CONV_2D": OptionsTable(
        2, (*_window(), Option("depth_multiplier", 3, minimum=0), _activation(4), *_dilations(5))
    ),
    "FULLY_CONNECTED": OptionsTable(8, _DENSE),
    "ADD": OptionsTable(11, (_activation(0),)),
    "MUL": OptionsTable(21, (_activation(0),)),
    "SUB": OptionsTable(28, (_activation(0),)),
    "MEAN": OptionsTable(27, (Option("keep_dims", 0, BOOL, default=False),)),
    "SOFTMAX": OptionsTable(9, (Option("beta", 0, FLOAT32, default=0.0),)),
    "RESHAPE": OptionsTable(17, (Option("new_shape", 0, None),)),
    "AVERAGE_POOL_2D": _POOL,
    "MAX_POOL_2D": _POOL,
    "CONCATENATION": OptionsTable(10, (Option("axis", 0), _activation(1))),
    "SQUEEZE": OptionsTable(30, (Option("squeeze_dims", 0, None),)),
    "DIV": OptionsTable(29, (_activation(0),)),
    "STRIDED_SLICE": OptionsTable(
        32,
        tuple(
            Option(name, slot)
            for slot, name in enumerate(
                ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
            )
        ),
    ),
    "PACK": OptionsTable(59, (Option("values_count", 0), Option("axis", 1))),
    "LOGISTIC": _NONE,
    "PAD": _NONE,
    "PADV2": _NONE,
    "QUANTIZE": _NONE,
    "DEQUANTIZE": _NONE,
    "RELU": _NONE,
    "RELU6": _NONE,
    "HARD_SWISH": _NONE,
    "LEAKY_RELU": OptionsTable(75, (Option("alpha", 0, FLOAT32, default=0.0),)),
    "GELU": OptionsTable(116, (Option("approximate", 0, BOOL, default=False),)),
    "TANH": _NONE,
    "TRANSPOSE": _NONE,
}
#: BuiltinOperator → name: those above and others that image classifiers are seen with.
OPERATORS: dict[int, str] = {
    0: "ADD",
    1: "AVERAGE_POOL_2D",
    2: "CONCATENATION",
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    5: "DEPTH_TO_SPACE",
    6: "DEQUANTIZE",
    9: "FULLY_CONNECTED",
    11: "L2_NORMALIZATION",
    14: "LOGISTIC",
    17: "MAX_POOL_2D",
    18: "MUL",
    19: "RELU",
    20: "RELU_N1_TO_1",
    21: "RELU6",
    22: "RESHAPE",
    23: "RESIZE_BILINEAR",
    25: "SOFTMAX",
    28: "TANH",
    34: "PAD",
    36: "GATHER",
    39: "TRANSPOSE",
    40: "MEAN",
    41: "SUB",
    42: "DIV",
    43: "SQUEEZE",
    45: "STRIDED_SLICE",
    47: "EXP",
    49: "SPLIT",
    51: "DELEGATE",
    53: "CAST",
    54: "PRELU",
    55: "MAXIMUM",
    56: "ARG_MAX",
    57: "MINIMUM",
    60: "PADV2",
    65: "SLICE",
    67: "TRANSPOSE_CONV",
    70: "EXPAND_DIMS",
    74: "SUM",
    75: "SQRT",
    76: "RSQRT",
    77: "SHAPE",
    82: "REDUCE_MAX",
    83: "PACK",
    88: "UNPACK",
    97: "RESIZE_NEAREST_NEIGHBOR",
    98: "LEAKY_RELU",
    99: "SQUARED_DIFFERENCE",
    100: "MIRROR_PAD",
    101: "ABS",
    114: "QUANTIZE",
    117: "HARD_SWISH",
    126: "BATCH_MATMUL",
    130: "BROADCAST_TO",
    150: "GELU",
}
