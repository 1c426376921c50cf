from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.cameras import view
from support.chromium import eventually
from support.http import get

from .conftest import Run, is_one_error

pytestmark = pytest.mark.litert
HARDWARE = Path(__file__).parents[1] / "support" / "hardware"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Twelve coffees, then twelve rockets, as a folder."""
    folder = tmp_path / "album"
    folder.mkdir()
    for name in ("coffee", "rocket"):
        Image.fromarray(view(name)).save(tmp_path / f"{name}.bmp")
    for number in range(24):
        (folder / f"{number:02}.bmp").symlink_to(tmp_path / ("coffee.bmp" if number < 12 else "rocket.bmp"))
    return folder


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the command in a process of its own."""
    processes: list[subprocess.Popen[str]] = []

    def started(*words: object, **environment: str) -> subprocess.Popen[str]:
        code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from edge_effnet.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "camera", "--threads", "1", *map(str, words)]
        processes.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
            )
        )
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.communicate()


def test_a_folder_from_beginning_to_end(run: Run, album: Path) -> None:
    outcome = run("camera", "--source", album, "--threads", "1")
    assert (outcome.status, outcome.err) == (0, "")
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d  espresso  9\d %\n\d\d:\d\d:\d\d  missile  \d\d %  \(was espresso\)\n", outcome.out
    )


def test_events_as_json_lines_to_standard_output_a_file_and_a_command(
    run: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edge_effnet.live.delivery.CLOSE_S", 60.0
    )  # two starts of Python can take longer than the usual five seconds
    append = shlex.join(
        [sys.executable, "-c", f"import sys; open({str(tmp_path / 'told')!r}, 'a').write(sys.stdin.read() + chr(10))"]
    )
    outcome = run(
        "camera", "--source", album, "--format", "jsonl", "--events", tmp_path / "events.jsonl", "--command", append
    )
    assert outcome.status == 0
    events = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(event["number"], event["label"], event["previous"]) for event in events] == [
        (1, "espresso", None),
        (2, "missile", "espresso"),
    ]
    for path in (tmp_path / "events.jsonl", tmp_path / "told"):
        assert [json.loads(line) for line in path.read_text().splitlines()] == events


