"""What must hold between an operator and its tensors before an engine may see the file.

Engines trust a file in places: a missing bias, a tensor without a scale or a factor that leaves 31 bits ends the
process instead of giving an error. Source: what LiteRT's kernels and XNNPACK compute from the fields while they
prepare, and what the fuzz campaign (benchmarks/fuzz) found. Operators without a rule are judged by a trial run
(trial.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.records import SHOWN
from edge_effnet.formats.tflite_rules_common import Rule
from edge_effnet.formats.tflite_rules_layers import convolution, dense, depthwise, pool
from edge_effnet.formats.tflite_rules_moves import (
    concatenation,
    dequantize,
    elementwise,
    logistic,
    mean,
    pad,
    quantize,
    reshape,
    softmax,
    squeeze,
    transpose,
    unary,
)
from edge_effnet.formats.tflite_tensors import TfliteTensor

#: Of a tensor that is computed, counted as float32: more would take an inference past 1 GB.
_MAX_TENSOR_BYTES = 1 << 30
_ELEMENT_BYTES = 4


class Step(Protocol):
    """What is asked of a TfliteOperator."""

    @property
    def code(self) -> str: ...  # noqa: D102
    @property
    def inputs(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def outputs(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def options(self) -> Mapping[str, Any]: ...  # noqa: D102


#: Operator → (its rule, inputs that must be there, inputs that may be there).
RULES: Mapping[str, tuple[Rule, int, int]] = MappingProxyType(
    {
        "CONV_2D": (convolution, 2, 3),
        "DEPTHWISE_CONV_2D": (depthwise, 3, 3),
        "FULLY_CONNECTED": (dense, 2, 3),
        "ADD": (elementwise, 2, 2),
        "SUB": (elementwise, 2, 2),
        "MUL": (elementwise, 2, 2),
        "MEAN": (mean, 2, 2),
        "AVERAGE_POOL_2D": (pool, 1, 1),
        "MAX_POOL_2D": (pool, 1, 1),
        "CONCATENATION": (concatenation, 1, 1 << 12),
        "RESHAPE": (reshape, 1, 2),
        "SQUEEZE": (squeeze, 1, 1),
        "PAD": (pad, 2, 2),
        "PADV2": (pad, 3, 3),
        "TRANSPOSE": (transpose, 2, 2),
        "SOFTMAX": (softmax, 1, 1),
        "QUANTIZE": (quantize, 1, 1),
        "DEQUANTIZE": (dequantize, 1, 1),
        "LOGISTIC": (logistic, 1, 1),
        "RELU": (unary, 1, 1),
        "RELU6": (unary, 1, 1),
        "HARD_SWISH": (unary, 1, 1),
    }
)


def check_steps(
    tensors: Sequence[TfliteTensor], operators: Sequence[Step], inputs: Sequence[int], outputs: Sequence[int], name: str
) -> None:
    """Raises ModelFileError naming the operator that reads what isn't made yet, makes what is there, or breaks its
    rule.
    """
    made = set(inputs)
    for index, step in enumerate(operators):
        problem = _order(step, tensors, made) or _check_one(step, tensors)
        if problem is not None:
            raise ModelFileError(
                f"{name}: operator {index} ({step.code:.{SHOWN}}) {problem}; the file is damaged or was made wrongly"
            )
        made.update(step.outputs)
    for tensor in outputs:
        if tensor not in made and tensors[tensor].data is None:
            raise ModelFileError(
                f"{name}: no operator makes the output {tensors[tensor].name!r:.{SHOWN}}; the file is damaged or was "
                "made wrongly"
            )


def _order(step: Step, tensors: Sequence[TfliteTensor], made: set[int]) -> str | None:
    for tensor in step.inputs:
        if tensor >= 0 and tensor not in made and tensors[tensor].data is None and not tensors[tensor].is_variable:
            return f"reads {tensors[tensor].name!r:.{SHOWN}}, which no operator before it makes"
    for tensor in step.outputs:
        found = tensors[tensor]
        if tensor in made or found.data is not None:
            return f"makes {found.name!r:.{SHOWN}}, which is a constant, an input or made already"
        if math.prod(found.shape) * _ELEMENT_BYTES > _MAX_TENSOR_BYTES:
            return f"makes {found.name!r:.{SHOWN}} of {list(found.shape)}; at most {_MAX_TENSOR_BYTES // _ELEMENT_BYTES} elements are computed"
    return None


def _check_one(step: Step, tensors: Sequence[TfliteTensor]) -> str | None:
    found = RULES.get(step.code)
    if found is None:
        return None
    rule, least, most = found
    operands = [tensors[index] if index >= 0 else None for index in step.inputs]
    if not least <= len(operands) <= most or None in operands[: min(least, 2)] or len(step.outputs) != 1:
        return f"has {len(operands)} inputs and {len(step.outputs)} outputs; expected {least} to {most} and one"
    return rule(operands, tensors[step.outputs[0]], step.options)
