"""The web server: its threads, its limits, its start and stop."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from edge_effnet.classifier import Classifier
from edge_effnet.errors import UsageError
from edge_effnet.live.classifier import LiveClassifier
from edge_effnet.live.state import STALE_S, is_healthy, live_state, model_facts
from edge_effnet.live.web import answers, handler
from edge_effnet.live.web.access import Access, WebAddress
from edge_effnet.live.web.front import Front
from edge_effnet.live.web.heat import Heatmaps
from edge_effnet.live.web.pictures import Pictures
from edge_effnet.live.web.requests import Request
from edge_effnet.text import json_text

if TYPE_CHECKING:
    from edge_effnet.live.teaching import Teacher

#: Answers under way, each with a thread: at once, and for one host. Viewers of picture or events are fewer: a page has
#: one of each.
_MOST_ANSWERS, _MOST_ANSWERS_A_HOST = 48, 36
_STATE_AGE_S = 0.2
_JOIN_S = 5.0
#: Connections that wait to be taken: a page that returns opens two at once, every viewer at the same moment.
_BACKLOG = 64


class WebServer:
    """Serves the page of a LiveClassifier from background threads; `start`, `close`, or a `with` block.

    access: token and names. most_viewers: streams at once, of pictures and of events each; a quarter of them is out of
    reach of any one host. send_timeout_s: a viewer that takes nothing for so long is dropped. stale_s: without a frame
    for so long, /healthz answers 503. teacher: what the page teaches with, if it does. Raises UsageError when the
    address is taken or isn't this machine's.
    """

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
        teacher: Teacher | None = None,
    ) -> None:
        self.live, self.access = live, access or Access()
        self.address, self.teacher = address, teacher
        self.pictures = Pictures(live.reader, most_fps=most_fps)
        self.heatmaps = Heatmaps(live)
        self.most_viewers, self.send_timeout_s, self.stale_s = most_viewers, send_timeout_s, stale_s
        self.closing = threading.Event()
        self.viewers = {"picture": 0, "events": 0}
        self.dropped_viewers = 0
        self._top_k = top_k
        self._lock = threading.Lock()
        self._state: tuple[float, bytes] = (-1e9, b"")
        self._model: tuple[Classifier, dict[str, Any]] = (live.classifier, model_facts(live.classifier))
        self._viewers_by_host: Counter[tuple[str, str]] = Counter()
        self._answers_by_host: Counter[str] = Counter()
        self._listening = _listen(address)
        self.server_address = self._listening.getsockname()
        self._front = Front(
            self._listening,
            answer_at_once=self._answer_at_once,
            refuse=lru_cache(64)(lambda status, why: answers.refusal(status, why).to_bytes()),
            serve=self._serve,
        )
        self._thread: threading.Thread | None = None
        self.url = address.url(self.server_address[1])
        self.cookie = f"edge_effnet_{self.server_address[1]}"

    def start(self) -> WebServer:
        """Begins to answer."""
        self._thread = threading.Thread(target=self._front.run, name="edge-effnet web", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Ends all streams and stops listening; may be called more than once."""
        self.closing.set()
        self._front.stop()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        self._listening.close()
        self.heatmaps.close()

    def __enter__(self) -> WebServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def state_json(self) -> bytes:
        """The document of /api/state, at most 0.2 s old: made once for all viewers."""
        with self._lock:
            made, text = self._state
            if time.monotonic() - made > _STATE_AGE_S:
                state = {**live_state(self.live, top_k=self._top_k, stale_s=self.stale_s), "model": self._model_facts()}
                state["teach"] = self.teacher is not None
                state["viewers"] = {**self.viewers, "dropped": self.dropped_viewers}
                text = json_text(state).encode()
                self._state = (time.monotonic(), text)
            return text

    def _model_facts(self) -> dict[str, Any]:
        """Of the network in use, looked up when it was exchanged."""
        classifier = self.live.classifier
        if self._model[0] is not classifier:
            self._model = (classifier, model_facts(classifier))
        return self._model[1]

    def health(self) -> tuple[int, bytes]:
        """HTTP status and document of /healthz."""
        healthy = is_healthy(self.live, stale_s=self.stale_s)
        since = None if healthy else live_state(self.live, stale_s=self.stale_s)["no_frames_since"]
        return (200 if healthy else 503), json_text(
            {"status": "ok" if healthy else "no frames", "no_frames_since": since}
        ).encode()

    def admit_viewer(self, kind: str, host: str) -> str | None:
        """Counts a viewer in; what to say when there are too many of them, or of this host."""
        with self._lock:
            of_host = self._viewers_by_host[kind, host]
            if self.viewers[kind] >= self.most_viewers:
                return f"{self.most_viewers} viewers are here already; try again later"
            if of_host >= self.most_viewers - self.most_viewers // 4:
                return f"{of_host} viewers of your host are here already; try again later"
            self.viewers[kind] += 1
            self._viewers_by_host[kind, host] += 1
            return None

    def dismiss_viewer(self, kind: str, host: str, *, dropped: bool) -> None:
        """Counts a viewer out."""
        with self._lock:
            self.viewers[kind] -= 1
            self.dropped_viewers += dropped
            _count_down(self._viewers_by_host, (kind, host))

    def _answer_at_once(self, request: Request) -> bytes | None:
        given = handler.answer_at_once(self, request)
        return None if given is None else given.to_bytes(request.method)

    def _serve(self, connection: socket.socket, host: str, request: Request) -> bool:
        """Hands the connection to a thread; false when there are too many."""
        with self._lock:
            if self._answers_by_host.total() >= _MOST_ANSWERS or self._answers_by_host[host] >= _MOST_ANSWERS_A_HOST:
                return False
            self._answers_by_host[host] += 1
        thread = threading.Thread(
            target=self._serve_in_thread, args=(connection, host, request), name="edge-effnet answer", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads
            self._count_answer_out(host)
            return False
        return True

    def _serve_in_thread(self, connection: socket.socket, host: str, request: Request) -> None:
        try:
            with connection:
                handler.serve(self, connection, host, request)
        finally:
            self._count_answer_out(host)

    def _count_answer_out(self, host: str) -> None:
        with self._lock:
            _count_down(self._answers_by_host, host)


def _count_down(counts: Counter[Any], key: Any) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]


def _listen(address: WebAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    both = family is socket.AF_INET6 and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        raise UsageError(f"can't listen on {address.host}:{address.port}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    """create_server adds the address to the system's text."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)
