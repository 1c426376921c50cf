"""The numpy engine's session: opens a `.tflite` file and runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.engines.numpy.execution import allocate, execute
from edge_effnet.engines.numpy.operands import Array, Operand, Workspace
from edge_effnet.engines.numpy.program import Program, compile_program
from edge_effnet.engines.protocol import EngineStatus, Layout, TensorInfo
from edge_effnet.errors import EngineError, first_line
from edge_effnet.formats import read_tflite


class NumpySession:
    """One `.tflite` file, computed with numpy alone; weights of float files stay where they lie in the file.

    threads: has no effect. numpy's matrix library takes its number of threads from the environment
    (OPENBLAS_NUM_THREADS, OMP_NUM_THREADS) when numpy is imported, and offers no way to change it later; everything
    else runs on one core.
    """

    engine = "numpy"
    layout: Layout = "nhwc"

    def __init__(self, path: Path, threads: int, content: bytes, outputs: int = 1) -> None:
        del threads
        self.version = f"numpy {np.__version__}"
        file = read_tflite(content, name=str(path))
        if len(file.inputs) != 1 or len(file.outputs) != outputs:
            raise EngineError(
                f"{path}: has {len(file.inputs)} inputs and {len(file.outputs)} outputs; expected one image input and "
                f"{'one output' if outputs == 1 else f'{outputs} outputs'}"
            )
        self._input_index, self._output_indices = file.inputs[0], file.outputs
        try:
            program = compile_program(file, Workspace())
            self._buffers: dict[int, Array] = allocate(program)
        except MemoryError as error:
            raise EngineError(f"{path}: needs more memory than there is ({first_line(error)})") from error
        self._program: Program | None = program
        self.input = _info(program.operands[self._input_index])
        self.outputs = tuple(_info(program.operands[index]) for index in file.outputs)
        self.output = self.outputs[0]

    def run(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The raw output for one input tensor."""
        return self.run_all(tensor)[0]

    def run_all(self, tensor: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
        """All raw outputs for one input tensor."""
        if self._program is None:
            raise EngineError("this session is closed; open a new one")
        if tensor.shape != self.input.shape or tensor.dtype != self.input.dtype:
            raise EngineError(
                f"got {tensor.dtype}{list(tensor.shape)}; the model expects {self.input.dtype}{list(self.input.shape)}"
            )
        found = execute(self._program, self._buffers, {self._input_index: np.ascontiguousarray(tensor)})
        return tuple(np.array(found[index]) for index in self._output_indices)

    def close(self) -> None:
        """Lets go of weights and buffers."""
        self._program, self._buffers = None, {}


def status() -> EngineStatus:
    """Always usable: numpy is a dependency."""
    return EngineStatus("numpy", "numpy", np.__version__, None)


def _info(operand: Operand) -> TensorInfo:
    whole = len(operand.scales) == 1
    return TensorInfo(
        operand.name,
        operand.shape,
        operand.dtype,
        float(operand.scales[0]) if whole else 0.0,
        int(operand.zero_points[0]) if whole else 0,
    )
