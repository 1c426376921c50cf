"""onnxruntime's `quantize_static` as its documentation has it: preprocessing pass, QDQ, otherwise the defaults (weights per tensor)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np


def main(model: str, arrays: str, result: str) -> None:
    """Quantizes the float file, runs it on one thread, writes the logits."""
    import onnxruntime as ort
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """One photo at a time."""

        def __init__(self, name: str, images: Any) -> None:
            self._inputs = iter([{name: image[None]} for image in images])

        def get_next(self) -> Any:
            """The next photo, or None."""
            return next(self._inputs, None)

    photos = np.load(arrays)
    name = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).get_inputs()[0].name
    with tempfile.TemporaryDirectory() as folder:
        prepared, quantized = (str(Path(folder) / f"{step}.onnx") for step in ("prepared", "quantized"))
        quant_pre_process(model, prepared)
        quantize_static(prepared, quantized, Reader(name, photos["calibration"]), quant_format=QuantFormat.QDQ)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(quantized, options, providers=["CPUExecutionProvider"])
        logits = [session.run(None, {name: image[None]})[0][0] for image in photos["evaluation"]]
    np.savez(result, logits=np.asarray(logits, np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:4])
