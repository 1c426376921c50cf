"""Files as trainers write them: each gives what its bare state dict gives, and none runs code."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from support import trainers  # noqa: E402
from support.networks import narrow_state  # noqa: E402

from edge_effnet.errors import CheckpointError  # noqa: E402
from edge_effnet.exporters.export import document_of  # noqa: E402
from edge_effnet.exporters.inputs.open import open_network  # noqa: E402
from edge_effnet.exporters.inputs.options import InputOptions  # noqa: E402
from edge_effnet.exporters.order import order_channels  # noqa: E402
from edge_effnet.exporters.outputs.emit import emit  # noqa: E402
from edge_effnet.network.records import Network  # noqa: E402
from edge_effnet.quantization.records import QuantizedGraph  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def run() -> trainers.Run:
    best = {key: torch.from_numpy(value) for key, value in narrow_state("b0").items()}
    return trainers.Run(best, {key: value * 2 for key, value in best.items()})


def rounded(tensors: trainers.Tensors, kind: Any) -> trainers.Tensors:
    return {key: value.to(kind).float() for key, value in tensors.items()}


def file_of(network: Network, like: Network) -> bytes:
    """The fp32 file, its weights' origin aside and prepared as another's."""
    same = replace(network, origin=like.origin, preprocessing=like.preprocessing, labels=like.labels)
    return emit(QuantizedGraph(order_channels(network.graph)), document_of(same, "fp32"), ".tflite")


@pytest.mark.parametrize("name", trainers.LAYOUTS)
def test_the_same_bytes_as_of_the_bare_state_dict(
    name: str, run: trainers.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainers.Trap, "trace", tmp_path / "trace")
    layout = trainers.LAYOUTS[name]
    path = trainers.write(layout, tmp_path, run)
    options = InputOptions(source="timm", image_size=(64, 64))
    bare = open_network(rounded(run.best, layout.kind), options)
    found = open_network(path, replace(options, **layout.options))
    assert file_of(found, bare) == file_of(bare, bare)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm_train", (224, 248, trainers.MEAN, "bilinear", None)),
        ("lightning", (64, 73, trainers.MEAN, "bicubic", trainers.LABELS)),
        ("lightning_compiled", (64, 73, trainers.MEAN, "bicubic", None)),
        ("torchvision_references", (64, 72, None, "bilinear", None)),
        ("mmengine", (224, 256, None, "bicubic", trainers.LABELS)),
        ("nested", (224, 256, None, "bicubic", trainers.LABELS)),
        ("whole_modules_average", (64, 73, None, "bicubic", None)),
        ("whole_own_module", (224, 256, None, "bicubic", trainers.LABELS)),
        ("super_gradients", (224, 256, None, "bicubic", trainers.LABELS)),
        ("kaggle", (224, 256, None, "bicubic", trainers.LABELS)),
        ("normaliser_before", (224, 256, trainers.MEAN, "bicubic", None)),
        ("normaliser_of_levels", (224, 256, trainers.MEAN, "bicubic", None)),
        ("mmpretrain", (224, 256, None, "bicubic", trainers.LABELS)),
    ],
)
def test_what_the_file_knows_besides_is_used(name: str, expected: Any, run: trainers.Run, tmp_path: Path) -> None:
    path = trainers.write(trainers.LAYOUTS[name], tmp_path, run)
    network = open_network(path, InputOptions(source="timm"))
    found, (size, resize, mean, interpolation, labels) = network.preprocessing, expected
    assert (network.image_size, found.resized, found.interpolation) == ((size, size), (resize, resize), interpolation)
    assert found.mean == (mean or (0.485, 0.456, 0.406))
    assert network.labels == labels


@pytest.mark.parametrize("name", [name for name, layout in trainers.LAYOUTS.items() if layout.options])
def test_of_two_networks_one_must_be_said(name: str, run: trainers.Run, tmp_path: Path) -> None:
    path = trainers.write(trainers.LAYOUTS[name], tmp_path, run)
    with pytest.raises(CheckpointError, match=r"holds 2 networks, under .*; say which: --weights "):
        open_network(path, InputOptions(source="timm"))


@pytest.mark.parametrize(
    ("part", "what"),
    [
        (
            "weight_orig",
            "pruned weights ('conv_head.weight_orig'); expected plain ones: save after torch.nn.utils.prune",
        ),
        ("weight_g", "weights under weight_norm or spectral_norm"),
        ("parametrizations.weight.original0", "parametrized weights"),
        ("lora_A.default.weight", "weights with their LoRA beside them"),
        ("weight_fake_quant.scale", "weights for quantization-aware training"),
    ],
)
def test_weights_in_parts_are_named(part: str, what: str, run: trainers.Run) -> None:
    with pytest.raises(CheckpointError, match=re.escape(f"holds {what}")):
        open_network({**run.best, f"conv_head.{part}": torch.ones(1)}, InputOptions(source="timm"))


def test_a_missing_head_is_said(run: trainers.Run) -> None:
    trunk = {key: value for key, value in run.best.items() if "classifier" not in key}
    assert "no head found: gives the 320 pooled features" in open_network(trunk, InputOptions(source="timm")).remarks
    asked = InputOptions(source="timm", head="features")
    assert not any("no head" in remark for remark in open_network(trunk, asked).remarks)
