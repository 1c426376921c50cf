"""ncnn on a network that pnnx converts, in float32."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def make(folder: str) -> None:
    """ncnn.param and ncnn.bin, weights in float32."""
    image = np.load(Path(folder) / "arrays.npz")["image"]
    shape = ",".join(str(side) for side in image.shape)
    pnnx = Path(sys.executable).with_name("pnnx")
    names = (
        "ncnnparam=ncnn.param",
        "ncnnbin=ncnn.bin",
        "pnnxparam=pnnx.param",
        "pnnxbin=pnnx.bin",
        "pnnxpy=pnnx.py",
        "ncnnpy=ncnn.py",
        "pnnxonnx=pnnx.onnx",
    )
    subprocess.run([str(pnnx), "float.onnx", f"inputshape=[{shape}]f32", "fp16=0", *names], cwd=folder, check=True)


def open_subject(settings: dict[str, Any]) -> Callable[[], object]:
    """Runs it on one thread; nothing in half precision, like the others' float files."""
    import ncnn  # type: ignore[import-not-found, unused-ignore]

    folder = Path(settings["folder"])
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(str(folder / "ncnn.param")) or net.load_model(str(folder / "ncnn.bin")):
        raise ValueError("ncnn refuses the files that pnnx made")
    source, target = net.input_names()[0], net.output_names()[0]
    tensor = ncnn.Mat(np.load(folder / "arrays.npz")["image"][0]).clone()

    def run() -> object:
        extractor = net.create_extractor()
        extractor.input(source, tensor)
        status, output = extractor.extract(target)
        if status:
            raise ValueError(f"ncnn gave status {status}")
        return np.asarray(output)

    return run


if __name__ == "__main__":
    make(sys.argv[2])
