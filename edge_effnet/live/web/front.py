"""The page's front door: one thread that takes connections and reads their requests, so that strangers hold no other.

A connection costs a few kilobytes until its request is whole: at most 16 KB of it are kept, for ten seconds at most,
for 256 connections at most. A further one takes the place of the oldest of the host that holds the most places. What is
answered at once (refusals, /healthz) is answered here; all else gets a thread.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edge_effnet.live.web.requests import MOST_HEAD_BYTES, BadRequestError, Request, whole_request

_LOG = logging.getLogger("edge_effnet.live")
#: Connections whose requests aren't whole yet, or whose answers are being taken.
MOST_WAITING = 256
#: Seconds for a whole request, from its connection.
REQUEST_S = 10.0
#: After an answer the client may send for a while what it had begun: closing at once would take the answer back (RFC
#: 9112, section 9.6).
_LINGER_S, _LINGER_BYTES = 1.0, 1 << 16
#: Who sends too much waits for its answer, unread: a stranger that comes again at once costs more than one that waits.
_TOO_MUCH_S = 1.0
_ACCEPTS_A_TURN = 16
_LONGEST_TURN_S = 1.0
#: Without a free file number no connection can be taken: seconds until the next try.
_BREATH_S = 0.1


@dataclass(eq=False)
class _Visitor:
    """A connection that waits. until: monotonic seconds; lingering: bytes that it may still send after its answer;
    answer: what it gets then, and nothing of it is read before.
    """

    connection: socket.socket
    host: str
    until: float
    received: bytearray = field(default_factory=bytearray)
    lingering: int | None = None
    answer: bytes | None = None


class Front:
    """Reads requests in `run`, until `stop`.

    answer_at_once: the bytes of an answer that needs no thread, or None. refuse: the bytes of a refusal. serve: takes
    connection, host and request over, with a thread of its own; false when it has none left.
    """

    def __init__(
        self,
        listening: socket.socket,
        *,
        answer_at_once: Callable[[Request], bytes | None],
        refuse: Callable[[int, str], bytes],
        serve: Callable[[socket.socket, str, Request], bool],
    ) -> None:
        self._listening = listening
        self._answer_at_once, self._refuse, self._serve = answer_at_once, refuse, serve
        self._visitors: dict[socket.socket, _Visitor] = {}
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._stopping = False

    def run(self) -> None:
        """Until `stop`; then every waiting connection is closed."""
        self._listening.setblocking(False)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        try:
            while not self._stopping:
                self._turn()
        finally:
            for visitor in list(self._visitors.values()):
                self._drop(visitor)
            self._selector.close()
            self._waker.close()
            self._woken.close()

    def stop(self) -> None:
        """From any thread."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def _turn(self) -> None:
        """Everything that is there now, and what is overdue."""
        now = time.monotonic()
        soonest = min((visitor.until for visitor in self._visitors.values()), default=now + _LONGEST_TURN_S)
        for key, _ in self._selector.select(min(max(soonest - now, 0.0), _LONGEST_TURN_S)):
            found: Any = key.fileobj
            if found is self._listening:
                self._accept()
            elif found is not self._woken and (visitor := self._visitors.get(found)) is not None:
                self._hear(visitor)
        now = time.monotonic()
        for visitor in [visitor for visitor in self._visitors.values() if visitor.until <= now]:
            self._overdue(visitor)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                connection, address = self._listening.accept()
            except BlockingIOError:
                return
            except OSError:  # no file number is left, or the client has gone
                self._make_room()
                time.sleep(_BREATH_S)
                return
            if len(self._visitors) >= MOST_WAITING:
                self._make_room()
            connection.setblocking(False)
            visitor = _Visitor(connection, _host(str(address[0])), time.monotonic() + REQUEST_S)
            self._visitors[connection] = visitor
            self._selector.register(connection, selectors.EVENT_READ)

    def _make_room(self) -> None:
        """One place: of who has its answer already, otherwise the oldest of the host that holds the most."""
        visitors = list(self._visitors.values())
        if not visitors:
            return
        answered = next((visitor for visitor in visitors if visitor.lingering is not None), None)
        greedy, _ = Counter(visitor.host for visitor in visitors).most_common(1)[0]
        self._drop(answered or next(visitor for visitor in visitors if visitor.host == greedy))

    def _hear(self, visitor: _Visitor) -> None:
        """What a visitor sends; whatever goes wrong is its matter alone."""
        try:
            piece = visitor.connection.recv(MOST_HEAD_BYTES)
            if not piece:
                self._drop(visitor)
            elif visitor.lingering is not None:
                visitor.lingering -= len(piece)
                if visitor.lingering <= 0:
                    self._drop(visitor)
            else:
                visitor.received += piece
                self._read(visitor)
        except BlockingIOError:
            return
        except OSError:
            self._drop(visitor)
        except Exception as error:
            _LOG.warning("a request to the page failed: %s", type(error).__name__)
            self._say(visitor, self._refuse(500, "something went wrong here"))

    def _read(self, visitor: _Visitor) -> None:
        try:
            request = whole_request(visitor.received)
            if request is None:
                return
        except BadRequestError as error:
            self._turn_away(visitor, error)
            return
        answer = self._answer_at_once(request)
        if answer is not None:
            self._say(visitor, answer)
            return
        self._forget(visitor)
        if not self._serve(visitor.connection, visitor.host, request):
            self._visitors[visitor.connection] = visitor
            self._selector.register(visitor.connection, selectors.EVENT_READ)
            self._say(visitor, self._refuse(503, "too many connections; try again later"))

    def _turn_away(self, visitor: _Visitor, error: BadRequestError) -> None:
        answer = self._refuse(error.status, error.why)
        if error.status != 431:
            self._say(visitor, answer)
            return
        self._selector.unregister(visitor.connection)
        visitor.answer, visitor.until, visitor.received = answer, time.monotonic() + _TOO_MUCH_S, bytearray()

    def _overdue(self, visitor: _Visitor) -> None:
        if visitor.answer is not None:
            answer, visitor.answer = visitor.answer, None
            self._selector.register(visitor.connection, selectors.EVENT_READ)
            self._say(visitor, answer)
        elif visitor.lingering is None and visitor.received:
            self._say(visitor, self._refuse(408, f"the request wasn't whole after {REQUEST_S:.0f} s"))
        else:
            self._drop(visitor)

    def _say(self, visitor: _Visitor, answer: bytes) -> None:
        """An answer that fits what the system keeps of a connection; then what was begun may come to its end."""
        try:
            visitor.connection.send(answer)
            visitor.connection.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(visitor)
            return
        visitor.received = bytearray()
        visitor.until, visitor.lingering = time.monotonic() + _LINGER_S, _LINGER_BYTES

    def _forget(self, visitor: _Visitor) -> None:
        del self._visitors[visitor.connection]
        if visitor.answer is None:
            self._selector.unregister(visitor.connection)

    def _drop(self, visitor: _Visitor) -> None:
        self._forget(visitor)
        visitor.connection.close()


def _host(address: str) -> str:
    """What counts as one host: an IPv4 address, or the 64 bits of IPv6 that a line has."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if parsed.version == 4 or parsed.ipv4_mapped is not None:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
