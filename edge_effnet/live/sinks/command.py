"""A command that is run for each event."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import subprocess
import threading
from typing import IO

from edge_effnet.errors import OutputError, UsageError
from edge_effnet.live.events import Event
from edge_effnet.system import end_group, group_is_left
from edge_effnet.text import json_text, printable

_LOG = logging.getLogger("edge_effnet.live")
_TIMEOUT_S = 30.0
#: Between SIGTERM and SIGKILL.
_GRACE_S = 1.0
#: Bytes of its standard error that are read for the log; the rest is thrown away as it comes.
_MOST_ERROR_BYTES = 4096


class CommandSink:
    """Runs a command with the event's JSON on standard input; one after the other, no shell.

    In its environment: EDGE_EFFNET_LABEL (empty for nothing), EDGE_EFFNET_PREVIOUS, EDGE_EFFNET_SCORE,
    EDGE_EFFNET_TIME. command: words as in a shell, quotes included. timeout_s: it is ended after that long, with all
    it has started. What it leaves in the background may run on, until `close`. Raises UsageError for a command that
    isn't there; `send` raises OutputError when it fails.
    """

    def __init__(self, command: str, *, timeout_s: float = _TIMEOUT_S) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"command {command!r}: {error}") from error
        if not self._words or shutil.which(self._words[0]) is None:
            raise UsageError(
                f"command {command!r}: there is no program {self._words[0] if self._words else ''!r} to run"
            )
        self._timeout_s = timeout_s
        self.name = f"command {self._words[0]}"
        self._running: subprocess.Popen[bytes] | None = None
        self._abandoned = False
        self._background: set[int] = set()

    def send(self, event: Event) -> None:
        """Runs it and waits for its end."""
        process = self._started(event)
        said = bytearray()
        listener = threading.Thread(target=_listen, args=(process.stderr, said), daemon=True)
        listener.start()
        self._running = process
        try:
            _hand_over(process.stdin, json_text(event.to_dict()).encode())
            status = process.wait(self._timeout_s)
        except subprocess.TimeoutExpired as error:
            _end_group(process)
            raise OutputError(f"took longer than {self._timeout_s:g} s and was ended") from error
        finally:
            self._running = None
        self._background = {group for group in {*self._background, process.pid} if group_is_left(group)}
        listener.join(0 if self._background else _GRACE_S)
        self._judge(status, printable(bytes(said).decode(errors="backslashreplace").strip()))

    def abandon(self) -> None:
        """Ends the command that runs, with all it has started."""
        self._abandoned = True
        process = self._running
        if process is not None:
            _end_group(process)

    def close(self) -> None:
        """Ends what commands have left in the background."""
        for group in filter(group_is_left, self._background):
            with contextlib.suppress(OSError):
                end_group(group, how="ask")

    def _started(self, event: Event) -> subprocess.Popen[bytes]:
        if self._abandoned:
            raise OutputError("the camera ends")
        environment = {
            "EDGE_EFFNET_LABEL": event.label or "",
            "EDGE_EFFNET_PREVIOUS": event.previous or "",
            "EDGE_EFFNET_SCORE": "" if event.score is None else f"{event.score:.4f}",
            "EDGE_EFFNET_TIME": event.to_dict()["time"],
        }
        try:
            return subprocess.Popen(
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, **environment},
                start_new_session=True,  # a group of its own, which can be ended as a whole
            )
        except OSError as error:
            raise OutputError(f"can't be run: {error.strerror or error}") from error

    def _judge(self, status: int, said: str) -> None:
        if status:
            raise OutputError(f"ended with status {status}" + (f": {said}" if said else ""))
        if said:
            _LOG.warning("%s: %s", self.name, said)


def _hand_over(pipe: IO[bytes] | None, data: bytes) -> None:
    """A few hundred bytes, which a pipe takes at once; a command needn't read them."""
    if pipe is not None:
        with contextlib.suppress(OSError), pipe:
            pipe.write(data)


def _listen(pipe: IO[bytes] | None, said: bytearray) -> None:
    """Reads to the end, and keeps the beginning: a command that writes without end fills no memory."""
    if pipe is None:
        return
    with contextlib.suppress(OSError, ValueError), pipe:
        while piece := os.read(pipe.fileno(), 1 << 16):
            said += piece[: max(_MOST_ERROR_BYTES - len(said), 0)]


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and after a second SIGKILL, to a command and all it has started."""
    with contextlib.suppress(OSError):
        end_group(process.pid, how="ask")
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
    with contextlib.suppress(OSError):
        end_group(process.pid, how="force")
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
