"""What a trainer's file knows besides the weights, used where the user says nothing: how photos were prepared, and the
names of classes.

Sources: timm's train.py (`args`: mean, std, crop_pct, interpolation, input_size, img_size), torchvision's references
(`val_crop_size`, `val_resize_size`) and ImageFolder (`class_to_idx`), Lightning (`hyper_parameters`), ultralytics
(`imgsz`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from edge_effnet.exporters.inputs.folder import facts_of_timm, laid_under
from edge_effnet.exporters.inputs.label_sources import labels_under
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.settings import PreprocessingOptions
from edge_effnet.framing import Size

_SIZES = ("val_crop_size", "img_size", "image_size", "imgsz", "input_size", "crop_size")
_LEAST_PIXELS, _MOST_PIXELS = 32, 2048


def with_facts(options: InputOptions, holders: Sequence[Mapping[str, Any]]) -> tuple[InputOptions, tuple[str, ...]]:
    """The options with what a checkpoint knows besides its weights, where the user says nothing; and a remark on it."""
    said, size = options.preprocessing, options.image_size
    labels = [found for holder in holders for found in labels_under(holder, "in the checkpoint")]
    for holder in holders:
        said = laid_under(said, _preparation(holder))
        size = size or next((sides for key in _SIZES if (sides := _sides(holder.get(key)))), None)
    found = replace(options, preprocessing=said, found_labels=(*labels, *options.found_labels), image_size=size)
    return found, _remarks(options, found)


def _preparation(holder: Mapping[str, Any]) -> PreprocessingOptions:
    """timm's words, and torchvision's; a mean without its standard deviation may be anything's."""
    found = facts_of_timm(holder)
    side = holder.get("val_resize_size")
    if found.crop_pct is None and type(side) is int and _LEAST_PIXELS <= side <= _MOST_PIXELS:
        found = replace(found, resize=side)
    if found.crop_pct is not None and not 0 < found.crop_pct <= 1:
        found = replace(found, crop_pct=None)
    return found if found.mean and found.std else replace(found, mean=None, std=None)


def _sides(value: Any) -> Size | None:
    """A side, (height, width) or (channels, height, width)."""
    sides = [value, value] if type(value) is int else value
    if not isinstance(sides, list | tuple) or len(sides) not in (2, 3):
        return None
    height, width = sides[-2:]
    good = all(type(side) is int and _LEAST_PIXELS <= side <= _MOST_PIXELS for side in (height, width))
    return (height, width) if good else None


def _remarks(before: InputOptions, after: InputOptions) -> tuple[str, ...]:
    """What was taken from the file."""
    parts = []
    if before.image_size != after.image_size and after.image_size is not None:
        parts.append("image size {}×{}".format(*after.image_size))
    for item in fields(PreprocessingOptions):
        value = getattr(after.preprocessing, item.name)
        if value != getattr(before.preprocessing, item.name):
            parts.append(f"{item.name.replace('_', ' ')} {_shown(value)}")
    return (f"taken from what the checkpoint says besides its weights: {', '.join(parts)}",) if parts else ()


def _shown(value: Any) -> str:
    return "/".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)
