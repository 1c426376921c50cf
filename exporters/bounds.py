"""Whether a network's file could be read and run again, said before the work: its bytes, and what lives at once."""

from __future__ import annotations

import math
from collections.abc import Mapping

from edge_effnet.errors import UsageError
from edge_effnet.formats.bounds import MOST_LIVE_BYTES, live_bytes
from edge_effnet.formats.source import MAX_FILE_BYTES
from edge_effnet.network.graph import Graph, is_activation
from edge_effnet.network.operators import tensor_shapes

#: Bytes that a weight takes in a file, the smallest last; and that a value takes in the reader's count.
_WEIGHT_BYTES: Mapping[str, int] = {"fp32": 4, "fp16": 2, "int8": 1, "weight-int8": 1}
_VALUE_BYTES = 4
#: Sides that all strides divide.
_STEP = 32


def check_fits(graph: Graph, precision: str, ending: str) -> None:
    """Raises UsageError for a file that would be larger, or need more memory at once, than is read and run again."""
    weights = graph.weight_bytes() // _WEIGHT_BYTES["fp32"]
    size = weights * _WEIGHT_BYTES[precision]
    if size > MAX_FILE_BYTES:
        raise UsageError(
            f"the network has {weights / 1e6:,.0f} million weights, a file of {size >> 20:,} MiB in {precision}; files "
            f"of at most {MAX_FILE_BYTES >> 20} MiB are read: {_smaller(weights)}"
        )
    most = _most_live(graph)
    if ending == ".tflite" and most > MOST_LIVE_BYTES:
        _, height, width, _ = graph.input_shape
        fitting = math.sqrt(MOST_LIVE_BYTES / most)
        sides = [int(side * fitting) // _STEP * _STEP for side in (height, width)]
        raise UsageError(
            f"at {height}×{width} pixels the network needs {most >> 20:,} MiB for its tensors at once; files that need "
            f"at most {MOST_LIVE_BYTES >> 20} MiB are run: --image-size {'x'.join(map(str, dict.fromkeys(sides)))}, or "
            "an .onnx file"
        )


def _smaller(weights: int) -> str:
    """The precisions in which so many weights fit."""
    fitting = [name for name, size in _WEIGHT_BYTES.items() if weights * size <= MAX_FILE_BYTES]
    return f"--precision {' or '.join(fitting)}" if fitting else "no precision is small enough"


def _most_live(graph: Graph) -> int:
    """Bytes that live at once in a `.tflite` of the graph, where swish is two operators."""
    numbers = {name: number for number, name in enumerate((graph.input_name, *(node.name for node in graph.nodes)))}
    shapes = tensor_shapes(graph)
    sizes = {number: math.prod(shapes[name]) * _VALUE_BYTES for name, number in numbers.items()}
    steps: list[tuple[list[int], list[int]]] = []
    for node in graph.nodes:
        inputs, output = [numbers[name] for name in node.inputs], numbers[node.name]
        if is_activation(node, "swish"):
            gate = len(sizes)
            sizes[gate] = sizes[output]
            steps.append((inputs, [gate]))
            inputs = [*inputs, gate]
        steps.append((inputs, [output]))
    return live_bytes(steps, sizes, [numbers[name] for name in graph.outputs])
