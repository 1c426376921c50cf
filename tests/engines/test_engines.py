"""Choosing an engine: by the file, by name, and by what is installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import foreign

from edge_effnet.engines import ENGINES, engine_statuses, litert, open_session
from edge_effnet.errors import EngineError, MissingDependencyError, UsageError

pytestmark = [pytest.mark.litert, pytest.mark.onnx]

IMAGE = np.random.default_rng(0).standard_normal((1, 3, foreign.SIZE, foreign.SIZE)).astype(np.float32)
NAMES = {"tflite": "litert", "onnx": "onnxruntime"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return {"tflite": foreign.tflite(tmp_path / "m.tflite"), "onnx": foreign.onnx(tmp_path / "m.onnx")}


@pytest.mark.parametrize("engine", ["auto", "named"])
@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_one_protocol(files: dict[str, Path], kind: str, engine: str) -> None:
    session = open_session(
        files[kind], file_format=kind, engine=NAMES[kind] if engine == "named" else "auto", threads=1
    )
    assert session.engine == NAMES[kind]
    assert session.version.split()[1][0].isdigit()
    nhwc = kind == "tflite"
    assert (session.layout, session.input.shape) == (("nhwc", (1, 8, 8, 3)) if nhwc else ("nchw", (1, 3, 8, 8)))
    assert (session.input.dtype, session.output.dtype, session.output.shape) == ("float32", "float32", (1, 3))
    found = session.run(np.ascontiguousarray(IMAGE.transpose(0, 2, 3, 1) if nhwc else IMAGE))
    np.testing.assert_allclose(found[0], foreign.WEIGHTS @ IMAGE[0].mean((1, 2)), atol=1e-5)
    session.close()
    session.close()


def test_quantized_inputs_are_described(tmp_path: Path) -> None:
    info = open_session(foreign.tflite(tmp_path / "m.tflite", dtype="uint8"), file_format="tflite", threads=1).input
    assert (info.dtype, info.scale, info.zero_point) == ("uint8", foreign.INPUT_SCALE, 128)


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_a_tensor_of_the_wrong_shape_is_translated(files: dict[str, Path], kind: str) -> None:
    session = open_session(files[kind], file_format=kind, threads=1)
    with pytest.raises(EngineError, match="inference failed in "):
        session.run(np.zeros((1, 5, 5, 5), np.float32))


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_a_file_the_engine_refuses(tmp_path: Path, kind: str) -> None:
    (tmp_path / "x").write_bytes(b"\0\0\0\0TFL3" + bytes(100))
    with pytest.raises(EngineError, match="refuses the file"):
        open_session(tmp_path / "x", file_format=kind, threads=1)


def test_engines_that_do_not_fit(files: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="engine 'tpu' is unknown; expected auto, litert, "):
        open_session(files["onnx"], file_format="onnx", engine="tpu", threads=1)
    with pytest.raises(
        UsageError, match=r"engine litert runs \.tflite files, this one is \.onnx; expected --engine onnxruntime"
    ):
        open_session(files["onnx"], file_format="onnx", engine="litert", threads=1)
    with pytest.raises(MissingDependencyError, match=r"no engine runs \.ort files"):
        open_session(files["onnx"], file_format="ort", threads=1)


def _without_litert(monkeypatch: pytest.MonkeyPatch, *, also: tuple[str, ...] = ()) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return None if name in ("ai_edge_litert", *also) else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def test_without_a_package_the_extra_is_named(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _without_litert(monkeypatch, also=("tflite_runtime",))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for name, message in (
        ("litert", "no LiteRT runtime is installed: pip install ai-edge-litert"),
        ("onnxruntime", r"pip install 'edge-effnet\[onnx\]'"),
    ):
        kind = ENGINES[name][0]
        with pytest.raises(MissingDependencyError, match=message):
            open_session(files[kind], file_format=kind, engine=name, threads=1)
    statuses = {status.engine: status for status in engine_statuses()}
    assert all(
        statuses[name].version is None and "pip install" in str(statuses[name].problem)
        for name in ("litert", "onnxruntime")
    )


def test_tflite_runtime_takes_its_successors_place(
    tmp_path: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tflite_runtime").mkdir()
    (tmp_path / "tflite_runtime" / "__init__.py").touch()
    (tmp_path / "tflite_runtime" / "interpreter.py").write_text("from ai_edge_litert.interpreter import Interpreter\n")
    (tmp_path / "tflite_runtime-2.14.0.dist-info").mkdir()
    (tmp_path / "tflite_runtime-2.14.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tflite-runtime\nVersion: 2.14.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    _without_litert(monkeypatch)
    try:
        assert litert.status().package == "tflite-runtime"
        assert open_session(files["tflite"], file_format="tflite", threads=1).version == "tflite-runtime 2.14.0"
    finally:
        for name in ("tflite_runtime", "tflite_runtime.interpreter"):
            sys.modules.pop(name, None)


def test_a_package_that_is_installed_but_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As tflite-runtime beside numpy 2."""
    (tmp_path / "tflite_runtime").mkdir()
    (tmp_path / "tflite_runtime" / "__init__.py").touch()
    (tmp_path / "tflite_runtime" / "interpreter.py").write_text(
        "raise ImportError('numpy.core.multiarray failed to import\\nmore')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    _without_litert(monkeypatch)
    status = litert.status()
    sys.modules.pop("tflite_runtime", None)
    assert status.version is None
    assert status.problem == "tflite-runtime is installed but fails to import (numpy.core.multiarray failed to import)"


def test_statuses_name_versions() -> None:
    for status in engine_statuses():
        if status.engine in ("litert", "onnxruntime"):
            assert status.version
            assert status.problem is None
