"""Instruction counts of model files and of the path from a photo to its labels, on an emulated board."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.benchmarks.arm.emulator import EmulationError, Guest
from edge_effnet.errors import UsageError

_SCRIPT = Path(__file__).with_name("guest.py")
#: Inferences; the last one counts. The first one also packs weights.
_RUNS = 3
#: Stages of `Classifier.timing_ms`, each a region.
STAGES = ("decode", "preprocess", "inference", "postprocess")


@dataclass(frozen=True)
class ModelCount:
    """Instructions of opening a model file and of one warm inference on one thread; the engine with its version."""

    engine: str
    load: int
    inference: int


@dataclass(frozen=True)
class PhotoCount:
    """What a user's program executes.

    regions: "start-up" (process start to the first photo), "first photo" (its stages, cold), and the sum over the
    photos of each warm stage.
    """

    engine: str
    regions: Mapping[str, int]


def count_model(guest: Guest, model: Path) -> ModelCount:
    """Runs a `.tflite` or `.onnx` file on noise. Raises EmulationError."""
    if model.suffix not in (".tflite", ".onnx"):
        raise UsageError(f"{model}: expected a .tflite or .onnx file")
    if not model.is_file():
        raise UsageError(f"{model}: no such file")
    facts, totals = _count(guest, "model", model.resolve(), str(_RUNS))
    return ModelCount(facts["engine"], totals[1] - totals[0], totals[2 * _RUNS + 1] - totals[2 * _RUNS])


def count_photos(guest: Guest, photos: Sequence[Path]) -> PhotoCount:
    """Classifies the photos with the bundled model. Raises EmulationError."""
    facts, totals = _count(guest, "photos", guest.bundled_model, *(photo.resolve() for photo in photos))
    return PhotoCount(facts["engine"], regions(facts["spans"], totals))


def guest_logits(guest: Guest, model: Path, photos: Sequence[Path]) -> dict[str, npt.NDArray[np.float32]]:
    """float32[C] by file name: what the model file gives on the board. Raises EmulationError."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "logits.npz"
        guest.python(_SCRIPT, "logits", model.resolve(), result, *(photo.resolve() for photo in photos))
        with np.load(result) as arrays:
            return {name: arrays[name] for name in arrays.files}


def regions(spans: Mapping[str, Mapping[str, Sequence[int]]], totals: Mapping[int, int]) -> dict[str, int]:
    """Region → instructions. spans: photo ("cold": the first one) → stage → marks; totals: mark → instructions until
    it.
    """

    def length(places: Sequence[int]) -> int:
        return sum(totals[place + 1] - totals[place] for place in places)

    cold = spans["cold"]
    warm = [stages for name, stages in spans.items() if name != "cold"]
    found = {"start-up": totals[min(cold["decode"])], "first photo": sum(length(cold[stage]) for stage in STAGES)}
    return found | {stage: sum(length(stages[stage]) for stages in warm) for stage in STAGES}


def read_totals(text: str) -> dict[int, int]:
    """Mark → instructions until it, of counter.c's lines."""
    return {int(mark): int(total) for mark, total in (line.split() for line in text.splitlines())}


def _count(guest: Guest, *arguments: str | Path) -> tuple[Any, dict[int, int]]:
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.txt"
        printed = guest.python(_SCRIPT, *arguments, counts=counts)
        totals = read_totals(counts.read_text(encoding="utf-8"))
    try:
        return json.loads(printed.strip().splitlines()[-1]), totals
    except (IndexError, ValueError) as error:
        raise EmulationError(f"the guest printed {printed[-200:]!r}; expected its result as JSON") from error
