"""Published names and the preprocessing they mean."""

from __future__ import annotations

import pytest
from support.golden import NAMES, load_case, make_state

from edge_effnet import VARIANTS, Preprocessing
from edge_effnet.errors import UsageError
from edge_effnet.exporters.families.dialects import BATCH_NORM, DIALECTS
from edge_effnet.exporters.families.layout import body_of
from edge_effnet.exporters.families.names import ModelName, parse_model_name, published_of
from edge_effnet.exporters.families.table import FAMILIES, family_of
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.state_dict import default_preprocessing, network_of, published_preprocessing
from edge_effnet.exporters.settings import PreprocessingOptions, resolve_preprocessing
from edge_effnet.preprocessing import HALF, IMAGENET_MEAN, IMAGENET_STD

NET, IN = (HALF, HALF), (IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize("name", NAMES)
def test_the_layers_are_the_implementations_own(name: str) -> None:
    """All keys and shapes of a golden case but the classifier and the counters."""
    case = load_case(name)
    variant, expected = VARIANTS[case.variant], {}
    body = body_of(family_of(variant), width=variant.width, depth=variant.depth, dialect=case.dialect)
    for layer in body.layers:
        expected[f"{layer.conv}.weight"] = layer.shape
        names = [f"{layer.norm}.{item}" for item in BATCH_NORM] if layer.norm else [f"{layer.conv}.bias"]
        expected.update(dict.fromkeys(names, layer.shape[:1]))
    own = {
        key: shape
        for key, shape in case.keys.items()
        if not key.endswith("num_batches_tracked") and not key.startswith(f"{DIALECTS[case.dialect].classifier}.")
    }
    assert expected == own


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("efficientnet_b0", ModelName("timm", "b0")),
        ("efficientnet_b0.ra_in1k", ModelName("timm", "b0", "ra_in1k")),
        ("tf_efficientnet_b0", ModelName("timm-tf", "b0")),
        ("tf_efficientnet_b3.ns_jft_in1k", ModelName("timm-tf", "b3", "ns_jft_in1k")),
        ("tf_efficientnet_b2_ap", ModelName("timm-tf", "b2", "ap_in1k")),
        ("tf_efficientnet_l2_ns_475", ModelName("timm-tf", "l2", "ns_jft_in1k_475")),
        ("tf_efficientnet_lite4.in1k", ModelName("timm-tf", "lite4", "in1k")),
        ("efficientnet_b2_pruned.in1k", ModelName("timm-tf", "b2_pruned", "in1k", irregular=True)),
        ("efficientnet_es_pruned", ModelName("timm", "es_pruned")),
        ("tf_efficientnet_el", ModelName("timm-tf", "el")),
        ("tf_efficientnetv2_s.in21k_ft_in1k", ModelName("timm-tf", "v2_s", "in21k_ft_in1k")),
        ("efficientnetv2_rw_t.ra2_in1k", ModelName("timm", "v2_rw_t", "ra2_in1k")),
        ("efficientnet_v2_m", ModelName("torchvision", "v2_m")),
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
        "efficientnet_b9",
        "efficientnet_b0x",
        "efficientnet_s",
        "tf_efficientnetv2_lite0",
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


#: timm's published.json, where a name says more than the variant: size, resize, mode, statistics.
TAGGED = {
    "efficientnet_b0.ra4_e3600_r224_in1k": (224, 248, "shorter", NET),
    "efficientnet_b1.ft_in1k": (224, 256, "shorter", IN),
    "efficientnet_b5.sw_in12k_ft_in1k": (448, 448, "squash", IN),
    "tf_efficientnet_b0.ap_in1k": (224, 256, "shorter", NET),
    "tf_efficientnet_l2.ns_jft_in1k_475": (475, 507, "shorter", IN),
    "tf_efficientnetv2_b3.in21k_ft_in1k": (240, 266, "squash", NET),
    "tf_efficientnetv2_m.in1k": (384, 384, "squash", NET),
    "efficientnet_b1_pruned.in1k": (240, 272, "shorter", NET),
    "tf_efficientnet_es.in1k": (224, 256, "shorter", NET),
    "efficientnetv2_rw_s.ra2_in1k": (288, 288, "shorter", IN),
}


@pytest.mark.parametrize(("dialect", "variant"), PUBLISHED)
def test_defaults_are_the_published_ones(dialect: str, variant: str) -> None:
    resize, crop, interpolation, (mean, std) = PUBLISHED[dialect, variant]
    assert default_preprocessing(dialect, variant) == Preprocessing(resize, crop, interpolation, mean, std)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TAGGED)
def test_a_name_says_more(name: str) -> None:
    said = parse_model_name(name)
    assert said is not None
    family = family_of(VARIANTS[said.variant.removesuffix("_pruned")])
    published = published_of(family, said.dialect, said.variant, said)
    assert published is not None
    found = published_preprocessing(published)
    assert (found.crop, found.resize, found.mode, (found.mean, found.std)) == TAGGED[name]


def test_a_name_without_its_tag_may_be_of_several() -> None:
    state = make_state("timm", "b1", classes=2)
    for name, options, others in (
        ("efficientnet_b1", {}, "b1.ft_in1k, b1.ra4_e3600_r240_in1k"),
        ("efficientnet_b1.ft_in1k", {}, None),
        ("efficientnet_b1", {"preprocessing": PreprocessingOptions(mean=HALF, std=HALF)}, None),
    ):
        remarks = network_of(load_checkpoint(state), InputOptions(source=name, **options)).remarks  # type: ignore[arg-type]
        found = [text for text in remarks if text.startswith("published under this name")]
        assert (f"but prepared otherwise, are also {others}; " in found[0]) if others else not found


def test_another_size_keeps_the_share() -> None:
    assert default_preprocessing("timm-tf", "b0", 192).resize == 219
    assert default_preprocessing("timm-tf", "v2_b0", 259).resize == 296  # 259 / 0.875; its own 192 / 0.875 is rounded
    assert default_preprocessing("torchvision", "b0", 112).resize == 128


def test_what_is_said_goes_first() -> None:
    default = Preprocessing(248, 224, mean=HALF, std=HALF)
    said = PreprocessingOptions((0.1, 0.2, 0.3), (1.0, 1.0, 1.0), crop_pct=1.0, interpolation="bilinear")
    assert resolve_preprocessing(default, said) == Preprocessing(224, 224, "bilinear", (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert resolve_preprocessing(default, PreprocessingOptions(resize=300)).resize == 300
    assert resolve_preprocessing(default, PreprocessingOptions(mode="squash")).resized == (224, 224)
    grey = resolve_preprocessing(Preprocessing(256, 224), PreprocessingOptions(channels="grey"))
    assert (grey.mean, grey.std) == ((0.449,), (0.226,))


def test_settings_that_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="crop-pct and resize say the same thing twice; expected one of them"):
        PreprocessingOptions(crop_pct=0.9, resize=256)
    with pytest.raises(UsageError, match="pad resizes to the network's own size"):
        PreprocessingOptions(mode="pad", resize=256)
    with pytest.raises(UsageError, match="fill goes with the resize modes pad and longer"):
        PreprocessingOptions(fill=(1, 2, 3))
    with pytest.raises(UsageError, match=r"resize 100 and crop 224 don't fit"):
        resolve_preprocessing(Preprocessing(256, 224), PreprocessingOptions(resize=100))


def test_every_family_has_a_published_preparation() -> None:
    assert all(any(rows for rows in family.published.values()) for family in FAMILIES.values())
