"""What /api/state shows, as plain JSON values.

Durations come from the monotonic clock; times of day are counted back from now by them. So a wall clock that jumps (a
Pi without a battery starts in the past and is corrected by the network) changes no duration, and old times follow the
correction.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from edge_effnet.classifier import Classifier
from edge_effnet.labels import label_of
from edge_effnet.live.classifier import LiveClassifier
from edge_effnet.live.decisions import DecisionRule, Waiting
from edge_effnet.live.delivery import SinkState
from edge_effnet.live.events import iso_time
from edge_effnet.live.frames import Frame, Region
from edge_effnet.live.newest import ReaderState
from edge_effnet.live.readings import Progress
from edge_effnet.prediction import top_predictions
from edge_effnet.version import __version__

#: Without a frame for this many seconds, the state says "no frames since".
STALE_S = 10.0
_RECENT_EVENTS = 20
_ALLOWED_SHOWN = 2


def live_state(live: LiveClassifier, *, top_k: int = 5, stale_s: float = STALE_S) -> dict[str, Any]:
    """The document of /api/state (docs/camera.md lists its fields)."""
    now, wall = time.monotonic(), time.time()
    progress, reader, frame = live.progress, live.reader.state, live.reader.newest()
    age_s = now - (live.started_at if frame is None else frame.monotonic)
    status = _status(frame, ended=live.journal.closed, fresh=age_s < stale_s)
    return {
        "version": __version__,
        "status": status,
        "time": iso_time(wall),
        "uptime_s": round(now - live.started_at, 1),
        "no_frames_since": iso_time(wall - age_s) if status in ("stale", "ended") else None,
        "last_frame_age_s": None if frame is None else round(age_s, 3),
        "source": _source(live.reader.source.name, reader, frame),
        "frames": _frames(progress, reader),
        "fps": {"camera": round(live.reader.rate, 1), "classified": round(progress.rate, 1)},
        "timing_ms": {stage: round(value, 2) for stage, value in progress.timing_ms.items()},
        "problem": progress.problem,
        "announced": _announced(progress, now=now, wall=wall),
        "waiting": _waiting(live, progress),
        "top": _top(progress, top_k),
        "unknown": _unknown(progress),
        "allowed": _allowed_labels(live),
        "events": [event.to_dict() for event in live.journal.after(0)[-_RECENT_EVENTS:]],
        "sinks": [_sink(sink) for sink in progress.sinks],
        "rule": {
            name: getattr(live.rule, name) for name in ("smoothing", "enter", "leave", "agree", "window", "margin")
        },
        "region": _region(live.region),
        "every": live.every,
    }


def _sink(sink: SinkState) -> dict[str, Any]:
    waiting_s = None if sink.waiting_s is None else round(sink.waiting_s, 1)
    return {**asdict(sink), "waiting_s": waiting_s}


def _status(frame: Frame | None, *, ended: bool, fresh: bool) -> str:
    if ended:
        return "ended"
    if not fresh:
        return "stale"
    return "starting" if frame is None else "live"


def is_healthy(live: LiveClassifier, *, stale_s: float = STALE_S) -> bool:
    """Whether a frame was classified, or spared since nothing moved, in the last `stale_s` seconds (or the start is not
    that long ago).
    """
    alive_at = live.progress.alive_at
    since = live.started_at if alive_at is None else alive_at
    return not live.journal.closed and time.monotonic() - since < stale_s


def model_facts(classifier: Classifier) -> dict[str, Any]:
    """What the model is; it doesn't change while it runs."""
    document = classifier.metadata
    return {
        "file": classifier.model_path.name,
        "variant": None if document is None else document.variant,
        "precision": None if document is None else document.precision,
        "image_size": classifier.preprocessing.crop,
        "classes": classifier.num_classes,
        "engine": classifier.engine,
        "engine_version": classifier.engine_version,
        "threads": classifier.threads,
        "top1": _top1(None if document is None else document.accuracy),
    }


def _top1(accuracy: Mapping[str, Any] | None) -> float | None:
    return None if not accuracy else accuracy.get("top1")


def _source(name: str, reader: ReaderState, frame: Frame | None) -> dict[str, Any]:
    size = None if frame is None else [frame.image.shape[1], frame.image.shape[0]]
    return {"name": name, "size": size, "problem": reader.problem, "reopened": reader.reopened}


def _frames(progress: Progress, reader: ReaderState) -> dict[str, int]:
    return {
        "received": reader.received,
        "classified": progress.classified,
        "dropped": reader.dropped,
        "skipped": reader.skipped,
        "failed": progress.failed,
        "spared": progress.spared,
    }


def _announced(progress: Progress, *, now: float, wall: float) -> dict[str, Any] | None:
    announcement, latest = progress.announcement, progress.latest
    if announcement is None:
        return None
    for_s = now - announcement.since
    held = latest is not None and latest.announced == announcement.label  # not a network's that was exchanged since
    score = round(float(latest.smoothed[announcement.index]), 4) if latest is not None and held else None
    return {
        "label": announcement.label,
        "index": announcement.index,
        "score": score,
        "since": iso_time(wall - for_s),
        "for_s": round(for_s, 1),
    }


def _top(progress: Progress, top_k: int) -> list[dict[str, Any]]:
    """The best classes of all; where lists name some, the best two of those as well."""
    latest = progress.latest
    if latest is None:
        return []
    allowed = latest.allowed
    found = latest.top(top_k)
    if allowed is not None:
        among = frozenset(np.flatnonzero(allowed).tolist())
        shown = {one.index for one in found}
        best = top_predictions(latest.smoothed, latest.labels, top_k=_ALLOWED_SHOWN, among=among)
        found = [*found, *(one for one in best if one.index not in shown)]
    return [
        {
            "index": one.index,
            "label": one.label,
            "score": round(one.score, 4),
            "allowed": allowed is None or bool(allowed[one.index]),
        }
        for one in found
    ]


def _unknown(progress: Progress) -> dict[str, Any] | None:
    """What was measured of the newest frame to tell whether it is none of the classes."""
    measured = None if progress.latest is None else progress.latest.unknown
    return None if measured is None else {**measured.to_dict(), "value": round(measured.value, 4)}


def _waiting(live: LiveClassifier, progress: Progress) -> dict[str, Any] | None:
    """Why the best label that may be announced isn't."""
    latest = progress.latest
    if latest is None or latest.waiting is None:
        return None
    found, label = latest.waiting, label_of(latest.waiting.index, latest.labels)
    return {
        "reason": found.reason,
        "label": label,
        "score": round(found.score, 4),
        "text": waiting_text(found, label, live.rule),
    }


def waiting_text(found: Waiting, label: str, rule: DecisionRule) -> str:
    """One line for a person."""
    if found.reason == "enter":
        return f"{label} has {100 * found.score:.0f} %, less than --enter {rule.enter:g}"
    if found.reason == "agree":
        frames = f"{found.value:.0f} of the last {rule.window} frames"
        return f"{label} in {frames}, less than --agree {rule.agree}/{rule.window}"
    return f"{label} leads by {100 * found.value:.0f} %, less than --margin {rule.margin:g}"


def _allowed_labels(live: LiveClassifier) -> int | None:
    """How many classes may be announced; None where all may."""
    return None if live.allowed is None else int(np.count_nonzero(live.allowed))


def _region(region: Region | None) -> list[float] | None:
    return None if region is None else [region.left, region.top, region.width, region.height]
