"""A real headless Chromium, driven through the DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
_START_S = 120.0


def required_program(*names: str) -> str:
    """Path of the first program there is. Without one the test is skipped, but fails where CI must not skip it."""
    for name in names:
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if found:
            return found
    message = f"{names[0]} is not installed (apt install {names[0]})"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def eventually(condition: Callable[[], Any], *, within_s: float = 120.0, what: str = "") -> Any:
    """The condition's value as soon as it is true; fails after a generous while."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still not: {what or condition}"
        time.sleep(0.05)
    return value


class Replaced(Exception):  # noqa: N818  it isn't an error
    """The page went away while it was asked something."""


class Tab:
    """One page. `requests` are the addresses it asked for, `problems` its errors on the console."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._number = 0
        self.requests: list[str] = []
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv())
            if message.get("id") == self._number:
                if any(word in message.get("error", {}).get("message", "") for word in ("context", "navigated")):
                    raise Replaced
                assert "error" not in message, message
                return dict(message["result"])
            self._note(message)

    def open(self, address: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.scheme("dark" if dark else "light")
        self.call("Page.navigate", url=address)
        eventually(lambda: self.text("body") and self.evaluate("document.readyState") != "loading", what=address)

    def scheme(self, name: str) -> None:
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def evaluate(self, expression: str) -> Any:
        """The expression's value; None where the page it was meant for is just being replaced."""
        try:
            result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        except Replaced:
            return None
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''") or "")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(str(parameters["exceptionDetails"]))
        elif message.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """A browser with one empty tab and a fresh profile."""
    websocket = pytest.importorskip("websocket") if not os.environ.get("CI") else __import__("websocket")
    program = required_program(*NAMES)
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    command = [
        program,
        *flags,
        "--disable-dev-shm-usage",
        "--remote-debugging-port=0",
        "--remote-allow-origins=*",
        f"--user-data-dir={profile}",
        "about:blank",
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    connection = None
    try:
        port = eventually(lambda: _port(profile), within_s=_START_S, what="Chromium's debugging port")
        targets = eventually(lambda: _pages(port), what="a page of Chromium")
        connection = websocket.create_connection(targets[0]["webSocketDebuggerUrl"], timeout=120, suppress_origin=True)
        yield Tab(connection)
    finally:
        if connection is not None:
            connection.close()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(profile: Path) -> int | None:
    file = profile / "DevToolsActivePort"
    lines = file.read_text().splitlines() if file.exists() else []
    return int(lines[0]) if len(lines) >= 2 else None


def _pages(port: int) -> list[dict[str, Any]]:
    from urllib.request import urlopen

    with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=60) as answer:
        return [target for target in json.load(answer) if target["type"] == "page"]
