"""Finding out what a checkpoint is: dialect, family, scaling and head, from its tensors or from what is said."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_effnet.errors import CheckpointError, UsageError
from edge_effnet.exporters.families.dialects import DIALECTS, dialects_of
from edge_effnet.exporters.families.differences import LISTED, explain
from edge_effnet.exporters.families.foreign import ANOTHER_FORM, foreign_signs, relative_of
from edge_effnet.exporters.families.names import ModelName, fallback_of, others_of, parse_model_name, published_of
from edge_effnet.exporters.families.reading import Reading, read_body
from edge_effnet.exporters.families.records import Body, Family, Published, Rules
from edge_effnet.exporters.families.scaling import (
    Scaling,
    broken_chain,
    fitting_families,
    scaling_of,
    strided,
    uneven_block,
)
from edge_effnet.exporters.families.table import FAMILIES
from edge_effnet.exporters.inputs.checkpoint import Checkpoint, Tensors
from edge_effnet.variants import VARIANTS


@dataclass(frozen=True)
class Identified:
    """A checkpoint's body with everything known that its graph depends on.

    architecture: "b0", "b1_pruned", "b-w1.3-d1.6". rules: padding and eps, a module's own where it says them. head:
    names of the tensors that are none of the body's. published: None where nothing was published of it.
    others: published under the same name with another tag, and prepared otherwise.
    """

    dialect: str
    family: Family
    architecture: str
    body: Body
    rules: Rules
    head: tuple[str, ...]
    native_size: int
    published: Published | None
    remarks: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def preparation(self) -> Published:
        """The published preparation, or the one taken in its place."""
        return self.published or fallback_of(self.family, self.dialect)


def identify(checkpoint: Checkpoint, *, source: str | None = None, variant: str | None = None) -> Identified:
    """Names the checkpoint's dialect, family and scaling, and reads its body.

    source: a dialect, or a published model name such as "tf_efficientnet_b0.ns_jft_in1k". variant: a key of VARIANTS.
    Raises CheckpointError naming what is foreign, or asking for what can't be found.
    """
    if variant is not None and variant not in VARIANTS:
        raise UsageError(f"--variant {variant!r} is unknown; expected one of {', '.join(VARIANTS)}")
    name = _model_name(checkpoint, source)
    dialect = _dialect(checkpoint, source, name)
    reading = read_body(checkpoint.tensors, DIALECTS[dialect])
    body = _whole(checkpoint, reading, dialect, variant)
    family, scaling = _scaling(checkpoint, body, dialect, name)
    architecture = scaling.name if scaling else name.variant if name else family.name
    found = scaling.variant.name if scaling and scaling.variant else None
    _check_said(checkpoint, source, name, architecture)
    if variant is not None and variant != found:
        raise CheckpointError(explain(checkpoint, dialect, variant))
    if name is not None and name.variant.endswith("_pruned"):
        architecture = name.variant
    rules = _with_module_rules(checkpoint, dialect, family.rules_of(dialect, found))
    published = published_of(family, dialect, found, name)
    native = published.image_size if published else VARIANTS[found].image_size if found else 224
    return Identified(
        dialect,
        family,
        architecture,
        replace(body, blocks=strided(body, family)),
        rules,
        reading.unread,
        native,
        published,
        _remarks(checkpoint, dialect, architecture, published, name),
        others_of(family, name, published),
    )


def _remarks(
    checkpoint: Checkpoint, dialect: str, architecture: str, published: Published | None, name: ModelName | None
) -> tuple[str, ...]:
    remarks = []
    if published is None:
        remarks.append(
            f"nothing is published of {architecture} in {dialect}'s form: size and preprocessing are those of its "
            "smallest relative; check --image-size, --mean, --std, --crop-pct"
        )
    if dialect == "timm" and name is None and not checkpoint.layers:
        remarks.append(
            "took strided convolutions for granted, as efficientnet_* has them; efficientnet_blur_* has the same "
            "tensors and pools with a blur"
        )
    return tuple(remarks)


def _model_name(checkpoint: Checkpoint, source: str | None) -> ModelName | None:
    """What the name that is said, or stands beside the weights, means."""
    if source is not None:
        said = parse_model_name(source)
        if said is None and (foreign := relative_of(source)):
            raise CheckpointError(
                f"--source {source} is no EfficientNet of ours, but one with {foreign}; {_supported()}"
            )
        if said is None and source not in DIALECTS:
            raise UsageError(
                f"--source {source!r} is unknown; expected {', '.join(DIALECTS)} or a model name like "
                "tf_efficientnet_b0.ns_jft_in1k"
            )
        return said
    beside = checkpoint.architecture
    if not beside:
        return None
    if foreign := relative_of(beside):
        raise CheckpointError(
            f"{checkpoint.origin}: the name beside the weights, {beside}, is no EfficientNet of ours, but one with "
            f"{foreign}; {_supported()}"
        )
    said = parse_model_name(beside)
    if said is not None and said.dialect not in _key_family(checkpoint.tensors, checkpoint.origin):
        return None  # torchvision's models have timm's names
    return said


def _supported() -> str:
    titles = ", ".join(dict.fromkeys(family.title for family in FAMILIES.values()))
    return f"supported are {titles}, of any width and depth; {ANOTHER_FORM}"


def _key_family(tensors: Tensors, origin: str) -> tuple[str, ...]:
    """Names of the dialects whose keys these are."""
    if names := dialects_of(tensors):
        return names
    raise CheckpointError(
        f"{origin}: keys like {list(tensors)[:3]} belong to no known EfficientNet; expected the names of "
        f"{', '.join(DIALECTS)}; {ANOTHER_FORM}"
    )


def _dialect(checkpoint: Checkpoint, source: str | None, name: ModelName | None) -> str:
    family = _key_family(checkpoint.tensors, checkpoint.origin)
    said = name.dialect if name else source
    if said is None and len(family) == 1:
        said = family[0]
    if said is None and checkpoint.padding is not None:
        said = "timm" if checkpoint.padding == "symmetric" else "timm-tf"
    if said is None:
        _refuse_foreign(checkpoint)
        raise CheckpointError(
            f"{checkpoint.origin}: timm's efficientnet_* (symmetric padding, BN eps 1e-5) and tf_efficientnet_* "
            "(SAME, 1e-3) "
            "have the same tensors; say which it was: --source timm, --source timm-tf or the model's name"
        )
    if said not in family:
        raise CheckpointError(
            f"{checkpoint.origin}: --source {said} doesn't fit its keys, which are those of {' or '.join(family)}; "
            "say one of these"
        )
    return said


def _refuse_foreign(checkpoint: Checkpoint) -> None:
    """Before timm's two families are asked for: is it one of them at all?"""
    body = _whole(checkpoint, read_body(checkpoint.tensors, DIALECTS["timm"]), "timm", None)
    if not fitting_families(body, "timm"):
        _scaling(checkpoint, body, "timm", None)


