"""Telling systemd that we are up, and that we are well (sd_notify's protocol: one datagram to the socket in
NOTIFY_SOCKET).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends states to systemd; does nothing where systemd didn't ask for them."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._path = environment.get("NOTIFY_SOCKET", "")

    def say(self, *states: str) -> None:
        """For instance "READY=1", "STATUS=…", "WATCHDOG=1", "STOPPING=1"."""
        if not self._path or not hasattr(socket, "AF_UNIX"):
            return
        address = f"\0{self._path[1:]}" if self._path.startswith("@") else self._path
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect(address)
            notify.sendall("\n".join(states).encode())
