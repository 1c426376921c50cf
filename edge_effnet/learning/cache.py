"""Features kept between runs, by the photo's digest: adding photos costs only those.

One file for each network and way of preparing photos. It is only ever appended to, a record at a time with a checksum
of its own, so that whatever stops a run loses one photo's features at most; a torn end is cut off by the next run.
Several runs may append to it at once, and none waits for another.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.system import open_own

Features = npt.NDArray[np.float32]
_MAGIC = b"edge-effnet features 1\n"
_DIGEST_BYTES = 32
_CHECKSUM = struct.Struct("<I")
#: A cache beyond this is begun anew: 50,000 photos' 1,280 features.
_MOST_BYTES = 256 << 20


def default_folder() -> Path:
    """The user's folder for what can be computed again. Raises RuntimeError for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edge-effnet" / "features"


def cache_key(**facts: Any) -> str:
    """32 hexadecimal digits that change with whatever features depend on."""
    return hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:32]


class FeatureCache:
    """Features by photo digest (64 hexadecimal digits). `close` it, or use it in a `with`.

    Where the folder can't be used nothing is kept, and nothing fails: it is a cache.
    """

    def __init__(self, folder: Path, key: str, size: int) -> None:
        self._size = size
        self._known: dict[str, Features] = {}
        self._file: int | None = None
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = open_own(folder / f"{key}.features")
            self._load(self._file)

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, digest: str) -> Features | None:
        """float32[D] of a photo; None for one that isn't known."""
        return self._known.get(digest)

    def put(self, digest: str, features: Features) -> None:
        """Keeps a photo's features, at once."""
        self._known[digest] = features
        if self._file is None:
            return
        body = bytes.fromhex(digest) + np.ascontiguousarray(features, "<f4").tobytes()
        if not _appended(self._file, body + _CHECKSUM.pack(zlib.crc32(body))):
            self.close()  # a full disk: what is torn is cut off by the next run

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
        self._file = None

    def _load(self, file: int) -> None:
        content = _whole(file)
        good = len(_MAGIC) if content.startswith(_MAGIC) and len(content) <= _MOST_BYTES else 0
        if good:
            for digest, features, end in _records(content, self._size):
                self._known[digest] = features
                good = end
        if good < len(content):
            os.ftruncate(file, good)
        if not good:
            os.write(file, _MAGIC)


def _appended(file: int, record: bytes) -> bool:
    """Whether all of it was written, at once and behind whatever is there."""
    try:
        return os.write(file, record) == len(record)
    except OSError:
        return False


def _whole(file: int) -> bytes:
    size = os.fstat(file).st_size
    parts = []
    while size > 0 and (part := os.read(file, min(size, 1 << 24))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _records(content: bytes, size: int) -> Iterator[tuple[str, Features, int]]:
    """(digest, features, end) of each whole record, up to the first that isn't."""
    body_bytes = _DIGEST_BYTES + 4 * size
    step = body_bytes + _CHECKSUM.size
    for start in range(len(_MAGIC), len(content) - step + 1, step):
        body = content[start : start + body_bytes]
        if _CHECKSUM.unpack_from(content, start + body_bytes)[0] != zlib.crc32(body):
            return
        yield body[:_DIGEST_BYTES].hex(), np.frombuffer(body, "<f4", size, _DIGEST_BYTES).copy(), start + step
