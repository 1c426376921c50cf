"""`edge-effnet camera`: classify a camera, say what changes, show it on a page."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import re
import signal
import time
from collections.abc import Iterator
from types import FrameType

from edge_effnet.clashes import check_outputs
from edge_effnet.classifier import BUNDLED_MODEL
from edge_effnet.cli.console import flush, remark, write
from edge_effnet.cli.options import (
    add_engine_options,
    add_preprocessing_options,
    names,
    open_classifier,
    positive,
)
from edge_effnet.errors import UsageError
from edge_effnet.live import DecisionRule, LiveClassifier, Region, source_opener
from edge_effnet.live.events import Event, EventSink, event_text
from edge_effnet.live.sinks import CommandSink, FileSink, MqttAddress, MqttSink
from edge_effnet.live.sources import Replay
from edge_effnet.live.systemd import Notifier
from edge_effnet.live.web import Access, WebAddress, WebServer
from edge_effnet.text import json_text, printable

#: A camera's driver that keeps us waiting for so many seconds hangs: systemd is no longer told that we are well.
_HANGING_S = 60.0
_BEAT_S = 1.0
_RULE = DecisionRule()


class _Terminated(BaseException):
    """SIGTERM came."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "--source",
        default="picamera2",
        metavar="S",
        help="picamera2 (default), a camera's number, /dev/video…, rtsp://…, a video file, a folder of photos",
    )
    parser.add_argument(
        "--model", metavar="FILE", help="a .tflite or .onnx file (default: the bundled EfficientNet-Lite0)"
    )
    parser.add_argument("--labels", metavar="FILE", help="class names, one a line, instead of the model's")
    parser.add_argument(
        "--size",
        type=_size,
        metavar="WxH",
        help="picture size to ask the camera for (default 640x480, OpenCV: the camera's own)",
    )
    parser.add_argument(
        "--fps",
        type=_rate,
        metavar="F",
        help="play files at F frames a second, or max: every frame, at the model's speed (default: a video's own)",
    )
    parser.add_argument("--loop", action="store_true", help="play files again from the beginning")
    parser.add_argument("--every", type=positive, default=1, metavar="N", help="classify each N-th frame (default 1)")
    parser.add_argument(
        "--roi",
        type=_region,
        metavar="X,Y,W,H",
        help="classify this part: left, top, width, height as fractions of the picture",
    )
    parser.add_argument(
        "--top-k", type=positive, default=5, metavar="K", help="how many classes the page shows (default 5)"
    )
    parser.add_argument(
        "--format", choices=("text", "jsonl"), default="text", help="of the events on standard output (default text)"
    )
    _add_decisions(parser)
    _add_sinks(parser)
    _add_web(parser)
    add_engine_options(parser)
    add_preprocessing_options(parser)


