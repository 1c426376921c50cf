"""Inference engines behind one protocol, chosen by what the file is and what is installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from edge_effnet.engines.protocol import EngineStatus, Session, TensorInfo
from edge_effnet.errors import MissingDependencyError, SlowEngineWarning, UsageError

if TYPE_CHECKING:
    from typing import TypeAlias

    Opener: TypeAlias = Callable[[Path, int, bytes, int], Session]

__all__ = ["ENGINES", "EngineStatus", "Session", "TensorInfo", "engine_statuses", "open_session"]


def _open_litert(path: Path, threads: int, content: bytes, outputs: int) -> Session:
    from edge_effnet.engines.litert import LitertSession

    return LitertSession(path, threads, content, outputs)


def _open_onnxruntime(path: Path, threads: int, content: bytes, outputs: int) -> Session:
    from edge_effnet.engines.onnxruntime import OnnxruntimeSession

    return OnnxruntimeSession(path, threads, content, outputs)


def _open_numpy(path: Path, threads: int, content: bytes, outputs: int) -> Session:
    from edge_effnet.engines.numpy import NumpySession

    return NumpySession(path, threads, content, outputs)


#: Engine name → (file format it runs, what opens a session); for each format the fastest first.
ENGINES: Mapping[str, tuple[str, Opener]] = MappingProxyType(
    {"litert": ("tflite", _open_litert), "onnxruntime": ("onnx", _open_onnxruntime), "numpy": ("tflite", _open_numpy)}
)
#: Measured on one x86-64 core (AMD EPYC), numpy / LiteRT in ms: int8 Lite0 35 / 4.5, B0 39 / 5.6; float32 34 / 9.2, 39
#: / 11.3.
_SLOWER = "LiteRT runs int8 files 7 to 8 times as fast, float files 3 to 4 times"


def open_session(
    path: Path,
    *,
    file_format: str,
    engine: str = "auto",
    threads: int,
    content: bytes | None = None,
    inner: Sequence[str] = (),
) -> Session:
    """A session for the file: the named engine, or with "auto" the first one that runs its format and is installed.

    content: the file's, where it has been read already; what was checked is then what runs. inner: names of tensors
    inside the network that are given as further outputs.

    Warns with SlowEngineWarning where "auto" is left with numpy. Raises UsageError when the engine can't run the
    format, MissingDependencyError naming the extra when none is installed, EngineError when the engine refuses the
    file.
    """
    if content is None:
        from edge_effnet.formats import read_model_bytes

        content = read_model_bytes(path)
    if inner:
        from edge_effnet.formats.inner import with_inner

        content = with_inner(content, inner, name=str(path))
    outputs = 1 + len(inner)
    if engine != "auto":
        return _opener(engine, file_format)(path, threads, content, outputs)
    reasons = []
    for name, (kind, opener) in ENGINES.items():
        if kind != file_format:
            continue
        try:
            session = opener(path, threads, content, outputs)
        except MissingDependencyError as error:
            reasons.append(f"{name}: {error}")
            continue
        if name == "numpy":
            warnings.warn(
                f"no inference engine is installed, so numpy runs the model; {_SLOWER} ({'; '.join(reasons)})",
                SlowEngineWarning,
                stacklevel=2,
            )
        return session
    raise MissingDependencyError("; ".join(reasons) or f"no engine runs .{file_format} files")


def _opener(engine: str, file_format: str) -> Opener:
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r} is unknown; expected auto, {', '.join(ENGINES)}")
    kind, opener = ENGINES[engine]
    if kind != file_format:
        fitting = ", ".join(name for name, (known, _) in ENGINES.items() if known == file_format)
        raise UsageError(f"engine {engine} runs .{kind} files, this one is .{file_format}; expected --engine {fitting}")
    return opener


def engine_statuses() -> tuple[EngineStatus, ...]:
    """What each engine's package says of itself: version, or why it isn't usable."""
    from edge_effnet.engines import litert, numpy, onnxruntime

    return litert.status(), onnxruntime.status(), numpy.status()
