"""What a LiveClassifier costs: over bare `predict`, with viewers, and over half an hour. Everything is compared within
one run.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import numpy.typing as npt

from edge_effnet.benchmarks.live.scenes import SCENE_FRAMES, SCENES, Scene
from edge_effnet.classifier import Classifier
from edge_effnet.live import Event, LiveClassifier, source_opener
from edge_effnet.live.sources import Replay
from edge_effnet.live.web import WebAddress, WebServer

Frames = Sequence[npt.NDArray[np.uint8]]
#: A right announcement comes within so many frames of the change.
LATEST_FRAME = 10
_SETTLE_S = 1.0


def announcements(classifier: Classifier, video: Path) -> list[Event]:
    """All events of a video file, each frame classified."""
    source = source_opener(str(video), replay=Replay(every_frame=True))
    with LiveClassifier(classifier, source) as live:
        return list(live.events())


def judge(events: Sequence[Event], *, scenes: Sequence[Scene] = SCENES, scene_frames: int = SCENE_FRAMES) -> list[str]:
    """What is wrong with the announcements: one a scene, right, in order, within ten frames, none else; empty when
    nothing is.
    """
    wrong = [] if len(events) == len(scenes) else [f"{len(events)} announcements; expected {len(scenes)}"]
    for number, (event, scene) in enumerate(zip(events, scenes, strict=False)):
        late = event.frame - number * scene_frames
        if event.label not in scene.labels:
            wrong.append(f"scene {number}: {event.label}; expected {' or '.join(sorted(scene.labels))}")
        if not 1 <= late <= LATEST_FRAME:
            wrong.append(f"scene {number}: announced in its frame {late}; expected 1 to {LATEST_FRAME}")
    return wrong


def overhead(classifier: Classifier, frames: Frames, *, rounds: int) -> dict[str, Any]:
    """Milliseconds a frame, bare `predict` and LiveClassifier taking turns, each first in every other round; medians.

    Beside the time on the clock stands the processor's time, which other programs on the machine disturb less.
    """
    bare: list[tuple[float, float]] = []
    live: list[tuple[float, float]] = []
    turns = [(bare, _predict_all), (live, _classify_live)]
    for number in range(rounds):
        for found, work in turns if number % 2 else reversed(turns):
            found.append(_timed(lambda work=work: work(classifier, frames), len(frames)))  # type: ignore[misc]
    percent = [
        round(100 * (statistics.median(b[kind] / a[kind] for a, b in zip(bare, live, strict=True)) - 1), 2)
        for kind in (0, 1)
    ]
    return {
        "frames": len(frames),
        "rounds": rounds,
        "predict_ms": _median([turn[0] for turn in bare]),
        "live_ms": _median([turn[0] for turn in live]),
        "overhead_percent": percent[0],
        "predict_cpu_ms": _median([turn[1] for turn in bare]),
        "live_cpu_ms": _median([turn[1] for turn in live]),
        "cpu_overhead_percent": percent[1],
    }


def _timed(work: Callable[[], None], count: int) -> tuple[float, float]:
    """Milliseconds by the clock and of the processor (all threads), for each of `count` frames."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return 1000 * (time.perf_counter() - clock) / count, 1000 * (time.process_time() - processor) / count


def _predict_all(classifier: Classifier, frames: Frames) -> None:
    """In a thread of its own, as LiveClassifier does it: on a busy machine the scheduler treats a fresh thread
    otherwise.
    """

    def run() -> None:
        for frame in frames:
            classifier.predict(frame)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def _classify_live(classifier: Classifier, frames: Frames) -> None:
    with LiveClassifier(classifier, frames) as live:
        live.wait()
        if live.progress.classified != len(frames):
            raise RuntimeError(f"{live.progress.classified} of {len(frames)} frames were classified")


def viewers(classifier: Classifier, frames: Frames, *, rounds: int, seconds: float, count: int = 5) -> dict[str, Any]:
    """Classified frames a second without a viewer and with `count`, taking turns; each viewer takes pictures and
    events.

    Beside them stands the processor's time for a classified frame, serving included: what viewers would cost a single
    core.
    """
    alone: list[tuple[float, float]] = []
    watched: list[tuple[float, float]] = []
    received: list[int] = []
    with LiveClassifier(classifier, cycle(frames)) as live, WebServer(live, WebAddress("127.0.0.1", 0)) as server:
        rate = _rate_of(live, seconds)
        rate()
        for _ in range(rounds):
            alone.append(rate())
            with _viewing(server.server_address[1], count) as bytes_of:
                _wait_until(
                    lambda: server.viewers == {"picture": count, "events": count}, f"{count} viewers of each kind"
                )
                time.sleep(_SETTLE_S)
                watched.append(rate())
            received.append(bytes_of())
            time.sleep(_SETTLE_S)
    slower, more_cpu = (
        statistics.median(b[kind] / a[kind] for a, b in zip(alone, watched, strict=True)) for kind in (0, 1)
    )
    return {
        "viewers": count,
        "rounds": rounds,
        "seconds": seconds,
        "alone_fps": _median([turn[0] for turn in alone]),
        "watched_fps": _median([turn[0] for turn in watched]),
        "alone_cpu_ms": _median([turn[1] for turn in alone]),
        "watched_cpu_ms": _median([turn[1] for turn in watched]),
        "received_mb_a_round": round(statistics.median(received) / 1e6, 1),
        "slower_percent": round(100 * (1 - slower), 2),
        "more_cpu_percent": round(100 * (more_cpu - 1), 2),
    }


