"""Runs the peers' quantizers, each in an environment of its own, made with pip when it's first needed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import EdgeEffnetError
from edge_effnet.graph import FloatArray

_SCRIPTS = Path(__file__).with_name("peers")
_MESSAGE_LENGTH = 300


@dataclass(frozen=True)
class Peer:
    """A quantizer that is compared with. title: its packages, whose versions the results name."""

    title: str
    script: str
    requirements: tuple[str, ...]


#: Versions as measured; torch 2.13.0's exact pin gives its CPU build.
PEERS: Mapping[str, Peer] = MappingProxyType(
    {
        "litert": Peer("litert-torch, ai-edge-quantizer", "quantize_litert.py", ("litert-torch==0.10.0", "ai-edge-quantizer==0.10.0", "torch==2.13.0", "onnx")),
        "onnxruntime": Peer("onnxruntime", "quantize_onnxruntime.py", ("onnxruntime==1.31.1", "onnx", "sympy")),
        "openvino": Peer("nncf, openvino", "quantize_openvino.py", ("nncf==3.4.0", "openvino==2026.4.1", "onnx")),
    }
)


class PeerError(EdgeEffnetError, RuntimeError):
    """A peer can't be installed or fails; the message is what the results record."""


def prepare(name: str, folder: Path) -> Path:
    """The Python of the peer's environment below `folder`, made when it isn't there. Raises PeerError."""
    home = folder / name
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = home / "ready"
    if not ready.exists():
        venv.create(home, with_pip=True)
        _run([str(python), "-m", "pip", "install", "--quiet", *PEERS[name].requirements], f"installing {PEERS[name].title}")
        ready.touch()
    return python


def run(name: str, python: Path, model: bytes, arrays: Mapping[str, Callable[[], FloatArray]]) -> tuple[npt.NDArray[np.float32], float]:
    """float32[N, C] of the peer's int8 model on arrays["evaluation"], and the seconds it took. Raises PeerError.

    model: the float `.onnx` file. arrays: what makes "calibration" and "evaluation", float32[N, 3, S, S].
    """
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "float.onnx").write_bytes(model)
        np.savez(folder / "arrays.npz", calibration=arrays["calibration"](), evaluation=arrays["evaluation"]())
        started = time.perf_counter()
        files = [str(folder / file) for file in ("float.onnx", "arrays.npz", "logits.npz")]
        _run([str(python), "-I", str(_SCRIPTS / PEERS[name].script), *files], f"{PEERS[name].title}", cwd=folder)
        seconds = time.perf_counter() - started
        with np.load(folder / "logits.npz") as result:
            return np.asarray(result["logits"], np.float32), seconds


def versions(name: str, python: Path) -> str:
    """The versions of the packages in the peer's title, as one text."""
    names = PEERS[name].title.split(", ")
    code = f"from importlib.metadata import version; print(', '.join(f'{{name}} {{version(name)}}' for name in {names!r}))"
    return subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _run(command: list[str], what: str, *, cwd: Path | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no message"]
        print(done.stderr, file=sys.stderr)
        raise PeerError(f"{what} failed: {lines[-1][:_MESSAGE_LENGTH]}")
