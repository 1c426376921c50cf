"""The outside of measuring processes: starting them, asking them, running them by turns."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeAlias

from edge_effnet.errors import EngineError, first_line
from edge_effnet.system import keep_to_core

Timings: TypeAlias = list[dict[str, float]]
#: Runs of one subject before it's the next one's turn. Each turn begins with a run that doesn't count: the others have
#: had the caches.
RUNS_A_TURN = 5
_END_SECONDS = 10.0
#: What Linux sends when memory runs out; a number, since Windows' Python doesn't have the name.
_SIGKILL = 9
#: So that the child finds the same packages, however this process came by them.
_OWN_PYTHON = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from edge_effnet.benching.classify import main; main()"
)


class Worker:
    """A process that serves one subject (see serving.py). Close it, or use it in a `with`.

    command: the process. name: of the subject, for messages. environment: added to this process's.
    """

    def __init__(self, command: Sequence[str], name: str, *, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        variables = {**os.environ, **(environment or {})}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=variables
        )
        source, answers = self._process.stdin, self._process.stdout
        if source is None or answers is None:
            raise EngineError(f"{name}: the measuring process has no pipes")
        self._requests, self._answers = (
            io.TextIOWrapper(source, encoding="utf-8"),
            io.TextIOWrapper(answers, encoding="utf-8"),
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Opens the subject; what it says of itself. Raises EngineError."""
        return dict(self._ask({"open": dict(settings)}))

    def pin(self, core: int) -> None:
        """Keeps the process to one core, where the system can; before `open`, so that its threads are kept there
        too.
        """
        keep_to_core(self._process.pid, core)

    def run(self, count: int) -> Timings:
        """Stage → milliseconds of each run. Raises EngineError."""
        return list(self._ask({"run": count}))

    def finish(self) -> dict[str, Any]:
        """The subject's last words. Raises EngineError."""
        return dict(self._ask({"finish": None}))

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(OSError):  # it may have ended already
            self._requests.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
        self._errors.close()

    def _ask(self, request: dict[str, Any]) -> Any:
        try:
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
            line = self._answers.readline()
        except OSError:
            line = ""
        if not line:
            raise EngineError(f"{self.name}: the measuring process {self._end()}")
        reply = json.loads(line)
        if "error" in reply:
            raise EngineError(reply["error"])
        return reply["answer"]

    def _end(self) -> str:
        """How the process ended, in words."""
        status = self._process.wait(_END_SECONDS)
        self._errors.seek(0)
        said = [line for line in self._errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        memory = "; is there enough memory?" if status == -_SIGKILL else ""
        return f"{how}{memory}" + (f" ({first_line(ValueError(said[-1]))})" if said else "")


def own_worker(name: str, *, engine: str, threads: int) -> Worker:
    """A process that measures a Classifier. numpy takes its threads from the environment, so they're set there."""
    environment = (
        {key: str(threads) for key in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")} if engine == "numpy" else {}
    )
    return Worker([sys.executable, "-c", _OWN_PYTHON, json.dumps(sys.path)], name, environment=environment)


def by_turns(workers: Sequence[Worker], *, runs: int, warmup: int, after_turn: Callable[[int], None]) -> list[Timings]:
    """`runs` timings of each worker. They take turns, so that what slows the machine for a while slows all of them
    alike.

    warmup: runs of each before the first turn. after_turn: is told how many runs a turn brought.
    """
    found: list[Timings] = [[] for _ in workers]
    for worker in workers:
        worker.run(warmup)
    for start in range(0, runs, RUNS_A_TURN):
        count = min(RUNS_A_TURN, runs - start)
        for worker, timings in zip(workers, found, strict=True):
            timings += worker.run(count + 1)[1:]
            after_turn(count)
    return found
