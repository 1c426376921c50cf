"""A command that is run for each event."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

from edge_effnet.errors import OutputError, UsageError
from edge_effnet.live.events import Event
from edge_effnet.text import json_text

_TIMEOUT_S = 30.0


class CommandSink:
    """Runs a command with the event's JSON on standard input; one after the other, no shell.

    In its environment: EDGE_EFFNET_LABEL (empty for nothing), EDGE_EFFNET_PREVIOUS, EDGE_EFFNET_SCORE,
    EDGE_EFFNET_TIME. command: words as in a shell, quotes included. timeout_s: it is killed after that long. Raises
    UsageError for a command that isn't there; `send` raises OutputError when it fails.
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

    def send(self, event: Event) -> None:
        """Runs it and waits for its end."""
        fields = event.to_dict()
        environment = {
            "EDGE_EFFNET_LABEL": event.label or "",
            "EDGE_EFFNET_PREVIOUS": event.previous or "",
            "EDGE_EFFNET_SCORE": "" if event.score is None else f"{event.score:.4f}",
            "EDGE_EFFNET_TIME": fields["time"],
        }
        try:
            done = subprocess.run(
                self._words,
                input=json_text(fields).encode(),
                stdout=subprocess.DEVNULL,
                env={**os.environ, **environment},
                timeout=self._timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise OutputError(f"took longer than {self._timeout_s:g} s and was ended") from error
        except OSError as error:
            raise OutputError(f"can't be run: {error.strerror or error}") from error
        if done.returncode:
            raise OutputError(f"ended with status {done.returncode}")

    def close(self) -> None:
        """Nothing is open."""
