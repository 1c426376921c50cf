"""What a network's outputs mean: kept through files, decisions and evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from edge_effnet.errors import UsageError

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
