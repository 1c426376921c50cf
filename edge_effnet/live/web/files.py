"""The files of the page, as package data."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

HTML = "text/html; charset=utf-8"
#: Path → file and content type.
PAGE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "/": ("page.html", HTML),
        "/page.css": ("page.css", "text/css; charset=utf-8"),
        "/page.js": ("page.js", "text/javascript; charset=utf-8"),
        "/teach.css": ("teach.css", "text/css; charset=utf-8"),
        "/teach.js": ("teach.js", "text/javascript; charset=utf-8"),
        "/icon.svg": ("icon.svg", "image/svg+xml"),
    }
)


@functools.cache
def page_file(name: str) -> bytes:
    """Content of a file of the page."""
    return (resources.files("edge_effnet.live.web") / name).read_bytes()