def _add_decisions(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("decisions", "when a label is announced, and when it is given up")
    group.add_argument("--allow", type=names, metavar="L,…", help="announce only these labels (names or indices)")
    group.add_argument("--deny", type=names, metavar="L,…", help="never announce these labels")
    group.add_argument(
        "--smoothing",
        type=float,
        default=_RULE.smoothing,
        metavar="X",
        help="weight of the newest frame, up to 1: none (default %(default)s)",
    )
    group.add_argument(
        "--enter",
        type=float,
        default=_RULE.enter,
        metavar="X",
        help="lowest score to announce a label (default %(default)s)",
    )
    group.add_argument(
        "--leave",
        type=float,
        default=_RULE.leave,
        metavar="X",
        help="below this score it is given up (default %(default)s)",
    )
    group.add_argument(
        "--agree",
        type=_of,
        default=(_RULE.agree, _RULE.window),
        metavar="K/N",
        help="K of N frames must agree (default 3/5)",
    )
    group.add_argument(
        "--margin",
        type=float,
        default=_RULE.margin,
        metavar="X",
        help="lead that another label needs (default %(default)s)",
    )


def _add_sinks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("events", "where each change goes, besides standard output")
    group.add_argument("--events", metavar="FILE", help="append each event to FILE, one JSON a line")
    group.add_argument(
        "--command",
        metavar="CMD",
        help="run CMD for each event: JSON on its standard input, EDGE_EFFNET_LABEL in its environment",
    )
    group.add_argument(
        "--mqtt",
        metavar="HOST[:PORT]",
        help="publish each event to this MQTT broker (password: EDGE_EFFNET_MQTT_PASSWORD)",
    )
    group.add_argument(
        "--mqtt-topic", default="edge-effnet", metavar="T", help="prefix of the topics (default %(default)s)"
    )
    group.add_argument("--mqtt-user", metavar="NAME", help="who we are to the broker")
    group.add_argument("--mqtt-tls", action="store_true", help="encrypt, and check the broker's certificate")


def _add_web(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("page", "a page to watch the camera")
    group.add_argument("--web", metavar="HOST:PORT", help="show the page there, for instance 127.0.0.1:8080")
    group.add_argument(
        "--token",
        metavar="TEXT",
        help="what viewers must know; needed unless HOST is this machine alone (or EDGE_EFFNET_TOKEN)",
    )
    group.add_argument(
        "--web-open", action="store_true", help="let everyone who reaches the port watch, without a token"
    )
    group.add_argument(
        "--web-name",
        type=names,
        default=[],
        metavar="NAME,…",
        help="further host names under which the page is reached",
    )
    group.add_argument(
        "--web-fps",
        type=_rate_number,
        default=10.0,
        metavar="F",
        help="most pictures a second on the page (default 10)",
    )
    parser.set_defaults(decoding="quick")


def run(arguments: argparse.Namespace) -> int:
    """Classifies until the source ends (0), SIGTERM (0) or Ctrl-C (130); 1 when events weren't delivered."""
    web = _web_options(arguments)
    check_outputs({"--events": arguments.events}, _inputs(arguments))
    replay = Replay(arguments.fps if isinstance(arguments.fps, float) else None, arguments.fps == "max", arguments.loop)
    source = source_opener(arguments.source, size=arguments.size, replay=replay)
    agree, window = arguments.agree
    rule = DecisionRule(arguments.smoothing, arguments.enter, arguments.leave, agree, window, arguments.margin)
    with _remarks(), contextlib.ExitStack() as stack:
        classifier = stack.enter_context(open_classifier(arguments, arguments.model))
        live = LiveClassifier(
            classifier,
            source,
            rule=rule,
            region=arguments.roi,
            every=arguments.every,
            allow=arguments.allow,
            deny=arguments.deny,
            sinks=_sinks(arguments),
        )
        if web is not None:
            address, access = web
            server = WebServer(live, address, access=access, top_k=arguments.top_k, most_fps=arguments.web_fps)
            stack.callback(server.close)
        with _until_terminated(), live:
            if web is not None:
                stack.enter_context(server)
                remark(f"page: {server.url}")
            _watch(live, arguments.format)
    return 1 if live.undelivered else 0


def _inputs(arguments: argparse.Namespace) -> dict[str, str | None]:
    """What is read, by the name a message gives it."""
    model = arguments.model or str(BUNDLED_MODEL)
    return {"the model": model, "the file of labels": arguments.labels, "the source": arguments.source}


def _watch(live: LiveClassifier, output: str) -> None:
    """Prints events, and tells systemd how we are, until the source ends."""
    notifier = Notifier()
    notifier.say("READY=1", "STATUS=classifying")
    number, finished = 0, False
    try:
        while not finished:
            finished = live.journal.closed
            for event in live.journal.after(number, timeout=_BEAT_S):
                number = event.number
                write(_line(event, output) + "\n")
                flush()
                notifier.say(f"STATUS={printable(event.label or 'nothing')}")
            if _is_well(live):
                notifier.say("WATCHDOG=1")
    finally:
        notifier.say("STOPPING=1")


def _line(event: Event, output: str) -> str:
    return event_text(event) if output == "text" else json_text(event.to_dict())


def _is_well(live: LiveClassifier) -> bool:
    """Whether no driver hangs; a camera that is gone and tried again is no reason to restart us."""
    since = live.reader.state.reading_since
    return since is None or time.monotonic() - since < _HANGING_S


def _sinks(arguments: argparse.Namespace) -> list[EventSink]:
    found: list[EventSink] = []
    if arguments.events:
        found.append(FileSink(arguments.events))
    if arguments.command:
        found.append(CommandSink(arguments.command))
    if arguments.mqtt:
        password = os.environ.get("EDGE_EFFNET_MQTT_PASSWORD")
        broker = MqttAddress.parse(
            arguments.mqtt,
            topic=arguments.mqtt_topic,
            user=arguments.mqtt_user,
            password=password,
            tls=arguments.mqtt_tls,
        )
        found.append(MqttSink(broker))
    return found


def _web_options(arguments: argparse.Namespace) -> tuple[WebAddress, Access] | None:
    token = arguments.token or os.environ.get("EDGE_EFFNET_TOKEN") or None
    if arguments.web is None:
        if arguments.token or arguments.web_open:
            raise UsageError("--token and --web-open go with --web HOST:PORT")
        return None
    address, access = WebAddress.parse(arguments.web), Access(token, frozenset(arguments.web_name))
    access.check(address, is_open=arguments.web_open)
    if token is None and not address.is_loopback:
        remark(
            f"the page is open: everyone who reaches {arguments.web} sees the camera (--token would keep others out)"
        )
    return address, access


@contextlib.contextmanager
def _remarks() -> Iterator[None]:
    """What the live classifier has to say goes to standard error, a line each."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            remark(record.getMessage())

    log, handler = logging.getLogger("edge_effnet.live"), Lines(logging.WARNING)
    propagate = log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagate


@contextlib.contextmanager
def _until_terminated() -> Iterator[None]:
    """SIGTERM ends the block in order; a second one changes nothing."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except _Terminated:
        remark("stopped")
    finally:
        signal.signal(signal.SIGTERM, before)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    if match is None or int(match[1]) % 2 or int(match[2]) % 2 or not int(match[1]) * int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size in even numbers like 640x480")
    return int(match[1]), int(match[2])


def _rate(text: str) -> float | str:
    return text if text == "max" else _rate_number(text)


def _rate_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of frames a second above 0, at most 1000")
    return value


def _region(text: str) -> Region:
    try:
        left, top, width, height = (float(part) for part in text.split(","))
        return Region(left, top, width, height)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not four fractions like 0.25,0.25,0.5,0.5") from error


def _of(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N like 3/5")
    return int(match[1]), int(match[2])
