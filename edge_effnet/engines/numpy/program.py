"""From the records of a `.tflite` file to kernels in order, with the constants prepared and the memory laid out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_effnet.engines.numpy.memory import Layout, Lifetime, plan
from edge_effnet.engines.numpy.operands import Array, Kernel, Node, Operand, Workspace
from edge_effnet.engines.numpy.operators import OPERATORS, SHAPE, SWISH
from edge_effnet.engines.numpy.shapes import known_shape
from edge_effnet.errors import EdgeEffnetError, EngineError, first_line
from edge_effnet.formats.tflite import TfliteFile
from edge_effnet.formats.tflite_operators import TfliteOperator
from edge_effnet.formats.tflite_schema import NUMPY_TYPES
from edge_effnet.formats.tflite_tensors import TfliteTensor


@dataclass(frozen=True, eq=False)
class Step:
    """One operator, ready to run. inputs: the constant, or the index of a computed tensor."""

    kernel: Kernel
    inputs: tuple[Array | int | None, ...]
    output: int
    where: str


@dataclass(frozen=True, eq=False)
class Program:
    """The steps in order; `layout` places every tensor that a step makes; `constants`: outputs known beforehand."""

    steps: tuple[Step, ...]
    layout: Layout
    operands: tuple[Operand, ...]


def compile_program(file: TfliteFile, workspace: Workspace) -> Program:
    """Raises EngineError for operators, types or shapes that can't be computed, and for tensors read before they're
    made.
    """
    operands = [_operand(tensor) for tensor in file.tensors]
    computed = set(file.inputs)
    steps: list[Step] = []
    for index, operator in _with_swishes(file):
        where = f"{file.name}: operator {index} ({operator.code})"
        node = _node(operator, operands, where)
        read = operator.inputs[:1] if operator.code == SWISH else operator.inputs  # the gate is never made
        _check_order(read, operator.outputs, operands, computed, where)
        output = operator.outputs[0]
        if operator.code == SHAPE:
            operands[output] = known_shape(node)
            continue
        kernel = _prepared(node, workspace)
        if all(operand is None or operand.values is not None for operand in node.inputs):
            operands[output] = _evaluated(node, kernel)
            continue
        inputs = tuple(_source(operand, tensor) for operand, tensor in zip(node.inputs[: len(read)], read, strict=True))
        computed.add(output)
        steps.append(Step(kernel, inputs, output, where))
    for tensor in file.outputs:
        if tensor not in computed:
            raise EngineError(f"{file.name}: no operator makes the output {operands[tensor].name!r:.80}")
    return Program(tuple(steps), plan(_lifetimes(steps, operands, file.outputs)), tuple(operands))


def _operand(tensor: TfliteTensor) -> Operand:
    values = None if tensor.data is None else tensor.values()
    return Operand(
        tensor.name, tensor.shape, tensor.dtype, tensor.scales, tensor.zero_points, tensor.quantized_dimension, values
    )


def _node(operator: TfliteOperator, operands: Sequence[Operand], where: str) -> Node:
    if operator.code not in (*OPERATORS, SHAPE):
        raise EngineError(
            f"{where}: the numpy engine lacks this operator; it has {', '.join(sorted(OPERATORS))}; use --engine litert"
        )
    if len(operator.outputs) != 1 or operands[operator.outputs[0]].dtype not in NUMPY_TYPES:
        raise EngineError(f"{where} has {len(operator.outputs)} outputs; expected one, of a type that numpy has")
    inputs = tuple(None if tensor < 0 else operands[tensor] for tensor in operator.inputs)
    return Node(operator.code, operator.options, inputs, operands[operator.outputs[0]], where)


def _check_order(
    read: Sequence[int], made: Sequence[int], operands: Sequence[Operand], computed: set[int], where: str
) -> None:
    for tensor in read:
        if tensor >= 0 and tensor not in computed and operands[tensor].values is None:
            raise EngineError(
                f"{where} reads {operands[tensor].name!r:.80}, which no operator before it makes; the file is out of "
                "order"
            )
    for tensor in made:
        if tensor in computed or operands[tensor].values is not None:
            raise EngineError(
                f"{where} makes {operands[tensor].name!r:.80}, which is a constant, an input or made already"
            )


def _prepared(node: Node, workspace: Workspace) -> Kernel:
    try:
        return OPERATORS[node.code](node, workspace)
    except EdgeEffnetError:
        raise
    except (ValueError, IndexError, TypeError, OverflowError, KeyError) as error:
        raise EngineError(f"{node.where}: its tensors don't fit together ({first_line(error)})") from error


def _evaluated(node: Node, kernel: Kernel) -> Operand:
    """The output of an operator on constants, computed now: weights that are widened from float16 or int8."""
    result = np.empty(node.output.shape, node.output.dtype)
    kernel([node.constant(index) for index in range(len(node.inputs))], result)
    return replace(node.output, values=result)


def _source(operand: Operand | None, tensor: int) -> Array | int | None:
    if operand is None:
        return None
    return tensor if operand.values is None else operand.values


def _with_swishes(file: TfliteFile) -> list[tuple[int, TfliteOperator]]:
    """(number, operator) in order; LOGISTIC and the MUL that alone reads it beside LOGISTIC's own input become one."""
    reads = Counter(tensor for operator in file.operators for tensor in operator.inputs)
    reads.update(file.outputs)
    gates = {
        operator.outputs[0]: operator
        for operator in file.operators
        if operator.code == "LOGISTIC" and len(operator.outputs) == len(operator.inputs) == 1
    }
    found: dict[int, TfliteOperator] = {}
    dropped: set[int] = set()
    for index, operator in enumerate(file.operators):
        gate = (
            next((tensor for tensor in operator.inputs if tensor in gates), None) if _plain_product(operator) else None
        )
        if gate is None or reads[gate] != 1 or set(operator.inputs) != {gate, gates[gate].inputs[0]}:
            continue
        found[index] = TfliteOperator(SWISH, operator.version, (gates[gate].inputs[0], gate), operator.outputs)
        dropped.add(gate)
    return [
        (index, found.get(index, operator))
        for index, operator in enumerate(file.operators)
        if not dropped.intersection(operator.outputs)
    ]


def _plain_product(operator: TfliteOperator) -> bool:
    return (
        operator.code == "MUL"
        and len(operator.inputs) == 2
        and operator.options.get("fused_activation_function") == "NONE"
    )


def _lifetimes(steps: Sequence[Step], operands: Sequence[Operand], outputs: Sequence[int]) -> dict[int, Lifetime]:
    last = {step.output: index for index, step in enumerate(steps)}
    for index, step in enumerate(steps):
        last.update({tensor: index for tensor in step.inputs if isinstance(tensor, int) and tensor in last})
    last.update({tensor: len(steps) for tensor in outputs if tensor in last})
    return {
        step.output: Lifetime(index, last[step.output], _size(operands[step.output]))
        for index, step in enumerate(steps)
    }


def _size(operand: Operand) -> int:
    return math.prod(operand.shape) * np.dtype(operand.dtype).itemsize
