"""Pictures that a network camera sends one after the other over HTTP: multipart/x-mixed-replace ("MJPEG").

Read here, not by OpenCV, because FFmpeg keeps a part until it ends: a server that ends none fills all memory.
"""

from __future__ import annotations

import contextlib
import email.message
import http.client
import re
from collections.abc import Callable
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urlsplit, urlunsplit

import numpy as np

from edge_effnet.decoding import ImageRules, decode
from edge_effnet.errors import SourceError, first_line
from edge_effnet.live.frames import MAX_FRAME_PIXELS, Frame, FrameSource, taken_now
from edge_effnet.live.sources.base import Source

#: Seconds that a server may be silent.
SILENCE_S = 10.0
#: Bytes of one picture; JPEGs of 16 Mpx have some 5 MB.
MOST_PICTURE_BYTES = 1 << 24
_MOST_HEAD_BYTES = 1 << 13
_PIECE = 1 << 16
_END = b"\r\n\r\n"
_RULES = ImageRules(formats=("JPEG", "PNG"), max_pixels=MAX_FRAME_PIXELS, max_bytes=MOST_PICTURE_BYTES)


class PicturesSource(Source):
    """The pictures of an http:// or https:// address; user and password may stand in it.

    Raises SourceError when it can't be reached, sends anything else, is silent for ten seconds, or sends a picture
    of more than 16 MB or 16 Mpx.
    """

    def __init__(self, address: str, *, answer: Any = None) -> None:
        self._name = address.rsplit("@", 1)[-1]
        self._answer = open_address(address) if answer is None else answer
        boundary = boundary_of(self._answer.headers)
        if boundary is None:
            self.close()
            raise SourceError(f"{self._name} sends no multipart pictures")
        self._boundary = boundary
        self._received = bytearray()

    def __next__(self) -> Frame:
        try:
            self._skip_past(self._boundary, _MOST_HEAD_BYTES)
            head = self._until(_END, _MOST_HEAD_BYTES)
            del self._received[: len(_END)]
            length = re.search(rb"(?i)content-length:[ \t]*(\d{1,9})", head)
            picture = self._exactly(int(length[1])) if length else self._until(self._boundary, MOST_PICTURE_BYTES)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"{self._name} sends no more pictures: {first_line(error)}") from error
        return taken_now(np.asarray(decode(bytes(picture), rules=_RULES)))

    def close(self) -> None:
        """Closes the connection."""
        with contextlib.suppress(OSError):
            self._answer.close()

    def _skip_past(self, mark: bytes, most: int) -> None:
        self._until(mark, most)
        del self._received[: len(mark)]

    def _until(self, mark: bytes, most: int) -> bytearray:
        """What comes before `mark`, which stays."""
        looked = 0
        while (at := self._received.find(mark, max(looked - len(mark), 0))) < 0:
            looked = len(self._received)
            if looked > most:
                raise SourceError(f"{self._name} sends a part of more than {most:,} bytes")
            self._more()
        return self._taken(at)

    def _exactly(self, count: int) -> bytearray:
        if count > MOST_PICTURE_BYTES:
            most = f"at most {MOST_PICTURE_BYTES:,} are read"
            raise SourceError(f"{self._name} sends a picture of {count:,} bytes; {most}")
        while len(self._received) < count:
            self._more()
        return self._taken(count)

    def _taken(self, count: int) -> bytearray:
        taken = self._received[:count]
        del self._received[:count]
        return taken

    def _more(self) -> None:
        piece = self._answer.read1(_PIECE)
        if not piece:
            raise SourceError(f"{self._name} has ended")
        self._received += piece


def open_address(address: str) -> Any:
    """The answer of an HTTP server, its body unread; Basic and Digest authentication with what the address says.

    Raises SourceError.
    """
    from urllib import request

    passwords = request.HTTPPasswordMgrWithDefaultRealm()
    handlers = (request.HTTPBasicAuthHandler(passwords), request.HTTPDigestAuthHandler(passwords))
    try:
        parts = urlsplit(address)
        plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        passwords.add_password(None, plain, unquote(parts.username or ""), unquote(parts.password or ""))
        opener = request.build_opener(*(handlers if parts.username else ()))
        return opener.open(plain, timeout=SILENCE_S)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        shown = first_line(reason) if isinstance(reason, BaseException) else str(reason)
        raise SourceError(f"{address.rsplit('@', 1)[-1]} can't be opened: {shown}") from error


def open_stream(address: str, other: Callable[[], FrameSource]) -> FrameSource:
    """The pictures of an address, or what `other` opens where it sends none."""
    answer = open_address(address)
    if boundary_of(answer.headers) is not None:
        return PicturesSource(address, answer=answer)
    answer.close()
    return other()


def boundary_of(headers: email.message.Message) -> bytes | None:
    """What stands between two pictures; None for an answer of another kind."""
    if headers.get_content_type() != "multipart/x-mixed-replace":
        return None
    boundary = headers.get_boundary() or ""
    return b"--" + boundary.removeprefix("--").encode("latin-1", "replace") if 0 < len(boundary) <= 200 else None
