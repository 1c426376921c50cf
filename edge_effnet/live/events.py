"""One event for each change of the announced label, and where events go."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Protocol

from edge_effnet.text import printable


@dataclass(frozen=True)
class Event:
    """The announced label has changed.

    number: from 1, without gaps. label: what is announced now, None for nothing. index, score: its class and smoothed
    score, 0..1. previous: what was announced before. timestamp: seconds since 1970 by the wall clock; uptime_s: seconds
    since the start by a clock that never jumps. frame: number of the classified frame, from 1. picture: its JPEG, for
    sinks that want it.
    """

    number: int
    label: str | None
    index: int | None
    score: float | None
    previous: str | None
    timestamp: float
    uptime_s: float
    frame: int
    picture: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def bare(self) -> Event:
        """The event without its picture."""
        return self if self.picture is None else replace(self, picture=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `time` is ISO 8601 in the machine's time zone."""
        fields = asdict(self.bare)
        timestamp, _ = fields.pop("timestamp"), fields.pop("picture")
        rounded = {"score": None if self.score is None else round(self.score, 4), "uptime_s": round(self.uptime_s, 3)}
        return {"time": iso_time(timestamp), **fields, **rounded}


def iso_time(timestamp: float) -> str:
    """ISO 8601 in the machine's time zone, to the millisecond, from seconds since 1970."""
    return datetime.fromtimestamp(timestamp, timezone.utc).astimezone().isoformat(timespec="milliseconds")


def event_text(event: Event) -> str:
    """One line for a person: time of day, label and score, what was before."""
    time_of_day = datetime.fromtimestamp(event.timestamp).strftime("%H:%M:%S")
    what = "nothing" if event.label is None else f"{printable(event.label)}  {100 * (event.score or 0):.0f} %"
    return f"{time_of_day}  {what}" + (f"  (was {printable(event.previous)})" if event.previous is not None else "")


class EventSink(Protocol):
    """Takes events; called from one thread of its own, so it may block. Raising means that the event is lost.

    A sink may also have `problem`, a text or None: what is wrong just now though nothing is lost yet; `pending()`, the
    events that `send` took over and that haven't arrived yet, with `waiting_since` in monotonic seconds or None;
    `wants_pictures`, true where events come with the JPEG of their frame; `abandon()`, called from another thread when
    `send` or `close` takes too long at the end; and `keep(undelivered)`, which stores what no sink took and says where.
    """

    name: str

    def send(self, event: Event) -> None:
        """Passes the event on."""
        ...

    def close(self) -> None:
        """After the last event."""
        ...
