"""Groups of labels whose scores are added up: three breeds at 37, 35 and 18 % are a cat at 90 %."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_effnet.arguments import one_of, texts
from edge_effnet.errors import UsageError
from edge_effnet.labels import find_label_indices


@dataclass(frozen=True, eq=False)
class Grouping:
    """Which classes count as one. stands_for: int64[C], the class that a class's score is added to, the group's first.

    labels: a group's name for each of its classes, the own label for the others. among: the classes that are left.
    """

    stands_for: npt.NDArray[np.int64]
    labels: tuple[str, ...]

    @property
    def among(self) -> frozenset[int]:
        """The classes that have a score: the first one of each group, and those in no group."""
        return frozenset(self.stands_for.tolist())

    def add_up(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """float32[C] from float32[C]: a group's score at its first class, 0 at the others of it."""
        return np.bincount(self.stands_for, weights=scores, minlength=len(scores)).astype(np.float32)


def make_grouping(groups: Mapping[str, Sequence[str]], labels: Sequence[str]) -> Grouping:
    """The grouping of a model's labels. groups: name → labels (or class indices as text).

    Raises UsageError for an unknown label, one in two groups, and a group's name that is another label.
    """
    stands_for, named = np.arange(len(labels)), list(labels)
    taken: dict[int, str] = {}
    for name, members in one_of(groups, Mapping, "groups").items():  # type: ignore[type-abstract]
        members = texts(members, f"the group {one_of(name, str, 'the name of a group')!r}")
        found = sorted(find_label_indices(members, labels))
        if not found:
            raise UsageError(f"group {name!r} has no labels; expected NAME=LABEL,LABEL")
        for index in found:
            if index in taken:
                raise UsageError(f"label {labels[index]!r} is in the groups {taken[index]!r} and {name!r}; choose one")
            taken[index], named[index], stands_for[index] = name, name, found[0]
    _check_names(groups, labels, taken)
    return Grouping(stands_for, tuple(named))


def _check_names(groups: Mapping[str, Sequence[str]], labels: Sequence[str], taken: Mapping[int, str]) -> None:
    names = {name.casefold() for name in groups}
    clash = next(
        (label for index, label in enumerate(labels) if label.casefold() in names and index not in taken), None
    )
    if clash is not None:
        raise UsageError(f"group {clash!r} is called like a label that isn't in it; give the group another name")


def parse_groups(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Groups as the command line has them: NAME=LABEL,LABEL each, or the path of a file with one such a line.

    Raises UsageError saying which text isn't one.
    """
    groups: dict[str, tuple[str, ...]] = {}
    for text in given:
        for line in [text] if "=" in text else _lines(text):
            name, _, members = line.partition("=")
            found = tuple(part.strip() for part in members.split(",") if part.strip())
            if not name.strip() or not found or name.strip() in groups:
                raise UsageError(f"group {line!r}: expected NAME=LABEL,LABEL, each name once")
            groups[name.strip()] = found
    return groups


def _lines(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a file that aren't empty or comments."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"group {path!s}: neither NAME=LABEL,LABEL nor a file with such lines that can be read ({error})"
        ) from error
    return [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
