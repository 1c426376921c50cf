"""What a cold `predict` loads. Every module costs start-up on a small board, so a new one has to be worth it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import PHOTOS

#: Modules that were loaded once, or are in reach, and that classifying a photo with a .tflite file has no use for.
UNNEEDED = {
    "asyncio",
    "concurrent.futures",
    "csv",
    "difflib",
    "edge_effnet.cli.annotate",
    "edge_effnet.engines.numpy",
    "edge_effnet.engines.onnxruntime",
    "edge_effnet.exporters",
    "edge_effnet.formats.onnx",
    "edge_effnet.machine",
    "edge_effnet.quantization",
    "edge_effnet.variants",
    "email",
    "importlib.metadata",
    "matplotlib",
    "multiprocessing",
    "onnx",
    "onnxruntime",
    "random",
    "safetensors",
    "scipy",
    "socket",
    "tempfile",
    "torch",
    "unittest",
    "xml.etree",
}


_LIST = "import sys; print(*sys.modules, file=sys.stderr)"


def loaded_by(*words: str) -> set[str]:
    """Modules in memory at the end of the command line, beyond those of an empty start."""
    run = f"from edge_effnet.cli import main; main({list(words)!r})"
    found = [
        set(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
            ).stderr.split()
        )
        for code in (_LIST, f"{run}; {_LIST}")
    ]
    return found[1] - found[0]


@pytest.mark.litert
def test_predicting_loads_no_module_it_has_no_use_for() -> None:
    found = loaded_by("predict", str(PHOTOS / "chelsea.jpg"))
    assert {"numpy", "PIL.Image", "edge_effnet.cli.predict", "edge_effnet.engines.litert"} <= found
    assert found & UNNEEDED == set()


def test_another_verb_loads_none_of_it() -> None:
    found = loaded_by("doctor")
    assert not {"PIL.Image", "edge_effnet.cli.predict", "edge_effnet.formats.onnx"} & found
