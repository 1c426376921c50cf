"""Who may see the page: where it listens, which Host header is meant, the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_effnet.errors import UsageError

_SHORTEST_TOKEN = 8


@dataclass(frozen=True)
class WebAddress:
    """Where the server listens. port: 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> WebAddress:
        """From HOST:PORT ([…] around an IPv6 address); raises UsageError."""
        match = re.fullmatch(r"(\[[0-9A-Fa-f:]+\]|[^:\s\[\]/]+):(\d{1,5})", str(text))
        if match is None or int(match[2]) > 65535:
            raise UsageError(
                f"web address {text!r}; expected HOST:PORT like 127.0.0.1:8080, or 0.0.0.0:8080 with --token for "
                "other machines"
            )
        return cls(match[1].strip("[]"), int(match[2]))

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone reaches it."""
        address = _ip(self.host)
        return self.host == "localhost" if address is None else address.is_loopback

    def url(self, port: int) -> str:
        """Where a person finds it, once the port is known."""
        address = _ip(self.host)
        host = socket.gethostname() if address is not None and address.is_unspecified else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


@dataclass(frozen=True)
class Access:
    """token: what a viewer must know, None for nobody. names: further names this machine is called by in a browser."""

    token: str | None = field(default=None, repr=False)
    names: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.token is not None and not isinstance(self.token, str):
            raise UsageError(f"token is a {type(self.token).__name__}; expected a text")
        if self.token is not None and (
            len(self.token) < _SHORTEST_TOKEN
            or not self.token.isascii()
            or not self.token.isprintable()
            or " " in self.token
        ):
            raise UsageError(
                f"the token is too short or holds unusual characters; expected at least {_SHORTEST_TOKEN} letters and "
                "digits"
            )

    def check(self, address: WebAddress, *, is_open: bool) -> None:
        """Raises UsageError for an address that others reach without a token, unless that was said to be wanted."""
        if address.is_loopback or self.token is not None or is_open:
            return
        raise UsageError(
            f"{address.host} can be reached from other machines: say who may watch with --token (for instance --token "
            f"{secrets.token_urlsafe(12)}), "
            "or --web-open to let everyone"
        )

    def knows_host(self, header: str | None) -> bool:
        """Whether the Host header names this machine: an address, localhost, its own name.

        Another name means that a foreign page had its name point here (DNS rebinding) to read what we show.
        """
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::\d*)?", header or "")
        if match is None or not match[1]:
            return False
        name = match[1].strip("[]").lower().rstrip(".")
        own = socket.gethostname().lower()
        known = {
            "localhost",
            own,
            own.split(".")[0],
            f"{own.split('.')[0]}.local",
            *(name.lower() for name in self.names),
        }
        return _ip(name) is not None or name in known

    def admits(self, headers: Mapping[str, str], given: str | None, *, cookie: str) -> bool:
        """Whether a request shows the token: as ?token=, as a bearer, or in the cookie that was set for it."""
        if self.token is None:
            return True
        scheme, _, bearer = headers.get("Authorization", "").partition(" ")
        shown = [given or "", bearer.strip() if scheme.lower() == "bearer" else ""]
        fits = [hmac.compare_digest(text.encode(), self.token.encode()) for text in shown]
        return any(fits) or hmac.compare_digest(
            _cookie(headers.get("Cookie", ""), cookie).encode(), self.cookie_value().encode()
        )

    def cookie_value(self) -> str:
        """What the cookie holds instead of the token itself."""
        return hashlib.sha256(f"edge-effnet cookie {self.token}".encode()).hexdigest()


def is_loopback_host(header: str) -> bool:
    """Whether a Host header names this machine as it alone can: 127.0.0.1, [::1], localhost."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::\d*)?", header)
    return match is not None and WebAddress(match[1].strip("[]").lower(), 0).is_loopback


def _cookie(header: str, name: str) -> str:
    """The cookie's value, in one pass: the standard library's parser takes a second for some headers of 64 KB."""
    for pair in header.split(";"):
        found, _, value = pair.partition("=")
        if found.strip() == name:
            return value.strip()
    return ""


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
