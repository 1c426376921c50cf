"""Reading weights: files, wrappers, prefixes, types; what could run code is refused."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.golden import State

from edge_effnet.errors import CheckpointError, UsageError
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.files import sha256_of

torch = pytest.importorskip("torch")
safetensors_numpy = pytest.importorskip("safetensors.numpy")
safetensors_torch = pytest.importorskip("safetensors.torch")
pytestmark = pytest.mark.torch

STEM = np.arange(27 * 4, dtype=np.float32).reshape(4, 3, 3, 3) / 100
WEIGHTS = {
    "conv_stem.weight": STEM,
    "bn1.running_mean": np.ones(4, np.float32),
    "bn1.num_batches_tracked": np.array(7, np.int64),
}


def tensors(weights: Any = WEIGHTS, prefix: str = "", dtype: Any = None) -> dict[str, Any]:
    made = {prefix + key: torch.from_numpy(np.array(value)) for key, value in weights.items()}
    return {key: value.to(dtype) if dtype and value.is_floating_point() else value for key, value in made.items()}


def saved(folder: Path, content: Any, name: str = "c.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


def assert_same(found: Any, expected: Any = WEIGHTS) -> None:
    assert list(found) == list(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)
        assert found[key].dtype == value.dtype


@pytest.mark.parametrize("name", ["c.pth", "c.pt", "c.bin"])
def test_a_state_dict_in_a_file(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, tensors(), name)
    loaded = load_checkpoint(str(path))
    assert_same(loaded.tensors)
    assert (loaded.sha256, loaded.origin, loaded.remarks) == (sha256_of(path), str(path), ())


def test_safetensors(tmp_path: Path) -> None:
    safetensors_numpy.save_file(WEIGHTS, tmp_path / "c.safetensors")
    found = load_checkpoint(tmp_path / "c.safetensors").tensors
    assert_same({key: found[key] for key in WEIGHTS})


def test_a_state_dict_in_memory() -> None:
    first, second = load_checkpoint(WEIGHTS), load_checkpoint(tensors())
    assert_same(first.tensors)
    assert_same(second.tensors)
    assert (
        first.sha256
        == second.sha256
        != load_checkpoint({**WEIGHTS, "bn1.running_mean": np.zeros(4, np.float32)}).sha256
    )


def test_a_module() -> None:
    module = torch.nn.Module()
    module.conv_stem = torch.nn.Conv2d(3, 4, 3, bias=False)
    loaded = load_checkpoint(module)
    np.testing.assert_array_equal(loaded.tensors["conv_stem.weight"], module.conv_stem.weight.detach().numpy())
    assert loaded.origin == "Module"


WRAPPERS = ("state_dict", "state_dict_ema", "model", "model_state", "network", "params", "student", "generator", "x.y")


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers(tmp_path: Path, wrapper: str) -> None:
    """As trainers write them: optimizer state, counters, a tensor and options beside the weights."""
    beside = {
        "optimizer": {"state": {0: {"exp_avg": torch.ones(4)}}, "param_groups": [{"lr": 0.1}]},
        "epoch": 3,
        "best_acc1": torch.tensor(0.9),
        "args": argparse.Namespace(lr=0.1, model="efficientnet_b0"),
    }
    loaded = load_checkpoint(saved(tmp_path, {**beside, wrapper: tensors()}))
    assert_same(loaded.tensors)
    assert loaded.remarks == (f"took the weights under {wrapper!r}",)


def test_wrappers_inside_wrappers_and_the_average_first() -> None:
    other = {key: value * 0 for key, value in tensors().items()}
    assert_same(load_checkpoint({"state_dict": other, "state_dict_ema": {"module": tensors()}}).tensors)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "net.backbone.", "_orig_mod.module."]
)
def test_prefixes(prefix: str) -> None:
    loaded = load_checkpoint({**tensors(prefix=prefix), "loss.weight": torch.ones(3)})
    assert_same(loaded.tensors)
    assert loaded.remarks == (f"left out 1 tensors that don't begin with {prefix!r}",)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_other_floating_types_become_float32(tmp_path: Path, dtype: str, ending: str) -> None:
    content = tensors(dtype=getattr(torch, dtype))
    path = tmp_path / f"c.{ending}"
    if ending == "pth":
        torch.save(content, path)
    else:
        safetensors_torch.save_file(content, path)
    found = load_checkpoint(path).tensors
    assert found["conv_stem.weight"].dtype == np.float32
    np.testing.assert_array_equal(found["conv_stem.weight"], content["conv_stem.weight"].float().numpy())


def test_a_safetensors_type_that_means_nothing_here(tmp_path: Path) -> None:
    safetensors_torch.save_file({"conv_stem.weight": torch.ones(4).to(torch.float8_e4m3fn)}, tmp_path / "c.safetensors")
    with pytest.raises(
        CheckpointError, match=r"not a readable safetensors file \(tensors of type F8_E4M3; expected F64, "
    ):
        load_checkpoint(tmp_path / "c.safetensors")


def test_the_architecture_is_read_where_it_stands(tmp_path: Path) -> None:
    assert load_checkpoint({"arch": "tf_efficientnet_b0", "state_dict": tensors()}).architecture == "tf_efficientnet_b0"
    safetensors_numpy.save_file(WEIGHTS, tmp_path / "model.safetensors")
    for config, expected in (
        ({"architecture": "tf_efficientnet_b0", "pretrained_cfg": {"tag": "ap_in1k"}}, "tf_efficientnet_b0.ap_in1k"),
        ({"architecture": "efficientnet_b1.ra4"}, "efficientnet_b1.ra4"),
        ({"architecture": 3}, None),
        ([], None),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert load_checkpoint(tmp_path / "model.safetensors").architecture == expected
    (tmp_path / "config.json").write_text("{broken")
    assert load_checkpoint(tmp_path / "model.safetensors").architecture is None


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "code ran")


def test_pickled_objects_are_passed_over_and_run_no_code(tmp_path: Path) -> None:
    path = saved(tmp_path, {"state_dict": tensors(), "extra": Trap(tmp_path / "ran")})
    assert_same(load_checkpoint(path).tensors)
    with pytest.raises(CheckpointError, match=r"holds a [\w.]+; expected a state dict"):
        load_checkpoint(saved(tmp_path, Trap(tmp_path / "ran"), "trap.pth"))
    assert not (tmp_path / "ran").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists(), "the trap must work, otherwise this test proves nothing"


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = torch.nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(4, eps=0.01)
        self.act1 = torch.nn.SiLU()
        self.default_cfg = {"architecture": "efficientnet_b0", "tag": "ra_in1k"}
        self.register_buffer("passing", torch.ones(1), persistent=False)

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("code ran")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_whole_pickled_module(tmp_path: Path, legacy: bool) -> None:
    """Its tensors, and what only its layers know; in a wrapper too, and the same as of the living module."""
    module = Network()
    living = load_checkpoint(module)
    for content, remark in ((module, ()), ({"epoch": 1, "model": module}, ("took the weights under 'model'",))):
        torch.save(content, tmp_path / "c.pth", _use_new_zipfile_serialization=not legacy)
        loaded = load_checkpoint(tmp_path / "c.pth")
        assert_same(loaded.tensors, {key: value.numpy() for key, value in module.state_dict().items()})
        assert (loaded.padding, loaded.bn_eps, loaded.architecture) == ("symmetric", 0.01, "efficientnet_b0.ra_in1k")
        assert loaded.layers == living.layers
        assert loaded.layers["act1"].kind == "torch.nn.modules.activation.SiLU"
        assert loaded.remarks == remark


@pytest.mark.filterwarnings("ignore:.*jit")
def test_a_scripted_archive(tmp_path: Path) -> None:
    module = torch.nn.Module()
    module.conv_stem = torch.nn.Conv2d(3, 4, 3, bias=False)
    path = tmp_path / "c.pt"
    torch.jit.script(torch.nn.Sequential(module.conv_stem)).save(path)
    (weight,) = load_checkpoint(path).tensors.values()
    np.testing.assert_array_equal(weight, module.conv_stem.weight.detach().numpy())


TWO = {"student": 1.0, "teacher": 2.0}


def several(**scales: float) -> dict[str, Any]:
    return {name: {key: value * scale for key, value in tensors().items()} for name, scale in scales.items()}


@pytest.mark.parametrize("flat", [False, True])
def test_of_two_networks_one_is_said(tmp_path: Path, flat: bool) -> None:
    content = several(**TWO)
    if flat:
        content = {"state_dict": {f"{name}.{key}": x for name, part in content.items() for key, x in part.items()}}
    path = saved(tmp_path, content)
    with pytest.raises(
        CheckpointError, match=r"holds 2 networks, under '.*student', '.*teacher'; say which: --weights"
    ):
        load_checkpoint(path)
    np.testing.assert_array_equal(load_checkpoint(path, weights="teacher").tensors["conv_stem.weight"], 2 * STEM)
    with pytest.raises(UsageError, match=r"--weights 'none' is no network's; there are '.*student', '.*teacher'"):
        load_checkpoint(path, weights="none")


def test_an_average_is_preferred_and_said() -> None:
    loaded = load_checkpoint(several(state_dict=1, state_dict_ema=2))
    np.testing.assert_array_equal(loaded.tensors["conv_stem.weight"], 2 * STEM)
    assert loaded.remarks == (
        "took the weights under 'state_dict_ema'",
        "an average; those it is of: --weights state_dict",
    )
    raw = load_checkpoint(several(state_dict=1, state_dict_ema=2), weights="state_dict")
    np.testing.assert_array_equal(raw.tensors["conv_stem.weight"], STEM)
    with pytest.raises(CheckpointError, match="holds 3 networks"):
        load_checkpoint(several(a=1, b=2, ema=3))


def test_one_network_twice_is_one(tmp_path: Path) -> None:
    module = Network()
    path = saved(tmp_path, {"model": module, "state_dict": module.state_dict(), "again": module.state_dict()})
    assert load_checkpoint(path).bn_eps == 0.01


def test_what_stands_beside(tmp_path: Path) -> None:
    beside = {"class_to_idx": {"cat": 0}, "args": argparse.Namespace(model="tf_efficientnet_b0", mean=[0.5] * 3)}
    loaded = load_checkpoint(saved(tmp_path, {**beside, "state_dict": tensors()}))
    assert loaded.architecture == "tf_efficientnet_b0"
    assert loaded.beside[0]["class_to_idx"] == {"cat": 0}
    assert loaded.beside[1] == {"model": "tf_efficientnet_b0", "mean": [0.5] * 3}


@pytest.mark.parametrize("value", [[0.0] * 3, (0.0,), "text", {"value": 1}, None, 0.5])
def test_what_the_network_needs_must_be_a_tensor(value: Any) -> None:
    """A classifier.bias as a list was left out, and the file exported without it."""
    with pytest.raises(
        CheckpointError, match=r"tensor classifier\.bias is a \w+; expected plain floating-point weights"
    ):
        load_checkpoint({**WEIGHTS, "classifier.bias": value})
    assert_same(load_checkpoint({**WEIGHTS, "epoch": 3, "_extra_state": value}).tensors)


@pytest.mark.parametrize("name", ["x" * 600, "a\x1b[31m.weight", "a\n.weight"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"a tensor's name of \d+ characters, .*; expected at most 500, all") as e:
        load_checkpoint({**WEIGHTS, name: STEM})
    assert len(str(e.value)) < 200
    assert str(e.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}q\x00X", b"PK\x03\x04broken"])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_broken_files(tmp_path: Path, content: bytes, ending: str) -> None:
    path = tmp_path / f"c.{ending}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"not a readable (PyTorch checkpoint|safetensors file)"):
        load_checkpoint(path)


def test_cut_off_files(tmp_path: Path) -> None:
    whole = saved(tmp_path, tensors()).read_bytes()
    safetensors_numpy.save_file(WEIGHTS, tmp_path / "c.safetensors")
    for name, data in (("a.pth", whole), ("a.safetensors", (tmp_path / "c.safetensors").read_bytes())):
        (tmp_path / name).write_bytes(data[: len(data) * 2 // 3])
        with pytest.raises(CheckpointError, match="not a readable"):
            load_checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1, "b": {}}, r"no weights found under \['a', 'b'\]; expected a state dict, at any key"),
        ({"state_dict": {}}, "no weights found under"),
        ({"conv_stem.weight": np.array(["x"])}, r"tensor conv_stem\.weight is <U1; expected floating-point weights"),
        ({"conv_stem.weight": np.ones((4, 3, 3, 3), np.complex64)}, "is complex64; expected floating-point weights"),
        (3, "can't read weights from int; expected a path, an nn.Module or a state dict"),
        ([1, 2], "can't read weights from list"),
    ],
)
def test_what_holds_no_weights(content: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(content)


def test_a_list_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a list; expected a state dict"):
        load_checkpoint(saved(tmp_path, [1, 2]))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"none\.pth: no such file; expected a \.safetensors, \.pth or \.pt checkpoint"
    ):
        load_checkpoint(tmp_path / "none.pth")


_WITHOUT_TORCH = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "safetensors"):
            raise ImportError("it is blocked")
sys.meta_path.insert(0, Blocker())
from edge_effnet.exporters import export
print(export(sys.argv[1], sys.argv[2], source="timm-tf", image_size=32).size_bytes)
assert "torch" not in sys.modules
"""


@pytest.mark.litert
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_checkpoints_are_exported_without_torch(tmp_path: Path, lite0_state: State, ending: str) -> None:
    source, target = tmp_path / f"c.{ending}", tmp_path / "m.tflite"
    if ending == "pth":
        torch.save(tensors(lite0_state), source)
    else:
        safetensors_numpy.save_file(lite0_state, source)
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, source, target], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) == target.stat().st_size
