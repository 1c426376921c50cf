"""Runs the peers' quantizers, each in an environment of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from edge_effnet.benchmarks import environments
from edge_effnet.benchmarks.environments import Environment
from edge_effnet.network.graph import FloatArray

#: Versions as measured; torch 2.13.0's exact pin gives its CPU build.
PEERS: Mapping[str, Environment] = MappingProxyType(
    {
        "litert": Environment(
            "litert-torch, ai-edge-quantizer",
            "quantize_litert.py",
            ("litert-torch==0.10.0", "ai-edge-quantizer==0.10.0", "torch==2.13.0", "onnx"),
        ),
        "onnxruntime": Environment("onnxruntime", "quantize_onnxruntime.py", ("onnxruntime==1.31.1", "onnx", "sympy")),
        "openvino": Environment(
            "nncf, openvino", "quantize_openvino.py", ("nncf==3.4.0", "openvino==2026.4.1", "onnx")
        ),
    }
)


def run(
    name: str, python: Path, model: bytes, arrays: Mapping[str, Callable[[], FloatArray]]
) -> tuple[npt.NDArray[np.float32], float]:
    """float32[N, C] of the peer's int8 model on arrays["evaluation"], and the seconds it took. Raises PeerError.

    model: the float `.onnx` file. arrays: what makes "calibration" and "evaluation", float32[N, 3, S, S].
    """
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "float.onnx").write_bytes(model)
        np.savez(folder / "arrays.npz", calibration=arrays["calibration"](), evaluation=arrays["evaluation"]())
        started = time.perf_counter()
        files = [str(folder / file) for file in ("float.onnx", "arrays.npz", "logits.npz")]
        environments.run([str(python), "-I", str(PEERS[name].program), *files], PEERS[name].title, folder=folder)
        seconds = time.perf_counter() - started
        with np.load(folder / "logits.npz") as result:
            return np.asarray(result["logits"], np.float32), seconds
