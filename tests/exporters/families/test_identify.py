"""Finding dialect, variant and head; what can't be found is asked for, what doesn't fit is listed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.golden import NAMES, State, load_case, make_state

from edge_effnet.errors import CheckpointError, UsageError
from edge_effnet.exporters.families.dialects import DIALECTS
from edge_effnet.exporters.families.identify import Identified, identify
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint

EVERY = [(load_case(name).dialect, load_case(name).variant) for name in NAMES] + [
    ("lukemelas", f"lite{n}") for n in range(5)
]


def look(state: Any, **options: Any) -> Identified:
    return identify(load_checkpoint(state), **options)


@pytest.fixture(scope="module")
def timm_lite() -> State:
    return make_state("timm-tf", "lite0", classes=3)


@pytest.fixture(scope="module")
def torchvision_b0() -> State:
    return make_state("torchvision", "b0", classes=2)


@pytest.mark.parametrize(
    ("dialect", "variant"), [pair for pair in EVERY if pair[1] not in ("b2", "b3", "lite3", "lite4")]
)
def test_every_dialect_and_variant_is_found(dialect: str, variant: str) -> None:
    found = look(make_state(dialect, variant, classes=5), source=dialect if dialect.startswith("timm") else None)
    assert (found.dialect, found.architecture) == (dialect, variant)
    assert [name.rpartition(".")[2] for name in found.head] == ["weight", "bias"]
    assert found.rules.bn_eps == (1e-5 if dialect in ("timm", "torchvision") else 1e-3)


def test_timms_two_families_are_asked_for(timm_lite: State) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"have the same tensors; say which it was: --source timm, --source timm-tf or the model's name",
    ):
        look(timm_lite)
    for source, dialect, eps in (
        ("timm", "timm", 1e-5),
        ("timm-tf", "timm-tf", 1e-3),
        ("tf_efficientnet_lite0.in1k", "timm-tf", 1e-3),
        ("efficientnet_lite0", "timm", 1e-5),
    ):
        found = look(timm_lite, source=source)
        assert (found.dialect, found.rules.bn_eps) == (dialect, eps)


def test_a_name_beside_the_weights_answers(timm_lite: State) -> None:
    found = look({"arch": "tf_efficientnet_lite0", "state_dict": timm_lite})
    assert found.dialect == "timm-tf"
    assert look({"arch": "tf_efficientnet_lite0", "state_dict": timm_lite}, source="timm").dialect == "timm"
    with pytest.raises(
        CheckpointError,
        match="the name beside the weights, tf_efficientnet_b1, is a b1, the tensors are those of a lite0; say the "
        "right --source",
    ):
        look({"arch": "tf_efficientnet_b1", "state_dict": timm_lite})
    assert look({"arch": "tf_efficientnet_b1", "state_dict": timm_lite}, source="timm").dialect == "timm"
    with pytest.raises(CheckpointError, match="say which it was"):
        look({"arch": "my_net", "state_dict": timm_lite})


def test_torchvisions_models_have_timms_names(torchvision_b0: State) -> None:
    """As PyTorch's ImageNet example saves them."""
    found = look({"arch": "efficientnet_b0", "state_dict": torchvision_b0, "epoch": 3})
    assert (found.dialect, found.architecture) == ("torchvision", "b0")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (
            "keras",
            UsageError,
            f"--source 'keras' is unknown; expected {', '.join(DIALECTS)} or a model name like",
        ),
        (
            "torchvision",
            CheckpointError,
            "--source torchvision doesn't fit its keys, which are those of timm or timm-tf",
        ),
        ("efficientnet-b0", CheckpointError, "--source lukemelas doesn't fit its keys"),
        (
            "tf_efficientnet_b0",
            CheckpointError,
            "--source tf_efficientnet_b0 is a b0, the tensors are those of a lite0",
        ),
    ],
)
def test_a_contradictory_source(timm_lite: State, source: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        look(timm_lite, source=source)


def test_a_contradictory_variant(timm_lite: State) -> None:
    with pytest.raises(CheckpointError, match=r"the nearest is lite1 \(timm-tf names\), but \d+ missing: "):
        look(timm_lite, source="timm-tf", variant="lite1")
    with pytest.raises(UsageError, match="--variant 'none' is unknown; expected one of b0, "):
        look(timm_lite, source="timm-tf", variant="none")
    assert look(timm_lite, source="timm-tf", variant="lite0").architecture == "lite0"


def _renamed(state: State) -> None:
    state["blocks.9.extra"] = state.pop("blocks.1.0.bn1.bias")


def _misshapen(state: State) -> None:
    state["conv_head.weight"] = state["conv_head.weight"][:, :5]


def _incomplete(state: State) -> None:
    for key in [key for key in state if key.startswith("blocks.6")]:
        del state[key]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _renamed,
            r"fits no variant; the nearest is lite0 \(timm names\), but 1 missing: blocks\.1\.0\.bn1\.bias; 1 "
            r"unexpected: blocks\.9\.extra; if that",
        ),
        (
            _misshapen,
            r"the nearest is lite0 \(timm names\), but 1 misshapen: conv_head\.weight \[1280, 5, 1, 1\] \(expected "
            r"\[1280, 320, 1, 1\]\); if that",
        ),
        (
            _incomplete,
            r"the nearest is lite0 .*, but 15 missing: blocks\.6\.0\.conv_pw\.weight, (\S+, ){4}\S+ …; if that",
        ),
    ],
)
def test_what_does_not_fit_is_listed(timm_lite: State, change: Callable[[State], None], message: str) -> None:
    state = dict(timm_lite)
    change(state)
    with pytest.raises(CheckpointError, match=message):
        look(state, source="timm")


def test_an_unknown_network() -> None:
    with pytest.raises(
        CheckpointError,
        match=r"keys like \['conv1.weight', 'fc.weight'\] belong to no known EfficientNet; expected the names of timm",
    ):
        look({"conv1.weight": np.ones((4, 3, 3, 3)), "fc.weight": np.ones((2, 4))})


def test_counters_may_be_missing(timm_lite: State) -> None:
    assert (
        look({key: value for key, value in timm_lite.items() if "num_batches" not in key}, source="timm").architecture
        == "lite0"
    )
