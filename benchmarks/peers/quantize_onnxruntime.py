"""onnxruntime's `quantize_static` as its documentation has it: preprocessing pass, QDQ, otherwise the defaults (weights
per tensor).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def main(model: str, arrays: str, result: str) -> None:
    """Quantizes the float file, runs it on one thread, writes the logits."""
    photos = np.load(arrays)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantized.onnx"
        quantize(model, photos["calibration"], path)
        session, name = _open(path)
        logits = [session.run(None, {name: image[None]})[0][0] for image in photos["evaluation"]]
    np.savez(result, logits=np.asarray(logits, np.float32))


def quantize(model: str, calibration: Any, path: Path) -> None:
    """Writes the int8 file; calibration: float32[N, 3, H, W]."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """One photo at a time."""

        def __init__(self, name: str, images: Any) -> None:
            self._inputs = iter([{name: image[None]} for image in images])

        def get_next(self) -> Any:
            """The next photo, or None."""
            return next(self._inputs, None)

    _, name = _open(Path(model))
    with tempfile.TemporaryDirectory() as folder:
        prepared = str(Path(folder) / "prepared.onnx")
        quant_pre_process(model, prepared)
        quantize_static(prepared, str(path), Reader(name, calibration), quant_format=QuantFormat.QDQ)


def _open(path: Path) -> tuple[Any, str]:
    """A session on one thread, and its input's name."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session, session.get_inputs()[0].name


def make(folder: str) -> None:
    """onnxruntime-int8.onnx."""
    calibration = np.load(Path(folder) / "arrays.npz")["calibration"]
    quantize(str(Path(folder) / "float.onnx"), calibration, Path(folder) / "onnxruntime-int8.onnx")


def open_subject(settings: dict[str, Any]) -> Callable[[], object]:
    """Runs the int8 file, or with "fp32" the float file that is given."""
    folder = Path(settings["folder"])
    session, name = _open(folder / ("float.onnx" if settings["precision"] == "fp32" else "onnxruntime-int8.onnx"))
    image = np.load(folder / "arrays.npz")["image"]
    return lambda: session.run(None, {name: image})


if __name__ == "__main__":
    make(sys.argv[2]) if sys.argv[1] == "make" else main(*sys.argv[1:4])
