"""Inputs that aren't square, and grey ones, in every form that a network may lie in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.golden import State
from support.networks import export_narrow, narrow_state, photos

from edge_effnet import Classifier
from edge_effnet.errors import CheckpointError
from edge_effnet.exporters import export
from edge_effnet.exporters.inputs.assembly.image import Given, preprocessing_for
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.settings import PreprocessingOptions
from edge_effnet.network.execute import execute

PHOTOS = photos(3)
WIDE, TALL = (64, 96), (96, 64)


def grey(state: State) -> State:
    return {**state, "conv_stem.weight": state["conv_stem.weight"].sum(axis=1, keepdims=True)}


def answers(path: Path, engine: str = "auto") -> Any:
    with Classifier(path, engine=engine, probe="never") as classifier:
        return np.stack([classifier.logits(photo) for photo in PHOTOS]), classifier.preprocessing


@pytest.mark.litert
@pytest.mark.onnx
@pytest.mark.parametrize(("size", "channels"), [(WIDE, "rgb"), (TALL, "grey"), (WIDE, "bgr")])
def test_files_of_ours_that_come_back(size: tuple[int, int], channels: str, tmp_path: Path) -> None:
    state = grey(narrow_state("b0")) if channels == "grey" else narrow_state("b0")
    found = []
    for ending in ("tflite", "onnx"):
        told = {"channels": channels, "resize_mode": "longer", "crop_pct": 0.8, "fill": (9, 8, 7)}
        export_narrow(state, "b0", tmp_path / f"a.{ending}", image_size=size, **told)
        export(tmp_path / f"a.{ending}", tmp_path / f"b.{ending}")
        found += [answers(tmp_path / f"{name}.{ending}") for name in "ab"]
    for logits, preprocessing in found[1:]:
        np.testing.assert_allclose(logits, found[0][0], atol=1e-4)
        assert preprocessing == found[0][1]
    assert found[0][1].size == size


@pytest.mark.slow
@pytest.mark.litert
@pytest.mark.onnx
@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_int8_of_a_grey_network_that_is_not_square(ending: str, tmp_path: Path) -> None:
    state, small = grey(narrow_state("b0")), (48, 32)
    export_narrow(state, "b0", tmp_path / "f.tflite", image_size=small)
    exact, _ = answers(tmp_path / "f.tflite")
    path = tmp_path / f"i.{ending}"
    export_narrow(state, "b0", path, image_size=small, precision="int8", calibration=PHOTOS)
    for engine in ("litert", "numpy") if ending == "tflite" else ("onnxruntime",):
        found, preprocessing = answers(path, engine)
        assert (preprocessing.size, preprocessing.channels) == (small, "grey")
        assert np.corrcoef(exact.reshape(-1), found.reshape(-1))[0, 1] > 0.9


@pytest.mark.onnx
@pytest.mark.parametrize(("size", "depth"), [(WIDE, 3), (TALL, 1)])
def test_onnx_of_another_maker(size: tuple[int, int], depth: int, tmp_path: Path) -> None:
    import onnx

    state = narrow_state("b0") if depth == 3 else grey(narrow_state("b0"))
    export_narrow(state, "b0", tmp_path / "m.onnx", image_size=size)
    model = onnx.load(tmp_path / "m.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "m.onnx")
    network = open_network(tmp_path / "m.onnx", InputOptions())
    assert (network.preprocessing.size, network.preprocessing.depth) == (size, depth)
    own = open_network(state, InputOptions(source="timm", image_size=size))
    image = np.random.default_rng(0).standard_normal((1, *size, depth)).astype(np.float32)
    np.testing.assert_allclose(execute(network.graph, image), execute(own.graph, image), rtol=1e-4, atol=1e-4)


def module(depth: int) -> Any:
    from torch import nn

    stem = [nn.Conv2d(depth, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 8, 3, 2, 1, groups=8)]
    return nn.Sequential(*stem, nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()


@pytest.mark.torch
@pytest.mark.parametrize(("size", "depth"), [((33, 48), 3), ((48, 33), 1)])
def test_a_module(size: tuple[int, int], depth: int) -> None:
    import torch

    made = module(depth)
    network = open_network(made, InputOptions(image_size=size))
    assert (network.preprocessing.size, network.preprocessing.depth) == (size, depth)
    image = np.random.default_rng(0).standard_normal((1, *size, depth)).astype(np.float32)
    with torch.inference_mode():
        expected = made(torch.from_numpy(image.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(execute(network.graph, image), expected, atol=1e-5)


@pytest.mark.torch
def test_four_channels_are_refused() -> None:
    state = narrow_state("b0")
    wide = {**state, "conv_stem.weight": np.concatenate([state["conv_stem.weight"]] * 2, axis=1)[:, :4]}
    with pytest.raises(CheckpointError, match=r"the stem takes 4 channels; expected 3 \(RGB\) or 1 \(grey\)"):
        open_network(wide, InputOptions(source="timm"))
    with pytest.raises(CheckpointError, match="takes an image of 4 channels; expected 3"):
        preprocessing_for(None, (32, 32), 4, PreprocessingOptions(), Given())
    with pytest.raises(
        CheckpointError,
        match=r"to have 4 channels.*expected a module of one image of 3 channels \(RGB\) or 1",
    ):
        open_network(module(4), InputOptions(image_size=(33, 48)))
