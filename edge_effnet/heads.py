"""What a network's outputs mean: kept through files, decisions and evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import UsageError
from edge_effnet.numerics import softmax

HeadKind: TypeAlias = Literal["softmax", "sigmoid", "raw", "features"]
Output: TypeAlias = Literal["logits", "probabilities"]


@dataclass(frozen=True)
class Head:
    """What the outputs mean, kept through everything: files, decisions, evaluation.

    kind: "softmax", classes that exclude each other; "sigmoid", each class by itself, one alone for yes or no;
    "raw", numbers without classes; "features", pooled values. output: whether the file gives logits, or ends in the
    softmax or sigmoid itself. thresholds: of "sigmoid", one a class, 0..1; 0.5 where there are none.
    """

    kind: HeadKind = "softmax"
    output: Output = "logits"
    thresholds: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for value, known in ((self.kind, get_args(HeadKind)), (self.output, get_args(Output))):
            if value not in known:
                raise UsageError(f"head: {value!r} is unknown; expected one of {', '.join(known)}")
        if self.thresholds is not None and not all(
            math.isfinite(value) and 0 <= value <= 1 for value in self.thresholds
        ):
            raise UsageError(f"head: thresholds {self.thresholds!s:.80}; expected numbers from 0 to 1")
        if self.output == "probabilities" and self.kind not in ("softmax", "sigmoid"):
            raise UsageError(f"head: {self.kind} has no probabilities; expected the output logits")

    @property
    def has_classes(self) -> bool:
        """Whether an output value belongs to a class."""
        return self.kind in ("softmax", "sigmoid")

    @property
    def is_plain(self) -> bool:
        """Whether it is what documents of schema version 1 mean: logits of classes that exclude each other."""
        return self == PLAIN_HEAD

    def to_dict(self) -> dict[str, Any]:
        """The document's `head` object."""
        found: dict[str, Any] = {"kind": self.kind, "output": self.output}
        if self.thresholds is not None:
            found["thresholds"] = list(self.thresholds)
        return found

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Head:
        """From the document's object; raises UsageError for what is missing or impossible."""
        try:
            thresholds = fields.get("thresholds")
            return cls(
                fields["kind"],
                fields["output"],
                None if thresholds is None else tuple(float(value) for value in thresholds),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"head: {error} in {fields!s:.200}") from error


PLAIN_HEAD = Head()

#: Score from which a class that others don't exclude is taken to hold.
DEFAULT_THRESHOLD = 0.5
FloatArray: TypeAlias = npt.NDArray[np.float32]


def decisions_of(head: Head, outputs: int, labels: Sequence[str] | None) -> int:
    """Classes to decide between: as many as outputs, but two where one sigmoid has two labels, no and yes."""
    return 2 if head.kind == "sigmoid" and outputs == 1 and labels is not None and len(labels) == 2 else outputs


def scores_of(head: Head, outputs: FloatArray, decisions: int) -> FloatArray:
    """float32[decisions] in 0..1 from the network's float32[C]; raises UsageError where it has no classes."""
    if not head.has_classes:
        raise UsageError(f"the network gives {head.kind}, {len(outputs)} numbers, and no scores of classes")
    if head.kind == "softmax":
        return outputs if head.output == "probabilities" else softmax(outputs)
    scores = outputs if head.output == "probabilities" else _sigmoid(outputs)
    if decisions == 2 and len(outputs) == 1:
        return np.concatenate([np.float32(1) - scores, scores])
    return scores


def lowest_outputs(head: Head, count: int) -> npt.NDArray[np.float64]:
    """float64[count]: the output from which each class of a sigmoid head holds, a logit or a probability."""
    lowest = np.asarray(head.thresholds or [DEFAULT_THRESHOLD] * count, np.float64)
    if head.output == "probabilities":
        return lowest
    with np.errstate(divide="ignore"):
        return np.log(lowest) - np.log1p(-lowest)


def class_logits(head: Head, outputs: FloatArray, decisions: int) -> FloatArray:
    """float32[decisions] whose largest is the answer: [threshold, z] where one sigmoid's z decides between two labels.

    Raises UsageError where there is nothing to decide between.
    """
    if not head.has_classes or len(outputs) == decisions == 1:
        raise UsageError(
            f"the network gives {head.kind}, {len(outputs)} numbers, which decide between no classes; one logit needs "
            "two labels, no and yes: --labels FILE, or edit it"
        )
    if decisions == 2 and len(outputs) == 1:
        return np.concatenate([lowest_outputs(head, 1).astype(np.float32), outputs])
    return outputs


def among_decided(head: Head, scores: FloatArray, among: Set[int] | None) -> Set[int] | None:
    """The classes that hold, where several may at once: at or above their threshold. All others are left as given."""
    if head.kind != "sigmoid" or (head.thresholds is None and len(scores) <= 2):
        return among
    lowest = np.asarray(head.thresholds or [DEFAULT_THRESHOLD] * len(scores), np.float32)
    if len(lowest) != len(scores):
        return among
    holding = frozenset(int(index) for index in np.flatnonzero(scores >= lowest))
    return holding if among is None else holding & among


def _sigmoid(values: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)) in float64, without overflow."""
    found: FloatArray = (1.0 / (1.0 + np.exp(-np.clip(values.astype(np.float64), -700, 700)))).astype(np.float32)
    return found
