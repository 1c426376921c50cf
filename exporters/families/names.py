"""Published model names: which dialect, which variant, and how their photos are prepared."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_effnet.exporters.families.records import HALVES, Family, Published
from edge_effnet.exporters.families.table import FAMILIES
from edge_effnet.variants import VARIANTS

#: As names have the variants: V2's have their "v2" elsewhere.
_VARIANTS = sorted({name.removeprefix("v2_") for name in VARIANTS}, key=len, reverse=True)
_NAME = re.compile(
    r"(?P<tf>tf_)?efficientnet(?P<second>_v2|v2)?(?P<separator>[_-])"
    rf"(?P<variant>{'|'.join(_VARIANTS)})(?P<pruned>_pruned)?(?:[._-](?P<tag>\w+))?"
)
#: timm's names before 0.8 → tags.
_OLD_TAGS = {
    "ap": "ap_in1k",
    "ns": "ns_jft_in1k",
    "ns_475": "ns_jft_in1k_475",
    "in21ft1k": "in21k_ft_in1k",
    "in22ft1k": "in21k_ft_in1k",
    "in22k": "in21k",
}


@dataclass(frozen=True)
class ModelName:
    """What a published name says. irregular: the channels were pruned one by one, and follow from no width."""

    dialect: str
    variant: str
    tag: str = ""
    irregular: bool = False


def parse_model_name(name: str) -> ModelName | None:
    """Reads `tf_efficientnet_b0.ap_in1k`, `efficientnetv2_rw_s`, `efficientnet-b2`, `efficientnet_v2_s`; else None."""
    found = _NAME.fullmatch(name.strip().lower())
    if not found:
        return None
    parts = found.groupdict()
    second, variant, tag = parts["second"], parts["variant"], parts["tag"] or ""
    variant = f"v2_{variant}" if second else variant
    irregular = bool(parts["pruned"]) and variant in ("b1", "b2", "b3")
    dialect = "timm-tf" if parts["tf"] or irregular else "timm" if parts["separator"] == "_" else "lukemelas"
    if second == "_v2":
        dialect = "torchvision"
    if not any(dialect in family.rules and _knows(family, variant) for family in FAMILIES.values()):
        return None
    variant += "_pruned" if parts["pruned"] else ""
    return ModelName(dialect, variant, _OLD_TAGS.get(tag, tag), irregular)


def _knows(family: Family, variant: str) -> bool:
    return variant in VARIANTS and VARIANTS[variant].family == family.name


def published_of(family: Family, dialect: str, variant: str | None, name: ModelName | None) -> Published | None:
    """The published preparation of a name's tag, or of the variant; None where nothing was published."""
    rows = family.published.get(dialect, {})
    if name is not None:
        tagged = rows.get(f"{name.variant}.{name.tag}") or _by_first_word(rows.get(name.variant), name.tag)
        if tagged is not None:
            return tagged
    return rows.get(variant or "")


def others_of(family: Family, name: ModelName | None, taken: Published | None) -> tuple[str, ...]:
    """Tagged rows of a name's variant that are prepared otherwise than what was taken; none where a tag is said."""
    if name is None or taken is None or name.tag:
        return ()
    rows = family.published.get(name.dialect, {})
    return tuple(key for key, row in rows.items() if key.startswith(f"{name.variant}.") and row != taken)


def _by_first_word(default: Published | None, tag: str) -> Published | None:
    """AdvProp's statistics are halves, whatever stands after the word; other tags change nothing."""
    if default is None or not tag.startswith(("ap", "advprop")):
        return default
    return Published(default.image_size, default.crop_pct, HALVES, default.interpolation, default.mode, default.resize)


def fallback_of(family: Family, dialect: str) -> Published:
    """What is taken where nothing was published: the dialect's smallest variant's preparation, or any dialect's."""
    rows = family.published.get(dialect) or next(rows for rows in family.published.values() if rows)
    return next(iter(rows.values()))
