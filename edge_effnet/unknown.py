"""When a photo is none of a network's classes: it resembles none of the photos that the network was taught with.

A softmax shares 1 among the classes whatever it sees. The features tell more: the mean cosine similarity to the nearest
features of known photos. Measured (benchmarks/learning.py): docs/learn.md.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import ModelFileError, UsageError
from edge_effnet.labels import UNKNOWN, label_of

Array: TypeAlias = npt.NDArray[np.float32]
#: By the file's references where it has some; never; or by the scores alone, which tell less.
UnknownMode: TypeAlias = Literal["auto", "off", "scores"]
UNKNOWN_MODES: tuple[UnknownMode, ...] = get_args(UnknownMode)
#: Name of the references among a file's packed files.
REFERENCES_NAME = "edge_effnet_references.int8"
_MOST_REFERENCES = 1 << 16
#: e^40 is beyond what float32 tells from 1 beside it; nothing overflows.
_MOST_EXPONENT = 40.0


@dataclass(frozen=True)
class UnknownRule:
    """The document's `unknown`: how the references decide.

    threshold: mean cosine similarity to the `neighbours` nearest references below which a photo is unknown. width: the
    similarity that makes unknown e times as likely. references: how many; share: of own photos that may be called
    unknown, as asked for. sha256: of the references.
    """

    threshold: float
    width: float
    neighbours: int
    references: int
    share: float
    sha256: str

    def __post_init__(self) -> None:
        if not (-1 <= self.threshold <= 1 and 0 < self.width <= 2 and 0 <= self.share <= 1):
            raise UsageError(f"unknown: threshold {self.threshold}, width {self.width}, share {self.share}")
        if not 1 <= self.neighbours <= self.references <= _MOST_REFERENCES:
            raise UsageError(f"unknown: {self.neighbours} neighbours of {self.references} references")

    def to_dict(self) -> dict[str, Any]:
        """The document's object."""
        return {"measure": "similarity", **asdict(self)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> UnknownRule:
        """From the document's object; raises UsageError for what is missing or impossible."""
        try:
            if fields["measure"] != "similarity":
                raise UsageError(f"unknown: measure {fields['measure']!r:.40}; expected 'similarity'")
            return cls(
                threshold=float(fields["threshold"]),
                width=float(fields["width"]),
                neighbours=int(fields["neighbours"]),
                references=int(fields["references"]),
                share=float(fields["share"]),
                sha256=str(fields["sha256"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"unknown: {error} in {fields!s:.200}") from error


@dataclass(frozen=True)
class UnknownMeasure:
    """What was measured of one photo. measure: "similarity", or "scores", the weaker one; below `threshold` the photo
    is unknown.
    """

    measure: str
    value: float
    threshold: float

    @property
    def is_unknown(self) -> bool:
        """Whether the photo is none of the classes."""
        return self.value < self.threshold

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "is_unknown": self.is_unknown}


class References:
    """The features of known photos, ready to be compared with. rows: float32[R, D] of length 1."""

    def __init__(self, rule: UnknownRule, rows: Array) -> None:
        self.rule, self.rows = rule, rows

    def similarity(self, features: Array) -> float:
        """Mean cosine similarity of float32[D] to the nearest references, -1..1."""
        return nearest_similarity(self.rows, features[None], self.rule.neighbours)[0]

    def measure(self, features: Array) -> UnknownMeasure:
        """What is said of a photo with these features."""
        return UnknownMeasure("similarity", self.similarity(features), self.rule.threshold)


def nearest_similarity(rows: Array, features: Array, neighbours: int) -> list[float]:
    """Of each of float32[N, D], the mean cosine similarity to its nearest `neighbours` of float32[R, D] unit rows."""
    lengths = np.maximum(np.linalg.norm(features, axis=1), 1e-12)
    similar = (features @ rows.T) / lengths[:, None]
    nearest = np.partition(similar, -neighbours, axis=1)[:, -neighbours:]
    return [float(value) for value in nearest.astype(np.float64).mean(axis=1)]


def packed_references(rows: Array) -> bytes:
    """int8[R, D] of float32[R, D]: directions alone, each row to its own largest value."""
    largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-12)
    return np.rint(rows * (127 / largest)).astype(np.int8).tobytes()


def unpacked_references(content: bytes, count: int) -> Array:
    """float32[R, D] of length 1 from what `packed_references` gives."""
    rows = np.frombuffer(content, np.int8).reshape(count, -1).astype(np.float32)
    found: Array = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return found


def read_references(rule: UnknownRule, content: bytes | None, *, size: int, name: str) -> References:
    """The references of a file with features of that size; raises ModelFileError where they don't fit."""
    found = -1 if content is None else len(content)
    if content is None or found != rule.references * size:
        raise ModelFileError(
            f"{name}: has {max(found, 0):,} bytes of references for unknown; expected {rule.references} × {size}; get "
            "it again"
        )
    if hashlib.sha256(content).hexdigest() != rule.sha256:
        raise ModelFileError(f"{name}: its references for unknown don't have the SHA-256 that it says; get it again")
    return References(rule, unpacked_references(content, rule.references))


def with_unknown(scores: Array, measured: UnknownMeasure, *, width: float, place: int) -> Array:
    """float32[A], sums to 1: the scores with unknown's share at `place`, a class's own or one more behind them.

    Unknown has the largest score exactly where the measure lies below its threshold, or where the network itself
    says so, having learned it as a class. scores: float32[C], sums to 1.
    """
    found = np.zeros(max(len(scores), place + 1), np.float64)
    found[: len(scores)] = scores
    own = float(np.delete(found, place).max())
    exponent = (measured.threshold - measured.value) / width
    found[place] += own * math.exp(min(max(exponent, -_MOST_EXPONENT), _MOST_EXPONENT))
    result: Array = (found / found.sum()).astype(np.float32)
    return result


def with_unknown_by_scores(scores: Array, *, place: int) -> tuple[Array, UnknownMeasure]:
    """Likewise from the scores alone: unknown weighs what the best of them lacks of 1, so below a half it leads.

    Softmax scores share 1 among the classes of whatever photo: this tells much less than references do.
    """
    best = float(scores.max())
    found = np.append(scores.astype(np.float64), np.zeros(place + 1 - len(scores)))
    found[place] += 1.0 - best
    return (found / found.sum()).astype(np.float32), UnknownMeasure("scores", best, 0.5)


#: How unknown is told: by the file's references, by the scores, or not at all.
Told: TypeAlias = Literal["references", "scores", "nothing"]


class Answers:
    """What a prediction may be. labels: the classes' and, where it is told and isn't one of them, unknown; count: how
    many. told: how.
    """

    def __init__(self, labels: tuple[str, ...] | None, classes: int, told: Told, references: References | None) -> None:
        self.told, self._references = told, references
        self._place = classes if labels is None or UNKNOWN not in labels else labels.index(UNKNOWN)
        self.count = classes if told == "nothing" else max(classes, self._place + 1)
        self.labels = labels
        if self.count > classes:
            known = labels if labels is not None else tuple(label_of(index, None) for index in range(classes))
            self.labels = (*known, UNKNOWN)

    def measured(self, features: Array | None) -> UnknownMeasure | None:
        """What the references say of float32[D] features; None without either."""
        if self._references is None or features is None:
            return None
        return self._references.measure(features)

    def judge(self, scores: Array, measured: UnknownMeasure | None) -> tuple[Array, UnknownMeasure | None]:
        """(float32[count], what was measured) of a softmax's float32[C] and what the references say."""
        if measured is not None and self._references is not None:
            return with_unknown(scores, measured, width=self._references.rule.width, place=self._place), measured
        if self.told == "scores":
            return with_unknown_by_scores(scores, place=self._place)
        return scores, None
