"""The LiteRT engine: ai-edge-litert, or its predecessor tflite-runtime where that is what's installed."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.engines.protocol import EngineStatus, Layout, TensorInfo
from edge_effnet.engines.quiet import without_engine_banner
from edge_effnet.errors import EngineError, MissingDependencyError, first_line

#: Distribution → module with the Interpreter, best first.
_PACKAGES = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
_HINT = (
    "pip install ai-edge-litert (64-bit CPython ≥ 3.10), or 'edge-effnet[tflite]' (tflite-runtime: CPython ≤ 3.11, "
    "32-bit ARM too)"
)


class LitertSession:
    """One `.tflite` file in a LiteRT interpreter; the engine works on its bytes in memory."""

    engine = "litert"
    layout: Layout = "nhwc"

    def __init__(self, path: Path, threads: int, content: bytes, outputs: int = 1) -> None:
        package, module = _import()
        self._package = package
        self._content = content  # the interpreter keeps a pointer alone
        try:
            with without_engine_banner():
                self._interpreter: Any = module.Interpreter(model_content=content, num_threads=threads)
                self._interpreter.allocate_tensors()
            given, made = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except (ValueError, RuntimeError, OSError) as error:  # ValueError: also for a tensor's name that isn't UTF-8
            raise EngineError(f"{path}: {package} refuses the file ({first_line(error)})") from error
        ((self.input, self._input_index),) = _infos(given, path, "input")
        found = _infos(made, path, "output", count=outputs)
        self.outputs, self._output_indices = tuple(info for info, _ in found), tuple(index for _, index in found)
        self.output = self.outputs[0]

    @property
    def version(self) -> str:
        """Package and version; looked up when asked for, since the look-up takes longer than an inference."""
        return f"{self._package} {_version(self._package)}"

    def run(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The raw output for one input tensor."""
        return self.run_all(tensor)[0]

    def run_all(self, tensor: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
        """All raw outputs for one input tensor."""
        try:
            self._interpreter.set_tensor(self._input_index, tensor)
            self._interpreter.invoke()
            return tuple(np.asarray(self._interpreter.get_tensor(index)) for index in self._output_indices)
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"inference failed in {self.version}: {first_line(error)}") from error

    def close(self) -> None:
        """Drops the interpreter."""
        self._interpreter = None


def status() -> EngineStatus:
    """The installed package's version, or what to install."""
    try:
        package, _ = _import()
    except MissingDependencyError as error:
        return EngineStatus("litert", "ai-edge-litert", None, str(error))
    return EngineStatus("litert", package, _version(package), None)


def _version(package: str) -> str:
    from importlib import metadata

    return metadata.version(package)


def _import() -> tuple[str, Any]:
    problems = []
    for package, name in _PACKAGES.items():
        if importlib.util.find_spec(name.split(".", maxsplit=1)[0]) is None:
            continue
        try:
            return package, importlib.import_module(name)
        except (ImportError, AttributeError, RuntimeError) as error:
            problems.append(f"{package} is installed but fails to import ({first_line(error)})")
    raise MissingDependencyError("; ".join(problems) or f"no LiteRT runtime is installed: {_HINT}")


def _infos(
    details: list[dict[str, Any]], path: Path, which: str, *, count: int = 1
) -> tuple[tuple[TensorInfo, int], ...]:
    """What the engine says of inputs or outputs, and their indices; raises EngineError for another number of them."""
    if len(details) != count:
        expected = f"one image {which}" if count == 1 else f"{count} {which}s"
        raise EngineError(f"{path}: has {len(details)} {which}s; expected {expected}")
    return tuple((_info(found), int(found["index"])) for found in details)


def _info(found: dict[str, Any]) -> TensorInfo:
    scale, zero_point = found["quantization"]
    shape = tuple(int(side) for side in found["shape"])
    return TensorInfo(str(found["name"]), shape, np.dtype(found["dtype"]).name, float(scale), int(zero_point))
