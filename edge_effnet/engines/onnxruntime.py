"""The ONNX Runtime engine, on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.engines.protocol import EngineStatus, Layout, TensorInfo
from edge_effnet.errors import EngineError, MissingDependencyError, first_line

_TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}


class OnnxruntimeSession:
    """One `.onnx` file in an ONNX Runtime session; a dynamic batch runs as 1."""

    engine = "onnxruntime"

    def __init__(self, path: Path, threads: int, content: bytes, outputs: int = 1) -> None:
        runtime = _import()
        self.version = f"onnxruntime {runtime.__version__}"
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what it says of an error stands in the exception, too
        try:
            self._session: Any = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exception classes share no base but Exception
            raise EngineError(f"{path}: onnxruntime refuses the file ({first_line(error)})") from error
        (self.input,) = _infos(self._session.get_inputs(), path, "input")
        self.outputs = _infos(self._session.get_outputs(), path, "output", count=outputs)
        self.output = self.outputs[0]
        self.layout: Layout = "nhwc" if self.input.shape[-1] == 3 else "nchw"

    def run(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The raw output for one input tensor."""
        return self.run_all(tensor)[0]

    def run_all(self, tensor: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
        """All raw outputs for one input tensor."""
        try:
            found = self._session.run([info.name for info in self.outputs], {self.input.name: tensor})
            return tuple(np.asarray(values) for values in found)
        except Exception as error:  # see above
            raise EngineError(f"inference failed in {self.version}: {first_line(error)}") from error

    def close(self) -> None:
        """Drops the session."""
        self._session = None


def status() -> EngineStatus:
    """The installed version, or what to install."""
    try:
        return EngineStatus("onnxruntime", "onnxruntime", str(_import().__version__), None)
    except MissingDependencyError as error:
        return EngineStatus("onnxruntime", "onnxruntime", None, str(error))


def _import() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(".onnx files need onnxruntime: pip install 'edge-effnet[onnx]'") from error
    return onnxruntime


def _infos(details: list[Any], path: Path, which: str, *, count: int = 1) -> tuple[TensorInfo, ...]:
    if len(details) != count:
        expected = f"one image {which}" if count == 1 else f"{count} {which}s"
        raise EngineError(f"{path}: has {len(details)} {which}s; expected {expected}")
    return tuple(_info(found, path, which) for found in details)


def _info(found: Any, path: Path, which: str) -> TensorInfo:
    if found.type not in _TYPES:
        raise EngineError(f"{path}: its {which} is {found.type}; expected {', '.join(_TYPES)}")
    shape = tuple(side if isinstance(side, int) and side > 0 else 1 for side in found.shape)
    return TensorInfo(str(found.name), shape, _TYPES[found.type])
