"""A body read from tensors: widths, repeats, kernels, expansion, gates. What the names don't fit is listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edge_effnet.exporters.families.dialects import BATCH_NORM, Form, Naming
from edge_effnet.exporters.families.records import BlockKind, BlockShape, Body, Layer, Weights

#: More than L2's 88, which is the deepest.
_MAX_BLOCKS = 400
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Reading:
    """body: None where it isn't whole. unread: names of the tensors that are none of its own; faults: what is amiss."""

    body: Body | None
    unread: tuple[str, ...]
    faults: tuple[str, ...]


def read_body(tensors: Weights, naming: Naming) -> Reading:
    """The body that a dialect's names find among tensors; stride and skip stay to be said."""
    addressed = _addressed(tensors, naming)
    faults: list[str] = []
    blocks: list[BlockShape] = []
    layers: list[Layer] = []
    stem = _layer("stem", *naming.stem, tensors, faults)
    for (stage, position), keys in sorted(addressed.items())[:_MAX_BLOCKS]:
        prefix = naming.prefix(stage, position, len(blocks)) if naming.has_stages else naming.prefix(0, 0, position)
        found = _block(prefix, keys, naming, tensors, index=len(blocks), faults=faults)
        if found is not None:
            shape, own = found
            blocks.append(replace(shape, stage=stage, position=position))
            layers += own
    last = len({stage for stage, _ in addressed}) + naming.first_stage
    conv, norm = (name.format(last=last) for name in naming.head)
    head = _layer("head", conv, norm, tensors, faults)
    if stem is None or head is None or not blocks or faults:
        return Reading(None, _unread(tensors, [stem, *layers, head], addressed), tuple(faults))
    blocks = blocks if naming.has_stages else _staged(blocks)
    body = Body(stem.shape[1], stem.shape[0], tuple(blocks), head.shape[0], (stem, *layers, head))
    return Reading(body, _unread(tensors, [stem, *layers, head], {}), ())


def _addressed(tensors: Weights, naming: Naming) -> dict[tuple[int, int], dict[str, str]]:
    """(stage, position) of every block → name in the block → key. Without stages all are of stage 0."""
    pattern = naming.pattern()
    found: dict[tuple[int, int], dict[str, str]] = {}
    for key in tensors:
        match = pattern.fullmatch(key)
        if match:
            *numbers, local = match.groups()
            stage = int(numbers[0]) - naming.first_stage if naming.has_stages else 0
            found.setdefault((stage, int(numbers[-1])), {})[local] = key
    return found


def _block(
    prefix: str, keys: Mapping[str, str], naming: Naming, tensors: Weights, *, index: int, faults: list[str]
) -> tuple[BlockShape, list[Layer]] | None:
    held = {local.rpartition(".")[0] for local in keys}
    match = _form_of(held, naming)
    if match is None:
        faults.append(f"{prefix}* holds {', '.join(sorted(held))}, which is no block of ours")
        return None
    (kind, gated), form = match
    own = [
        _layer(f"blocks.{index}.{part}", prefix + conv, norm and prefix + norm, tensors, faults)
        for part, (conv, norm) in form.items()
    ]
    layers = {layer.name.removeprefix(f"blocks.{index}."): layer for layer in own if layer is not None}
    if len(layers) < len(form):
        return None
    shape = _shape_of(kind, layers, gated)
    wrong = _inconsistent(kind, layers)
    faults += [f"{layer.conv}.weight {list(layer.shape)}, {why}" for layer, why in wrong]
    return (shape, list(layers.values())) if not wrong else None


def _form_of(held: set[str], naming: Naming) -> tuple[tuple[BlockKind, bool], Form] | None:
    """The form whose names are exactly those that a block holds."""
    for kind, form in naming.forms.items():
        if held == {name for pair in form.values() for name in pair if name is not None}:
            return kind, form
    return None