def test_the_options_reach_the_decisions(run: Run, album: Path) -> None:
    def labels(*options: str) -> list[str]:
        outcome = run("camera", "--source", album, "--format", "jsonl", *options)
        assert outcome.status == 0, outcome.err
        return [json.loads(line)["label"] for line in outcome.out.splitlines()]

    assert labels("--enter", "0.9", "--smoothing", "1") == ["espresso", None]
    assert labels("--agree", "12/12", "--smoothing", "1") == ["espresso", "missile"]
    assert labels("--agree", "13/13", "--smoothing", "1") == []
    assert labels("--every", "12", "--agree", "1/1", "--smoothing", "1", "--enter", "0.2") == ["espresso", "missile"]
    assert labels("--every", "12", "--margin", "0.15") == []
    assert labels("--deny", "espresso,missile", "--leave", "0.1") == ["projectile"]
    assert labels("--allow", "missile", "--agree", "1/1") == ["missile"]
    assert labels("--roi", "0,0,0.1,0.1", "--agree", "3/5") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--source", "nothing-here"], "source 'nothing-here': no such file; expected picamera2"),
        (["--size", "641x480"], "argument --size: '641x480' is not a size in even numbers like 640x480"),
        (["--fps", "fast"], "argument --fps: 'fast' is not a number of frames a second"),
        (["--roi", "0,0,2,1"], "argument --roi: region 0,0,2,1 is not inside the picture"),
        (["--roi", "0,0"], "argument --roi: '0,0' is not four fractions"),
        (["--agree", "3"], "argument --agree: '3' is not K/N like 3/5"),
        (["--agree", "6/5", "--source", "."], "agree is 6 of 5 frames"),
        (["--enter", "2", "--source", "."], "enter is 2.0, leave 0.1"),
        (["--web", "8080"], "web address '8080'; expected HOST:PORT"),
        (["--web", "0.0.0.0:0"], "can be reached from other machines: say who may watch with --token"),
        (["--web", "127.0.0.1:0", "--token", "short"], "the token is too short"),
        (["--token", "long-enough"], "--token has no effect without --web HOST:PORT"),
        (["--source", ".", "--allow", "esspresso"], "label 'esspresso' is not among"),
        (["--source", ".", "--events", "gone/events"], "the folder gone does not exist"),
        (["--source", ".", "--command", "no-such-program-here"], "there is no program"),
        (["--source", ".", "--mqtt", "a:b:c"], "MQTT broker 'a:b:c'; expected HOST or HOST:PORT"),
        (["--source", ".", "--model", "none.tflite"], "none.tflite: no such file"),
        (["--source", "."], "holds no photos that can be read"),
        (["--source", ".", "--snapshot", "shots"], "--snapshot shots lies in the folder of photos that is watched"),
        (["--source", ".", "--motion", "0"], "motion of 0 grey levels; expected 1 to 255"),
        (["--source", ".", "--gpio", "99=cat"], "argument --gpio: pins '99=cat': '99=cat'; expected GPIO numbers"),
        (["--source", ".", "--gpio", "17=my cat"], "--gpio 17=my cat: the label is not among the model's 1000"),
        (["--mqtt", "127.0.0.1:9", "--mqtt-discovery-remove"], "MQTT 127.0.0.1:9 can't be reached"),
        (["--mqtt", "h", "--mqtt-discovery", "a b", "--mqtt-discovery-remove"], "discovery prefix 'a b'"),
    ],
)
def test_what_the_user_can_mend(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("camera", *words)
    assert is_one_error(outcome, message), outcome


def test_what_was_taken_back_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_effnet.cli.camera_destinations.remove_discovery", lambda _address, _prefix: None)
    outcome = run("camera", "--mqtt", "h", "--mqtt-topic", "house/door", "--mqtt-discovery-remove")
    assert (outcome.status, outcome.out) == (0, "")
    assert outcome.err == "edge-effnet: Home Assistant is told that there is no house/door any more\n"


def test_without_picamera2_it_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    assert is_one_error(run("camera"), "apt install python3-picamera2")


def test_the_pi_camera(start: Start) -> None:
    process = start(PYTHONPATH=str(HARDWARE))
    assert process.stdout is not None
    assert "espresso" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGTERM, 0, "edge-effnet: stopped\n"), (signal.SIGINT, 130, "edge-effnet: interrupted\n")],
)
def test_signals_end_it_in_order(
    start: Start, album: Path, tmp_path: Path, number: signal.Signals, status: int, said: str
) -> None:
    process = start(
        "--source",
        album,
        "--loop",
        "--fps",
        "200",
        "--events",
        tmp_path / "events.jsonl",
        "--web",
        f"127.0.0.1:{free_port()}",
    )
    assert process.stdout is not None
    assert "espresso" in process.stdout.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, err
    assert err.splitlines()[0].startswith("edge-effnet: page: http://127.0.0.1:")
    assert err.endswith(said)
    assert "Traceback" not in err
    written = [json.loads(line)["number"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert written == list(range(1, len(written) + 1))
    assert len(written) >= 1 + len(out.splitlines())


def test_a_reader_that_has_seen_enough(start: Start, album: Path) -> None:
    process = start("--source", album, "--loop", "--fps", "max")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(120) == 141
    assert process.stderr.read() == ""
    process.stdout = None


def test_the_page(start: Start, album: Path) -> None:
    port = free_port()
    process = start(
        "--source",
        album,
        "--loop",
        "--fps",
        "50",
        "--top-k",
        "3",
        "--web",
        f"0.0.0.0:{port}",
        EDGE_EFFNET_TOKEN="correct-horse",
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stderr.readline().startswith("edge-effnet: page: http://")
    assert "espresso" in process.stdout.readline()
    assert get(port, "/api/state").status == 401
    state = get(port, "/api/state?token=correct-horse").json()
    assert len(state["top"]) == 3
    assert state["source"]["name"] == "album"


def test_an_open_page_is_said_to_be_open(start: Start, album: Path) -> None:
    port = free_port()
    process = start(
        "--source", album, "--loop", "--fps", "50", "--web", f"0.0.0.0:{port}", "--web-open", "--web-name", "door.home"
    )
    assert process.stderr is not None
    assert "the page is open: everyone who reaches" in process.stderr.readline()
    assert process.stderr.readline().startswith("edge-effnet: page: ")
    assert get(port, "/healthz", Host="door.home").status in (200, 503)
    assert get(port, "/healthz", Host="evil.example").status == 421


def test_motion_and_snapshots(run: Run, album: Path, tmp_path: Path) -> None:
    outcome = run("camera", "--source", album, "--agree", "3/5", "--motion", "--snapshot", tmp_path / "shots")
    assert outcome.status == 0
    assert [line.split("  ")[1] for line in outcome.out.splitlines()] == ["espresso", "missile"]
    # twelve after the first of each scene are classified, too
    assert outcome.err == "edge-effnet: 0 of 24 frames (0 %) weren't classified, since nothing moved\n"
    assert len(list((tmp_path / "shots").glob("*.jpg"))) == len(list((tmp_path / "shots").glob("*.json"))) == 2


def test_systemd_is_told_how_we_are(start: Start, album: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(120)
        process = start("--source", album, "--loop", "--fps", "100", NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert manager.recv(1000) == b"READY=1\nSTATUS=classifying"
        told: list[Any] = []
        eventually(lambda: told.append(manager.recv(1000)) or {b"STATUS=espresso", b"WATCHDOG=1"} <= set(told))
        process.send_signal(signal.SIGTERM)
        eventually(lambda: manager.recv(1000) == b"STOPPING=1")
        assert process.wait(120) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_events_that_were_not_delivered_are_said_and_kept(
    run: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_effnet.live.delivery.CLOSE_S", 1.0)
    events = tmp_path / "events.jsonl"
    outcome = run("camera", "--source", album, "--events", events, "--command", "sleep 60")
    assert outcome.status == 1
    said = outcome.err.splitlines()[-1]
    assert re.fullmatch(
        rf"edge-effnet: (\d+) events? (were|was) not delivered: \1 to command sleep; kept in {events}\.undelivered",
        said,
    )
    kept = [json.loads(line) for line in Path(f"{events}.undelivered").read_text().splitlines()]
    delivered = [json.loads(line) for line in events.read_text().splitlines()]
    assert [{key: value for key, value in line.items() if key != "sink"} for line in kept] == delivered


def test_a_pipe_that_nobody_reads_ends_with_a_word(
    run: Run, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_effnet.live.delivery.CLOSE_S", 0.5)
    os.mkfifo(tmp_path / "fifo")
    outcome = run("camera", "--source", album, "--events", tmp_path / "fifo")
    assert outcome.status == 1
    assert f"kept in {tmp_path}/fifo.undelivered" in outcome.err
    os.close(os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK))


def test_a_silent_server_at_the_start(start: Start) -> None:
    """The page comes up, and SIGTERM ends the command, inside of FFmpeg, too."""
    pytest.importorskip("cv2")
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        process = start("--source", address, "--web", f"127.0.0.1:{port}")
        assert process.stderr is not None
        assert "doesn't open yet" in process.stderr.readline()
        assert "page: " in process.stderr.readline()
        assert get(port, "/api/state").json()["status"] == "starting"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert time.monotonic() - began < 10


def test_a_video_of_huge_frames(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    film = tmp_path / "huge.mjpeg"
    picture = io.BytesIO()
    Image.new("L", (16000, 16000)).save(picture, "JPEG", quality=1)
    film.write_bytes(picture.getvalue())
    assert is_one_error(run("camera", "--source", film), "has frames of 16000×16000 pixels; at most 16,777,216")


def test_a_service_is_told_why_it_does_not_see_a_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("camera", "--source", "examples/photos", "--model", "/home/nobody/mine.tflite")
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    assert "ProtectHome" not in run(*words).err
    monkeypatch.setenv("INVOCATION_ID", "0f3c")  # what systemd gives the processes of a unit
    outcome = run(*words)
    assert is_one_error(outcome, "ProtectHome=yes hides /home and /root")
    assert "/var/lib/edge-effnet" in outcome.err
