"""`python -m edge_effnet.benchmarks.live.strangers PHOTOS`: the page under strangers that hold its connections.

48 clients that send a byte of their request now and then and 46 that send headers without an end, all from one address,
come and go by turns with quiet. Of the camera's process: how long /healthz takes, how many frames a second it
classifies, and how much memory it comes to take. PHOTOS is a folder of photos. Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from edge_effnet.files import write_atomically
from edge_effnet.machine import machine_facts
from edge_effnet.version import __version__

SLOW, LARGE = 48, 46
#: The bars: /healthz, growth of the peak, share of the rate that classification keeps.
MOST_HEALTH_S, MOST_GROWTH_MB, LEAST_RATE = 1.0, 40.0, 0.90
_LINE = b"X-Filler: " + b"x" * 60_000 + b"\r\n"
_BYTE_EVERY_S, _RETURN_S, _ASK_EVERY_S = 2.0, 0.5, 0.1


def main(words: Sequence[str] | None = None) -> int:
    """1 when a bar isn't met."""
    parser = argparse.ArgumentParser(prog="python -m edge_effnet.benchmarks.live.strangers")
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("--turns", type=int, default=5, metavar="N", help="of quiet and of strangers (default 5)")
    parser.add_argument("--seconds", type=float, default=8.0, metavar="S", help="of each turn (default 8)")
    parser.add_argument("--results", type=Path, metavar="FILE", help="where to write JSON")
    arguments = parser.parse_args(words)
    result = measure(arguments.photos, turns=arguments.turns, seconds=arguments.seconds)
    print(json.dumps(result, indent=2))
    if arguments.results:
        write_atomically(arguments.results, (json.dumps(result, indent=2) + "\n").encode())
    return 0 if result["bars_met"] else 1


def measure(photos: Path, *, turns: int, seconds: float) -> dict[str, Any]:
    """The record, of one process of the camera."""
    port = _free_port()
    words = ["camera", "--source", str(photos), "--loop", "--fps", "max", "--threads", "1"]
    words += ["--web", f"127.0.0.1:{port}"]
    camera = subprocess.Popen([sys.executable, "-m", "edge_effnet", *words], stdout=subprocess.DEVNULL)
    try:
        _wait_for(port)
        _turn(port, seconds, strangers=0, pid=camera.pid)  # what is allocated once
        before_mb = _peak_mb(camera.pid)
        found = [_turn(port, seconds, strangers=number % 2, pid=camera.pid) for number in range(2 * turns)]
        grown_mb = _peak_mb(camera.pid) - before_mb
    finally:
        camera.send_signal(signal.SIGTERM)
        camera.wait(30)
    quiet, visited = found[0::2], found[1::2]
    share = statistics.median(b["fps"] / a["fps"] for a, b in zip(quiet, visited, strict=True))
    slowest = max(turn["slowest_health_s"] for turn in visited)
    return {
        "version": __version__,
        "machine": machine_facts(),
        "slow_clients": SLOW,
        "large_header_clients": LARGE,
        "health_s": {"quiet": max(turn["slowest_health_s"] for turn in quiet), "strangers": slowest},
        "health_answers": sum(turn["answers"] for turn in visited),
        "peak_growth_mb": round(grown_mb, 1),
        "fps": {"quiet": [turn["fps"] for turn in quiet], "strangers": [turn["fps"] for turn in visited]},
        "rate_kept": round(share, 3),
        "rate_kept_by_processor_time": round(
            statistics.median(a["cpu_ms"] / b["cpu_ms"] for a, b in zip(quiet, visited, strict=True)), 3
        ),
        "bars_met": slowest <= MOST_HEALTH_S and grown_mb <= MOST_GROWTH_MB and share >= LEAST_RATE,
    }


def _turn(port: int, seconds: float, *, strangers: int, pid: int) -> dict[str, Any]:
    over = threading.Event()
    visits: list[Callable[[int, threading.Event], None]] = [*[_slow] * SLOW, *[_large] * LARGE] if strangers else []
    threads = [threading.Thread(target=visit, args=(port, over), daemon=True) for visit in visits]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    began, first, answers, cpu_s = time.monotonic(), _classified(port), [], _cpu_s(pid)
    while time.monotonic() - began < seconds:
        asked = time.monotonic()
        _get(port, "/healthz")
        answers.append(time.monotonic() - asked)
        time.sleep(_ASK_EVERY_S)
    frames, cpu_ms = _classified(port) - first, 1000 * (_cpu_s(pid) - cpu_s)
    fps = frames / (time.monotonic() - began)
    over.set()
    for thread in threads:
        thread.join(10)
    return {
        "fps": round(fps, 2),
        "cpu_ms": round(cpu_ms / max(frames, 1), 3),
        "slowest_health_s": round(max(answers), 4),
        "answers": len(answers),
    }


def _slow(port: int, over: threading.Event) -> None:
    """A request a byte at a time."""
    while not over.is_set():
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            for byte in b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + 1000 * b"X: y\r\n":
                connection.send(bytes([byte]))
                if over.wait(_BYTE_EVERY_S):
                    return
        over.wait(_RETURN_S)


def _large(port: int, over: threading.Event) -> None:
    """Headers without an end, as fast as they are taken."""
    while not over.is_set():
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            while not over.is_set():
                connection.sendall(_LINE)
        over.wait(_RETURN_S)


def _get(port: int, path: str) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def _classified(port: int) -> int:
    return int(json.loads(_get(port, "/api/state"))["frames"]["classified"])


def _wait_for(port: int) -> None:
    for _ in range(300):
        with suppress(OSError):
            _get(port, "/healthz")
            return
        time.sleep(0.1)


def _peak_mb(pid: int) -> float:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) / 1024 if match else 0.0


def _cpu_s(pid: int) -> float:
    """Processor time of all threads; what else runs on the machine, the strangers themselves included, isn't in it."""
    if sys.platform == "win32":
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
