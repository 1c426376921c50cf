"""Labelled photos: class folders, or a folder with `labels.csv`."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from edge_effnet.arguments import path_of
from edge_effnet.class_folders import class_folders, class_name, is_none, look_through_class
from edge_effnet.errors import UsageError
from edge_effnet.images import FolderContents, find_images
from edge_effnet.labels import UNKNOWN, find_label_indices, folded

INDEX_FILE = "labels.csv"
#: Between several classes of one row.
_BETWEEN = "|"
#: What becomes of a photo without a class: an error, or one in which none holds.
Without: TypeAlias = Literal["refused", "taken"]
_MOST_INDEX_BYTES = 1 << 28


@dataclass(frozen=True)
class LabelledImage:
    """One photo and the classes it counts as; more than one where several hold, or the model has a label twice."""

    path: Path
    classes: frozenset[int]


def read_dataset(
    folder: str | Path, *, num_classes: int, labels: Sequence[str] | None, without: Without = "refused"
) -> list[LabelledImage]:
    """All labelled photos of a folder, sorted by path.

    With a `labels.csv` in it (columns file,index or file,label; paths relative to the folder) that counts: several
    classes of a photo as a row each, or as "a|b". Otherwise each subfolder is a class, named by a label or an index (or
    by the `label.txt` in it); where the model has no labels, subfolders in sorted order are its classes. without: what
    becomes of a row with a file alone or a folder "none", of photos in which no class holds. Raises UsageError saying
    what doesn't fit.
    """
    folder = path_of(folder, "the data's folder")
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; expected class folders, or a folder with {INDEX_FILE}")
    index = folder / INDEX_FILE
    found = list(
        _from_index(index, num_classes, labels, without)
        if index.is_file()
        else _from_folders(folder, num_classes, labels, without)
    )
    if not found:
        raise UsageError(f"{folder} holds no photos in class folders and no {INDEX_FILE}")
    return sorted(found, key=lambda item: item.path)


def left_out_of(folder: str | Path) -> str | None:
    """What lies in class folders, or beside them, and is no photo of a class; None for nothing, or a `labels.csv`."""
    folder = Path(folder)
    if (folder / INDEX_FILE).is_file() or not folder.is_dir():
        return None
    left_out: Counter[str] = Counter()
    for path in class_folders(folder):
        left_out.update(look_through_class(path).left_out)
    loose = sum(not path.is_dir() for path in folder.iterdir())
    if loose:
        left_out["in no class folder"] = loose
    return FolderContents((), left_out).remark


def draw_alike(items: Sequence[LabelledImage], limit: int | None, *, seed: int) -> list[LabelledImage]:
    """At most `limit` of the photos, from all classes alike, drawn without replacement by `seed`; sorted by path.

    A class after the other gives one, in an order drawn anew each round, until there are enough. None takes all.
    """
    if limit is None or limit >= len(items):
        return list(items)
    random = np.random.default_rng(seed)
    waiting: dict[frozenset[int], list[LabelledImage]] = {}
    for index in random.permutation(len(items)):
        waiting.setdefault(items[index].classes, []).append(items[index])
    drawn: list[LabelledImage] = []
    while len(drawn) < limit:
        classes = sorted((classes for classes, left in waiting.items() if left), key=sorted)
        order = random.permutation(len(classes))[: limit - len(drawn)]
        drawn += [waiting[classes[index]].pop() for index in order]
    return sorted(drawn, key=lambda item: item.path)


def unlabelled_images(folder: str | Path) -> list[Path]:
    """All photos below a folder; raises UsageError when there are none."""
    found = find_images(Path(folder)) if Path(folder).is_dir() else []
    if not found:
        raise UsageError(f"{folder} is no folder with photos")
    return found


def _from_index(
    index: Path, num_classes: int, labels: Sequence[str] | None, without: Without
) -> Iterator[LabelledImage]:
    columns, rows = _read_index(index)
    if "file" not in columns or not {"index", "label"} & set(columns):
        raise UsageError(f"{index} has the columns {', '.join(columns) or 'none'}; expected file,index or file,label")
    found: dict[str, tuple[str, frozenset[int]]] = {}  # by its path, however that is written
    for line, row in rows:
        where = f"{index} line {line}"
        if not row["file"]:
            raise UsageError(f"{where}: names no file; expected file,index or file,label")
        classes = _classes(row, num_classes, labels, where, without)
        name, others = found.get(os.path.normpath(row["file"]), (row["file"], frozenset()))
        found[os.path.normpath(row["file"])] = name, others | classes
    yield from (LabelledImage(index.parent / name, classes) for name, classes in found.values())


def _read_index(index: Path) -> tuple[Sequence[str], list[tuple[int, dict[str, str]]]]:
    """Column names, and the rows with their line numbers."""
    if index.stat().st_size > _MOST_INDEX_BYTES:
        raise UsageError(f"{index} has {index.stat().st_size:,} bytes; at most {_MOST_INDEX_BYTES:,} are read")
    try:
        with open(index, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            return reader.fieldnames or (), [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"can't read {index}: {error}; expected UTF-8 text with the columns file,index or file,label"
        ) from error


def _classes(
    row: dict[str, str], num_classes: int, labels: Sequence[str] | None, where: str, without: Without
) -> frozenset[int]:
    text, label = ((row.get(column) or "").strip() for column in ("index", "label"))
    if text:
        parts = [part.strip() for part in text.split(_BETWEEN)]
        for part in parts:
            if not re.fullmatch("[0-9]{1,9}", part) or int(part) >= num_classes:
                raise UsageError(f"{where}: index {part!r}; expected 0 to {num_classes - 1}")
        return frozenset(map(int, parts))
    if not label:
        if without == "taken":
            return frozenset()
        raise UsageError(f"{where}: has neither index nor label; expected one of them")
    if labels is None:
        raise UsageError(f"{where}: has a label, but the model has none; give them with --labels")
    try:
        whole = folded(label) in map(folded, labels)
        return find_label_indices([label] if whole else label.split(_BETWEEN), labels)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _from_folders(
    folder: Path, num_classes: int, labels: Sequence[str] | None, without: Without
) -> Iterator[LabelledImage]:
    classes = class_folders(folder)
    for index, path in enumerate(classes):
        found = (
            _by_name(class_name(path), labels, without)
            if labels is not None
            else _by_position(index, len(classes), num_classes, folder)
        )
        yield from (LabelledImage(image, found) for image in find_images(path))


def _by_name(name: str, labels: Sequence[str], without: Without) -> frozenset[int]:
    """The classes of that name; none of them for a folder of what is none, where that is taken or learned."""
    if is_none(name) and name not in labels and (without == "taken" or UNKNOWN in labels):
        return frozenset({labels.index(UNKNOWN)} if UNKNOWN in labels else ())
    return find_label_indices([name], labels)


def _by_position(index: int, count: int, num_classes: int, folder: Path) -> frozenset[int]:
    if count != num_classes:
        raise UsageError(
            f"{folder} has {count} class folders, the model {num_classes} classes and no labels; give them with "
            "--labels"
        )
    return frozenset({index})
