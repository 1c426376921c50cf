"""Opening a model file for reading: its bytes, read at once, so that what is checked is what the engine gets."""

from __future__ import annotations

import mmap
import os
from typing import TypeAlias

from edge_effnet.errors import ModelFileError
from edge_effnet.reading import UnreadableError, read_file

#: A path, or a file's content.
ModelSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | mmap.mmap"
#: A float32 V2-L takes 474 MB.
MAX_FILE_BYTES = 512 << 20


def open_source(source: ModelSource, *, name: str | None = None) -> tuple[str, memoryview]:
    """(name for messages, the file's bytes as a read-only memoryview).

    Raises ModelFileError for what isn't a readable regular file with content, or is larger than MAX_FILE_BYTES.
    """
    if isinstance(source, (bytes, bytearray, memoryview, mmap.mmap)):
        data = memoryview(source).toreadonly()
        if data.nbytes == 0:
            raise ModelFileError(f"{name or 'model'}: 0 bytes; expected the content of a .tflite or .onnx file")
        return name or "model", data if data.format == "B" and data.ndim == 1 else data.cast("B")
    if not isinstance(source, (str, os.PathLike)):
        raise ModelFileError(f"can't read a model from {type(source).__name__}; expected a path or the file's bytes")
    return name or str(source), memoryview(read_model_bytes(source))


def read_model_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a model file; raises ModelFileError as `open_source` does."""
    try:
        data = read_file(path, most_bytes=MAX_FILE_BYTES)
    except UnreadableError as error:
        raise ModelFileError(f"{path}: {error}; expected a .tflite or .onnx file") from error
    if not data:
        raise ModelFileError(f"{path}: empty (0 bytes); the download or copy may have failed, get it again")
    return data
