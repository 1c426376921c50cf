"""What must hold between an operator and its tensors before an engine may see the file.

Engines trust a file in places: a missing bias, a tensor without a scale or a factor that leaves 31 bits ends the
process instead of giving an error. Source: what LiteRT's kernels and XNNPACK compute from the fields while they
prepare, and what the fuzz campaign (benchmarks/fuzz) found. Operators without a rule are judged by a trial run
(trial.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.bounds import MOST_LIVE_BYTES, MOST_SIDE, live_bytes
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

#: Of a tensor that is computed, whatever its type: some kernels work in 32 bits inside.
_ELEMENT_BYTES = 4
#: What the tensors of an operator with a rule may hold.
_NUMBERS = frozenset({"float32", "float16", "int8", "uint8", "int16", "int32", "int64", "int4"})
#: What no classifier of photos holds: engines follow pointers that lie in such tensors.
_REFUSED_TYPES = frozenset({"string", "resource", "variant"})
#: Control flow, and state between runs: whatever such a graph does can't be bounded from outside.
_REFUSED_CODES = re.compile(
    r"IF|WHILE|CALL|CALL_ONCE|VAR_HANDLE|(READ|ASSIGN)_VARIABLE|HASHTABLE.*|.*(RNN|LSTM).*|RANDOM_.*|MULTINOMIAL|SVDF"
    r"|STABLEHLO_(WHILE|CASE|CUSTOM_CALL|COMPOSITE)|DELEGATE"
)


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
        "LEAKY_RELU": (unary, 1, 1),
        "GELU": (unary, 1, 1),
        "TANH": (unary, 1, 1),
    }
)


def check_steps(
    tensors: Sequence[TfliteTensor], operators: Sequence[Step], inputs: Sequence[int], outputs: Sequence[int], name: str
) -> None:
    """Raises ModelFileError naming the operator that reads what isn't made yet, makes what is there, or breaks its
    rule.
    """
    _check_tensors(tensors, inputs, name)
    made = set(inputs)
    for index, step in enumerate(operators):
        problem = _order(step, tensors, made) or _check_one(step, tensors)
        if problem is not None:
            raise ModelFileError(
                f"{name}: operator {index} ({step.code:.{SHOWN}}) {problem}; the file is damaged or was made wrongly"
            )
        made.update(step.outputs)
    for tensor in outputs:
        if tensor not in made:
            raise ModelFileError(
                f"{name}: no operator makes the output {tensors[tensor].name!r:.{SHOWN}}; the file is damaged or was "
                "made wrongly"
            )
    _check_memory(tensors, operators, inputs, outputs, name)


def _check_tensors(tensors: Sequence[TfliteTensor], inputs: Sequence[int], name: str) -> None:
    """Types that are refused whatever reads them, and inputs that are something else as well."""
    for tensor in tensors:
        if tensor.dtype in _REFUSED_TYPES or tensor.is_variable:
            what = "keeps its values between runs" if tensor.is_variable else f"is a {tensor.dtype}"
            raise ModelFileError(f"{name}: tensor {tensor.name!r:.{SHOWN}} {what}; expected a network of plain numbers")
    for index in inputs:
        found = tensors[index]
        if found.data is not None or inputs.count(index) > 1 or found.dtype not in _NUMBERS:
            raise ModelFileError(
                f"{name}: the input {found.name!r:.{SHOWN}} is {found.dtype}, a constant or listed twice; expected a "
                "tensor of numbers that only the caller fills"
            )
        if max(found.shape, default=0) > MOST_SIDE:
            raise ModelFileError(
                f"{name}: the input {found.name!r:.{SHOWN}} is {list(found.shape)}; "
                f"expected sides of at most {MOST_SIDE}"
            )


def _check_memory(
    tensors: Sequence[TfliteTensor], operators: Sequence[Step], inputs: Sequence[int], outputs: Sequence[int], name: str
) -> None:
    sizes = {
        index: math.prod(tensor.shape) * _ELEMENT_BYTES for index, tensor in enumerate(tensors) if tensor.data is None
    }
    used = {index for step in operators for index in (*step.inputs, *step.outputs)} | set(inputs)
    sizes = {index: size for index, size in sizes.items() if index in used}
    most = live_bytes([(step.inputs, step.outputs) for step in operators], sizes, outputs)
    if most > MOST_LIVE_BYTES:
        raise ModelFileError(
            f"{name}: needs {most:,} bytes for its tensors at once; expected at most {MOST_LIVE_BYTES:,}"
        )


def _order(step: Step, tensors: Sequence[TfliteTensor], made: set[int]) -> str | None:
    for tensor in step.inputs:
        if tensor >= 0 and tensor not in made and tensors[tensor].data is None:
            return f"reads {tensors[tensor].name!r:.{SHOWN}}, which no operator before it makes"
    for tensor in step.outputs:
        found = tensors[tensor]
        if tensor in made or found.data is not None:
            return f"makes {found.name!r:.{SHOWN}}, which is a constant, an input or made already"
    return None


def _check_one(step: Step, tensors: Sequence[TfliteTensor]) -> str | None:
    found = RULES.get(step.code)
    if found is None:
        refused = _REFUSED_CODES.fullmatch(step.code)
        return "is control flow, random or keeps a state, which no such network needs" if refused else None
    rule, least, most = found
    operands = [tensors[index] if index >= 0 else None for index in step.inputs]
    if not least <= len(operands) <= most or None in operands[: min(least, 2)] or len(step.outputs) != 1:
        return f"has {len(operands)} inputs and {len(step.outputs)} outputs; expected {least} to {most} and one"
    output = tensors[step.outputs[0]]
    strange = next((found.dtype for found in (*operands, output) if found and found.dtype not in _NUMBERS), None)
    return f"works on {strange}; expected numbers" if strange else rule(operands, output, step.options)
