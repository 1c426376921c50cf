"""The web server: its threads, its limits, its start and stop."""

from __future__ import annotations

import logging
import socket
import threading
import time
from http.server import ThreadingHTTPServer
from typing import Any

from edge_effnet.errors import UsageError
from edge_effnet.live.classifier import LiveClassifier
from edge_effnet.live.state import STALE_S, is_healthy, live_state, model_facts
from edge_effnet.live.web.access import Access, WebAddress
from edge_effnet.live.web.handler import Handler
from edge_effnet.live.web.pictures import Pictures
from edge_effnet.text import json_text

_LOG = logging.getLogger("edge_effnet.live")
#: Connections at once; each has a thread. Viewers of picture or events are fewer: a page has one of each.
_MOST_CONNECTIONS = 48
_STATE_AGE_S = 0.2


class WebServer(ThreadingHTTPServer):
    """Serves the page of a LiveClassifier from background threads; `start`, `close`, or a `with` block.

    access: token and names. most_viewers: streams at once, of pictures and of events each. send_timeout_s: a viewer
    that takes nothing for so long is dropped. stale_s: without a frame for so long, /healthz answers 503. Raises
    UsageError when the address is taken or isn't this machine's.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    #: Connections that wait to be accepted: a page that returns opens two at once, every viewer at the same moment.
    request_queue_size = 64

    def __init__(
        self,
        live: LiveClassifier,
        address: WebAddress,
        *,
        access: Access | None = None,
        top_k: int = 5,
        most_fps: float = 10.0,
        most_viewers: int = 12,
        send_timeout_s: float = 5.0,
        stale_s: float = STALE_S,
    ) -> None:
        self.live, self.access = live, access or Access()
        self.pictures = Pictures(live.reader, most_fps=most_fps)
        self.most_viewers, self.send_timeout_s, self.stale_s = most_viewers, send_timeout_s, stale_s
        self.closing = threading.Event()
        self.viewers = {"picture": 0, "events": 0}
        self.dropped_viewers = 0
        self._top_k = top_k
        self._lock = threading.Lock()
        self._state: tuple[float, bytes] = (-1e9, b"")
        self._model = model_facts(live.classifier)
        self._connections = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        try:
            super().__init__((address.host, address.port), Handler)
        except OSError as error:
            raise UsageError(f"can't listen on {address.host}:{address.port}: {error.strerror or error}") from error
        self.url = address.url(self.server_address[1])
        self.cookie = f"edge_effnet_{self.server_address[1]}"

    def start(self) -> WebServer:
        """Begins to answer."""
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.2}, name="edge-effnet web", daemon=True
        ).start()
        return self

    def close(self) -> None:
        """Ends all streams and stops listening."""
        self.closing.set()
        self.shutdown()
        self.server_close()

    def __enter__(self) -> WebServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def state_json(self) -> bytes:
        """The document of /api/state, at most 0.2 s old: made once for all viewers."""
        with self._lock:
            made, text = self._state
            if time.monotonic() - made > _STATE_AGE_S:
                state = {**live_state(self.live, top_k=self._top_k, stale_s=self.stale_s), "model": self._model}
                state["viewers"] = {**self.viewers, "dropped": self.dropped_viewers}
                text = json_text(state).encode()
                self._state = (time.monotonic(), text)
            return text

    def health(self) -> tuple[int, bytes]:
        """HTTP status and document of /healthz."""
        healthy = is_healthy(self.live, stale_s=self.stale_s)
        since = None if healthy else live_state(self.live, stale_s=self.stale_s)["no_frames_since"]
        return (200 if healthy else 503), json_text(
            {"status": "ok" if healthy else "no frames", "no_frames_since": since}
        ).encode()

    def admit_viewer(self, kind: str) -> bool:
        """Counts a viewer in; false when there are too many."""
        with self._lock:
            if self.viewers[kind] >= self.most_viewers:
                return False
            self.viewers[kind] += 1
            return True

    def dismiss_viewer(self, kind: str, *, dropped: bool) -> None:
        """Counts a viewer out."""
        with self._lock:
            self.viewers[kind] -= 1
            self.dropped_viewers += dropped

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the connection, unless there are too many."""
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._connections.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Runs in the connection's thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A broken connection is a viewer's right; anything else is said."""
        _LOG.debug("web request failed", exc_info=True)
