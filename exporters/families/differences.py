"""How a state dict differs from the nearest published variant: what is missing, foreign or of another shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_effnet.exporters.families.dialects import BATCH_NORM, DIALECTS
from edge_effnet.exporters.families.foreign import ANOTHER_FORM
from edge_effnet.exporters.families.layout import body_of
from edge_effnet.exporters.families.table import FAMILIES, variants_of
from edge_effnet.exporters.inputs.checkpoint import Checkpoint, Tensors
from edge_effnet.variants import VARIANTS

#: Keys that a sentence names.
LISTED = 6
#: Differences from which the nearest variant tells nothing; of a network of another width all shapes differ.
_FAR = 60


@dataclass(frozen=True)
class _Difference:
    variant: str
    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]

    @property
    def count(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.misshapen)


def explain(checkpoint: Checkpoint, dialect: str, variant: str | None, *, detail: str = "") -> str:
    """What differs from the nearest variant, or from the one that was said."""
    found = _own_shapes(checkpoint.tensors, dialect)
    names = [variant] if variant else [v.name for f in FAMILIES.values() if dialect in f.rules for v in variants_of(f)]
    nearest = min((_difference(found, dialect, name) for name in names), key=lambda difference: difference.count)
    parts = [
        f"{len(keys)} {word}: {_first(keys)}"
        for word, keys in (
            ("missing", nearest.missing),
            ("unexpected", nearest.unexpected),
            ("misshapen", nearest.misshapen),
        )
        if keys
    ]
    if detail and nearest.count > _FAR:
        return f"{checkpoint.origin}: fits no variant ({dialect} names): {detail}; if that is meant, {ANOTHER_FORM}"
    what = "; ".join(parts) or detail
    return (
        f"{checkpoint.origin}: fits no variant; the nearest is {nearest.variant} ({dialect} names), but {what}; if "
        f"that is meant, {ANOTHER_FORM}"
    )


def _first(keys: Sequence[str]) -> str:
    return f"{', '.join(keys[:LISTED])}{' …' if len(keys) > LISTED else ''}"


def _own_shapes(tensors: Tensors, dialect: str) -> dict[str, tuple[int, ...]]:
    """Key → shape without counters and what a head's names begin with."""
    heads = (f"{DIALECTS[dialect].classifier}.", "head.", "fc.", "classifier.")
    return {
        key: value.shape
        for key, value in tensors.items()
        if not key.startswith(heads) and not key.endswith("num_batches_tracked")
    }


def _difference(found: dict[str, tuple[int, ...]], dialect: str, name: str) -> _Difference:
    variant = VARIANTS[name]
    body = body_of(FAMILIES[variant.family], width=variant.width, depth=variant.depth, dialect=dialect)
    expected: dict[str, tuple[int, ...]] = {}
    for layer in body.layers:
        expected[f"{layer.conv}.weight"] = layer.shape
        bias = [f"{layer.norm}.{item}" for item in BATCH_NORM] if layer.norm else [f"{layer.conv}.bias"]
        expected.update(dict.fromkeys(bias, layer.shape[:1]))
    return _Difference(
        name,
        missing=[key for key in expected if key not in found],
        unexpected=[key for key in found if key not in expected],
        misshapen=[
            f"{key} {list(found[key])} (expected {list(shape)})"
            for key, shape in expected.items()
            if key in found and found[key] != shape
        ],
    )
