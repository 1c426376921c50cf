"""Video files with flipped bytes: what the decoder calls damaged isn't classified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cameras import view

from edge_effnet.errors import SourceError
from edge_effnet.live import Delivery, Replay, source_opener
from edge_effnet.live.sources.pyav import PyavFileSource

av = pytest.importorskip("av")
FRAMES = 60


def film(path: Path) -> Path:
    """Coffee, then a rocket, each moving, at 25 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(FRAMES):
            image = np.roll(view("coffee" if number < FRAMES // 2 else "rocket"), number, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def played(path: Path, **options: Any) -> tuple[int, PyavFileSource]:
    source = PyavFileSource(path, every_frame=True, **options)
    count = sum(1 for _ in source)
    source.close()
    return count, source


def test_a_sound_file_is_played_whole(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    count, source = played(path)
    assert (count, source.damaged, source.rate, source.delivery) == (FRAMES, 0, None, Delivery.EVERY)
    opened = source_opener(str(path), replay=Replay()).open()
    assert isinstance(opened, PyavFileSource)
    assert (opened.rate, opened.delivery) == (25.0, Delivery.NEWEST)
    frame = next(opened)
    assert np.abs(frame.image.astype(int) - view("coffee")).mean() < 12
    opened.close()


def test_damaged_frames_are_left_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(film(tmp_path / "a.mp4").read_bytes())
    for place in np.random.default_rng(0).integers(len(data) // 20, len(data) * 9 // 10, 60):
        data[place] ^= 0xFF
    (tmp_path / "b.mp4").write_bytes(data)
    count, source = played(tmp_path / "b.mp4")
    assert source.damaged > 5
    assert 0 < count < FRAMES
    assert capfd.readouterr().err == ""


def test_in_a_loop(tmp_path: Path) -> None:
    source = PyavFileSource(film(tmp_path / "a.mp4"), every_frame=True, loop=True)
    assert sum(1 for _, _ in zip(source, range(FRAMES + 5), strict=False)) == FRAMES + 5
    source.close()


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no film at all" * 50)
    with pytest.raises(SourceError, match="is no video that PyAV can read"):
        PyavFileSource(tmp_path / "a.mp4")
