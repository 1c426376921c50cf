"""All families, and the published variants of each."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from edge_effnet.exporters.families import b, edgetpu, lite, v2
from edge_effnet.exporters.families.records import Family
from edge_effnet.variants import VARIANTS, Variant

#: Name → family; the next one is added here.
FAMILIES = MappingProxyType({family.name: family for family in (b.FAMILY, lite.FAMILY, edgetpu.FAMILY, *v2.FAMILIES)})


def family_of(variant: Variant) -> Family:
    """The family whose stages a published variant scales."""
    return FAMILIES[variant.family]


def variants_of(family: Family) -> Iterator[Variant]:
    """A family's published variants."""
    return (variant for variant in VARIANTS.values() if variant.family == family.name)
