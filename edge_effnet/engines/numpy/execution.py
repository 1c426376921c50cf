"""Running a compiled program: memory for its tensors, then one kernel after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_effnet.engines.numpy.operands import Array
from edge_effnet.engines.numpy.program import Program, Step
from edge_effnet.errors import EngineError, first_line


def allocate(program: Program) -> dict[int, Array]:
    """Tensor index → its place in one block of memory, for every tensor that a step makes."""
    memory = np.empty(program.layout.size, np.uint8)
    found = {}
    for tensor, offset in program.layout.offsets.items():
        operand = program.operands[tensor]
        size = math.prod(operand.shape) * np.dtype(operand.dtype).itemsize
        found[tensor] = memory[offset : offset + size].view(operand.dtype).reshape(operand.shape)
    return found


def execute(program: Program, buffers: Mapping[int, Array], inputs: Mapping[int, Array]) -> Mapping[int, Array]:
    """Tensor index → values; those of an intermediate tensor may be overwritten by a later one's.

    inputs: index → array of the declared shape and type. Raises EngineError naming the operator that failed.
    """
    tensors = {**buffers, **inputs}
    with np.errstate(all="ignore"):  # infinities are the file's own; the classifier refuses what isn't finite
        for step in program.steps:
            _run(step, tensors)
    return tensors


def _run(step: Step, tensors: Mapping[int, Array]) -> None:
    inputs: list[Any] = [tensors[source] if isinstance(source, int) else source for source in step.inputs]
    try:
        step.kernel(inputs, tensors[step.output])
    except (ValueError, IndexError, MemoryError) as error:
        raise EngineError(f"{step.where} failed: {first_line(error)}") from error
