"""An `.onnx` file's metadata properties, and the files that travel in them: base64, since protobuf's texts are UTF-8.

Source of the field numbers: onnx.proto (https://github.com/onnx/onnx, ModelProto, StringStringEntryProto).
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.packed import MAX_MEMBERS, MAX_TOTAL_BYTES
from edge_effnet.formats.protobuf import encoded_field
from edge_effnet.formats.records import SHOWN

#: ModelProto's metadata_props.
PROPERTIES = 14
#: What opens the key of a property that holds a file; its name follows.
PACKED = "edge_effnet/"


def encoded_property(key: str, value: bytes) -> bytes:
    """The field of a property. value: UTF-8."""
    return encoded_field(PROPERTIES, encoded_field(1, key.encode("utf-8")) + encoded_field(2, value))


def packed_properties(files: Mapping[str, bytes]) -> bytes:
    """The fields of files that travel with a model. files: name → content."""
    return b"".join(encoded_property(PACKED + name, b64encode(content)) for name, content in files.items())


def packed_in(properties: Mapping[str, str], name: str) -> dict[str, bytes]:
    """Name → content of the files in a model's properties, within the bounds of a `.tflite`'s packed files.

    name: of the model. Raises ModelFileError for no base64, and for more or larger files.
    """
    texts = {key: text for key, text in properties.items() if key.startswith(PACKED)}
    size = sum(map(len, texts.values())) * 3 // 4
    if len(texts) > MAX_MEMBERS or size > MAX_TOTAL_BYTES:
        raise ModelFileError(
            f"{name}: {len(texts)} packed files of {size} bytes together; at most {MAX_MEMBERS} of {MAX_TOTAL_BYTES} "
            "are read"
        )
    return {key.removeprefix(PACKED): _decoded(text, key, name) for key, text in texts.items()}


def _decoded(text: str, key: str, name: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ModelFileError(
            f"{name}: its metadata {key!r:.{SHOWN}} is no base64 ({error}); get the file again"
        ) from error
