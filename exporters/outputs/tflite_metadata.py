"""The official TFLite Metadata, so that MediaPipe Tasks and other clients open the file: flatbuffer and packed files.

Written straight from the published schema (metadata_schema.fbs of tflite-support and MediaPipe, identifier "M001");
the numbers passed as slots are the fields' positions in that file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_effnet.formats.packed import LABELS_NAME, packed_files
from edge_effnet.metadata import ModelDocument

__all__ = ["BUFFER_NAME", "LABELS_NAME", "metadata_flatbuffer", "packed_files"]

#: Name under which the model's metadata list holds the flatbuffer.
BUFFER_NAME = "TFLITE_METADATA"
_MINIMUM_PARSER_VERSION = "1.0.0"
_TENSOR_AXIS_LABELS = 2
_IMAGE_PROPERTIES = 2
_NORMALIZATION_OPTIONS = 1
_RGB = 1
_GREYSCALE = 2


def metadata_flatbuffer(document: ModelDocument, *, mean: Sequence[float], std: Sequence[float]) -> bytes:
    """The ModelMetadata buffer: (pixel - mean) / std is what the *client* must compute on 0..255 pixels."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    image = _image_tensor(builder, document.size, mean, std)
    logits = _logits_tensor(builder, labelled=document.labels is not None)
    subgraph = _table(builder, {2: _offsets(builder, [image]), 3: _offsets(builder, [logits])}, size=10)
    root = {
        0: builder.CreateString(str(document.extra.get("name") or document.title)),
        1: builder.CreateString(f"{document.num_classes} classes, {document.precision}, by {document.created_by}"),
        3: _offsets(builder, [subgraph]),
        7: builder.CreateString(_MINIMUM_PARSER_VERSION),
    }
    builder.Finish(_table(builder, root, size=8), file_identifier=b"M001")
    return bytes(builder.Output())


def official_metadata(document: ModelDocument) -> bytes:
    """The buffer for a document: what clients must do with pixels is nothing for int8 files, else mean and std."""
    if document.precision == "int8":
        return metadata_flatbuffer(document, mean=(0.0,), std=(1.0,))
    pre = document.preprocessing
    mean, std = ([255.0 * value for value in values] for values in (pre.mean, pre.std))
    return metadata_flatbuffer(document, mean=mean, std=std)


def _image_tensor(builder: Any, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> int:
    image_size = _scalars(builder, {0: size[1], 1: size[0]}, size=2, kind="Uint32")
    builder.StartObject(2)
    builder.PrependInt8Slot(0, _RGB if len(mean) == 3 else _GREYSCALE, 0)
    builder.PrependUOffsetTRelativeSlot(1, image_size, 0)
    properties = builder.EndObject()
    content = _union(builder, _IMAGE_PROPERTIES, properties)
    options = _table(builder, {0: _floats(builder, mean), 1: _floats(builder, std)}, size=2)
    unit = _union(builder, _NORMALIZATION_OPTIONS, options)
    fields = {
        0: builder.CreateString("image"),
        1: builder.CreateString("RGB image"),
        3: content,
        4: _offsets(builder, [unit]),
    }
    return _table(builder, fields, size=7)


def _logits_tensor(builder: Any, *, labelled: bool) -> int:
    fields = {0: builder.CreateString("logits"), 1: builder.CreateString("One logit for each class, before softmax")}
    if labelled:
        name = builder.CreateString(LABELS_NAME)
        builder.StartObject(5)
        builder.PrependUOffsetTRelativeSlot(0, name, 0)
        builder.PrependInt8Slot(2, _TENSOR_AXIS_LABELS, 0)
        fields[6] = _offsets(builder, [builder.EndObject()])
    return _table(builder, fields, size=7)


def _union(builder: Any, kind: int, value: int) -> int:
    builder.StartObject(3)
    builder.PrependUint8Slot(0, kind, 0)
    builder.PrependUOffsetTRelativeSlot(1, value, 0)
    return int(builder.EndObject())


def _table(builder: Any, slots: dict[int, int], *, size: int) -> int:
    builder.StartObject(size)
    for slot, offset in slots.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return int(builder.EndObject())


def _scalars(builder: Any, slots: dict[int, int], *, size: int, kind: str) -> int:
    builder.StartObject(size)
    for slot, value in slots.items():
        getattr(builder, f"Prepend{kind}Slot")(slot, value, 0)
    return int(builder.EndObject())


def _offsets(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Any, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())
