"""`Network`: the one record between inputs and everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_effnet.heads import Head, HeadKind, Output
from edge_effnet.network.graph import Graph
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.preprocessing import Preprocessing

__all__ = ["Head", "HeadKind", "Network", "Origin", "Output"]


@dataclass(frozen=True)
class Origin:
    """Where a network comes from.

    form: "state dict", "module", "keras", "onnx", "tflite". dialect: whose names and rules ("timm", "keras" …).
    sha256: of the file, or of names and values. padding: "symmetric", "same", "same-baked", or None where each
    convolution says it. bn_eps: None where batch norm came folded. details: more that is worth keeping, plain JSON.
    """

    form: str
    dialect: str
    sha256: str
    padding: str | None = None
    bn_eps: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The document's `source`."""
        known = {"dialect": self.dialect, "sha256": self.sha256, "padding": self.padding, "bn_eps": self.bn_eps}
        return {**self.details, **known, "form": self.form}


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network, ready to be quantized and written.

    graph: float, for normalised images; its first output is the head's, before any softmax or sigmoid ("logits"),
    whatever `head.output` says. architecture: "b0", "lite2", "v2_s" …, or None. labels: as the input brought them.
    """

    graph: Graph
    preprocessing: Preprocessing
    head: Head
    origin: Origin
    architecture: str | None = None
    labels: tuple[str, ...] | None = None
    remarks: tuple[str, ...] = ()

    @property
    def output_size(self) -> int:
        """Values of the head's output: classes, or features."""
        return int(tensor_shapes(self.graph)[self.graph.output_name][-1])

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the input, in pixels."""
        return self.graph.input_shape[1], self.graph.input_shape[2]
