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
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.system import open_own

Features = npt.NDArray[np.float32]
_MAGIC = b"edge-effnet features 1\n"
_DIGEST_BYTES = 32
_CHECKSUM = struct.Struct("<I")
#: A cache beyond this is begun anew: 21,000 photos' 3,104 features.
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
        self._body_bytes = _DIGEST_BYTES + 4 * size
        self._places: dict[str, int] = {}
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
        """float32[D] of a photo, read anew; None for one that isn't kept."""
        place = self._places.get(digest)
        if place is None or self._file is None:
            return None
        try:
            os.lseek(self._file, place, os.SEEK_SET)
            found = self._read(self._file)
        except OSError:
            return None
        return found[1] if found is not None and found[0] == digest else None

    def put(self, digest: str, features: Features) -> None:
        """Keeps a photo's features, at once."""
        if self._file is None:
            return
        body = bytes.fromhex(digest) + np.ascontiguousarray(features, "<f4").tobytes()
        if _appended(self._file, body + _CHECKSUM.pack(zlib.crc32(body))):
            self._places[digest] = os.lseek(self._file, 0, os.SEEK_CUR) - self._body_bytes - _CHECKSUM.size
        else:
            self.close()  # a full disk: what is torn is cut off by the next run

    def close(self) -> None:
        """Lets go of the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
        self._file = None

    def _load(self, file: int) -> None:
        """Where each record lies, up to the first that isn't whole; what is behind that is cut off."""
        size = os.fstat(file).st_size
        good = len(_MAGIC) if size <= _MOST_BYTES and os.read(file, len(_MAGIC)) == _MAGIC else 0
        while good and (found := self._read(file)) is not None:
            self._places[found[0]] = good
            good += self._body_bytes + _CHECKSUM.size
        if good < size:
            os.ftruncate(file, good)
        if not good:
            os.write(file, _MAGIC)

    def _read(self, file: int) -> tuple[str, Features] | None:
        """(digest, features) of the record at the file's position; None for one that isn't whole."""
        record = os.read(file, self._body_bytes + _CHECKSUM.size)
        body, checksum = record[: self._body_bytes], record[self._body_bytes :]
        if checksum != _CHECKSUM.pack(zlib.crc32(body)):
            return None
        return body[:_DIGEST_BYTES].hex(), np.frombuffer(body, "<f4", -1, _DIGEST_BYTES)


def _appended(file: int, record: bytes) -> bool:
    """Whether all of it was written, at once and behind whatever is there."""
    try:
        return os.write(file, record) == len(record)
    except OSError:
        return False
