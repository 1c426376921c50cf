"""nncf's post-training quantization of an OpenVINO model, with its defaults (preset, subset of 300, fast bias correction)."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def main(model: str, arrays: str, result: str) -> None:
    """Quantizes the float file, runs it in float arithmetic around the integers, writes the logits."""
    import nncf  # type: ignore[import-not-found, unused-ignore]
    import openvino as ov  # type: ignore[import-not-found, unused-ignore]

    def one(image: Any) -> Any:
        return image[None]

    photos = np.load(arrays)
    calibration = photos["calibration"]
    core = ov.Core()
    quantized = nncf.quantize(core.read_model(model), nncf.Dataset(calibration, one), subset_size=len(calibration))
    compiled = core.compile_model(quantized, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    logits = [compiled(image[None])[0][0] for image in photos["evaluation"]]
    np.savez(result, logits=np.asarray(logits, np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:4])
