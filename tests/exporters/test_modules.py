"""What an nn.Module tells by itself: padding, batch norm's eps, the size it was built for, its published name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.golden import State, make_state, noise
from support.reference import Reference
from support.running import run_file

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters import export
from edge_effnet.exporters.families.identify import Identified, identify
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint

pytest.importorskip("torch")
from support.modules import Conv2dDynamicSamePadding, Conv2dSame, Conv2dStaticSamePadding, make_module

pytestmark = [pytest.mark.torch, pytest.mark.litert]


@pytest.fixture(scope="module")
def lukemelas() -> State:
    return make_state("lukemelas", "lite0", classes=2)


def look(module: Any, **options: Any) -> Identified:
    return identify(load_checkpoint(module), **options)


def test_timms_two_families_tell_themselves_apart(lite0_state: State) -> None:
    symmetric = look(make_module(lite0_state, eps=1e-5))
    same = look(make_module(lite0_state, conv=Conv2dSame, eps=1e-3, padding=0))
    assert (symmetric.dialect, symmetric.rules.bn_eps) == ("timm", 1e-5)
    assert (same.dialect, same.rules.bn_eps) == ("timm-tf", 1e-3)


def test_a_changed_eps_is_kept(lite0_state: State) -> None:
    assert look(make_module(lite0_state, eps=0.01)).rules.bn_eps == 0.01


def test_a_padding_that_is_neither_is_asked_for(lite0_state: State) -> None:
    with pytest.raises(CheckpointError, match="say which it was"):
        look(make_module(lite0_state, padding=0))


def test_a_source_that_contradicts_the_module(lite0_state: State) -> None:
    with pytest.raises(
        CheckpointError, match="timm-tf means same padding, but the module pads symmetric; check --source"
    ):
        look(make_module(lite0_state), source="timm-tf")
    with pytest.raises(CheckpointError, match="timm means symmetric padding, but the module pads same"):
        look(make_module(lite0_state, conv=Conv2dSame, padding=0), source="timm")


@pytest.mark.parametrize("attribute", ["pretrained_cfg", "default_cfg"])
@pytest.mark.parametrize("kind", [dict, SimpleNamespace])
def test_its_published_name(lite0_state: State, attribute: str, kind: Any) -> None:
    module = make_module(lite0_state)
    setattr(module, attribute, kind(architecture="efficientnet_lite0", tag="ra_in1k"))
    found = look(module)
    assert (found.dialect, found.architecture) == ("timm", "lite0")


@pytest.mark.parametrize("size", [64, 96])
def test_efficientnet_pytorch_with_the_size_it_was_built_for(tmp_path: Path, lukemelas: State, size: int) -> None:
    module = make_module(lukemelas, conv=Conv2dStaticSamePadding, eps=1e-3, padding=0)
    module._global_params = SimpleNamespace(image_size=97)  # type: ignore[assignment]
    reference = Reference(lukemelas, "lite0", padding="baked", eps=1e-3, built_for=97)
    export(module, tmp_path / "m.tflite", image_size=size)
    assert np.abs(run_file(tmp_path / "m.tflite", noise(3, size)) - reference.logits(noise(3, size))).max() < 1e-4


def test_efficientnet_pytorch_without_a_size_pads_for_the_size_at_hand(tmp_path: Path, lukemelas: State) -> None:
    module = make_module(lukemelas, conv=Conv2dDynamicSamePadding, eps=1e-3, padding=0)
    module._global_params = SimpleNamespace(image_size=None)  # type: ignore[assignment]
    reference = Reference(lukemelas, "lite0", padding="same", eps=1e-3)
    report = export(module, tmp_path / "m.tflite", image_size=97)
    assert report.document.source["padding"] == "same"
    assert np.abs(run_file(tmp_path / "m.tflite", noise(3, 97)) - reference.logits(noise(3, 97))).max() < 1e-4


def test_training_goes_on_unchanged(lite0_state: State, tmp_path: Path) -> None:
    module = make_module(lite0_state).train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    export(module, tmp_path / "m.tflite", image_size=32)
    assert module.training
    assert all((value == before[key]).all() for key, value in module.state_dict().items())
