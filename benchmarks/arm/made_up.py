"""An EfficientNet-B0 with made-up weights as an int8 file, the same operators each time: what the stored counts
count.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_effnet.exporters.families.dialects import BATCH_NORM
from edge_effnet.exporters.families.layout import body_of
from edge_effnet.exporters.families.table import FAMILIES
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.state_dict import default_preprocessing, network_of
from edge_effnet.exporters.outputs.tflite import emit_tflite
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.graph import FloatArray, Graph
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.network.structure import find_blocks
from edge_effnet.quantization.measure.calibration import draw_calibration_set
from edge_effnet.quantization.pipeline import quantize
from edge_effnet.quantization.recipe import PLAIN
from edge_effnet.quantization.stages.gates import rescale_gate
from edge_effnet.quantization.stages.lanes import LaneChoice, split_lanes
from edge_effnet.quantization.stages.swishes import rescale_swish

_CLASSES = 1000
#: What the default recipe did to a trained B0, fixed here so that no rounding moves the count: channels of the wide
#: lane …
_WIDE = {"blocks.0": 16, "blocks.3": 16, "blocks.8": 16, "blocks.15": 128}
#: … equalised swishes, and products whose gates are rescaled.
_SWISHES = ("blocks.0.depthwise.swish.lane1", "blocks.3.depthwise.swish.lane0", "blocks.15.depthwise.swish.lane0")
_PRODUCTS = (
    "blocks.0.se.scale.lane0",
    "blocks.1.se.scale",
    "blocks.3.se.scale.lane1",
    "blocks.8.se.scale.lane1",
    "blocks.15.se.scale.lane1",
)


def made_up_b0(photos: Sequence[Path]) -> bytes:
    """The `.tflite` file; photos only give the scales, and count for nothing in instructions."""
    preprocessing = default_preprocessing("timm", "b0")
    calibration = draw_calibration_set([str(photo) for photo in photos], preprocessing, limit=len(photos), seed=0)
    quantized, _ = quantize(made_up_graph(), calibration, recipe=PLAIN)
    return emit_tflite(
        quantized,
        ModelDocument("b0", preprocessing.crop, _CLASSES, None, preprocessing, "int8", {"dialect": "made up"}),
    )


def made_up_graph() -> Graph:
    """The float network, split and rescaled."""
    graph = network_of(load_checkpoint(_state()), InputOptions(source="timm")).graph
    for block in find_blocks(graph):
        if block.name in _WIDE:
            lanes = tuple(np.split(np.arange(block.channels), [_WIDE[block.name]]))
            graph = split_lanes(graph, LaneChoice(block.name, lanes, gain=0.0))
    shapes = tensor_shapes(graph)
    for swish in _SWISHES:
        graph = rescale_swish(graph, swish, np.full(shapes[swish][3], 2.0))
    for product in _PRODUCTS:
        graph = rescale_gate(graph, product, np.full(shapes[product][3], 0.5))
    return graph


def _state() -> dict[str, FloatArray]:
    """timm's names; every tensor from its name alone, such that activations neither vanish nor explode."""
    shapes: dict[str, tuple[int, ...]] = {}
    body = body_of(FAMILIES["b"], width=1.0, depth=1.0)
    for layer in body.layers:
        shapes[f"{layer.conv}.weight"] = layer.shape
        owner, items = (layer.norm, BATCH_NORM) if layer.norm else (layer.conv, ("bias",))
        shapes |= {f"{owner}.{item}": layer.shape[:1] for item in items}
    shapes |= {"classifier.weight": (_CLASSES, body.head), "classifier.bias": (_CLASSES,)}
    return {name: _tensor(name, shape) for name, shape in shapes.items()}


def _tensor(name: str, shape: tuple[int, ...]) -> FloatArray:
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) > 1:
        return (noise * (2.0 / math.prod(shape[1:])) ** 0.5).astype(np.float32)
    ones = name.endswith((".weight", ".running_var"))  # batch norm's
    return (noise * 0.1 + ones).astype(np.float32)
