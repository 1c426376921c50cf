from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cameras import PHOTOS, view

from edge_effnet.errors import ImageError, MissingDependencyError, SourceError, UsageError
from edge_effnet.live import Delivery, IterableSource, Replay, source_opener

HARDWARE = Path(__file__).parents[2] / "support" / "hardware"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Twelve frames of plain red, green and blue, four each, 50 a second."""
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "colours.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 50.0, (64, 48))
    for bgr in ((0, 0, 255), (0, 255, 0), (255, 0, 0)):
        for _ in range(4):
            writer.write(np.full((48, 64, 3), bgr, np.uint8))
    writer.release()
    return path


def colours(source: Any) -> list[str]:
    found = ["rgb"[int(frame.image.mean((0, 1)).argmax())] for frame in source]
    source.close()
    return found


def test_a_video_file_is_rgb(video: Path) -> None:
    source = source_opener(str(video), replay=Replay(every_frame=True)).open()
    assert (source.delivery, source.rate) == (Delivery.EVERY, None)
    frame = next(source)
    assert (frame.image.shape, frame.image.dtype, frame.name) == ((48, 64, 3), np.uint8, str(video))
    assert ["r", *colours(source)] == list("rrrrggggbbbb")


def test_a_video_file_plays_like_a_camera(video: Path) -> None:
    source = source_opener(str(video)).open()
    assert (source.delivery, source.rate) == (Delivery.NEWEST, 50)
    source.close()
    source = source_opener(str(video), replay=Replay(rate=7)).open()
    assert (source.delivery, source.rate) == (Delivery.NEWEST, 7)
    source.close()


def test_a_video_file_in_a_loop(video: Path) -> None:
    source = source_opener(str(video), replay=Replay(every_frame=True, loop=True)).open()
    assert ["rgb"[int(next(source).image.mean((0, 1)).argmax())] for _ in range(26)] == [*"rrrrggggbbbb" * 2, "r", "r"]
    source.close()


def test_what_is_no_video(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    path = tmp_path / "notes.avi"
    path.write_text("no video")
    with pytest.raises(SourceError, match=r"is no video that (OpenCV|PyAV) can read"):
        source_opener(str(path)).open()


def test_a_camera_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cv2")
    for name in ("77", "/dev/video77"):
        with pytest.raises(SourceError, match=r"can't be opened; is it connected"):
            source_opener(name).open()
    assert capfd.readouterr() == ("", "")


def test_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(PHOTOS, tmp_path / "photos" / "deep")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no photo")
    source = source_opener(str(tmp_path / "photos")).open()
    assert (source.delivery, source.rate) == (Delivery.EVERY, None)
    assert [Path(frame.name).stem for frame in source] == ["astronaut", "chelsea", "coffee", "rocket"]
    assert "left out: " in caplog.text
    assert "broken.jpg: not a JPEG" in caplog.text
    source.close()


def test_a_folder_in_a_loop_sees_new_photos(tmp_path: Path) -> None:
    shutil.copy(PHOTOS / "coffee.jpg", tmp_path)
    source = source_opener(str(tmp_path), replay=Replay(rate=1000, loop=True)).open()
    assert (source.delivery, source.rate) == (Delivery.EVERY, 1000)
    assert Path(next(source).name).stem == "coffee"
    frames = source_opener(str(tmp_path), replay=Replay(rate=1000, photos="frames")).open()
    assert (frames.delivery, next(frames).still) == (Delivery.NEWEST, False)
    frames.close()
    shutil.copy(PHOTOS / "rocket.jpg", tmp_path)
    assert [Path(next(source).name).stem for _ in range(4)] == ["coffee", "rocket"] * 2
    source.close()


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no photos that can be read"):
        next(source_opener(str(tmp_path)).open())


def test_arrays_of_ones_own() -> None:
    closed = []

    def images() -> Any:
        try:
            yield view("coffee")
            yield view("rocket")[:, :, 0]
        finally:
            closed.append(True)

    source = IterableSource(images())
    assert next(source).image is view("coffee")
    with pytest.raises(ImageError, match=r"frame is uint8\[240, 320\]"):
        next(source)
    source.close()
    assert closed == [True]


def test_a_name_that_is_no_source() -> None:
    with pytest.raises(UsageError, match="source 'nothing-here': no such file; expected picamera2, a camera's number"):
        source_opener("nothing-here")


def test_a_password_in_an_address_is_not_shown() -> None:
    opener = source_opener("rtsp://user:secret@camera.local/stream")
    assert opener.name == "rtsp://…@camera.local/stream"


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("0", "cv2", "pip install 'edge-effnet\\[camera\\]'"),
        ("picamera2", "picamera2", "apt install python3-picamera2"),
    ],
)
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, name: str, module: str, message: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    opener = source_opener(name)  # nothing is imported before it's asked for
    with pytest.raises(MissingDependencyError, match=message):
        opener.open()


@pytest.fixture
def picamera2(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The hardware's stand-in; everything above it is the real thing."""
    monkeypatch.syspath_prepend(str(HARDWARE))
    monkeypatch.delitem(sys.modules, "picamera2", raising=False)
    import picamera2 as module

    yield module
    sys.modules.pop("picamera2", None)


@pytest.mark.parametrize(("board", "stream"), [("pisp", "lores"), ("vc4", "main")])
def test_picamera2_is_asked_for_rgb_at_the_low_resolution(
    monkeypatch: pytest.MonkeyPatch, picamera2: Any, board: str, stream: str
) -> None:
    monkeypatch.setenv("FAKE_PICAMERA2", board)
    source = source_opener("picamera2", size=(320, 240)).open()
    configuration = picamera2.CONFIGURATIONS[-1]
    assert configuration[stream] == {"size": (320, 240), "format": "BGR888"}
    assert configuration["queue"] is False
    assert configuration["sensor"] == {
        "output_size": (1640, 1232),
        "bit_depth": 10,
    }  # all of the sensor, not its middle
    frame = next(source)
    assert frame.image.shape == (240, 320, 3)
    red, _, blue = frame.image.mean((0, 1))
    assert red > blue + 20, "coffee is brown: blue first would be blue"
    assert source.delivery is Delivery.NEWEST
    source.close()
    source.close()
    assert len(picamera2.CLOSED) == 1


@pytest.mark.usefixtures("picamera2")
def test_no_pi_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_PICAMERA2", "none")
    with pytest.raises(SourceError, match="picamera2 finds no camera"):
        source_opener("picamera2").open()


def test_a_pi_camera_that_hangs(monkeypatch: pytest.MonkeyPatch, picamera2: Any) -> None:
    monkeypatch.setenv("FAKE_PICAMERA2", "hangs")
    source = source_opener("picamera2").open()
    with pytest.raises(SourceError, match="the camera gave no frame for 10 s"):
        next(source)
    source.close()
    assert picamera2.CLOSED


@pytest.mark.parametrize("rate", [0, -1, 1001, float("nan")])
def test_rates_that_cannot_be_meant(rate: float) -> None:
    with pytest.raises(UsageError, match="frames a second; expected above 0, at most 1000"):
        Replay(rate=rate)
