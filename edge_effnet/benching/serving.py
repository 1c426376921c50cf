"""The inside of a measuring process: requests in, answers out, one JSON document a line on its standard streams.

Also a program of its own, for a Python that doesn't have edge-effnet: `serving.py FILE.py` serves the file's
`open_subject`, which may also give a function to time. It needs the standard library alone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol


class Subject(Protocol):
    """What is measured."""

    def describe(self) -> dict[str, Any]:
        """Facts known once it's open."""
        ...

    def run(self) -> dict[str, float]:
        """One run: stage → milliseconds."""
        ...

    def finish(self) -> dict[str, Any]:
        """Facts known at the end; nothing is run after it."""
        ...


class _Call:
    """A function as a subject with one stage, "inference"."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def describe(self) -> dict[str, Any]:
        return {}

    def run(self) -> dict[str, float]:
        started = time.perf_counter()
        self._call()
        return {"inference": 1000 * (time.perf_counter() - started)}

    def finish(self) -> dict[str, Any]:
        return {"peak_rss_mb": peak_rss_mb()}


def serve(open_subject: Callable[[dict[str, Any]], Any]) -> None:
    """Answers until standard input ends: {"open": settings} → facts, {"run": count} → list of stages, {"finish":
    null}.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it ends this process by closing its pipe
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what engines print must not get between the answers
    subject: Any = None
    for line in sys.stdin:
        ((verb, value),) = json.loads(line).items()
        try:
            if verb == "open":
                opened = open_subject(value)
                subject = _Call(opened) if callable(opened) else opened
                answer: Any = subject.describe()
            else:
                answer = [subject.run() for _ in range(value)] if verb == "run" else subject.finish()
            reply = {"answer": answer}
        except Exception as error:  # whatever it is, the parent says it
            reply = {"error": " ".join(str(error).split()) or type(error).__name__}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def peak_rss_mb() -> float:
    """Most memory this process has had resident, in MB (10⁶ bytes)."""
    try:  # not ru_maxrss where it can be helped: Linux lets a process inherit that from the one that started it
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6, 1)
    except (OSError, StopIteration):
        return _maximum_of_usage()


def _maximum_of_usage() -> float:
    if sys.platform == "win32":
        return round(_peak_working_set() / 1e6, 1)
    import resource

    return round(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6, 1
    )


def _peak_working_set() -> int:
    """Bytes, from PROCESS_MEMORY_COUNTERS (psapi.h): two 32-bit numbers, then the peak and seven others of a pointer's
    size; 0 where Windows doesn't tell.
    """
    if sys.platform == "win32":
        import ctypes

        counters = (ctypes.c_size_t * (1 + 8 * (8 // ctypes.sizeof(ctypes.c_size_t))))()
        ctypes.cast(counters, ctypes.POINTER(ctypes.c_uint32))[0] = size = ctypes.sizeof(counters)
        process = ctypes.c_void_p(ctypes.windll.kernel32.GetCurrentProcess())
        told = ctypes.windll.kernel32.K32GetProcessMemoryInfo(process, ctypes.byref(counters), size)
        return int(counters[8 // ctypes.sizeof(ctypes.c_size_t)]) if told else 0
    return 0


def _load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("subject", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    serve(_load(sys.argv[1]).open_subject)