def _rate_of(live: LiveClassifier, seconds: float) -> Callable[[], tuple[float, float]]:
    """Measures classified frames a second, and milliseconds of the processor (all threads) for each of them."""

    def measure() -> tuple[float, float]:
        before, began, processor = live.progress.classified, time.perf_counter(), time.process_time()
        time.sleep(seconds)
        count = max(live.progress.classified - before, 1)
        return count / (time.perf_counter() - began), 1000 * (time.process_time() - processor) / count

    return measure


_VIEWER = """
import signal, socket, sys, threading
port, count = int(sys.argv[1]), int(sys.argv[2])
received = [0]
def watch(path):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n".encode())
        while piece := connection.recv(1 << 18):
            received[0] += len(piece)
for path in ("/stream.mjpg", "/api/events"):
    for _ in range(count):
        threading.Thread(target=watch, args=(path,), daemon=True).start()
sys.stdin.read()
print(received[0])
"""


@contextmanager
def _viewing(port: int, count: int) -> Iterator[Callable[[], int]]:
    """Viewers in a process of their own, as they would be on other machines; what they received is known afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-c", _VIEWER, str(port), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    found: list[int] = []
    try:
        yield lambda: found[0]
    finally:
        out, _ = process.communicate()
        found.append(int(out))


def soak(video: Path, *, minutes: float, interval_s: float = 10.0, warm_up_minutes: float = 1.0) -> dict[str, Any]:
    """Runs the command itself on the video in a loop, every frame, page included; resident memory, threads,
    descriptors.
    """
    port = _free_port()
    words = [
        "camera",
        "--source",
        str(video),
        "--loop",
        "--fps",
        "max",
        "--threads",
        "1",
        "--web",
        f"127.0.0.1:{port}",
        "--format",
        "jsonl",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_effnet", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    samples: list[dict[str, float]] = []
    try:
        _wait_until(lambda: process.poll() is not None or _listens(port), "the page")
        if process.poll() is not None:
            raise RuntimeError(
                f"the camera ended with status {process.returncode} before its page was there; run it by hand: "
                f"{' '.join(words)}"
            )
        began = time.monotonic()
        while time.monotonic() - began < 60 * minutes:
            time.sleep(interval_s)
            samples.append({"minute": round((time.monotonic() - began) / 60, 2), **_process_facts(process.pid)})
        state = _state(port)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    return {
        **_growth(samples, warm_up_minutes),
        "frames": state["frames"]["classified"],
        "fps": state["fps"]["classified"],
        "exit_status": status,
    }


def _growth(samples: Sequence[dict[str, float]], warm_up_minutes: float) -> dict[str, Any]:
    """First and last minute after the warm-up, and all samples a minute apart."""
    counted = [sample for sample in samples if sample["minute"] >= warm_up_minutes]
    first = [sample for sample in counted if sample["minute"] < counted[0]["minute"] + 1]
    last = [sample for sample in counted if sample["minute"] > counted[-1]["minute"] - 1]
    rss = [statistics.median(sample["rss_kb"] for sample in part) for part in (first, last)]
    return {
        "minutes": samples[-1]["minute"],
        "warm_up_minutes": warm_up_minutes,
        "rss_mb": [round(value / 1024, 2) for value in rss],
        "rss_growth_percent": round(100 * (rss[1] / rss[0] - 1), 2),
        "threads": [first[0]["threads"], last[-1]["threads"], max(sample["threads"] for sample in counted)],
        "descriptors": [
            first[0]["descriptors"],
            last[-1]["descriptors"],
            max(sample["descriptors"] for sample in counted),
        ],
        "rss_mb_by_minute": [round(sample["rss_kb"] / 1024, 1) for sample in samples[:: max(len(samples) // 30, 1)]],
    }


def _process_facts(pid: int) -> dict[str, float]:
    """Resident memory in kB, threads, open descriptors (Linux)."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "rss_kb": float(fields["VmRSS"].split()[0]),
        "threads": int(fields["Threads"]),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
    }


def _state(port: int) -> dict[str, Any]:
    with urlopen(f"http://127.0.0.1:{port}/api/state", timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _wait_until(condition: Callable[[], bool], what: str) -> None:
    """However busy the machine is; raises RuntimeError after two minutes."""
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited two minutes for {what}")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)
