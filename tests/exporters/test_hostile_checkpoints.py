"""Checkpoints that are hostile or damaged: refused with one clear line, without running code or taking much memory."""

from __future__ import annotations

import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.golden import State

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters import export
from edge_effnet.exporters.inputs.checkpoint import check_total, load_checkpoint

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
KEY = "conv_stem.weight"


def refused(source: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(source)
    assert "\n" not in str(caught.value)


# Pickles that run code -----------------------------------------------------------------------------------------------


class Runs:
    """Unpickling it calls what it is told."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("function", [os.system, eval, exec, os.mkdir])
def test_pickles_that_run_code_do_not_run(tmp_path: Path, legacy: bool, function: Any) -> None:
    """In both of torch's formats, and as a bare pickle; the folder would be there if anything had run."""
    mark = tmp_path / "ran"
    argument = {os.system: f"mkdir {mark}", os.mkdir: str(mark)}.get(function, f"__import__('os').mkdir({str(mark)!r})")
    torch.save(
        {"state_dict": {KEY: torch.ones(2)}, "extra": Runs(function, argument)},
        tmp_path / "c.pth",
        _use_new_zipfile_serialization=not legacy,
    )
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Runs(function, argument)))
    load_checkpoint(tmp_path / "c.pth")
    refused(tmp_path / "bare.pth", r"holds a \w+\.\w+; expected a state dict")
    for name in ("c.pth", "bare.pth"):
        with pytest.raises(CheckpointError):
            export(tmp_path / name, tmp_path / "m.tflite")
    assert not mark.exists()
    pickle.loads((tmp_path / "bare.pth").read_bytes())
    assert mark.exists(), "the trap must work, otherwise this test proves nothing"


# Huge declarations ---------------------------------------------------------------------------------------------------


def test_tensors_that_are_too_much_together() -> None:
    huge = np.broadcast_to(np.float32(1), (1 << 26,))
    refused({KEY: huge, "a": huge, "b": huge}, r"hold 201,326,592 values in \d+ bytes; expected at most 134,217,728")
    whole = torch.empty(1 << 26)
    views = {str(index): whole.view(1 << 13, -1) for index in range(4)}
    refused({KEY: whole, **views}, "hold 335,544,320 values in 268,435,456 bytes; expected at most 268,435,456")


def test_the_largest_of_the_family_are_admitted() -> None:
    """L2's 480 million values, where each has a byte at least; nothing of this is touched."""
    parts = [torch.empty(1 << 25, dtype=torch.float16) for _ in range(15)]
    check_total(parts, held=None, origin="state dict")
    check_total(parts, held=1 << 30, origin="l2.pth")
    with pytest.raises(CheckpointError, match=r"l2\.pth: its tensors hold 503,316,480 values in 2,000 bytes"):
        check_total(parts, held=2000, origin="l2.pth")


@pytest.mark.parametrize("size", [1 << 40, (1 << 28) + 1])
def test_a_tensor_that_repeats_one_number(tmp_path: Path, size: int) -> None:
    torch.save({KEY: torch.zeros(1).expand(size)}, tmp_path / "c.pth")
    assert (tmp_path / "c.pth").stat().st_size < 5000
    refused(tmp_path / "c.pth", rf"c\.pth: not a readable PyTorch checkpoint \(a tensor of {size:,} values in 1 places")