def _whole(checkpoint: Checkpoint, reading: Reading, dialect: str, variant: str | None) -> Body:
    """The body that was read; refused where tensors are missing, misshapen or foreign."""
    body = reading.body
    amiss = uneven_block(body) or broken_chain(body) if body else None
    if body is not None and amiss is None:
        if body.in_channels not in (1, 3):
            raise CheckpointError(
                f"{checkpoint.origin}: the stem takes {body.in_channels} channels; expected 3 (RGB) or 1 (grey), "
                "which is what photos have; train it with one of these"
            )
        return body
    signs = foreign_signs(checkpoint.tensors)
    if signs:
        raise CheckpointError(
            f"{checkpoint.origin}: no EfficientNet of ours, but one with {'; '.join(signs)}; {_supported()}"
        )
    raise CheckpointError(explain(checkpoint, dialect, variant, detail=amiss or "; ".join(reading.faults[:LISTED])))


def _scaling(checkpoint: Checkpoint, body: Body, dialect: str, name: ModelName | None) -> tuple[Family, Scaling | None]:
    families = fitting_families(body, dialect)
    if not families:
        signs = foreign_signs(checkpoint.tensors)
        foreign = f"; it has {'; '.join(signs)}" if signs else ""
        raise CheckpointError(
            f"{checkpoint.origin}: fits no family; its stages are {_stages(body)}{foreign}; {_supported()}"
        )
    if name is not None and name.irregular:
        return families[0], None
    found = [scaling_of(body, family, dialect) for family in families]
    whole = [one for one in found if isinstance(one, Scaling)]
    if not whole:
        reasons = "; ".join(f"{family.name}: {one}" for family, one in zip(families, found, strict=True))
        raise CheckpointError(
            f"{checkpoint.origin}: stages like those of {families[0].title}, but {reasons}. If it is one of timm's "
            f"pruned networks, say its name: --source efficientnet_b1_pruned; otherwise {ANOTHER_FORM}"
        )
    best = next((one for one in whole if one.variant), whole[0])
    return best.family, best


def _stages(body: Body) -> str:
    return ", ".join(
        f"{block.kind} {block.kernel}×{block.kernel}{' gated' if block.se_channels else ''} {block.out_channels}"
        for block in body.blocks
        if block.position == 0
    )


def _check_said(checkpoint: Checkpoint, source: str | None, name: ModelName | None, found: str) -> None:
    if name is None or name.variant.removesuffix("_pruned") == found or name.variant == found:
        return
    said = f"--source {source}" if source is not None else f"the name beside the weights, {checkpoint.architecture},"
    raise CheckpointError(
        f"{checkpoint.origin}: {said} is a {name.variant}, the tensors are those of a {found}; say the right --source"
    )


def _with_module_rules(checkpoint: Checkpoint, dialect: str, rules: Rules) -> Rules:
    """The rules, with SAME worked out at run time where an efficientnet-pytorch module was built without a size."""
    if checkpoint.bn_eps is not None:
        rules = replace(rules, bn_eps=checkpoint.bn_eps)
    if checkpoint.padding is None:
        return rules
    if (checkpoint.padding == "symmetric") != (rules.padding == "symmetric"):
        raise CheckpointError(
            f"{checkpoint.origin}: {dialect} means {rules.padding} padding, but the module pads "
            f"{checkpoint.padding}; check --source"
        )
    return replace(rules, padding="same") if checkpoint.padding == "same" else rules
