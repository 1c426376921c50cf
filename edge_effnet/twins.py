"""Labelled photos that are the same file twice, once in each of two classes: at most one of them can be right."""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

from edge_effnet.datasets import LabelledImage
from edge_effnet.decoding import MAX_BYTES
from edge_effnet.reading import read_file

_SHOWN = 3


def twins_in_two_classes(items: Sequence[LabelledImage]) -> tuple[tuple[LabelledImage, ...], ...]:
    """Photos with the same bytes that count as different classes, together; in the order of the first of each.

    Only those are read whose sizes are the same; what can't be read is nobody's twin.
    """
    alike = (same for sized in _groups(items, _size) for same in _groups(sized, _digest))
    return tuple(same for same in alike if len({item.classes for item in same}) > 1)


def remark_on_twins(items: Sequence[LabelledImage]) -> str | None:
    """A line on them; None without any."""
    found = twins_in_two_classes(items)
    if not found:
        return None
    shown = ", ".join(" = ".join(str(item.path) for item in same) for same in found[:_SHOWN])
    more = ", …" if len(found) > _SHOWN else ""
    return f"in two classes, of which one must be wrong: {shown}{more} (photos like that: {len(found):,})"


def _groups(
    items: Iterable[LabelledImage], key: Callable[[LabelledImage], Hashable]
) -> Iterable[tuple[LabelledImage, ...]]:
    """Those with the same key, at least two of them."""
    found: defaultdict[Hashable, list[LabelledImage]] = defaultdict(list)
    for item in items:
        with contextlib.suppress(OSError):
            found[key(item)].append(item)
    return (tuple(same) for same in found.values() if len(same) > 1)


def _size(item: LabelledImage) -> int:
    return item.path.stat().st_size


def _digest(item: LabelledImage) -> bytes:
    return hashlib.sha256(read_file(item.path, most_bytes=MAX_BYTES)).digest()
