"""Other people's implementations of every family, heads, sizes and scalings; and networks that only look like them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.golden import State, rebuild

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.state_dict import network_of
from edge_effnet.network.execute import execute
from edge_effnet.network.records import Network

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = sorted(path.name.removesuffix(".json.gz") for path in (GOLDEN / "families").glob("*.json.gz"))
LOOKALIKES = sorted(path.name.removesuffix(".json.gz") for path in (GOLDEN / "lookalikes").glob("*.json.gz"))
#: Logits lie within 4 to 16; another padding or eps moves them by 0.1 and more.
TOLERANCE = 1e-4
#: One of each kind, small; the others take minutes.
QUICK = (
    "timm-efficientnet_b0-scaled-128-s50",
    "timm-efficientnet_b0-head-200-s38",
    "timm-efficientnet_es-224",
    "timm-efficientnet_b1_pruned-240",
    "timm-tf_efficientnetv2_b0-224",
    "torchvision-efficientnet_b0-features-224-s40",
    "lukemelas-efficientnet-b0-1ch-224-s44",
)
PARAMETERS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]


def load(folder: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress((GOLDEN / folder / f"{name}.json.gz").read_bytes()))
    return found


def state_of(case: dict[str, Any]) -> State:
    return rebuild(dict(case["keys"]), case.get("seed", 0), gain=case.get("gain", 1.7))


def options_of(case: dict[str, Any], size: tuple[int, int]) -> InputOptions:
    build = case.get("build", {})
    scaled = "channel_multiplier" in build
    source = "timm" if scaled else case["model"] if case["source"] == "timm" else case["source"]
    kinds = [part for part in build.get("classifier", ()) if part in ("relu", "silu")]
    baked = build.get("built_for", size[0]) if case["source"] == "lukemelas" else None
    return InputOptions(source=source, image_size=size, padding_size=baked, head_activation=kinds[0] if kinds else None)


def network(name: str) -> tuple[Network, Any, Any]:
    case = load("families", name)
    sides = case["image_size"] if isinstance(case["image_size"], list) else [case["image_size"]]
    size = (sides[0], sides[-1])
    random = np.random.default_rng([case["seed"], *sides])
    image = random.standard_normal((1, case.get("in_chans", 3), *size)).astype(np.float32)
    return network_of(load_checkpoint(state_of(case)), options_of(case, size)), image, np.array(case["logits"])


def test_how_many_there_are() -> None:
    assert (len(CASES), len(LOOKALIKES)) == (53, 11)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_original_logits(name: str) -> None:
    if "-pool-" in name:
        with pytest.raises(CheckpointError, match="average and maximum pooling side by side"):
            network(name)
        return
    made, image, expected = network(name)
    found = execute(made.graph, image.transpose(0, 2, 3, 1))[0]
    assert np.abs(found - expected.reshape(-1)).max() <= TOLERANCE * max(1.0, float(np.abs(expected).max()))


#: What the sentence must name.
FOREIGN = {
    "timm-efficientnet_b0_g8_gn": r"GroupNorm.*groups of 8 channels",
    "timm-efficientnet_b0_gn": "no running statistics anywhere: GroupNorm",
    "timm-efficientnet_cc_b0_4e": "conditional convolutions",
    "timm-efficientnet_x_b3": "space-to-depth",
    "timm-gc_efficientnetv2_rw_t": "global context",
    "timm-mixnet_s": "kernels of several sizes in one layer",
    "timm-mnasnet_100": r"fits no family; its stages are .*mbconv 5×5 40, mbconv 5×5 80",
    "timm-mobilenetv2_100": r"fits no family; its stages are .*mbconv 3×3 160",
    "timm-mobilenetv3_large_100": "a head with a bias and no batch norm",
    "timm-tinynet_a": "its stages of 1, 2, 2, 4, 4, 5, 1 blocks follow from no depth",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_only_looks_like_the_family_is_refused(name: str) -> None:
    checkpoint = load_checkpoint(state_of(load("lookalikes", name)))
    for source in ("timm", "timm-tf"):
        with pytest.raises(CheckpointError, match=FOREIGN[name]):
            network_of(checkpoint, InputOptions(source=source))


def test_blur_pooling_has_the_same_tensors_and_is_told_by_its_name() -> None:
    state = state_of(load("lookalikes", "timm-efficientnet_blur_b0"))
    with pytest.raises(
        CheckpointError, match="efficientnet_blur_b0 is no EfficientNet of ours, but one with blur pooling"
    ):
        network_of(load_checkpoint(state), InputOptions(source="efficientnet_blur_b0"))
    with pytest.raises(CheckpointError, match=r"the name beside the weights, efficientnet_blur_b0\.in1k, is no"):
        network_of(load_checkpoint({"arch": "efficientnet_blur_b0.in1k", "state_dict": state}), InputOptions())
    made = network_of(load_checkpoint(state), InputOptions(source="timm", image_size=(64, 64)))
    assert any("efficientnet_blur_* has the same tensors" in remark for remark in made.remarks)