def test_a_zip_that_unpacks_to_a_thousand_times_its_size(tmp_path: Path) -> None:
    torch.save({KEY: torch.zeros(1 << 20)}, tmp_path / "c.pth")
    with (
        zipfile.ZipFile(tmp_path / "c.pth") as plain,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in plain.infolist():
            packed.writestr(member.filename, plain.read(member))
    refused(
        tmp_path / "packed.pth",
        r"packed\.pth: .*its part '.*' is compressed, which torch\.save never does; save the weights again",
    )


def test_a_storage_that_declares_a_terabyte(tmp_path: Path) -> None:
    torch.save({KEY: torch.zeros(4)}, tmp_path / "c.pth", _use_new_zipfile_serialization=False)
    data = (tmp_path / "c.pth").read_bytes()
    at = data.rfind(struct.pack("<q", 4))
    (tmp_path / "huge.pth").write_bytes(data[:at] + struct.pack("<q", 1 << 40) + data[at + 8 :])
    refused(tmp_path / "huge.pth", r"huge\.pth: not a readable PyTorch checkpoint")


@pytest.mark.parametrize("name", ["c.pth", "c.safetensors"])
def test_a_file_of_a_terabyte_is_not_read(tmp_path: Path, name: str) -> None:
    with open(tmp_path / name, "wb") as file:
        file.truncate(1 << 40)
    refused(tmp_path / name, r": 1,099,511,627,776 bytes; a checkpoint of at most 4,294,967,296 is read")


def test_a_sparse_file_is_not_read_before_its_header(tmp_path: Path) -> None:
    safetensors_file(tmp_path / "c.safetensors", {KEY: view(0, 16)})
    os.truncate(tmp_path / "c.safetensors", 3 << 30)
    tracemalloc.start()
    refused(tmp_path / "c.safetensors", r"bytes of tensors, of which 16 are named; the file is cut off or damaged")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_content_that_holds_itself(tmp_path: Path) -> None:
    content: dict[str, Any] = {"a": 1}
    content["state_dict"] = content
    torch.save(content, tmp_path / "c.pth")
    refused(tmp_path / "c.pth", r"no weights found under \['a', 'state_dict'\]")
    refused(content, r"no weights found under \['a', 'state_dict'\]")


def test_a_module_that_holds_another_twice_and_so_on(tmp_path: Path) -> None:
    """2^40 names of one layer."""
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1))
    for _ in range(40):
        module = torch.nn.Sequential(module, module)
    torch.save(module, tmp_path / "c.pth")
    assert len(load_checkpoint(tmp_path / "c.pth").tensors) <= 20_000


# NaN, infinity, types ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_nan_and_infinity_name_their_tensor(tmp_path: Path, value: float, dtype: str) -> None:
    weights = torch.ones(4, 3, dtype=getattr(torch, dtype))
    weights[1, 2] = value
    torch.save({"module.conv_stem.weight": weights, "module.bn1.running_mean": torch.ones(2)}, tmp_path / "c.pth")
    refused(
        tmp_path / "c.pth",
        r"c\.pth: tensor conv_stem\.weight holds 1 NaN or infinite values of 12; expected numbers: training diverged",
    )


def test_what_overflows_float32_is_infinite() -> None:
    with np.errstate(over="ignore"):
        refused({KEY: np.array([1e300])}, r"state dict: tensor conv_stem\.weight holds 1 NaN or infinite values of 1")


def test_nan_beside_the_network_does_not_matter() -> None:
    assert list(load_checkpoint({f"module.{KEY}": np.ones(2, np.float32), "loss": np.array(np.nan)}).tensors) == [KEY]


def test_a_batch_norm_that_leaves_float32_when_it_is_folded(tmp_path: Path, lite0_state: State) -> None:
    state: dict[str, Any] = {name: values.copy() for name, values in lite0_state.items()}
    state["bn1.weight"][:] = 1e38
    state["conv_stem.weight"][:] = 1e5
    with pytest.raises(
        CheckpointError,
        match=r"batch norm of stem folded into its convolution gives 1\.\d+e\+4\d, more than float32 holds; training "
        r"diverged, bring an earlier checkpoint",
    ):
        export(state, tmp_path / "m.tflite", source="timm-tf", image_size=32)
    assert not (tmp_path / "m.tflite").exists()


@pytest.mark.parametrize("dtype", [np.int32, np.int8, np.uint8, np.bool_])
def test_weights_of_integers(dtype: Any) -> None:
    refused(
        {KEY: np.ones((4, 3), dtype)},
        r"tensor conv_stem\.weight holds integers; expected floating-point weights, not those of a quantized network",
    )
    refused(
        {KEY: np.ones(2, np.float32), "bn1.running_var": np.ones(2, dtype)}, r"tensor bn1\.running_var holds integers"
    )


