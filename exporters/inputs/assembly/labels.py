"""Class names that a file brings along, in the spellings that exporters use."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: Keys of ONNX's metadata, and of a folder's config.json, that hold class names.
_KEYS = ("labels", "names", "classes", "class_names", "label_names", "id2label")
_MOST_CHARACTERS = 1 << 22


def labels_in(properties: Mapping[str, str], *, own: str) -> tuple[str, ...] | None:
    """The labels in a file's properties; own: the key of this project's document, read elsewhere."""
    for key, text in properties.items():
        if key != own and key.lower() in _KEYS and (found := labels_of_text(text)):
            return found
    return None


def labels_of_text(text: str) -> tuple[str, ...] | None:
    """From JSON, a Python literal, lines or a comma-separated list; None where it is none of them."""
    if not text or len(text) > _MOST_CHARACTERS:
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            return labels_of(parse(text))
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    parts = text.splitlines() if "\n" in text.strip() else text.split(",")
    return tuple(part.strip() for part in parts if part.strip()) or None


def labels_of(content: Any) -> tuple[str, ...] | None:
    """From a list or array of names, or a mapping index → name or name → index; None for anything else."""
    if isinstance(content, np.ndarray) and content.dtype.kind == "U" and content.ndim == 1:
        content = content.tolist()
    if isinstance(content, Mapping):
        return _from_mapping(content)
    if isinstance(content, Sequence) and not isinstance(content, str) and content:
        return tuple(str(item) for item in content)
    return None


def _from_mapping(content: Mapping[Any, Any]) -> tuple[str, ...] | None:
    for pairs in (content.items(), ((value, key) for key, value in content.items())):
        try:
            named = {int(index): str(name) for index, name in pairs}
        except (TypeError, ValueError):
            continue
        if named and sorted(named) == list(range(len(named))):
            return tuple(named[index] for index in range(len(named)))
    return None
