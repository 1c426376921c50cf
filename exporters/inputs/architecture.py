"""The published name of a network, where something beside its weights says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edge_effnet.exporters.families.names import parse_model_name
from edge_effnet.exporters.inputs.records import Record, plain
from edge_effnet.text import parse_json

#: Characters of a name, and bytes of a config.json.
_MAX_NAME, _MAX_CONFIG_BYTES = 500, 1 << 20
#: Keys that are always it, and those that are where a name we know stands there.
_SURE, _LIKELY = ("arch",), ("model", "model_name", "architecture", "backbone", "encoder", "encoder_name", "name")


def architecture_in(holders: Iterable[Mapping[str, Any]]) -> str | None:
    """timm's `arch`, or a known model's name among the options that a trainer stores."""
    for holder in holders:
        names = [(key, _short(holder.get(key))) for key in (*_SURE, *_LIKELY)]
        found = next((name for key, name in names if name and (key in _SURE or parse_model_name(name))), None)
        if found is not None:
            return found
    return None


def _short(name: Any) -> str | None:
    """Without the hub before it (`hf-hub:timm/efficientnet_b0.ra_in1k`)."""
    return name.rpartition("/")[2] if isinstance(name, str) and len(name) <= _MAX_NAME else None


def architecture_of(settings: Mapping[str, Any]) -> str | None:
    """The published name that a timm module carries in its configuration."""
    for key in ("pretrained_cfg", "default_cfg"):
        config = settings.get(key)
        config = plain(config) if isinstance(config, Record) else config
        name, tag = (config.get("architecture"), config.get("tag")) if isinstance(config, Mapping) else (None, None)
        if isinstance(name, str):
            return f"{name}.{tag}" if isinstance(tag, str) and tag else name
    return None


def architecture_beside(path: Path | None) -> str | None:
    """The `architecture` of a hub folder's config.json, with the tag of its pretrained configuration."""
    try:
        config = parse_json(_text(path)) if path and path.is_file() else {}
    except (OSError, ValueError):
        return None
    name = config.get("architecture") if isinstance(config, dict) else None
    if not isinstance(name, str):
        return None
    pretrained = config.get("pretrained_cfg")
    tag = pretrained.get("tag") if isinstance(pretrained, dict) else None
    return f"{name}.{tag}" if isinstance(tag, str) and tag and "." not in name else name


def _text(path: Path) -> str:
    """At most _MAX_CONFIG_BYTES of it: JSON that is cut off is none."""
    with open(path, "rb") as file:
        return file.read(_MAX_CONFIG_BYTES).decode("utf-8")
