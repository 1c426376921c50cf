"""What the next family takes: one `Family`. Shown with MobileNetV2, which isn't kept: from timm's tensors to int8."""

from __future__ import annotations

import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from support.golden import State, rebuild
from support.networks import BATCH_NORM, photos

from edge_effnet import Classifier
from edge_effnet.errors import CheckpointError
from edge_effnet.exporters import export
from edge_effnet.exporters.families import table
from edge_effnet.exporters.families.layout import body_of
from edge_effnet.exporters.families.records import SYMMETRIC, Family, Published, Stage
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.state_dict import network_of
from edge_effnet.network.execute import execute

#: Sandler et al., CVPR 2018 (arXiv 1801.04381), table 2; timm 1.0 `_gen_mobilenet_v2`. The whole of what is added.
FAMILY = Family(
    "mobilenetv2",
    "MobileNetV2",
    stages=(
        Stage("separable", 1, 3, 1, 16, 1),
        Stage("mbconv", 6, 3, 2, 24, 2),
        Stage("mbconv", 6, 3, 2, 32, 3),
        Stage("mbconv", 6, 3, 2, 64, 4),
        Stage("mbconv", 6, 3, 1, 96, 3),
        Stage("mbconv", 6, 3, 2, 160, 3),
        Stage("mbconv", 6, 3, 1, 320, 1),
    ),
    activation="relu6",
    stem=32,
    head=1280,
    rules={"timm": SYMMETRIC},
    published={"timm": {"100": Published(224, 0.875)}},
)
SIZE, TOLD = 65, {"source": "timm", "image_size": (65, 65)}


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    families = MappingProxyType({**table.FAMILIES, FAMILY.name: FAMILY})
    for module in [module for module in sys.modules.values() if getattr(module, "FAMILIES", None) is table.FAMILIES]:
        monkeypatch.setattr(module, "FAMILIES", families)


def state_of(width: float) -> State:
    """In timm's names, with random weights."""
    body = body_of(FAMILY, width=width, depth=1.0)
    keys: dict[str, tuple[int, ...]] = {"classifier.weight": (5, body.head), "classifier.bias": (5,)}
    for layer in body.layers:
        keys[f"{layer.conv}.weight"] = layer.shape
        keys |= {f"{layer.norm}.{item}": layer.shape[:1] for item in BATCH_NORM}
    return rebuild(keys, 1)


def logits_of(state: State, image: Any) -> Any:
    """PyTorch's own operators in timm's order, in float64. image: float32[1, 3, H, W]."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    values = {key: torch.from_numpy(np.asarray(value, np.float64)) for key, value in state.items()}

    def conv(x: Any, name: str, norm: str, stride: int = 1, *, last: bool = False) -> Any:
        weight = values[f"{name}.weight"]
        groups = x.shape[1] if weight.shape[1] == 1 else 1
        x = F.conv2d(x, weight, None, stride, weight.shape[2] // 2, 1, groups)
        gamma, beta, mean, variance = (values[f"{norm}.{item}"] for item in BATCH_NORM)
        x = F.batch_norm(x, mean, variance, gamma, beta, False, 0.0, 1e-5)
        return x if last else F.relu6(x)

    x = conv(torch.from_numpy(image).double(), "conv_stem", "bn1", 2)
    for number, stage in enumerate(FAMILY.stages):
        for block in range(stage.repeats):
            place, start, stride = f"blocks.{number}.{block}", x, stage.stride if block == 0 else 1
            parts = ("conv_dw", "conv_pw") if number == 0 else ("conv_pw", "conv_dw", "conv_pwl")
            for index, part in enumerate(parts, 1):
                last, moved = index == len(parts), stride if part == "conv_dw" else 1
                x = conv(x, f"{place}.{part}", f"{place}.bn{index}", moved, last=last)
            x = x + start if x.shape == start.shape else x
    x = conv(x, "conv_head", "bn2").mean((2, 3))
    return (x @ values["classifier.weight"].T + values["classifier.bias"]).numpy()


@pytest.mark.torch
@pytest.mark.usefixtures("added")
@pytest.mark.parametrize(("width", "name"), [(1.0, "mobilenetv2-w1-d1"), (0.5, "mobilenetv2-w0.5-d1")])
def test_its_tensors_are_read(width: float, name: str) -> None:
    state = state_of(width)
    made = network_of(load_checkpoint(state), InputOptions(**TOLD))
    assert made.architecture == name
    image = np.random.default_rng(2).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)
    expected = logits_of(state, image)
    found = execute(made.graph, image.transpose(0, 2, 3, 1))
    assert np.abs(found - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


def test_without_it_they_are_refused() -> None:
    with pytest.raises(CheckpointError, match="fits no family; its stages are separable 3×3 8, mbconv 3×3 8"):
        network_of(load_checkpoint(state_of(0.25)), InputOptions(**TOLD))


@pytest.mark.litert
@pytest.mark.usefixtures("added")
def test_int8_of_it(tmp_path: Path) -> None:
    state, answers = state_of(0.25), []
    for precision, more in (("fp32", {}), ("int8", {"calibration": photos(8), "refine": 0.0})):
        export(state, tmp_path / "m.tflite", precision=precision, source="timm", image_size=SIZE, **more)
        with Classifier(tmp_path / "m.tflite", probe="never") as classifier:
            answers.append(np.stack([classifier.logits(photo) for photo in photos(16, first=50)]))
    assert np.corrcoef(answers[0].reshape(-1), answers[1].reshape(-1))[0, 1] > 0.99
