"""A node of an ONNX graph together with what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_effnet.exporters.inputs.assembly.assembler import Assembler
from edge_effnet.exporters.inputs.assembly.operands import Array, Operand
from edge_effnet.exporters.inputs.assembly.value import Value, refuse
from edge_effnet.exporters.inputs.onnx.reading import Step


@dataclass(frozen=True, eq=False)
class Call:
    """A node with its operands. `opset`: the file's version of ONNX's operators."""

    assembler: Assembler
    step: Step
    operands: Sequence[Operand | None]
    opset: int

    @property
    def name(self) -> str:
        """What messages and the graph call it."""
        return self.step.name or (self.step.outputs[0] if self.step.outputs else self.step.op)

    @property
    def value(self) -> Value:
        """The first operand, a tensor of the network."""
        found = self.operands[0]
        if not isinstance(found, Value):
            refuse(f"{self.step.op} ({self.name!r}) behind a softmax or on a constant", "a tensor of the network")
        return found

    def constant(self, place: int) -> Array | None:
        """An operand that must be constant, None where it is absent."""
        found = self.operands[place] if place < len(self.operands) else None
        if found is None or isinstance(found, np.ndarray):
            return found
        refuse(f"{self.step.op} ({self.name!r}) with weights computed from the image", "constant weights")

    def weights(self, place: int) -> Array:
        """A constant that must be there, as float32."""
        found = self.constant(place)
        if found is None:
            refuse(f"{self.step.op} ({self.name!r}) without weights", "constant weights")
        return found.astype(np.float32, copy=False)

    @property
    def constants(self) -> list[Array | None]:
        """All operands, those of the network left out."""
        return [item if isinstance(item, np.ndarray) else None for item in self.operands]
