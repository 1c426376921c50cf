"""TFLite operator → what prepares its kernel. An operator that isn't here is named in an EngineError."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from edge_effnet.engines.numpy import activations, conversion, convolution, dense, elementwise, layout, pooling, shapes
from edge_effnet.engines.numpy.operands import Kernel, Node, Workspace

#: Checks a node's types and shapes and prepares its constants. Raises EngineError.
Prepare: TypeAlias = Callable[[Node, Workspace], Kernel]

#: The name under which the program runs LOGISTIC and MUL of one tensor in one step; no code of the file format.
SWISH = "LOGISTIC·MUL"
#: Computed when a file is opened, from what it declares.
SHAPE = "SHAPE"

OPERATORS: Mapping[str, Prepare] = MappingProxyType(
    {
        "ADD": elementwise.add,
        "AVERAGE_POOL_2D": pooling.average_pool_2d,
        "CONCATENATION": layout.concatenation,
        "CONV_2D": convolution.conv_2d,
        "DEPTHWISE_CONV_2D": convolution.depthwise_conv_2d,
        "DEQUANTIZE": conversion.dequantize,
        "FULLY_CONNECTED": dense.fully_connected,
        "GELU": activations.gelu,
        "HARD_SWISH": activations.hard_swish,
        "LEAKY_RELU": activations.leaky_relu,
        "LOGISTIC": activations.logistic,
        "MAX_POOL_2D": pooling.max_pool_2d,
        "MEAN": pooling.mean,
        "MUL": elementwise.mul,
        "PACK": shapes.pack,
        "PAD": layout.pad,
        "PADV2": layout.pad,
        "QUANTIZE": conversion.quantize,
        "RELU": activations.relu,
        "RELU6": activations.relu6,
        "RESHAPE": layout.reshape,
        "SOFTMAX": conversion.softmax,
        "SQUEEZE": layout.reshape,
        "STRIDED_SLICE": shapes.strided_slice,
        "SUB": elementwise.sub,
        "TANH": activations.tanh,
        SWISH: activations.swish,
    }
)