def _layer(name: str, conv: str, norm: str | None, tensors: Weights, faults: list[str]) -> Layer | None:
    """The layer with the shape that its tensors have; faults says what is missing or doesn't fit."""
    wanted = [f"{conv}.weight", *(f"{norm}.{item}" for item in BATCH_NORM)] if norm else _with_bias(conv)
    missing = [key for key in wanted if key not in tensors]
    if missing:
        faults.append(f"missing {', '.join(missing)}")
        return None
    shape = tensors[wanted[0]].shape
    if len(shape) != 4 or shape[2] != shape[3] or shape[2] % 2 == 0 or min(shape) < 1:
        faults.append(f"{wanted[0]} {list(shape)}; expected a convolution with a square, odd kernel")
        return None
    wrong = [key for key in wanted[1:] if tensors[key].shape != shape[:1]]
    if wrong:
        faults.append(f"{wrong[0]} {list(tensors[wrong[0]].shape)}; expected {list(shape[:1])}")
        return None
    return Layer(name, conv, norm, shape)


def _with_bias(conv: str) -> list[str]:
    return [f"{conv}.weight", f"{conv}.bias"]


def _shape_of(kind: BlockKind, layers: Mapping[str, Layer], gated: bool) -> BlockShape:
    first = next(iter(layers.values())).shape
    last = list(layers.values())[-1].shape
    kernel = layers["depthwise" if "depthwise" in layers else "expand"].shape[-1]
    inner = first[0]
    before = inner if kind == "separable" else first[1]
    return BlockShape(kind, 0, 0, kernel, before, inner, last[0], layers["se.reduce"].shape[0] if gated else 0)


def _inconsistent(kind: BlockKind, layers: Mapping[str, Layer]) -> list[tuple[Layer, str]]:
    """Layers whose widths or kernels don't fit the block they are in."""
    inner = next(iter(layers.values())).shape[0]
    pointwise = {"se.reduce": inner, "se.expand": layers["se.reduce"].shape[0] if "se.reduce" in layers else 0}
    expected: dict[str, tuple[int | None, int, int | None]] = {
        "depthwise": (inner, 1, None),
        "se.reduce": (None, pointwise["se.reduce"], 1),
        "se.expand": (inner, pointwise["se.expand"], 1),
        "project": (None, inner, 1),
    }
    if kind == "mbconv":
        expected["expand"] = (None, layers["expand"].shape[1], 1)
    wrong = []
    for part, (out, inputs, kernel) in expected.items():
        layer = layers.get(part)
        if layer and (
            out not in (None, layer.shape[0]) or layer.shape[1] != inputs or kernel not in (None, layer.shape[2])
        ):
            shape = [out or layer.shape[0], inputs, kernel or layer.shape[2], kernel or layer.shape[3]]
            wrong.append((layer, f"expected {shape}"))
    return wrong


def _staged(blocks: list[BlockShape]) -> list[BlockShape]:
    """Blocks without stage numbers: a new stage begins where the width, the kernel or the kind changes."""
    found: list[BlockShape] = []
    for block in blocks:
        before = found[-1] if found else None
        same = before is not None and (block.kind, block.kernel, block.in_channels, block.out_channels) == (
            before.kind,
            before.kernel,
            before.out_channels,
            before.out_channels,
        )
        if before is None:
            found.append(replace(block, stage=0, position=0))
        elif same:
            found.append(replace(block, stage=before.stage, position=before.position + 1))
        else:
            found.append(replace(block, stage=before.stage + 1, position=0))
    return found


def _unread(
    tensors: Weights, layers: list[Layer | None], addressed: Mapping[tuple[int, int], Mapping[str, str]]
) -> tuple[str, ...]:
    own = {key for keys in addressed.values() for key in keys.values()}
    for layer in layers:
        if layer is not None:
            names = [f"{layer.conv}.weight", f"{layer.conv}.bias"] if layer.norm is None else [f"{layer.conv}.weight"]
            own.update(names + [f"{layer.norm}.{item}" for item in BATCH_NORM])
    return tuple(key for key in tensors if key not in own and not key.endswith(COUNTER))
