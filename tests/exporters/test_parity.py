"""One parity test over implementations none of us wrote: timm, torchvision and efficientnet-pytorch against our
files.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from support.golden import NAMES, State, load_case, noise, rebuild
from support.running import run_file

from edge_effnet.exporters import export

#: The golden logits are float32 themselves: two orders of summation differ by up to 1e-4 on the deepest network.
TOLERANCE = 1e-4
#: float16 keeps 11 bits of each weight; the error is compared with how far the logits are spread.
HALF_TOLERANCE = 2e-2
HALF_CASES = (
    "timm-efficientnet_b0-224",
    "torchvision-efficientnet_b1-240",
    "lukemelas-efficientnet-b0-224",
    "timm-tf_efficientnet_lite0-224",
)

FORMATS = [pytest.param("tflite", marks=pytest.mark.litert), pytest.param("onnx", marks=pytest.mark.onnx)]


@functools.lru_cache(maxsize=1)
def _weights(name: str) -> State:
    case = load_case(name)
    return rebuild(case.keys, case.seed)


def _largest_error(name: str, path: Path, precision: str) -> float:
    case = load_case(name)
    report = export(_weights(name), path, precision=precision, source=case.dialect, image_size=case.image_size)  # type: ignore[arg-type]
    assert (report.document.variant, report.document.num_classes) == (case.variant, len(case.logits))
    logits = run_file(path, noise(case.seed, case.image_size))
    return float(np.abs(logits - case.logits).max())


def test_there_are_22_cases() -> None:
    assert len(NAMES) == 22
    assert {(load_case(name).dialect, load_case(name).variant) for name in NAMES} >= {
        (d, f"b{n}") for d in ("timm", "timm-tf", "torchvision", "lukemelas") for n in range(4)
    }


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_fp32_gives_the_original_logits(name: str, file_format: str, tmp_path: Path) -> None:
    assert _largest_error(name, tmp_path / f"m.{file_format}", "fp32") <= TOLERANCE


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("name", HALF_CASES)
def test_fp16_stays_near_the_original_logits(name: str, file_format: str, tmp_path: Path) -> None:
    path = tmp_path / f"m.{file_format}"
    assert _largest_error(name, path, "fp16") <= HALF_TOLERANCE * load_case(name).logits.std()
    assert path.stat().st_size < 0.6 * sum(values.nbytes for values in _weights(name).values())
