"""The official TFLite Metadata, so that MediaPipe Tasks and other clients open a file: a flatbuffer inside the model.

Written straight from the published schema (metadata_schema.fbs of tflite-support and MediaPipe, identifier "M001");
the numbers of slots are the fields' positions in that file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from edge_effnet.formats.flatbuffer import FlatBuffer
from edge_effnet.formats.flatbuffer_writer import Numbers, Structure, Value, flatbuffer, index, small, union_kind
from edge_effnet.formats.packed import LABELS_NAME
from edge_effnet.metadata import ModelDocument

#: Name under which a model's metadata list holds the flatbuffer.
OFFICIAL = "TFLITE_METADATA"
#: (mean, std), each of one number for all channels or of one a channel.
Statistics: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]
IDENTIFIER = b"M001"
#: Entries of a list that are looked at, and its numbers' type.
_MOST, _FLOAT32 = 64, np.dtype("<f4")
_MINIMUM_PARSER_VERSION = "1.0.0"
_TENSOR_AXIS_LABELS = 2
_IMAGE_PROPERTIES = 2
_NORMALIZATION_OPTIONS = 1
_RGB, _GREYSCALE = 1, 2


def official_metadata(document: ModelDocument) -> bytes:
    """The ModelMetadata buffer of a document's file.

    It says that clients must compute (pixel - mean) / std of 0..255 pixels; of int8 files nothing, they take pixels.
    """
    pixels = document.precision == "int8"
    pre = document.preprocessing
    mean, std = ((0.0,), (1.0,)) if pixels else ([255.0 * value for value in part] for part in (pre.mean, pre.std))
    image = _image_tensor(document, mean, std)
    subgraph = Structure({2: [image], 3: [_logits_tensor(labelled=document.labels is not None)]})
    root: dict[int, Value] = {
        0: str(document.extra.get("name") or document.title),
        1: f"{document.num_classes} classes, {document.precision}, by {document.created_by}",
        3: [subgraph],
        7: _MINIMUM_PARSER_VERSION,
    }
    return flatbuffer(Structure(root), identifier=IDENTIFIER)


def statistics_in(buffer: memoryview, *, name: str) -> Statistics | None:
    """(mean, std) of pixels in 0..1 that the first input is normalised with; None where it isn't said, or can't be.

    buffer: a ModelMetadata flatbuffer of the file `name`. Raises ModelFileError where it is damaged.
    """
    if bytes(buffer[4:8]) != IDENTIFIER:
        return None
    subgraphs = FlatBuffer(buffer, name=name).root().tables(3, limit=_MOST)
    inputs = subgraphs[0].tables(2, limit=_MOST) if subgraphs else []
    for unit in inputs[0].tables(4, limit=_MOST) if inputs else []:
        kind, options = unit.union(0)
        if kind == _NORMALIZATION_OPTIONS and options is not None:
            return _sound(*(tuple(map(_in_units, options.numbers(slot, _FLOAT32)[:_MOST])) for slot in (0, 1)))
    return None


def _in_units(value: np.float32) -> float:
    """0.485 of 123.675: of pixels in 0..1, to float32's six digits."""
    return float(f"{float(value) / 255:.6g}")


def _sound(mean: tuple[float, ...], std: tuple[float, ...]) -> Statistics | None:
    """One number each, or one a channel, finite and the second positive."""
    good = len(mean) == len(std) and len(mean) in (1, 3) and all(map(math.isfinite, (*mean, *std)))
    return (mean, std) if good and min(std) > 0 else None


def _image_tensor(document: ModelDocument, mean: Sequence[float], std: Sequence[float]) -> Structure:
    height, width = document.size
    color = small(_GREYSCALE if document.preprocessing.channels == "grey" else _RGB)
    properties = Structure({0: color, 1: Structure({0: index(width), 1: index(height)})})
    normalization = Structure({0: Numbers(np.asarray(mean, np.float32)), 1: Numbers(np.asarray(std, np.float32))})
    return Structure(
        {
            0: "image",
            1: "RGB image",
            3: Structure({0: union_kind(_IMAGE_PROPERTIES), 1: properties}),
            4: [Structure({0: union_kind(_NORMALIZATION_OPTIONS), 1: normalization})],
        }
    )


def _logits_tensor(*, labelled: bool) -> Structure:
    fields: dict[int, Any] = {0: "logits", 1: "One logit for each class, before softmax"}
    if labelled:
        fields[6] = [Structure({0: LABELS_NAME, 2: small(_TENSOR_AXIS_LABELS)})]
    return Structure(fields)
