"""The official TFLite Metadata, so that MediaPipe Tasks and other clients open a file: a flatbuffer inside the model.

Written straight from the published schema (metadata_schema.fbs of tflite-support and MediaPipe, identifier "M001");
the numbers of slots are the fields' positions in that file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_effnet.formats.flatbuffer_writer import Numbers, Structure, Value, flatbuffer, index, small, union_kind
from edge_effnet.formats.packed import LABELS_NAME
from edge_effnet.metadata import ModelDocument

#: Name under which a model's metadata list holds the flatbuffer.
OFFICIAL = "TFLITE_METADATA"
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
    return flatbuffer(Structure(root), identifier=b"M001")


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
