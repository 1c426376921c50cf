from __future__ import annotations

from pathlib import Path

import pytest
from support.golden import make_state

from edge_effnet.formats import TfliteFile, read_tflite


@pytest.fixture(scope="session")
def int8_files(tmp_path_factory: pytest.TempPathFactory, photo_folder: Path) -> dict[str, Path]:
    """Name → an int8 file at 64 px, of each kind of network; two bottleneck channels of B0 are all zero."""
    from edge_effnet.exporters import export

    folder = tmp_path_factory.mktemp("int8")
    made = {}
    for source, variant, ending in (
        ("timm-tf", "lite0", "tflite"),
        ("timm", "b0", "tflite"),
        ("lukemelas", "b0", "tflite"),
        ("timm", "b0", "onnx"),
    ):
        state = make_state(source, variant, classes=3)
        if (source, variant) == ("timm", "b0"):
            state["blocks.1.1.conv_pw.weight"][:2] = 0
            state["blocks.1.1.conv_dw.weight"][:2] = 0
            state["blocks.1.1.bn1.bias"][:2] = 0
            state["blocks.1.1.bn1.running_mean"][:2] = 0
        path = folder / f"{source}-{variant}.{ending}"
        export(
            state,
            path,
            precision="int8",
            source=source,
            image_size=64,
            labels=("a", "b", "c"),
            calibration=photo_folder,
            refine=0.0,
        )
        made[path.name] = path
    return made


@pytest.fixture(scope="session", params=["timm-tf-lite0", "timm-b0", "lukemelas-b0"])
def int8_tflite(request: pytest.FixtureRequest, int8_files: dict[str, Path]) -> TfliteFile:
    return read_tflite(int8_files[f"{request.param}.tflite"])