def test_counters_may_be_integers() -> None:
    assert (
        load_checkpoint({KEY: np.ones(2, np.float32), "bn1.num_batches_tracked": np.array(7)}).tensors[
            "bn1.num_batches_tracked"
        ]
        == 7
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["complex", "quantized", "sparse", "meta"])
def test_tensors_that_are_no_weights(tmp_path: Path, kind: str) -> None:
    made = {
        "complex": lambda: torch.ones(3, dtype=torch.complex64),
        "quantized": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
        "sparse": lambda: torch.ones(3).to_sparse(),
        "meta": lambda: torch.ones(3, device="meta"),
    }[kind]()
    refused(
        {KEY: made},
        r"state dict: tensor conv_stem\.weight (is complex64; expected|can't be read \(.+\); expected plain) "
        r"floating-point weights",
    )
    if kind != "meta":
        torch.save({KEY: made}, tmp_path / "c.pth")
        refused(tmp_path / "c.pth", r"c\.pth: tensor conv_stem\.weight is .*; expected (plain )?floating-point weights")


# safetensors ---------------------------------------------------------------------------------------------------------


def safetensors_file(
    path: Path, header: Mapping[str, Any] | bytes, data: bytes = bytes(16), *, length: int | None = None
) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def view(*offsets: int, shape: Any = (4,), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HEADERS: dict[str, Any] = {
    "overlapping tensors": {KEY: view(0, 16), "other": view(0, 16)},
    "partly overlapping": {KEY: view(0, 12, shape=(3,)), "other": view(8, 16, shape=(2,))},
    "offsets past the end": {KEY: view(0, 32, shape=(8,))},
    "offsets far past the end": {KEY: view(1 << 60, (1 << 60) + 16)},
    "a hole": {KEY: view(0, 8, shape=(2,))},
    "turned round": {KEY: view(16, 0)},
    "negative": {KEY: view(-16, 0)},
    "too many elements": {KEY: view(0, 16, shape=(1 << 40,))},
    "elements that overflow": {KEY: view(0, 0, shape=(1 << 33, 1 << 33))},
    "another shape": {KEY: view(0, 16, shape=(3,))},
    "an unknown type": {KEY: view(0, 16, dtype="F99")},
    "no JSON": b"{broken",
    "a list": b"[]",
    "nothing": b"",
    "text that isn't UTF-8": b'{"\xff": 1}',
}


@pytest.mark.parametrize("name", HEADERS)
def test_broken_safetensors(tmp_path: Path, name: str) -> None:
    refused(
        safetensors_file(tmp_path / "c.safetensors", HEADERS[name]),
        r"c\.safetensors: not a readable safetensors file \(.+\)",
    )


@pytest.mark.parametrize("length", [1 << 62, (1 << 64) - 1, 1 << 30, 0])
def test_header_lengths_that_can_not_be(tmp_path: Path, length: int) -> None:
    refused(
        safetensors_file(tmp_path / "c.safetensors", {KEY: view(0, 16)}, length=length),
        r"c\.safetensors: not a readable safetensors file",
    )


def test_damaged_safetensors_and_checkpoints_are_read_or_refused(tmp_path: Path) -> None:
    sound = safetensors_file(
        tmp_path / "c.safetensors", {KEY: view(0, 16)}, np.ones(4, np.float32).tobytes()
    ).read_bytes()
    torch.save({KEY: torch.ones(4)}, tmp_path / "c.pth")
    random = np.random.default_rng(5)
    for ending, data in (("safetensors", sound), ("pth", (tmp_path / "c.pth").read_bytes())):
        path = tmp_path / f"damaged.{ending}"
        for _ in range(150):
            copy = bytearray(data)
            for _ in range(int(random.integers(1, 4))):
                copy[int(random.integers(len(copy)))] = int(random.integers(256))
            path.write_bytes(copy[: int(random.integers(len(copy)))] if random.integers(4) == 0 else copy)
            try:
                load_checkpoint(path)
            except CheckpointError:
                continue


# Places --------------------------------------------------------------------------------------------------------------


def test_folders_and_fifos(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.pth")
    (tmp_path / "folder.pth").mkdir()
    refused(tmp_path / "folder.pth", r"folder\.pth: a folder; expected a \.safetensors")
    refused(tmp_path / "fifo.pth", r"fifo\.pth: not a regular file; expected")


def test_nothing_is_written_when_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(b"old")
    with pytest.raises(CheckpointError):
        export({KEY: np.array([np.nan], np.float32)}, tmp_path / "m.tflite")
    assert [path.name for path in tmp_path.iterdir()] == ["m.tflite"]
    assert (tmp_path / "m.tflite").read_bytes() == b"old"
