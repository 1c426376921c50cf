"""What every engine offers: a session that turns one input tensor into one output tensor, or several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy.typing as npt

Layout: TypeAlias = Literal["nhwc", "nchw"]


@dataclass(frozen=True)
class TensorInfo:
    """An input or output as the file declares it; `shape` with 1 for a dynamic batch.

    dtype: a numpy name ("float32", "uint8", "int8"). scale: 0.0 where the tensor isn't quantized.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True)
class EngineStatus:
    """One line of `doctor`: `version` is None when the engine can't be used, and `problem` says why."""

    engine: str
    package: str
    version: str | None
    problem: str | None


class Session(Protocol):
    """An opened model. `run` may be called from one thread at a time; `close` may be called twice.

    outputs: in the file's order; `output` is the first, which the file on disk has alone (see `formats.inner`).
    """

    engine: str
    layout: Layout
    input: TensorInfo
    output: TensorInfo
    outputs: tuple[TensorInfo, ...]

    @property
    def version(self) -> str:
        """Package and version."""
        ...

    def run(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The raw output, of `output.shape` and dtype, for a tensor of `input.shape` and dtype. Raises EngineError."""
        ...

    def run_all(self, tensor: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
        """All raw outputs of one run, as `outputs` has them. Raises EngineError."""
        ...

    def close(self) -> None:
        """Lets go of the engine's memory."""
        ...
