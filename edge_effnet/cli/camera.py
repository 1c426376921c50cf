"""`edge-effnet camera`: classify a camera, say what changes, show it on a page."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import FrameType

from edge_effnet.clashes import check_outputs
from edge_effnet.classifier import BUNDLED_MODEL, Classifier
from edge_effnet.cli.camera_destinations import open_sinks, remove_from_home_assistant
from edge_effnet.cli.camera_options import add_arguments, photos_are_frames
from edge_effnet.cli.camera_teaching import (
    check_teaching,
    kept_folders,
    open_first,
    opened_inbox,
    opened_teacher,
)
from edge_effnet.cli.console import flush, remark, write
from edge_effnet.errors import UsageError
from edge_effnet.images import look_through
from edge_effnet.labels import label_of
from edge_effnet.live import DecisionRule, LiveClassifier, MotionGate, SourceOpener, Turn, source_opener
from edge_effnet.live.events import Event, event_text
from edge_effnet.live.judge import rule_for
from edge_effnet.live.sources import Replay
from edge_effnet.live.state import waiting_text
from edge_effnet.live.systemd import Notifier
from edge_effnet.live.web import Access, WebAddress, WebServer
from edge_effnet.text import json_text, printable

#: A camera's driver that keeps us waiting for so many seconds hangs: systemd is no longer told that we are well.
_HANGING_S = 60.0
_BEAT_S = 1.0


#: The verb's options.
__all__ = ["add_arguments", "run"]


class _Terminated(BaseException):
    """SIGTERM came."""


def run(arguments: argparse.Namespace) -> int:
    """Classifies until the source ends (0), SIGTERM (0) or Ctrl-C (130); 1 when events weren't delivered."""
    if arguments.mqtt_discovery_remove:
        remove_from_home_assistant(arguments)
        remark(f"Home Assistant is told that there is no {arguments.mqtt_topic} any more")
        return 0
    web = _web_options(arguments)
    check_outputs({"--events": arguments.events}, _inputs(arguments))
    _check_folders(arguments.source, kept_folders(arguments))
    motion = None if arguments.motion is None else MotionGate(arguments.motion)
    source = _source(arguments)
    _say_left_out(arguments.source)
    _check_hidden(arguments.model)
    with _remarks(), contextlib.ExitStack() as stack:
        classifier = stack.enter_context(open_first(arguments))
        inbox = stack.enter_context(opened_inbox(arguments, classifier.model_path.name))
        live = LiveClassifier(
            classifier,
            source,
            rule=partial(_rule, arguments),
            region=arguments.roi,
            every=arguments.every,
            allow=arguments.allow,
            deny=arguments.deny,
            foreign_labels="pass over" if arguments.learn else "refuse",
            sinks=open_sinks(arguments, classifier, page=_reached_page(web)),
            motion=motion,
            watchers=[] if inbox is None else [inbox],
        )
        teacher = stack.enter_context(opened_teacher(arguments, live, inbox))
        if web is not None:
            address, access = web
            server = WebServer(
                live, address, access=access, top_k=arguments.top_k, most_fps=arguments.web_fps, teacher=teacher
            )
            stack.callback(server.close)
        with _until_terminated(), live:
            if web is not None:
                stack.enter_context(server)
                remark(f"page: {server.url}")
            _watch(live, arguments.format)
        _say_why_nothing(live)
        _say_spared(live)
    return 1 if live.undelivered else 0


def _source(arguments: argparse.Namespace) -> SourceOpener:
    replay = Replay(
        arguments.fps if isinstance(arguments.fps, float) else None,
        arguments.fps == "max",
        arguments.loop,
        "frames" if photos_are_frames(arguments) else "scenes",
    )
    turn = Turn(arguments.rotate, arguments.flip)
    return source_opener(arguments.source, size=arguments.size, replay=replay, turn=turn)


def _rule(arguments: argparse.Namespace, classifier: Classifier) -> DecisionRule:
    """As said; what isn't said suits the head and the number of classes. Raises UsageError."""
    usual = rule_for(classifier)
    enter = usual.enter if arguments.enter is None else arguments.enter
    leave = min(usual.leave, enter) if arguments.leave is None else arguments.leave
    agree, window = arguments.agree
    return DecisionRule(arguments.smoothing, enter, leave, agree, window, arguments.margin)


def _check_folders(source: str, folders: Mapping[str, str | None]) -> None:
    """Raises UsageError for a folder of ours that lies in the one we watch: what is kept there would be seen again."""
    for option, folder in folders.items():
        if (
            folder is not None
            and Path(source).is_dir()
            and Path(folder).resolve().is_relative_to(Path(source).resolve())
        ):
            raise UsageError(f"{option} {folder} lies in the folder of photos that is watched; name another folder")


def _check_hidden(model: str | None) -> None:
    """Raises UsageError for a model under /home that a unit of systemd's with ProtectHome=yes doesn't see."""
    hidden = model is not None and model.startswith(("/home/", "/root/")) and not Path(model).exists()
    if hidden and "INVOCATION_ID" in os.environ:
        raise UsageError(
            f"{model}: no such file, or hidden from this service (ProtectHome=yes hides /home and /root); put it into "
            "/var/lib/edge-effnet or /opt"
        )


def _say_left_out(source: str) -> None:
    left_out = look_through(Path(source)).remark if Path(source).is_dir() else None
    if left_out:
        remark(f"{source}: {left_out}")


def _say_why_nothing(live: LiveClassifier) -> None:
    """An end without any event says why."""
    latest = live.latest()
    if not live.journal.closed or live.journal.last_number() or latest is None:
        return
    why = ""
    if latest.waiting is not None:
        label = printable(label_of(latest.waiting.index, latest.labels))
        why = f"; at the end {waiting_text(latest.waiting, label, live.rule)}"
    remark(f"nothing was announced in {latest.number} frame{'s' if latest.number != 1 else ''}{why}")


def _say_spared(live: LiveClassifier) -> None:
    """At the end: what watching for motion has saved."""
    if live.motion is None:
        return
    progress = live.progress
    seen = progress.spared + progress.classified
    share = f" ({100 * progress.spared / seen:.0f} %)" if seen else ""
    remark(f"{progress.spared:,} of {seen:,} frames{share} weren't classified, since nothing moved")


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


def _web_options(arguments: argparse.Namespace) -> tuple[WebAddress, Access] | None:
    token = arguments.token or os.environ.get("EDGE_EFFNET_TOKEN") or None
    if arguments.web is None:
        return None
    address, access = WebAddress.parse(arguments.web), Access(token, frozenset(arguments.web_name))
    access.check(address, is_open=arguments.web_open)
    check_teaching(arguments, address, access)
    if token is None and not address.is_loopback:
        remark(
            f"the page is open: everyone who reaches {arguments.web} sees the camera (--token would keep others out)"
        )
    return address, access


def _reached_page(web: tuple[WebAddress, Access] | None) -> str | None:
    """The page's address as other machines open it."""
    if web is None or web[0].is_loopback or not web[0].port:
        return None
    return web[0].url(web[0].port)


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
