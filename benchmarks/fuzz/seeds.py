"""The sound files that are damaged: small networks with every operator of B0 and Lite0, and the bundled model.

The small ones are EfficientNets of an eighth of B0's width at 32 pixels, so that a mutant costs milliseconds and most
hits fall on structure rather than on megabytes of weights.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.exporters.families.build import build_graph
from edge_effnet.exporters.families.dialects import BATCH_NORM, DIALECTS
from edge_effnet.exporters.families.identify import Identified
from edge_effnet.formats import read_model_file, with_document
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.graph import Graph
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.quantization.measure.calibration import draw_calibration_set
from edge_effnet.quantization.pipeline import quantize
from edge_effnet.quantization.records import QuantizedGraph
from edge_effnet.variants import VARIANTS, Variant

SIZE = 32
LABELS = ("one", "two", "three", "four", "five")
FORMATS = ("tflite", "onnx")
_WIDTH = 0.125
_RANDOM_SEED = 6
_PREPROCESSING = Preprocessing(SIZE, SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def seed_files(file_format: str) -> dict[str, bytes]:
    """Name → a sound file, whose document carries the SHA-256 of its weights."""
    files = {}
    for (family, precision), made in _networks().items():
        document = ModelDocument(
            family, SIZE, len(LABELS), LABELS, _PREPROCESSING, precision, {"dialect": "timm-tf"}, created_by="fuzz"
        )
        files[f"{family}-{precision}"] = _emit(made, document, file_format)
    if file_format == "tflite":
        files["bundled"] = BUNDLED_MODEL.read_bytes()
    return files


@functools.cache
def _networks() -> Mapping[tuple[str, str], QuantizedGraph]:
    """(family, precision) → network; both formats are written from the same."""
    photos = draw_calibration_set(_photos(), _PREPROCESSING, limit=8, seed=0)
    made: dict[tuple[str, str], QuantizedGraph] = {}
    for family in ("b0", "lite0"):
        graph = _small_graph(family)
        made |= {(family, "fp32"): QuantizedGraph(graph), (family, "int8"): quantize(graph, photos, seed=0)[0]}
    return made


def unsealed(data: bytes) -> bytes:
    """The same file without the SHA-256 of its weights, as older programs and other makers write them."""
    document = read_model_file(data).document
    if document is None:
        return data
    return with_document(data, replace(document, weights_sha256=None))


def _emit(made: QuantizedGraph, document: ModelDocument, file_format: str) -> bytes:
    if file_format == "tflite":
        from edge_effnet.exporters.outputs.tflite import emit_tflite

        return emit_tflite(made, document)
    from edge_effnet.exporters.outputs.onnx import emit_onnx

    return emit_onnx(made, document)


def trained_like(family: str) -> dict[str, npt.NDArray[np.float32]]:
    """A state dict of a small network in timm's names, as a checkpoint holds it."""
    variant = replace(VARIANTS[family], width=_WIDTH)
    values = dict(_weights(variant))
    state = {}
    for layer in DIALECTS["timm-tf"].layers(variant):
        state[f"{layer.conv}.weight"] = values[f"{layer.name}.weight"]
        owner, items = (f"{layer.name}.bn", BATCH_NORM) if layer.norm else (layer.name, ("bias",))
        state |= {f"{layer.norm or layer.conv}.{item}": values[f"{owner}.{item}"] for item in items}
    return {**state, **{f"classifier.{item}": values[f"classifier.{item}"] for item in ("weight", "bias")}}


def picture_of(seed: int) -> Image.Image:
    """A photo of noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))


def _photos() -> list[Image.Image]:
    return [picture_of(seed) for seed in range(8)]


def _small_graph(family: str) -> Graph:
    variant = replace(VARIANTS[family], width=_WIDTH)
    dialect = DIALECTS["timm-tf"]
    model = Identified(dialect, variant, len(LABELS), dict(_weights(variant)), 1e-3, None, None)
    return build_graph(model, image_size=SIZE, built_for=SIZE)


def _weights(variant: Variant) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Canonical names (see exporters/dialects.py) → random weights of a network that neither explodes nor dies."""
    random = np.random.default_rng(_RANDOM_SEED)
    for name, shape in _shapes(variant).items():
        values = (
            random.standard_normal(shape) * (1.7 / np.prod(shape[1:])) ** 0.5
            if len(shape) > 1
            else random.uniform(-0.1, 0.1, shape)
        )
        yield name, values.astype(np.float32)
        if name.endswith(".weight") and len(shape) == 4 and ".se." not in name:
            for item, (low, high) in {
                "weight": (0.8, 1.2),
                "bias": (-0.1, 0.1),
                "running_mean": (-0.1, 0.1),
                "running_var": (0.5, 1.5),
            }.items():
                yield name.removesuffix("weight") + f"bn.{item}", random.uniform(low, high, shape[0]).astype(np.float32)


def _shapes(variant: Variant) -> Mapping[str, tuple[int, ...]]:
    shapes: dict[str, Any] = {"stem.weight": (variant.stem_channels, 3, 3, 3)}
    for index, block in enumerate(variant.blocks()):
        name, wide = f"blocks.{index}", block.expanded_channels
        if block.has_expand:
            shapes[f"{name}.expand.weight"] = (wide, block.in_channels, 1, 1)
        shapes[f"{name}.depthwise.weight"] = (wide, 1, block.kernel, block.kernel)
        if block.se_channels:
            shapes |= {
                f"{name}.se.reduce.weight": (block.se_channels, wide, 1, 1),
                f"{name}.se.reduce.bias": (block.se_channels,),
            }
            shapes |= {f"{name}.se.expand.weight": (wide, block.se_channels, 1, 1), f"{name}.se.expand.bias": (wide,)}
        shapes[f"{name}.project.weight"] = (block.out_channels, wide, 1, 1)
        last = block.out_channels
    shapes["head.weight"] = (variant.head_channels, last, 1, 1)
    return {**shapes, "classifier.weight": (len(LABELS), variant.head_channels), "classifier.bias": (len(LABELS),)}
