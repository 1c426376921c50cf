"""Class names from wherever they lie, and which of them count: what the user says, or what all files agree on.

Sources: torchvision's ImageFolder (`class_to_idx`, `classes`), transformers (`id2label`, `label2id`), timm
(`label_names`), fastai (`CategoryMap`, the vocabulary of its data loaders), Keras' tutorials (`class_indices`),
scikit-learn (`classes_` of a LabelEncoder).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_effnet.errors import EdgeEffnetError, UsageError
from edge_effnet.exporters.inputs.assembly.labels import labels_of
from edge_effnet.exporters.inputs.options import FoundLabels
from edge_effnet.exporters.inputs.records import Record, plain
from edge_effnet.heads import Head, decisions_of
from edge_effnet.label_files import read_labels
from edge_effnet.labels import label_fault, without_background
from edge_effnet.text import printable

#: Name → index, whatever the names look like: those of folders "0" … "10" are sorted as text.
_TO_INDEX = ("class_to_idx", "class_to_index", "label2id", "label_to_idx", "class_indices")
#: Keys that class names lie under.
KEYS = (
    *_TO_INDEX,
    *("idx_to_class", "index_to_class", "idx_to_label", "id2label", "id_to_label", "class_names", "classes"),
    *("label_names", "labels", "categories", "names", "vocab", "class_list", "classes_"),
)
#: Files that stand beside weights.
LABEL_FILES = (
    *("labels.txt", "classes.txt", "class_names.txt", "labels.json", "classes.json", "class_names.json"),
    *("class_indices.json", "class_to_idx.json", "idx_to_class.json", "id2label.json"),
)
_MOST_NODES, _VOCABULARY = 20_000, "CategoryMap"


def labels_under(holder: Mapping[str, Any], where: str) -> Iterator[FoundLabels]:
    """All class names in a mapping that a file holds; numbers alone are none."""
    for key in KEYS:
        value = holder.get(key)
        found = _by_index(value) if key in _TO_INDEX and isinstance(value, Mapping) else labels_of(value)
        if not found or any(label_fault(label) is not None for label in found):
            continue
        if key in _TO_INDEX or not all(map(str.isdecimal, found)):
            yield FoundLabels(f"{key} {where}", found)


def _by_index(names: Mapping[Any, Any]) -> tuple[str, ...] | None:
    try:
        found = {int(index): str(name) for name, index in names.items()}
    except (TypeError, ValueError):
        return None
    whole = len(found) == len(names) and sorted(found) == list(range(len(found)))
    return tuple(found[index] for index in range(len(found))) if whole else None


def vocabulary_in(around: Sequence[Any]) -> list[dict[str, Any]]:
    """fastai's vocabulary as {"vocab": names}, from the records of a pickled Learner; empty where there is none."""
    waiting, seen = deque(around), set[int]()
    while waiting and len(seen) < _MOST_NODES:
        value = waiting.popleft()
        if id(value) in seen or not isinstance(value, Record | Mapping | list | tuple):
            continue
        seen.add(id(value))
        if isinstance(value, Record) and value.kind.endswith(_VOCABULARY):
            content = plain(value)
            items = plain(content.get("items")) if isinstance(content, Mapping) else content
            items = items.get("items") if isinstance(items, Mapping) else items
            if isinstance(items, list | tuple) and items and all(isinstance(item, str) for item in items):
                return [{"vocab": list(items)}]
        waiting.extend(_parts(value))
    return []


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Record):
        return (*value.args, value.state, *value.items, *(part for _, part in value.pairs))
    return value.values() if isinstance(value, Mapping) else value


def labels_beside(weights: Path) -> Iterator[FoundLabels]:
    """Labels in files of a usual name in the weights' folder; a file that holds none is passed over."""
    for name in LABEL_FILES:
        path = weights.with_name(name)
        if not path.is_file():
            continue
        try:
            yield FoundLabels(f"{name} beside the weights", read_labels(path))
        except EdgeEffnetError:
            continue


def settled_labels(
    said: Sequence[str] | None, found: Sequence[FoundLabels], head: Head, outputs: int
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """(the labels that count, remarks on where they come from). said: by the user, who is right but for the order.

    Of those found, the ones that are as many as the classes count, and must agree. Raises UsageError where they don't,
    or where the user says the same names in another order.
    """
    fitting = [one for one in map(_trimmed(head, outputs), found) if one is not None] if head.has_classes else []
    if said is not None:
        other = next((one for one in fitting if _reordered(said, one.labels)), None)
        if other is not None:
            order = _difference(said, other.labels)
            raise UsageError(
                f"--labels and {other.where} have the same {len(said)} names in another order, {order}; "
                "leave --labels out, or rename them in the file that is made (edge-effnet edit) if the file is wrong"
            )
        return tuple(said), ()
    if not fitting:
        return None, _remark_on_others(found, head, outputs)
    first = fitting[0]
    for one in fitting[1:]:
        if [label.casefold() for label in one.labels] != [label.casefold() for label in first.labels]:
            what = _difference(first.labels, one.labels)
            raise UsageError(f"{first.where} and {one.where} disagree: {what}; say which are right: --labels FILE")
    return first.labels, (f"{len(first.labels)} labels taken from {first.where}",)


def _remark_on_others(found: Sequence[FoundLabels], head: Head, outputs: int) -> tuple[str, ...]:
    """That labels were found which are as many as nothing here."""
    if not found or not head.has_classes:
        return ()
    return (f"left out the {len(found[0].labels)} labels of {found[0].where}: the network has {outputs} outputs",)


def _trimmed(head: Head, outputs: int) -> Any:
    """One that is as many as the classes, maybe without a background class; None for others."""

    def trimmed(one: FoundLabels) -> FoundLabels | None:
        labels = without_background(one.labels, outputs)
        fits = len(labels) == decisions_of(head, outputs, labels)
        return FoundLabels(one.where, tuple(labels)) if fits else None

    return trimmed


def _reordered(said: Sequence[str], found: Sequence[str]) -> bool:
    own, other = ([label.casefold() for label in labels] for labels in (said, found))
    return own != other and sorted(own) == sorted(other)


def _difference(one: Sequence[str], other: Sequence[str]) -> str:
    index = next(i for i, pair in enumerate(zip(one, other, strict=True)) if pair[0].casefold() != pair[1].casefold())
    return f"class {index} is {printable(one[index])!r} and {printable(other[index])!r}"
