"""The page to watch a camera, on the standard library's server: no dependency, little memory, loopback by default."""

from edge_effnet.live.web.access import Access, WebAddress
from edge_effnet.live.web.server import WebServer

__all__ = ["Access", "WebAddress", "WebServer"]
