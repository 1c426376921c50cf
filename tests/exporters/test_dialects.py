"""Published names and the preprocessing they mean."""

from __future__ import annotations

from typing import Any

import pytest
from support.golden import NAMES, load_case

from edge_effnet import VARIANTS, Preprocessing
from edge_effnet.errors import UsageError
from edge_effnet.exporters.families.dialects import BATCH_NORM, DIALECTS, ModelName, parse_model_name
from edge_effnet.exporters.families.identify import Identified
from edge_effnet.exporters.settings import PreprocessingOptions, resolve_preprocessing
from edge_effnet.preprocessing import HALF, IMAGENET_MEAN, IMAGENET_STD

NET, IN = (HALF, HALF), (IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize("name", NAMES)
def test_the_layers_are_the_implementations_own(name: str) -> None:
    """All keys and shapes of a golden case but the classifier and the counters."""
    case = load_case(name)
    dialect, expected = DIALECTS[case.dialect], {}
    for layer in dialect.layers(VARIANTS[case.variant]):
        expected[f"{layer.conv}.weight"] = layer.shape
        names = [f"{layer.norm}.{item}" for item in BATCH_NORM] if layer.norm else [f"{layer.conv}.bias"]
        expected.update(dict.fromkeys(names, layer.shape[:1]))
    own = {
        key: shape
        for key, shape in case.keys.items()
        if not key.endswith("num_batches_tracked") and not key.startswith(f"{dialect.classifier}.")
    }
    assert expected == own


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("efficientnet_b0", ModelName("timm", "b0")),
        ("efficientnet_b0.ra_in1k", ModelName("timm", "b0")),
        ("efficientnet_b1.ra4_e3600_r240_in1k", ModelName("timm", "b1", NET, 0.9)),
        ("tf_efficientnet_b0", ModelName("timm-tf", "b0")),
        ("tf_efficientnet_b3.ns_jft_in1k", ModelName("timm-tf", "b3")),
        ("tf_efficientnet_b2.ap_in1k", ModelName("timm-tf", "b2", NET)),
        ("tf_efficientnet_b2_ap", ModelName("timm-tf", "b2", NET)),
        ("tf_efficientnet_lite4.in1k", ModelName("timm-tf", "lite4")),
        ("efficientnet_lite0.ra_in1k", ModelName("timm", "lite0")),
        (" EfficientNet-B1 ", ModelName("lukemelas", "b1")),
    ],
)
def test_published_names(name: str, expected: ModelName) -> None:
    assert parse_model_name(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "",
        "efficientnet",
        "efficientnet_b4",
        "efficientnet_b0x",
        "tf_efficientnetv2_b0",
        "resnet50",
        "efficientnet_lite5",
        "my_efficientnet_b0",
    ],
)
def test_other_names(name: str) -> None:
    assert parse_model_name(name) is None


#: facts of the published checkpoints: resize, crop, interpolation, statistics.
PUBLISHED = {
    ("torchvision", "b0"): (256, 224, "bicubic", IN),
    ("torchvision", "b1"): (255, 240, "bilinear", IN),
    ("torchvision", "b2"): (288, 288, "bicubic", IN),
    ("torchvision", "b3"): (320, 300, "bicubic", IN),
    ("timm", "b0"): (256, 224, "bicubic", IN),
    ("timm", "b1"): (274, 240, "bicubic", IN),
    ("timm", "b2"): (292, 256, "bicubic", IN),
    ("timm", "b3"): (329, 288, "bicubic", IN),
    ("timm", "lite0"): (256, 224, "bicubic", IN),
    ("timm-tf", "b0"): (256, 224, "bicubic", IN),
    ("timm-tf", "b1"): (272, 240, "bicubic", IN),
    ("timm-tf", "b2"): (292, 260, "bicubic", IN),
    ("timm-tf", "b3"): (331, 300, "bicubic", IN),
    ("timm-tf", "lite0"): (256, 224, "bicubic", NET),
    ("timm-tf", "lite1"): (272, 240, "bicubic", NET),
    ("timm-tf", "lite2"): (292, 260, "bicubic", NET),
    ("timm-tf", "lite3"): (331, 300, "bilinear", NET),
    ("timm-tf", "lite4"): (413, 380, "bilinear", NET),
    ("lukemelas", "b0"): (224, 224, "bicubic", IN),
    ("lukemelas", "b1"): (240, 240, "bicubic", IN),
    ("lukemelas", "b2"): (260, 260, "bicubic", IN),
    ("lukemelas", "b3"): (300, 300, "bicubic", IN),
    ("lukemelas", "lite0"): (256, 224, "bicubic", NET),
}


def identified(dialect: str, variant: str, name: str | None = None) -> Identified:
    return Identified(DIALECTS[dialect], VARIANTS[variant], 2, {}, 1e-3, None, parse_model_name(name) if name else None)


def resolved(model: Identified, size: int | None = None, **options: Any) -> Preprocessing:
    return resolve_preprocessing(
        model,
        image_size=size or model.dialect.native_image_size(model.variant),
        options=PreprocessingOptions(**options),
    )


@pytest.mark.parametrize(("dialect", "variant"), PUBLISHED)
def test_defaults_are_the_published_ones(dialect: str, variant: str) -> None:
    resize, crop, interpolation, (mean, std) = PUBLISHED[dialect, variant]
    assert resolved(identified(dialect, variant)) == Preprocessing(resize, crop, interpolation, mean, std)  # type: ignore[arg-type]


def test_names_change_statistics_and_crop() -> None:
    assert resolved(identified("timm-tf", "b0", "tf_efficientnet_b0.ap_in1k")) == Preprocessing(
        256, 224, "bicubic", HALF, HALF
    )
    assert resolved(identified("timm", "b0", "efficientnet_b0.ra4_e3600_r224_in1k")) == Preprocessing(
        248, 224, "bicubic", HALF, HALF
    )


def test_another_size_keeps_the_share() -> None:
    assert resolved(identified("timm-tf", "b0"), 192).resize == 219
    assert resolved(identified("torchvision", "b0"), 112).resize == 128


def test_what_is_said_goes_first() -> None:
    model = identified("timm", "b0", "efficientnet_b0.ra4_e3600_r224_in1k")
    assert resolved(
        model, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0), interpolation="bilinear", crop_pct=1.0
    ) == Preprocessing(224, 224, "bilinear", (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert resolved(model, resize=300).resize == 300


def test_settings_that_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="crop-pct and resize say the same thing twice; expected one of them"):
        PreprocessingOptions(crop_pct=0.9, resize=256)
    with pytest.raises(UsageError, match=r"resize 100 and crop 224 don't fit"):
        resolved(identified("timm", "b0"), resize=100)
