"""Pickles as values and records: what torch and pickle write comes back, what they could run or ask for doesn't."""

from __future__ import annotations

import argparse
import collections
import io
import pickle
import struct
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters.inputs.machine import Machine
from edge_effnet.exporters.inputs.opcodes import run
from edge_effnet.exporters.inputs.pickle_stream import Budget
from edge_effnet.exporters.inputs.pickles import Key, Record, StoredTensor, read_pickle


class Box:
    """Leaves a trace if anything of it is called."""

    trace: Path

    def __init__(self, content: Any = None) -> None:
        self.content = content

    def __setstate__(self, state: Any) -> None:
        self.trace.write_text("code ran")


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "code ran")


def read(folder: Path, stream: bytes) -> Any:
    (folder / "c.pkl").write_bytes(stream)
    return read_pickle(folder / "c.pkl")


def as_arrays(value: Any) -> Any:
    return value.array() if isinstance(value, StoredTensor) else value


PLAIN = {
    "text": "Köln\n\x00'\"",
    "numbers": [0, 1, -1, 255, 65536, 2**31, -(2**200), 1.5, float("inf"), True, False, None],
    "bytes": b"\x00\xff" * 200,
    "containers": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, set(), {1, "a"}, frozenset({2})),
    "keys": {(1, "a"): 1, 3: 2, None: 3},
    "ordered": collections.OrderedDict(a=1),
    "default": collections.defaultdict(list, {1: [2]}),
    "counter": collections.Counter("aab"),
}
ARRAYS = [
    np.arange(6.0).reshape(2, 3)[:, ::-1],
    np.asfortranarray(np.ones((2, 3), np.float16)),
    np.array(["ab", "c"]),
    np.arange(3, dtype=">i4"),
    np.float32(3.5),
    np.array(True),
    np.ones(0),
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_and_arrays_come_back(tmp_path: Path, protocol: int) -> None:
    assert read(tmp_path, pickle.dumps(PLAIN, protocol)) == PLAIN
    found = read(tmp_path, pickle.dumps(ARRAYS, protocol))
    for value, expected in zip(found, ARRAYS, strict=True):
        np.testing.assert_array_equal(value, expected)
        assert not isinstance(value, np.ndarray) or value.dtype == expected.dtype


def test_cycles(tmp_path: Path) -> None:
    mapping: dict[str, Any] = {"list": []}
    mapping["itself"] = mapping
    mapping["list"].append((mapping, mapping["list"]))
    found = read(tmp_path, pickle.dumps(mapping))
    assert found["itself"] is found
    assert found["list"][0][0] is found
    assert found["list"][0][1] is found["list"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_objects_become_records_and_nothing_is_called(tmp_path: Path, protocol: int) -> None:
    Box.trace = tmp_path / "ran"
    content = {"box": Box([1]), "trap": Trap(tmp_path / "ran"), "args": argparse.Namespace(lr=0.1), "path": Path("a/b")}
    stream = pickle.dumps(content, protocol)
    found = read(tmp_path, stream)
    assert not (tmp_path / "ran").exists()
    assert all(isinstance(value, Record) for value in found.values())
    assert (found["box"].kind.rsplit(".", 1)[-1], found["box"].state) == ("Box", {"content": [1]})
    assert found["args"].state == {"lr": 0.1}
    assert found["path"].args[-2:] == ("a", "b")
    pickle.loads(stream)
    assert (tmp_path / "ran").exists(), "the traps must work, otherwise this test proves nothing"


def test_kinds_of_lists_and_dicts(tmp_path: Path) -> None:
    class_list = b"c__main__\nL\n)\x81(K\x01K\x02e."
    class_dict = b"c__main__\nD\n)\x81(\x8c\x01aK\x01u."
    assert read(tmp_path, class_list).items == [1, 2]
    assert read(tmp_path, class_dict).pairs == [("a", 1)]


class TestTorch:
    torch = pytest.importorskip("torch")
    pytestmark = pytest.mark.torch

    @classmethod
    def content(cls) -> dict[str, Any]:
        torch = cls.torch
        return {
            "view": torch.arange(24.0).reshape(4, 6)[1:3, ::2],
            "transposed": torch.arange(6.0).reshape(2, 3).t(),
            "expanded": torch.ones(1).expand(5),
            "bfloat16": torch.arange(5).to(torch.bfloat16),
            "half": torch.ones(2).half(),
            "uint16": torch.arange(4).to(torch.uint16),
            "scalar": torch.tensor(0.5),
            "empty": torch.zeros(0, 3),
            "bool": torch.tensor([True, False]),
            "parameter": torch.nn.Parameter(torch.ones(3)),
        }

    @pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
    def test_tensors(self, tmp_path: Path, how: str) -> None:
        torch, content, path = self.torch, self.content(), tmp_path / "c.pth"
        if how == "pickle":
            path.write_bytes(pickle.dumps(content))
        else:
            torch.save(content, path, _use_new_zipfile_serialization=how == "zip")
        for key, value in read_pickle(path).items():
            expected = content[key].detach()
            expected = expected.float() if expected.dtype == torch.bfloat16 else expected
            np.testing.assert_array_equal(as_arrays(value), expected.numpy(), err_msg=key)
            assert value.shape == tuple(expected.shape)

    @pytest.mark.parametrize("legacy", [False, True])
    def test_a_whole_module(self, tmp_path: Path, legacy: bool) -> None:
        torch = self.torch
        module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.SiLU())
        torch.save(module, tmp_path / "c.pth", _use_new_zipfile_serialization=not legacy)
        found = read_pickle(tmp_path / "c.pth")
        first, second = found.state["_modules"].values()
        assert (found.kind, first.kind) == ("torch.nn.modules.container.Sequential", "torch.nn.modules.conv.Conv2d")
        assert (first.state["padding"], second.kind) == ((1, 1), "torch.nn.modules.activation.SiLU")
        weight = first.state["_parameters"]["weight"]
        np.testing.assert_array_equal(weight.array(), module[0].weight.detach().numpy())

    def test_what_isnt_plain_stays_a_record(self, tmp_path: Path) -> None:
        torch = self.torch
        content = {
            "sparse": torch.eye(2).to_sparse(),
            "meta": torch.empty(3, device="meta"),
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls it deprecated, once a process
            content["quantized"] = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
        torch.save(content, tmp_path / "c.pth")
        assert {type(value) for value in read_pickle(tmp_path / "c.pth").values()} == {Record}

    def test_a_file_that_changes_meanwhile(self, tmp_path: Path) -> None:
        self.torch.save({"a": self.torch.ones(1000)}, tmp_path / "c.pth")
        tensor = read_pickle(tmp_path / "c.pth")["a"]
        (tmp_path / "c.pth").write_bytes(b"PK")
        with pytest.raises(ValueError, match="was written to while it was read"):
            tensor.array()


def nested_key(depth: int) -> bytes:
    """{t: 1} with t = (t', t') and so on: hashing it takes 2^depth steps."""
    return b"}" + b"K\x01\x85" + b"2\x86" * depth + b"K\x01s."


@pytest.mark.parametrize(
    "stream",
    [
        b"cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x01\x85R.",
        b"cbuiltins\nlist\ncbuiltins\nrange\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R\x85R.",
        b"\x96" + struct.pack("<Q", 1 << 40) + b"x.",
        b"\x8e" + struct.pack("<Q", (1 << 64) - 1) + b".",
        b"\x8b" + struct.pack("<i", 1 << 30) + b"x.",
        b"\x8b" + struct.pack("<i", -1) + b".",
        b"T" + struct.pack("<i", -5) + b".",
        b"I" + b"9" * 5000 + b"\n.",
        b"V" + b"a" * 3_000_000 + b".",
        b"(" * 2000 + b".",
        b"X"
        + struct.pack("<I", 1 << 20)
        + b"a" * (1 << 20)
        + b"q\x000"
        + (b"c_codecs\nencode\nh\x00\x85R0" * 600)
        + b"N.",
        nested_key(300),
        b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01\x8a\x05\x00\x00\x00\x00\x01\x85cnumpy\ndtype\n\x8c\x02f4\x85R"
        b"\x89C\x00tb.",
        b"\x80\x09N.",
        b"\x82\x01.",
        b"\x97.",
        b"Pother\n.",
        b"Q.",
        b".",
        b"",
        b"hello",
        b"K\x01K\x02s.",
        b"}]K\x01s.",
        b"]}e.",
        b"h\x07.",
        b"cos\nsystem\n.",
        b"cos\nsystem\n\x8c\x0aecho harm >\x85R.",
        b"\x8c\x03abc\x8c\x02deR.",
        b"K\x01K\x02\x93.",
        b"X\x02\x00\x00\x00\xff\xff.",
    ],
)
def test_a_hostile_stream_ends_soon(tmp_path: Path, stream: bytes) -> None:
    """Whatever comes of it, a value or an error that says so; its bounds are in docs/limits.md."""
    start = time.perf_counter()
    try:
        value = read(tmp_path, stream)
    except CheckpointError as error:
        text = str(error)
        assert len(text) < 500
        assert "not a readable PyTorch checkpoint" in text
    else:
        assert isinstance(value, (Record, dict)) or type(value).__name__ in ("Global", "NoneType")
    assert time.perf_counter() - start < 10


def test_the_steps_of_all_streams_are_counted_together() -> None:
    budget = Budget(opcodes=1000)
    options: dict[str, Any] = {"constructors": {}, "finishers": {}, "persistent": None}
    assert run(Machine(io.BytesIO(b"]0" * 300 + b"N."), budget=budget, **options)) is None
    with pytest.raises(ValueError, match=r"a pickle of more than 1,000,000 steps"):
        run(Machine(io.BytesIO(b"]0" * 300 + b"N."), budget=budget, **options))


def test_keys_that_are_slow_to_hash_stay_apart(tmp_path: Path) -> None:
    found = read(tmp_path, nested_key(300))
    assert [type(key) for key in found] == [Key]
    assert [type(key) for key in read(tmp_path, b"}\x8a\x0a" + b"\x7f" * 10 + b"K\x01s.")] == [Key]


PROTO_2_TENSOR = (
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03"
    b"\x00\x00\x00cpu%stQ%s%s%s\x89}tR."
)


@pytest.mark.parametrize(
    ("count", "offset", "shape", "strides", "message"),
    [
        (b"K\x04", b"K\x00", b"K\x04\x85", b"K\x01\x85", None),
        (b"K\x05", b"K\x00", b"K\x04\x85", b"K\x01\x85", "a tensor's 5 values in 16 bytes"),
        (b"K\x04", b"K\x01", b"K\x04\x85", b"K\x01\x85", "reaches to value 5 of 4"),
        (b"K\x04", b"K\x00", b"K\x02\x85", b"K\x04\x85", "reaches to value 5 of 4"),
        (b"K\x04", b"J\xff\xff\xff\xff", b"K\x01\x85", b"K\x01\x85", "offset is no short list of whole numbers"),
        (b"K\x04", b"K\x00", b"K\x04\x85", b"J\xff\xff\xff\xff\x85", "strides is no short list of whole numbers"),
        (
            b"K\x04",
            b"K\x00",
            b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85",
            b"K\x00\x85",
            "1,099,511,627,776 values in 1 places",
        ),
        (b"K\x04", b"K\x00", b"J\x00\x00\x00\x40\x85", b"K\x00\x85", "1,073,741,824 values in 1 places"),
        (b"K\x04", b"K\x00", b"K\x02K\x02\x86", b"K\x01\x85", "with 1 strides"),
        (b"J\xff\xff\xff\xff", b"K\x00", b"K\x01\x85", b"K\x01\x85", "a tensor of -1 values"),
    ],
)
def test_a_tensor_is_checked_against_its_storage(
    tmp_path: Path, count: bytes, offset: bytes, shape: bytes, strides: bytes, message: str | None
) -> None:
    with zipfile.ZipFile(tmp_path / "c.pth", "w") as archive:
        archive.writestr("c/data.pkl", PROTO_2_TENSOR % (count, offset, shape, strides))
        archive.writestr("c/data/0", np.arange(4, dtype=np.float32).tobytes())
    if message is None:
        np.testing.assert_array_equal(read_pickle(tmp_path / "c.pth").array(), np.arange(4))
        return
    with pytest.raises(CheckpointError, match=message):
        read_pickle(tmp_path / "c.pth")


def test_archives(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    cases = (
        (
            {"c/data.pkl": b"N."},
            zipfile.ZIP_DEFLATED,
            "its part 'c/data.pkl' is compressed, which torch.save never does",
        ),
        ({"c/other": b""}, zipfile.ZIP_STORED, "a zip archive without data.pkl"),
        (
            {"c/data.pkl": b"N.", "c/byteorder": b"middle"},
            zipfile.ZIP_STORED,
            "byte order b'middle'; expected little or big",
        ),
    )
    for content, packing, message in cases:
        with zipfile.ZipFile(path, "w", packing) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        with pytest.raises(CheckpointError, match=message):
            read_pickle(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(CheckpointError, match="a zip archive without its directory"):
        read_pickle(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("c/data.pkl", b"N.")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("c/data.pkl", b"K\x01.")
    with pytest.raises(CheckpointError, match=r"two members named 'c/data\.pkl'"):
        read_pickle(path)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "."])
def test_what_is_no_file(path: str) -> None:
    with pytest.raises(CheckpointError, match="not a regular file"):
        read_pickle(path)
