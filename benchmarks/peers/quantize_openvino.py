"""nncf's post-training quantization of an OpenVINO model, with its defaults (preset, subset of 300, fast bias
correction).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_ONE_THREAD = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}


def main(model: str, arrays: str, result: str) -> None:
    """Quantizes the float file, runs it in float arithmetic around the integers, writes the logits."""
    import openvino as ov  # type: ignore[import-not-found, unused-ignore]

    photos = np.load(arrays)
    compiled = ov.Core().compile_model(quantize(model, photos["calibration"]), "CPU", _ONE_THREAD)
    logits = [compiled(image[None])[0][0] for image in photos["evaluation"]]
    np.savez(result, logits=np.asarray(logits, np.float32))


def quantize(model: str, calibration: Any) -> Any:
    """The int8 model; calibration: float32[N, 3, H, W]."""
    import nncf  # type: ignore[import-not-found, unused-ignore]
    import openvino as ov

    def one(image: Any) -> Any:
        return image[None]

    return nncf.quantize(ov.Core().read_model(model), nncf.Dataset(calibration, one), subset_size=len(calibration))


def make(folder: str) -> None:
    """openvino-fp32.xml and openvino-int8.xml, each with its weights beside it; batch 1, weights as they are."""
    import openvino as ov

    arrays = np.load(Path(folder) / "arrays.npz")
    model = ov.Core().read_model(Path(folder) / "float.onnx")
    model.reshape(arrays["image"].shape)
    ov.save_model(model, Path(folder) / "openvino-fp32.xml", compress_to_fp16=False)
    quantized = quantize(str(Path(folder) / "openvino-fp32.xml"), arrays["calibration"])
    ov.save_model(quantized, Path(folder) / "openvino-int8.xml", compress_to_fp16=False)


def open_subject(settings: dict[str, Any]) -> Callable[[], object]:
    """Runs the file of a precision on one thread."""
    import openvino as ov

    folder = Path(settings["folder"])
    request = (
        ov.Core()
        .compile_model(folder / f"openvino-{settings['precision']}.xml", "CPU", _ONE_THREAD)
        .create_infer_request()
    )
    image = np.load(folder / "arrays.npz")["image"]
    return lambda: request.infer({0: image})


if __name__ == "__main__":
    make(sys.argv[2]) if sys.argv[1] == "make" else main(*sys.argv[1:4])
