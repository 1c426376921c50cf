"""Finding out what a checkpoint is: dialect, variant, class count and head, from its tensors or from what is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from edge_effnet.errors import CheckpointError, UsageError
from edge_effnet.exporters.families.dialects import BATCH_NORM, DIALECTS, Dialect, ModelName, Shape, parse_model_name
from edge_effnet.exporters.inputs.checkpoint import Checkpoint, Tensors
from edge_effnet.variants import VARIANTS, Variant

_LISTED = 6


@dataclass(frozen=True)
class Identified:
    """A checkpoint with everything known that its graph depends on.

    weights: canonical name (see `dialects`) → array in PyTorch's layout. published: what a model name says of it.
    """

    dialect: Dialect
    variant: Variant
    num_classes: int
    weights: Mapping[str, npt.NDArray[Any]]
    bn_eps: float
    built_for: int | None
    published: ModelName | None


@dataclass(frozen=True)
class _Difference:
    variant: Variant
    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]

    @property
    def count(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.misshapen)


def identify(checkpoint: Checkpoint, *, source: str | None = None, variant: str | None = None) -> Identified:
    """Names the checkpoint's dialect and variant and gives its weights canonical names.

    source: a dialect, or a published model name such as "tf_efficientnet_b0.ns_jft_in1k". variant: a key of VARIANTS.
    Raises CheckpointError listing missing, unexpected and misshapen tensors, or asking for what can't be found.
    """
    published = _published(checkpoint, source)
    if (
        source is None
        and published is not None
        and published.dialect not in _key_family(checkpoint.tensors, checkpoint.origin)
    ):
        published = None  # torchvision's models have timm's names
    dialect = _dialect(checkpoint, source, published)
    head = _classifier_keys(checkpoint.tensors, dialect)
    found = _variant(checkpoint, dialect, head, variant)
    if published is not None and published.variant != found.name:
        said = (
            f"--source {source}" if source is not None else f"the name beside the weights, {checkpoint.architecture},"
        )
        raise CheckpointError(
            f"{checkpoint.origin}: {said} is a {published.variant}, the tensors are those of a {found.name}; say the "
            "right --source"
        )
    weights = _canonical(checkpoint.tensors, dialect, found) | _classifier(checkpoint, head, found)
    num_classes = weights["classifier.weight"].shape[0]
    if num_classes < 2:
        raise CheckpointError(
            f"{checkpoint.origin}: the classifier has {num_classes} output; expected at least 2 classes"
        )
    eps = dialect.bn_eps if checkpoint.bn_eps is None else checkpoint.bn_eps
    return Identified(dialect, found, num_classes, weights, eps, checkpoint.built_for, published)


def _published(checkpoint: Checkpoint, source: str | None) -> ModelName | None:
    if source is None:
        return parse_model_name(checkpoint.architecture) if checkpoint.architecture else None
    said = parse_model_name(source)
    if said is None and source not in DIALECTS:
        raise UsageError(
            f"--source {source!r} is unknown; expected {', '.join(DIALECTS)} or a model name like "
            "tf_efficientnet_b0.ns_jft_in1k"
        )
    return said


def _key_family(tensors: Tensors, origin: str) -> tuple[str, ...]:
    """Names of the dialects whose keys these are."""
    families = {
        "conv_stem.": ("timm", "timm-tf"),
        "blocks.": ("timm", "timm-tf"),
        "features.": ("torchvision",),
        "_conv_stem.": ("lukemelas",),
        "_blocks.": ("lukemelas",),
    }
    for prefix, names in families.items():
        if any(key.startswith(prefix) for key in tensors):
            return names
    raise CheckpointError(
        f"{origin}: keys like {list(tensors)[:3]} belong to no known EfficientNet; expected the names of "
        f"{', '.join(DIALECTS)}"
    )


def _dialect(checkpoint: Checkpoint, source: str | None, published: ModelName | None) -> Dialect:
    family = _key_family(checkpoint.tensors, checkpoint.origin)
    said = published.dialect if published else source
    if said is None and len(family) == 1:
        said = family[0]
    if said is None and checkpoint.padding is not None:
        said = "timm" if checkpoint.padding == "symmetric" else "timm-tf"
    if said is None:
        raise CheckpointError(
            f"{checkpoint.origin}: timm's efficientnet_* (symmetric padding, BN eps 1e-5) and tf_efficientnet_* "
            "(SAME, 1e-3) "
            "have the same tensors; say which it was: --source timm, --source timm-tf or the model's name"
        )
    if said not in family:
        raise CheckpointError(
            f"{checkpoint.origin}: --source {said} doesn't fit its keys, which are those of {' or '.join(family)}"
        )
    return _with_module_padding(checkpoint, DIALECTS[said])


def _with_module_padding(checkpoint: Checkpoint, dialect: Dialect) -> Dialect:
    """The dialect, with SAME worked out at run time where an efficientnet-pytorch module was built without a size."""
    if checkpoint.padding is None:
        return dialect
    if (checkpoint.padding == "symmetric") != (dialect.padding == "symmetric"):
        raise CheckpointError(
            f"{checkpoint.origin}: {dialect.name} means {dialect.padding} padding, but the module pads "
            f"{checkpoint.padding}; check --source"
        )
    return replace(dialect, padding="same") if checkpoint.padding == "same" else dialect


def _expected(dialect: Dialect, variant: Variant) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for layer in dialect.layers(variant):
        channels = (layer.shape[0],)
        shapes[f"{layer.conv}.weight"] = layer.shape
        bias = [f"{layer.norm}.{item}" for item in BATCH_NORM] if layer.norm else [f"{layer.conv}.bias"]
        shapes.update(dict.fromkeys(bias, channels))
    return shapes


def _difference(checkpoint: Checkpoint, dialect: Dialect, variant: Variant, head: list[str]) -> _Difference:
    expected = _expected(dialect, variant)
    found = {
        key: value.shape
        for key, value in checkpoint.tensors.items()
        if key not in head and not key.endswith("num_batches_tracked")
    }
    return _Difference(
        variant,
        missing=[key for key in expected if key not in found],
        unexpected=[key for key in found if key not in expected],
        misshapen=[
            f"{key} {list(found[key])} (expected {list(shape)})"
            for key, shape in expected.items()
            if key in found and found[key] != shape
        ],
    )


def _candidates(dialect: Dialect, name: str | None) -> list[Variant]:
    if name is not None and name not in VARIANTS:
        raise UsageError(f"--variant {name!r} is unknown; expected one of {', '.join(VARIANTS)}")
    possible = [v for v in VARIANTS.values() if dialect.name != "torchvision" or v.family == "b"]
    return [v for v in possible if name in (None, v.name)] or possible


def _variant(checkpoint: Checkpoint, dialect: Dialect, head: list[str], name: str | None) -> Variant:
    differences = [_difference(checkpoint, dialect, variant, head) for variant in _candidates(dialect, name)]
    nearest = min(differences, key=lambda difference: difference.count)
    if nearest.count:
        raise CheckpointError(_explain(checkpoint, dialect, nearest))
    return nearest.variant


def _explain(checkpoint: Checkpoint, dialect: Dialect, nearest: _Difference) -> str:
    parts = [
        f"{len(keys)} {word}: {', '.join(keys[:_LISTED])}{' …' if len(keys) > _LISTED else ''}"
        for word, keys in (
            ("missing", nearest.missing),
            ("unexpected", nearest.unexpected),
            ("misshapen", nearest.misshapen),
        )
        if keys
    ]
    return f"{checkpoint.origin}: fits no variant; the nearest is {nearest.variant.name} ({dialect.name} names), but {'; '.join(parts)}"


def _canonical(tensors: Tensors, dialect: Dialect, variant: Variant) -> dict[str, npt.NDArray[Any]]:
    weights: dict[str, npt.NDArray[Any]] = {}
    for layer in dialect.layers(variant):
        weights[f"{layer.name}.weight"] = tensors[f"{layer.conv}.weight"]
        if layer.norm is None:
            weights[f"{layer.name}.bias"] = tensors[f"{layer.conv}.bias"]
        else:
            weights.update({f"{layer.name}.bn.{item}": tensors[f"{layer.norm}.{item}"] for item in BATCH_NORM})
    return weights


def _classifier_keys(tensors: Tensors, dialect: Dialect) -> list[str]:
    return [key for key in tensors if key.startswith((f"{dialect.classifier}.", "head.", "fc."))]


def _classifier(checkpoint: Checkpoint, head: list[str], variant: Variant) -> dict[str, npt.NDArray[Any]]:
    """Weight [classes, features] and bias of the one linear layer under the classifier's prefix."""
    tensors, origin = checkpoint.tensors, checkpoint.origin
    linear = [key for key in head if key.endswith(".weight") and tensors[key].ndim in (2, 4)]
    if len(linear) != 1:
        what = f"{len(linear)} linear layers ({', '.join(linear)})" if linear else "no classifier (features only)"
        raise CheckpointError(
            f"{origin}: the head has {what}; expected one linear layer from {variant.head_channels} features to the "
            "classes"
        )
    weight = tensors[linear[0]]
    weight = weight.reshape(weight.shape[0], -1)
    bias_key = linear[0].removesuffix("weight") + "bias"
    beside = sorted(key for key in head if key not in (linear[0], bias_key))
    if beside or weight.shape[1] != variant.head_channels:
        what = f"unexpected tensors {', '.join(beside)}" if beside else f"{linear[0]} {list(weight.shape)}"
        raise CheckpointError(
            f"{origin}: the head has {what}; expected one linear layer from {variant.head_channels} features to the "
            "classes"
        )
    bias = tensors.get(bias_key)
    astray = [name for name in checkpoint.left_out if name.endswith(bias_key)]
    if bias is None and any(checkpoint.prefix.startswith(name.removesuffix(bias_key)) for name in astray):
        raise CheckpointError(
            f"{origin}: {astray[0]} doesn't begin with {checkpoint.prefix!r} as the rest of the network does; rename it"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise CheckpointError(
            f"{origin}: {bias_key} {list(bias.shape)}; expected {list(weight.shape[:1])}, one value for each class"
        )
    return {"classifier.weight": weight, "classifier.bias": weight[:, 0] * 0 if bias is None else bias}
