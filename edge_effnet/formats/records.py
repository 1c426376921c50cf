"""What both formats share: a model's input and output, and how much of a foreign name a message shows."""

from __future__ import annotations

from dataclasses import dataclass

#: Characters of a name from a file that a message repeats.
SHOWN = 80


@dataclass(frozen=True)
class TensorFacts:
    """An input or output: `shape` has None where a side is free, and is None itself where the file doesn't say it.

    dtype: numpy's name, such as "float32" or "uint8"; for kinds numpy lacks, the format's own ("bfloat16", "sequence").
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
