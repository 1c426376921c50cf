"""The sound files that are damaged: small networks with every operator of B0 and Lite0, and the bundled model.

The small ones are EfficientNets of an eighth of B0's width at 32 pixels, so that a mutant costs milliseconds and most
hits fall on structure rather than on megabytes of weights.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.exporters.families.layout import body_of
from edge_effnet.exporters.families.records import Body
from edge_effnet.exporters.families.table import FAMILIES
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.state_dict import network_of
from edge_effnet.formats import read_model_file, with_document
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.graph import Graph
from edge_effnet.preprocessing import Preprocessing
from edge_effnet.quantization.measure.calibration import draw_calibration_set
from edge_effnet.quantization.pipeline import quantize
from edge_effnet.quantization.records import QuantizedGraph
from edge_effnet.variants import VARIANTS

SIZE = 32
LABELS = ("one", "two", "three", "four", "five")
FORMATS = ("tflite", "onnx")
#: Of B0's.
WIDTH = 0.125
_RANDOM_SEED = 6
_NORM_RANGES = {
    "weight": (0.8, 1.2),
    "bias": (-0.1, 0.1),
    "running_mean": (-0.1, 0.1),
    "running_var": (0.5, 1.5),
}
_PREPROCESSING = Preprocessing(SIZE, SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def seed_files(file_format: str) -> dict[str, bytes]:
    """Name → a sound file, whose document carries the SHA-256 of its weights."""
    files = {
        f"{family}-{precision}": _emit(made, _document(family, precision), file_format)
        for (family, precision), made in _networks().items()
    }
    if file_format == "tflite":
        files["bundled"] = BUNDLED_MODEL.read_bytes()
    return files


def float_file(file_format: str) -> bytes:
    """Its fp32 B0 alone, which takes no quantization."""
    return _emit(QuantizedGraph(_small_graph("b0")), _document("b0", "fp32"), file_format)


def _document(family: str, precision: str) -> ModelDocument:
    return ModelDocument(
        family, SIZE, len(LABELS), LABELS, _PREPROCESSING, precision, {"dialect": "timm-tf"}, created_by="fuzz"
    )


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
    variant = VARIANTS[family]
    body = body_of(FAMILIES[variant.family], width=WIDTH, depth=variant.depth, dialect="timm-tf")
    return trained_weights(body)


def trained_weights(body: Body) -> dict[str, npt.NDArray[np.float32]]:
    """Those of any body in timm's names."""
    return dict(_weights(body))


def picture_of(seed: int) -> Image.Image:
    """A photo of noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))


def _photos() -> list[Image.Image]:
    return [picture_of(seed) for seed in range(8)]


def _small_graph(family: str) -> Graph:
    options = InputOptions(source="timm-tf", image_size=(SIZE, SIZE))
    return network_of(load_checkpoint(trained_like(family)), options).graph


def _weights(body: Body) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """timm's names → random weights of a network that neither explodes nor dies."""
    random = np.random.default_rng(_RANDOM_SEED)
    for layer in body.layers:
        yield f"{layer.conv}.weight", _kernel(random, layer.shape)
        if layer.norm is None:
            yield f"{layer.conv}.bias", random.uniform(-0.1, 0.1, layer.shape[0]).astype(np.float32)
            continue
        for item, (low, high) in _NORM_RANGES.items():
            yield f"{layer.norm}.{item}", random.uniform(low, high, layer.shape[0]).astype(np.float32)
    yield "classifier.weight", _kernel(random, (len(LABELS), body.head))
    yield "classifier.bias", random.uniform(-0.1, 0.1, len(LABELS)).astype(np.float32)


def _kernel(random: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    return (random.standard_normal(shape) * (1.7 / np.prod(shape[1:])) ** 0.5).astype(np.float32)
