from __future__ import annotations

import base64
import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.cameras import view

from edge_effnet.errors import ImageError, SourceError
from edge_effnet.live.sources import PicturesSource, source_opener
from edge_effnet.live.sources import opencv as opencv_module
from edge_effnet.live.sources import pictures as pictures_module

Serve = Callable[..., str]


def jpeg(scene: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(view(scene)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that answers every request with the same pieces, the last one again and again if told so."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()
    asked: list[bytes] = []

    def started(*pieces: bytes, head: bytes = b"", endless: bool = False) -> str:
        head = head or b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=--b\r\n\r\n"

        def run() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError), listening.accept()[0] as connection:
                    asked.append(connection.recv(1 << 16))
                    connection.sendall(head + b"".join(pieces))
                    while endless and not over.is_set():
                        connection.sendall(pieces[-1])

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/video"

    started.asked = asked  # type: ignore[attr-defined]
    yield started
    over.set()
    listening.close()


@pytest.mark.parametrize("lengths", [True, False])
def test_pictures_one_after_the_other(serve: Serve, lengths: bool) -> None:
    parts = [
        b"--b\r\nContent-Type: image/jpeg\r\n"
        + (f"Content-Length: {len(picture)}\r\n".encode() if lengths else b"")
        + b"\r\n"
        + picture
        + b"\r\n"
        for picture in (jpeg("coffee"), jpeg("rocket"))
    ]
    source = source_opener(serve(*parts, b"--b--\r\n")).open()
    assert isinstance(source, PicturesSource)
    for scene in ("coffee", "rocket"):
        assert np.abs(next(source).image.astype(float) - view(scene)).mean() < 8
    with pytest.raises(SourceError, match=r"has ended|sends no more"):
        next(source)
    source.close()
    source.close()


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ((b"--b\r\n\r\n", 1000 * b"x"), "a part of more than 20,000 bytes"),
        ((1000 * b"x",), "a part of more than 8,192 bytes"),
        ((b"--b\r\n", 1000 * b"x"), "a part of more than 8,192 bytes"),
        ((b"--b\r\nContent-Length: 999999999\r\n\r\n",), "a picture of 999,999,999 bytes; at most 20,000"),
    ],
)
def test_parts_have_a_bound(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...], message: str
) -> None:
    monkeypatch.setattr(pictures_module, "MOST_PICTURE_BYTES", 20_000)
    source = PicturesSource(serve(*pieces, endless=True))
    with pytest.raises(SourceError, match=message):
        next(source)
    source.close()


def test_a_picture_that_is_none(serve: Serve) -> None:
    source = PicturesSource(serve(b"--b\r\nContent-Length: 4\r\n\r\nnope"))
    with pytest.raises(ImageError, match="not a JPEG"):
        next(source)
    source.close()


def test_a_server_that_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures_module, "SILENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(SourceError, match="can't be opened: "):
            source_opener(f"http://127.0.0.1:{silent.getsockname()[1]}/").open()
        assert time.monotonic() - began < 10


def test_what_is_no_multipart_goes_to_opencv(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    monkeypatch.setattr("edge_effnet.live.sources.CameraSource", lambda name, **_: opened.append(name) or "opened")
    address = serve(b"video", head=b"HTTP/1.0 200 OK\r\nContent-Type: video/mp4\r\n\r\n")
    assert source_opener(address).open() == "opened"
    assert opened == [address]
    with pytest.raises(SourceError, match="sends no multipart pictures"):
        PicturesSource(address)


def test_a_name_and_a_password_are_shown_to_the_server_alone(serve: Serve) -> None:
    address = serve(head=b'HTTP/1.0 401 No\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n')
    with pytest.raises(SourceError) as caught:
        PicturesSource(address.replace("//", "//me:se%20cret@"))
    assert "cret" not in str(caught.value)
    assert b"Basic " + base64.b64encode(b"me:se cret") in serve.asked[-1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("address", ["http://[", "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "http:///"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(SourceError, match="can't be opened"):
        source_opener(address).open()


def test_opencv_reads_bounded_formats_alone_over_http(serve: Serve) -> None:
    """A server that sent a video a moment ago and now sends a part without an end."""
    cv2 = pytest.importorskip("cv2")
    capture = opencv_module._open_address(cv2, serve(b"--b\r\n\r\n", endless=False))
    assert not capture.isOpened()
