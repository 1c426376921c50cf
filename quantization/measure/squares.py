"""Prepared photos, kept: in memory up to a bound, in a temporary file above it."""

from __future__ import annotations

import tempfile
import threading
from typing import IO

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import OutputError

Square = npt.NDArray[np.uint8]
#: Bytes kept in memory; 1,700 photos of 224 × 224 pixels.
MEMORY_BYTES = 256 * 1024 * 1024


class PreparedSquares:
    """Arrays of one shape, appended one by one; several threads may read them.

    memory_bytes: kept in memory at most. What is more lies in a file that ends with this object or its process.
    """

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._kept: list[Square] = []
        self._file: IO[bytes] | None = None
        self._spilled = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept) + self._spilled

    def __getitem__(self, index: int) -> Square:
        """uint8[H, W, 3], not to be written to."""
        position = range(len(self))[index]
        return self._kept[position] if position < len(self._kept) else self._read(position - len(self._kept))

    def append(self, square: Square) -> None:
        """square: uint8[H, W, 3], of the same shape as those before. Raises OutputError when the disk is full."""
        if not self._kept or (len(self._kept) + 1) * square.nbytes <= self._memory_bytes:
            self._kept.append(np.array(square, order="C"))
            self._kept[-1].flags.writeable = False
            return
        try:
            self._spill(square)
        except OSError as error:
            raise OutputError(
                f"can't keep prepared photos in {tempfile.gettempdir()} ({error.strerror or error}), where those above "
                f"{self._memory_bytes:,} bytes go; set TMPDIR to another place, or take fewer photos"
            ) from error

    def _spill(self, square: Square) -> None:
        with self._lock:
            file = self._opened()
            file.seek(self._spilled * square.nbytes)
            file.write(np.ascontiguousarray(square).data)
            file.flush()
            self._spilled += 1

    def _read(self, number: int) -> Square:
        first = self._kept[0]
        with self._lock:
            file = self._opened()
            file.seek(number * first.nbytes)
            return np.frombuffer(file.read(first.nbytes), np.uint8).reshape(first.shape)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="edge-effnet-")  # noqa: SIM115
        return self._file
