"""The page in a real browser."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from support.cameras import Camera
from support.chromium import Tab, chromium, eventually

from edge_effnet import Classifier
from edge_effnet.live import LiveClassifier, Region
from edge_effnet.live.web import Access, WebAddress, WebServer

pytestmark = pytest.mark.litert
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def server(live: LiveClassifier) -> Iterator[WebServer]:
    with WebServer(live, WebAddress("127.0.0.1", 0)) as running:
        yield running


def status(tab: Tab) -> str:
    return str(tab.evaluate("document.body?.dataset.status"))


def has_picture(tab: Tab) -> bool:
    return bool(tab.evaluate("document.querySelector('#picture')?.naturalWidth === 320"))


def test_it_shows_what_is_played_and_what_changes(tab: Tab, server: WebServer, camera: Camera) -> None:
    tab.requests.clear()
    tab.problems.clear()
    tab.open(server.url, **PHONE)
    eventually(lambda: tab.text("#label") == "espresso")
    eventually(lambda: has_picture(tab))
    assert status(tab) == "live"
    assert tab.text("#source") == "kitchen"
    assert tab.text("#top li:first-child .name") == "espresso"
    assert tab.evaluate("document.querySelectorAll('#top li').length") == 5
    before = tab.evaluate("document.querySelector('#top .bar').style.transform")
    assert tab.text("#model").startswith("filelite0-int8.tflite")
    assert float(tab.text("#fps")) > 0
    assert all(stage in tab.text("#legend") for stage in ("decode", "preprocess", "inference", "decide"))
    camera.scene = "rocket"
    eventually(lambda: tab.text("#label") == "missile")
    eventually(lambda: tab.text("#events li:first-child span") == "missile")
    eventually(lambda: tab.evaluate("document.querySelector('#top .bar').style.transform") != before)
    assert tab.evaluate("document.querySelector('#label').closest('[aria-live]').getAttribute('aria-live')") == "polite"
    assert "missile" in tab.evaluate("document.title")
    assert {urlsplit(address).netloc for address in tab.requests} == {urlsplit(server.url).netloc}, (
        "no request to any other host"
    )
    assert tab.problems == []


@pytest.mark.parametrize(
    "size", [PHONE, DESKTOP, {"width": 320, "height": 568}], ids=["phone", "desktop", "small phone"]
)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_the_screen_in_dark_and_light(tab: Tab, server: WebServer, size: dict[str, int], dark: bool) -> None:
    tab.open(server.url, **size, dark=dark)
    eventually(lambda: tab.text("#label") == "espresso" and has_picture(tab))
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
        "nothing is cut off to the right"
    )
    red, green, blue = tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (red + green + blue < 150) == dark
    picture, label = tab.evaluate(
        "['#frame', '#label'].map((name) => document.querySelector(name).getBoundingClientRect().bottom)"
    )
    assert picture < label <= size["height"], "picture and label are seen without scrolling"


def test_it_says_since_when_there_are_no_frames(tab: Tab, live: LiveClassifier, camera: Camera) -> None:
    with WebServer(live, WebAddress("127.0.0.1", 0), stale_s=0.5) as server:
        tab.open(server.url, **PHONE)
        eventually(lambda: status(tab) == "live")
        camera.plugged = False
        eventually(lambda: tab.text("#veil").endswith(": camera can't be opened"))
        assert status(tab) == "stale"
        since = tab.text("#status")
        assert since.startswith("No frames since ")
        assert tab.text("#veil") == f"{since}: camera can't be opened"
        assert tab.text("#label") == "espresso"
        assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
            "the longer text fits, too"
        )
        camera.plugged = True
        eventually(lambda: status(tab) == "live" and tab.evaluate("document.querySelector('#veil').hidden"))


def test_it_survives_a_restart_of_the_server(tab: Tab, live: LiveClassifier, camera: Camera) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = WebAddress("127.0.0.1", free.getsockname()[1])
    with WebServer(live, address) as server:
        tab.open(server.url, **DESKTOP)
        eventually(lambda: tab.text("#label") == "espresso")
    eventually(lambda: status(tab) == "lost")
    assert tab.text("#veil").startswith("Connection lost at ")
    camera.scene = "rocket"
    eventually(lambda: live.journal.last_number() == 2)
    with WebServer(live, address):
        eventually(lambda: tab.text("#label") == "missile")
        eventually(lambda: has_picture(tab))
        assert status(tab) == "live"
        assert [tab.text(f"#events li:nth-child({place}) span") for place in (1, 2)] == ["missile", "espresso"]


def test_the_token_is_asked_for_and_leaves_the_address_bar(tab: Tab, live: LiveClassifier) -> None:
    with WebServer(live, WebAddress("127.0.0.1", 0), access=Access("correct-horse")) as server:
        tab.open(server.url, **PHONE)
        eventually(lambda: tab.text("label") == "Token")
        tab.evaluate("document.querySelector('#token').value = 'wrong-horse'; document.querySelector('button').click()")
        eventually(lambda: tab.text(".wrong") == "That wasn't it.")
        tab.evaluate(
            "document.querySelector('#token').value = 'correct-horse'; document.querySelector('button').click()"
        )
        eventually(lambda: tab.text("#label") == "espresso")
        eventually(lambda: has_picture(tab))
        assert tab.evaluate("location.href") == server.url


def test_the_region_is_drawn_where_it_is(tab: Tab, bundled: Classifier) -> None:
    watched = Camera("coffee", period_s=0.02).opener()
    with (
        LiveClassifier(bundled, watched, region=Region(0.25, 0.1, 0.5, 0.8)) as live,
        WebServer(live, WebAddress("127.0.0.1", 0)) as server,
    ):
        tab.open(server.url, **DESKTOP)
        eventually(lambda: has_picture(tab))
        share = """(() => {
          const [region, picture] = ["#region", "#picture"].map((name) => document.querySelector(name).getBoundingClientRect());
          return [(region.left - picture.left) / picture.width, region.width / picture.width, region.height / picture.height];
        })()"""
        eventually(lambda: max(abs(a - b) for a, b in zip(tab.evaluate(share), (0.25, 0.5, 0.8), strict=True)) < 0.02)
