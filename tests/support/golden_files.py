"""Golden cases that are whole files of other makers, and skeletons of Keras files: unpacked, rebuilt, with their photo."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parents[1] / "golden"


def names(folder: str) -> list[str]:
    """The cases of a folder, by the name of their file."""
    return sorted(path.name.removesuffix(".json") for path in (FOLDER / folder).glob("*.json"))


def unpacked(folder: str, name: str, target: Path) -> tuple[Path, dict[str, Any]]:
    """(the file, unpacked into `target` with all that lies beside it, what is known of it)."""
    for packed in (FOLDER / folder).glob(f"{name}*.gz"):
        (target / packed.name.removesuffix(".gz")).write_bytes(gzip.decompress(packed.read_bytes()))
    case = json.loads((FOLDER / folder / f"{name}.json").read_text(encoding="utf-8"))
    return target / name, case


def image(seed: int, size: list[int]) -> npt.NDArray[np.uint8]:
    """uint8[H, W, C] photo stand-in: smooth colours plus noise; size (height, width, channels)."""
    height, width, channels = size
    generator = np.random.default_rng([seed, height, width])
    coarse = generator.integers(0, 256, (1, (height + 15) // 16, (width + 15) // 16, channels))
    fine = generator.integers(-40, 41, (1, height, width, channels))
    smooth = coarse.repeat(16, 1).repeat(16, 2)[:, :height, :width]
    return np.clip(smooth + fine, 0, 255).astype(np.uint8)[0]


def seeded_input(seed: int, size: int) -> npt.NDArray[np.float32]:
    """float32[1, size, size, 3] of the cases made with PyTorch, which drew it as NCHW."""
    values = np.random.default_rng([seed, size]).standard_normal((1, 3, size, size))
    return values.astype(np.float32).transpose(0, 2, 3, 1)


def logit_error(found: npt.NDArray[Any], expected: list[float]) -> float:
    """The largest difference in units of 1e-4 · max(1, largest logit), which tells right from wrong paddings and eps."""
    wanted = np.array(expected)
    return float(np.abs(found.reshape(-1) - wanted).max() / (1e-4 * max(1.0, np.abs(wanted).max())))


def probabilities(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Softmax of one photo's logits; a sigmoid of a single one."""
    values = logits.reshape(-1).astype(np.float64)
    if values.size == 1:
        return 1 / (1 + np.exp(-values))
    shifted = np.exp(values - values.max())
    return np.asarray(shifted / shifted.sum())
