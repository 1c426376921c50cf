"""What a trainer's file knows besides the weights: how photos were prepared, and the names of classes.

Sources: timm's train.py (`args`: mean, std, crop_pct, interpolation, input_size, img_size), torchvision's ImageFolder
(`class_to_idx`), Lightning (`hyper_parameters`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edge_effnet.exporters.inputs.assembly.labels import labels_of
from edge_effnet.exporters.inputs.folder import facts_of_timm, laid_under
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.records import Record

_HOLDERS = ("args", "hyper_parameters", "hparams", "config", "cfg", "meta", "metadata")
_LABELS = ("class_to_idx", "idx_to_class", "class_names", "classes", "label_names", "labels", "categories", "names")
_MOST_PIXELS = 2048


def with_facts(options: InputOptions, beside: Mapping[str, Any]) -> InputOptions:
    """The options with what a checkpoint knows besides its weights, where the user says nothing."""
    holders = [beside, *(fields for key in _HOLDERS if (fields := _fields(beside.get(key))))]
    labels = options.labels
    for holder in holders:
        labels = labels or next((found for key in _LABELS if (found := labels_of(_listed(holder.get(key))))), None)
    said = options.preprocessing
    for holder in holders:
        said = laid_under(said, facts_of_timm({key: _listed(value) for key, value in holder.items()}))
    size = options.image_size or next((sides for holder in holders if (sides := _side(holder))), None)
    return replace(options, preprocessing=said, labels=labels, image_size=size)


def _fields(value: Any) -> Mapping[str, Any] | None:
    """A mapping, or what a recorded object (an argparse.Namespace) holds."""
    state = value.state if isinstance(value, Record) else value
    if not isinstance(state, Mapping):
        return None
    return {key: item for key, item in state.items() if isinstance(key, str)}


def _listed(value: Any) -> Any:
    """Lists and mappings of plain values; None for anything else that isn't a number or a text."""
    if isinstance(value, Mapping | str | int | float):
        return value
    return list(value) if isinstance(value, list | tuple) else None


def _side(holder: Mapping[str, Any]) -> tuple[int, int] | None:
    sides = holder.get("input_size")
    if isinstance(sides, list | tuple) and len(sides) == 3 and all(isinstance(side, int) for side in sides):
        return sides[1], sides[2]
    side = next((holder[key] for key in ("img_size", "image_size") if isinstance(holder.get(key), int)), None)
    return (side, side) if side is not None and 32 <= side <= _MOST_PIXELS else None
