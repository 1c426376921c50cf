"""A Keras layer together with what it reads and its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_effnet.errors import CheckpointError, OperatorError
from edge_effnet.exporters.inputs.assembly.assembler import Assembler
from edge_effnet.exporters.inputs.assembly.operands import Operand, Probabilities, clipped, hard_sigmoid
from edge_effnet.exporters.inputs.assembly.value import Value, refuse
from edge_effnet.exporters.inputs.keras.archive import Array
from edge_effnet.exporters.inputs.keras.config import Layer
from edge_effnet.exporters.inputs.keras.weights import Weights
from edge_effnet.network.activations import LEAK, Kind

_KINDS: dict[str, Kind] = {
    "swish": "swish",
    "silu": "swish",
    "sigmoid": "sigmoid",
    "relu": "relu",
    "relu6": "relu6",
    "tanh": "tanh",
    "hard_swish": "hard_swish",
    "hard_silu": "hard_swish",
}
#: tf.keras' and Keras 2's hard sigmoid; Keras 3's is relu6(x + 3) / 6.
_OLD_HARD_SIGMOID = (0.2, 0.5)


@dataclass(frozen=True, eq=False)
class Call:
    """One use of a layer. version: of the Keras that wrote the file."""

    assembler: Assembler
    layer: Layer
    operands: Sequence[Operand]
    weights: Weights
    version: str

    @property
    def value(self) -> Value:
        """The first tensor that the layer reads."""
        found = self.operands[0] if self.operands else None
        if not isinstance(found, Value):
            refuse(f"layer {self.layer.name!r:.80} behind a softmax or without an input", "a tensor of the network")
        return found

    def option(self, key: str, default: Any = None) -> Any:
        """A value of the layer's configuration."""
        found = self.layer.config.get(key)
        return default if found is None else found

    def pair(self, key: str) -> tuple[int, int]:
        """Two whole numbers, from a list of two or one for both."""
        found = self.option(key, 1)
        both = found if isinstance(found, list | tuple) else (found, found)
        if len(both) != 2 or not all(isinstance(item, int) and 0 < item < 4096 for item in both):
            raise OperatorError(f"layer {self.layer.name!r:.80} has {key} {found!r:.60}; expected two whole numbers")
        return both[0], both[1]

    def square(self, key: str) -> int:
        """One whole number, the same along both sides."""
        first, second = self.pair(key)
        if first != second:
            refuse(f"layer {self.layer.name!r:.80} with {key} {first}, {second}", "the same along both sides")
        return first

    def agree(self, key: str, held: tuple[int, ...]) -> None:
        """Raises CheckpointError where the configuration says other numbers than the weights have: `held`."""
        said = self.option(key, held)
        if (tuple(said) if isinstance(said, list | tuple) else (said,) * len(held)) != held:
            numbers = list(held) if len(held) > 1 else held[0]
            raise CheckpointError(
                f"layer {self.layer.name!r:.80} has {key} {said!r:.60} in its configuration, and weights of {numbers}; "
                "expected those of one model: save it anew with model.save('model.keras')"
            )

    def variables(self, *names: str) -> dict[str, Array]:
        """The layer's weights, in the order in which Keras makes them."""
        return self.weights.of(self.layer, names)

    def numbers(self, key: str, default: float) -> Array:
        """A number or nested lists of them."""
        try:
            return np.asarray(self.option(key, default), np.float64)
        except (TypeError, ValueError) as error:
            raise OperatorError(f"layer {self.layer.name!r:.80} has {key} that is no number") from error


def activated(call: Call, value: Value, activation: Any) -> Operand:
    """The layer's own activation, by the name or the record that its configuration has."""
    options: dict[str, Any] = {}
    if isinstance(activation, dict):
        found = activation.get("config")
        options = found if isinstance(found, dict) else {}
        activation = found if isinstance(found, str) else activation.get("class_name")
    name = str(activation or "linear").rsplit(">", 1)[-1].lower()
    label = f"{call.layer.name}.{name}"
    if name == "linear":
        return value
    if name in _KINDS:
        return call.assembler.activation(value, _KINDS[name], name=label)
    if name == "softmax":
        if value.elements != value.channels:
            refuse(f"layer {call.layer.name!r:.80}, a softmax on {list(value.shape)}", "one over the classes")
        return Probabilities(value)
    if name == "hard_sigmoid":
        slope, offset = _OLD_HARD_SIGMOID if not call.version.startswith("3") else (1 / 6, 0.5)
        return hard_sigmoid(call.assembler, value, slope, offset, name=label)
    if name in ("leaky_relu", "leakyrelu"):
        return leaky(call, value, options.get("negative_slope", options.get("alpha", 0.2)), label)
    refuse(f"layer {call.layer.name!r:.80}, the activation {name!r:.60}", f"one of {', '.join(_KINDS)}, softmax")


def leaky(call: Call, value: Value, slope: Any, name: str) -> Operand:
    """A leaky ReLU of the one slope that the operator table has."""
    if slope != LEAK:
        refuse(f"{name!r:.80}, a leaky ReLU of slope {slope!r:.20}", f"the slope {LEAK}")
    return call.assembler.activation(value, "leaky_relu", name=name)


def rectified(call: Call) -> Operand:
    """A ReLU layer, with or without an upper bound."""
    if call.option("threshold", 0.0) != 0:
        refuse(f"layer {call.layer.name!r:.80} with a threshold", "0")
    slope, most = call.option("negative_slope", 0.0), call.option("max_value")
    if isinstance(slope, list):
        slope = slope[0] if slope else 0.0
    if slope:
        return leaky(call, call.value, slope, call.layer.name)
    return clipped(call.assembler, call.value, 0.0, float("inf") if most is None else float(most), name=call.layer.name)
