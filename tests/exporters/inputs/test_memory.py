"""A network is read in at most three times its file's size, whatever type its weights have there."""

from __future__ import annotations

import gc
import pickle
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.golden import make_state
from support.networks import export_narrow, narrow_state

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters import export
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.pickles import read_pickle
from edge_effnet.exporters.inputs.stored import StoredTensor

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")
pytestmark = [pytest.mark.torch, pytest.mark.litert, pytest.mark.onnx]

Write = Callable[[dict[str, Any], Path], None]


def _pickled(tensors: dict[str, Any], path: Path, *, arrays: bool = False) -> None:
    path.write_bytes(pickle.dumps({key: value.numpy() if arrays else value for key, value in tensors.items()}))


def _exported(tensors: dict[str, Any], path: Path) -> None:
    export(tensors, path, source="timm", precision="fp16", verification="none")


#: Name → (the weights' type, the file's ending, how it is written).
FILES: dict[str, tuple[Any, str, Write]] = {
    "archive": (torch.float32, ".pth", torch.save),
    "half archive": (torch.float16, ".pth", torch.save),
    "half legacy": (torch.float16, ".pth", partial(torch.save, _use_new_zipfile_serialization=False)),
    "bfloat16": (torch.bfloat16, ".safetensors", safetensors_torch.save_file),
    "pickled tensors": (torch.float32, ".pkl", _pickled),
    "half pickled tensors": (torch.float16, ".pkl", _pickled),
    "half pickled arrays": (torch.float16, ".pkl", partial(_pickled, arrays=True)),
    "half tflite": (torch.float32, ".tflite", _exported),
    "half onnx": (torch.float32, ".onnx", _exported),
}


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    return {key: torch.from_numpy(value) for key, value in make_state("timm", "b0", classes=10).items()}


@pytest.mark.parametrize("name", FILES)
def test_memory_of_reading(name: str, state: dict[str, Any], tmp_path: Path) -> None:
    kind, ending, write = FILES[name]
    path, options = tmp_path / f"m{ending}", InputOptions(source="timm" if ending[1] not in "to" else None)
    write({key: value.to(kind) for key, value in state.items()}, path)
    open_network(path, options)  # modules that are imported on the way aren't counted
    gc.collect()
    tracemalloc.start()
    try:
        network = open_network(path, options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert network.architecture == "b0"
    assert peak <= 3 * path.stat().st_size, f"{peak / path.stat().st_size:.3f} times the file"


@pytest.mark.parametrize("arrays", [False, True])
def test_half_precision_becomes_the_same_network(arrays: bool, tmp_path: Path) -> None:
    """Read where it lies, it is what float32 of it gives."""
    half = {key: torch.from_numpy(value).half() for key, value in narrow_state("b0").items()}
    _pickled(half, tmp_path / "half.pkl", arrays=arrays)
    whole = export_narrow({key: value.float().numpy() for key, value in half.items()}, "b0", tmp_path / "a.tflite")
    found = export_narrow(tmp_path / "half.pkl", "b0", tmp_path / "b.tflite")  # type: ignore[arg-type]
    assert found.document.weights_sha256 == whole.document.weights_sha256


LARGE = {
    "rows": np.arange(90_000, dtype=np.float32).reshape(300, 300),
    "columns": np.asfortranarray(np.arange(60_000.0).reshape(2, 300, 100)),
    "big-endian": np.arange(20_000, dtype=">i4"),
    "truth": np.arange(70_000) % 3 == 0,
    "text": np.array(["ab", "c"] * 20_000),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_large_arrays_of_a_pickle_stay_in_the_file(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "c.pkl").write_bytes(pickle.dumps([*LARGE.values(), bytes(70_000)], protocol))
    *found, plain = read_pickle(tmp_path / "c.pkl")
    assert protocol < 3 or [isinstance(value, StoredTensor) for value in found] == [True, True, True, False, False]
    assert protocol < 3 or plain.read(0, 70_000) == bytes(70_000)
    for value, expected in zip(found, LARGE.values(), strict=True):
        np.testing.assert_array_equal(np.asarray(value), expected)


@pytest.mark.parametrize("kept", [70_000, 200_000, 359_990])
def test_a_large_array_that_is_cut_off(kept: int, tmp_path: Path) -> None:
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(LARGE["rows"])[:kept])
    with pytest.raises(CheckpointError, match="ends early; the file is cut off"):
        read_pickle(tmp_path / "c.pkl")


def test_what_changes_between_looking_and_reading_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.pth"
    torch.save({"conv_stem.weight": torch.ones(4, 3, 3, 3)}, path)
    weight = load_checkpoint(path).tensors["conv_stem.weight"]
    assert np.asarray(weight, np.float64).shape == weight.shape == (4, 3, 3, 3)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="was written to while it was read"):
        np.asarray(weight)
