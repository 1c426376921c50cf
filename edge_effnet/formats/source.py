"""Opening a model file for reading: mapped into memory, nothing copied."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import TypeAlias

from edge_effnet.errors import ModelFileError

#: A path, or a file's content.
ModelSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | mmap.mmap"


def open_source(source: ModelSource, *, name: str | None = None) -> tuple[str, memoryview]:
    """(name for messages, the file's bytes as a read-only memoryview).

    A path is memory-mapped; the mapping lives as long as something refers to the view. Replacing the file by renaming
    leaves the view as it was; shortening the file in place would not.
    Raises ModelFileError for what isn't a readable file with content.
    """
    if isinstance(source, (bytes, bytearray, memoryview, mmap.mmap)):
        data = memoryview(source).toreadonly()
        if data.nbytes == 0:
            raise ModelFileError(f"{name or 'model'}: 0 bytes; expected the content of a .tflite or .onnx file")
        return name or "model", data if data.format == "B" and data.ndim == 1 else data.cast("B")
    if not isinstance(source, (str, os.PathLike)):
        raise ModelFileError(f"can't read a model from {type(source).__name__}; expected a path or the file's bytes")
    return name or str(source), memoryview(_mapped(Path(source)))


def _mapped(path: Path) -> mmap.mmap:
    try:
        if path.is_dir():
            raise ModelFileError(f"{path}: a folder; expected a .tflite or .onnx file")
        if not path.exists():
            raise ModelFileError(f"{path}: no such file; expected a .tflite or .onnx file")
        if not path.is_file():
            raise ModelFileError(f"{path}: not a regular file; expected a .tflite or .onnx file")
        if path.stat().st_size == 0:
            raise ModelFileError(f"{path}: empty (0 bytes); the download or copy may have failed, get it again")
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ModelFileError(f"{path}: can't be read ({reason})") from error
