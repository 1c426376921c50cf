"""From an empty folder to a changed announcement, in a real browser, with a real learning."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from support.cameras import Camera
from support.chromium import Tab, chromium, eventually

from edge_effnet import Classifier
from edge_effnet.learning import learn
from edge_effnet.live import Frame, LiveClassifier, SourceOpener
from edge_effnet.live.frames import taken_now
from edge_effnet.live.inbox import Bounds, Inbox
from edge_effnet.live.keeping import pictures_in
from edge_effnet.live.teaching import Teacher
from edge_effnet.live.web import WebAddress, WebServer

pytestmark = pytest.mark.litert
PHONE = {"width": 390, "height": 844}


class Handheld(Camera):
    """Shows its scene from a little elsewhere each time, as a thing that is turned before a camera."""

    def opener(self, name: str = "camera") -> SourceOpener:
        real = super().opener(name)
        return SourceOpener(name, lambda: _Shaken(real.open()))


class _Shaken:
    delivery = property(lambda self: self._source.delivery)
    rate = None

    def __init__(self, source: Any) -> None:
        self._source, self._random = source, np.random.default_rng(0)

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        image = next(self._source).image
        top, left = self._random.integers(0, 24, 2)
        light = self._random.uniform(0.9, 1.05)
        shifted = image[top : top + 200, left : left + 280]
        return taken_now(np.clip(shifted * light, 0, 255).astype(np.uint8))

    def close(self) -> None:
        self._source.close()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def camera() -> Handheld:
    return Handheld("coffee", period_s=0.02)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    return tmp_path / "desk"


@pytest.fixture
def server(bundled: Classifier, camera: Handheld, desk: Path) -> Iterator[WebServer]:
    def open_network(path: Path | None, threads: int | None) -> Classifier:
        return Classifier(path, threads=threads or 1, decoding="quick", probe="never")

    inbox = Inbox(desk / "inbox", random=np.random.default_rng(0), bounds=Bounds(least_s=0.1, chance=0))
    with inbox, LiveClassifier(bundled, camera.opener("kitchen"), watchers=[inbox]) as live:
        teacher = Teacher(desk, live, inbox=inbox, open_network=open_network)
        with WebServer(live, WebAddress("127.0.0.1", 0), teacher=teacher) as running:
            yield running
    teacher.close()


def click(tab: Tab, selector: str) -> None:
    tab.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


def visible(tab: Tab, selector: str) -> bool:
    return bool(tab.evaluate(f"document.querySelector({json.dumps(selector)})?.checkVisibility() ?? false"))


def touch(tab: Tab, selector: str, kind: str) -> None:
    """A finger on the middle of an element: "touchStart" or "touchEnd"."""
    x, y = tab.evaluate(
        f"(() => {{ const found = document.querySelector({json.dumps(selector)}); "
        "found.scrollIntoView({block: 'center'}); const box = found.getBoundingClientRect(); "
        "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    points = [{"x": x, "y": y}] if kind == "touchStart" else []
    tab.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)


def add_class(tab: Tab, name: str) -> None:
    tab.evaluate(f"document.querySelector('#name').value = {json.dumps(name)}")
    click(tab, "#new-class button")
    eventually(lambda: tab.text("#hold") == f"Hold: this is {name}")


def photos_of(server: WebServer, name: str) -> int:
    assert server.teacher is not None
    return next(len(one.photos) for one in server.teacher.shelf.classes() if one.name == name)


def hold_until(tab: Tab, done: Callable[[], bool]) -> None:
    touch(tab, "#hold", "touchStart")
    eventually(done)
    touch(tab, "#hold", "touchEnd")


def forget(tab: Tab) -> None:
    """The page before, which still asks a server that is gone."""
    tab.call("Page.navigate", url="about:blank")
    eventually(lambda: tab.evaluate("location.href === 'about:blank' && document.readyState === 'complete'"))
    tab.requests.clear()
    tab.problems.clear()


def open_teaching(tab: Tab, server: WebServer) -> None:
    forget(tab)
    tab.open(server.url, **PHONE)
    tab.call("Emulation.setTouchEmulationEnabled", enabled=True)
    eventually(lambda: visible(tab, "#teach"))
    eventually(lambda: tab.evaluate("typeof show === 'function'"))
    click(tab, "#teach")
    eventually(lambda: tab.text("#learn-note"))


def test_from_an_empty_folder_to_a_changed_announcement(
    tab: Tab, server: WebServer, camera: Handheld, desk: Path
) -> None:
    open_teaching(tab, server)
    eventually(lambda: tab.text("#label") == "espresso")
    assert tab.text("#learn-note").startswith("Two classes with photos are needed")
    assert tab.evaluate("document.querySelector('#learn').disabled")
    add_class(tab, "Grandma's cup ☕")
    hold_until(tab, lambda: photos_of(server, "Grandma's cup ☕") >= 6)
    camera.scene = "rocket"
    eventually(lambda: tab.evaluate("document.querySelectorAll('#inbox button').length") >= 2)
    add_class(tab, "<b>rocket</b>")
    hold_until(tab, lambda: photos_of(server, "<b>rocket</b>") >= 6)
    eventually(lambda: tab.text("#learn-note").startswith("1"))
    click(tab, "#learn")
    eventually(lambda: visible(tab, "#result"))
    assert (tab.text("#before"), tab.text("#before-note")) == ("–", "it has none of these names")
    assert int(tab.text("#after").removesuffix(" %")) >= 60, "a few frames of each: one of them is ten points or so"
    assert tab.text("#label") == "missile", "until it is used, nothing changes"
    before = server.live.progress
    click(tab, "#use")
    eventually(lambda: tab.text("#label") == "<b>rocket</b>")
    camera.scene = "coffee"
    eventually(lambda: tab.text("#label") == "Grandma's cup ☕")
    camera.scene = "astronaut"
    eventually(lambda: tab.text("#label") == "unknown")
    eventually(lambda: "unknown ·" in tab.text("#inbox"), what="and it is kept, to get a name")
    progress, reader = server.live.progress, server.live.reader.state
    assert progress.failed == before.failed == 0
    assert progress.classified + reader.dropped >= reader.received - 2, "what was dropped came too fast, and no more"
    assert tab.text("#in-use").startswith("In use: learned-0001.tflite, which knows <b>rocket</b>, Grandma's cup ☕")
    camera.scene = "coffee"
    click(tab, "#back")
    eventually(lambda: tab.text("#label") == "espresso")
    assert {urlsplit(address).netloc for address in tab.requests} == {urlsplit(server.url).netloc}
    assert tab.problems == []
    learned = learn(desk / "photos", desk / "again.tflite", cache=desk / "features", threads=1)
    assert learned.labels == ("<b>rocket</b>", "Grandma's cup ☕"), "the command reads what the page has named"
    assert learned.left_out == ()


def test_pictures_are_tapped_into_classes_and_back(tab: Tab, server: WebServer, camera: Handheld, desk: Path) -> None:
    for scene in ("rocket", "chelsea", "astronaut"):
        camera.scene = scene
        count = len(pictures_in(desk / "inbox"))
        eventually(lambda count=count: len(pictures_in(desk / "inbox")) > count, what=scene)
    camera.plugged = False
    open_teaching(tab, server)
    count = len(pictures_in(desk / "inbox"))
    eventually(lambda: tab.evaluate("document.querySelectorAll('#inbox button').length") == count)
    add_class(tab, "cat")
    tab.evaluate("[...document.querySelectorAll('#inbox button')].slice(0, 2).forEach((button) => button.click())")
    eventually(lambda: photos_of(server, "cat") == 2)
    eventually(lambda: tab.text("#toast-text") == "1 picture to cat")
    click(tab, "#classes .throw")
    click(tab, "#inbox button")
    eventually(lambda: len(pictures_in(desk / "dismissed")) == 1)
    eventually(lambda: tab.text("#toast-text") == "1 picture dismissed")
    for left in (0, 1, 2):
        assert visible(tab, "#undo")
        click(tab, "#undo")
        eventually(lambda left=left: len(pictures_in(desk / "inbox")) == count - 2 + left)
    eventually(lambda: tab.evaluate("document.querySelectorAll('#inbox button').length") == count)
    tab.evaluate("document.querySelector('#name').value = 'CAT'")
    click(tab, "#new-class button")
    eventually(lambda: tab.text("#toast-text") == "there is a class cat already; add to that one")
    assert tab.problems == [
        f"Failed to load resource: the server responded with a status of 409 (Conflict) {server.url}api/teach/class"
    ]


@pytest.mark.parametrize("size", [PHONE, {"width": 320, "height": 568}, {"width": 1280, "height": 800}], ids=str)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_the_screen(tab: Tab, server: WebServer, size: dict[str, int], dark: bool) -> None:
    open_teaching(tab, server)
    add_class(tab, "a class whose name is long enough to be cut off somewhere")
    tab.call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=size["width"] < 600)
    tab.scheme("dark" if dark else "light")
    eventually(lambda: visible(tab, "#inbox button"))
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    small = tab.evaluate(
        "[...document.querySelectorAll('button')].filter((one) => one.checkVisibility())"
        ".map((one) => one.getBoundingClientRect()).filter((box) => box.height < 40 || box.width < 40).length"
    )
    assert small == 0, "a thumb hits each button"
    names = tab.evaluate(
        "[...document.querySelectorAll('main button')].map((one) => one.textContent + (one.ariaLabel ?? ''))"
    )
    assert all(names)


def test_a_hundred_classes_leave_the_rest_within_reach(tab: Tab, server: WebServer, desk: Path) -> None:
    for number in range(99):
        folder = desk / "photos" / f"c{number:02}"
        folder.mkdir(parents=True)
        (folder / "label.txt").write_text(f"thing {number:02}\n")
    open_teaching(tab, server)
    add_class(tab, "zebra")
    last = "document.querySelector('#classes [aria-pressed=true]').getBoundingClientRect()"
    listed = "document.querySelector('#classes').getBoundingClientRect()"
    assert tab.evaluate(f"{last}.bottom <= {listed}.bottom + 1 && {last}.top >= {listed}.top - 1"), "it is in sight"
    assert tab.evaluate(f"{listed}.height") < PHONE["height"] * 0.6
    assert tab.evaluate("document.querySelectorAll('#classes button').length") >= 100
    known = "inUse({file: 'm.tflite', labels: [...Array(100).keys()].map((one) => `c${one}`)})"
    assert tab.evaluate(known) == "In use: m.tflite, which knows c0, c1, c2, c3, c4, c5 and 94 more."


def test_an_untaught_camera_loads_nothing_more(tab: Tab, bundled: Classifier) -> None:
    watched = Camera("coffee", period_s=0.02).opener()
    with LiveClassifier(bundled, watched) as live, WebServer(live, WebAddress("127.0.0.1", 0)) as plain:
        forget(tab)
        tab.open(plain.url, **PHONE)
        eventually(lambda: tab.text("#label") == "espresso")
        assert not visible(tab, "#views")
        assert not visible(tab, ".teaching")
        assert not [address for address in tab.requests if "teach" in address]
