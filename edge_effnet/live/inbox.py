"""Frames worth a look: what changed, what is unknown, what is near a tie, and a few by chance."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import first_line
from edge_effnet.live.events import iso_time
from edge_effnet.live.fingerprint import Fingerprint, fingerprint, from_text, is_like_any, to_text
from edge_effnet.live.frames import Region
from edge_effnet.live.jpeg import encode_to_learn_from
from edge_effnet.live.keeping import facts_of, open_folder_for_pictures, pictures_in, remove_picture, save_picture
from edge_effnet.live.readings import Reading

_LOG = logging.getLogger("edge_effnet.live")
Why: TypeAlias = Literal["change", "unknown", "tie", "chance"]
#: Near a tie: the two best scores of a frame are less than this apart, and the best is no dust.
_TIE, _DUST = 0.15, 0.15
_REMEMBERED = 300
_WAITING = 4
_HOUR_S = 3600.0
#: Between two comparisons with what was kept, which cost two or three milliseconds.
_LOOK_S = 0.5
_TOP = 5


@dataclass(frozen=True)
class Bounds:
    """What an inbox may take. The oldest pictures go when there are too many, or too large together; more than
    `most_an_hour`, or sooner than `least_s` seconds after the last, aren't kept. 200 MB of the disk are left to others.
    chance: share of frames that are kept for no reason.
    """

    most_pictures: int = 500
    most_bytes: int = 200 * 1024 * 1024
    most_an_hour: int = 200
    least_s: float = 2.0
    chance: float = 0.002


class Inbox:
    """Keeps frames in a folder, each with JSON that says why; `see` readings, then `close`.

    region: the part of a frame that is classified, which is what is kept. random: draws the few by chance. No two
    pictures that look alike are kept, over restarts, too. Writing happens in a thread of its own; what comes faster
    than it writes is left out. Raises OutputError for a folder that can't be used.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        random: np.random.Generator,
        region: Region | None = None,
        bounds: Bounds | None = None,
        model: str = "",
    ) -> None:
        self.folder = open_folder_for_pictures(Path(folder))
        self._random, self._region, self._bounds = random, region, bounds or Bounds()
        self.model = model
        self._known: deque[Fingerprint] = deque(_known_in(self.folder), maxlen=_REMEMBERED)
        self._kept_at: deque[float] = deque(maxlen=self._bounds.most_an_hour)
        self._looked_at = -_HOUR_S
        self._announced: str | None = None
        self._changed = False
        self._waiting: queue.Queue[tuple[Reading, Why, Fingerprint] | None] = queue.Queue(_WAITING)
        self._trouble = False
        self.kept = 0
        self._thread = threading.Thread(target=self._run, name="edge-effnet inbox", daemon=True)
        self._thread.start()

    def __enter__(self) -> Inbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def see(self, reading: Reading) -> None:
        """Keeps the reading's frame if there is a reason to, and it is unlike all that were kept."""
        if reading.announced != self._announced:
            self._announced, self._changed = reading.announced, True
        chance = self._random.random() < self._bounds.chance
        why: Why | None = "change" if self._changed else _doubt(reading) or ("chance" if chance else None)
        moment = reading.frame.monotonic
        if why is None or not self._may_keep(moment):
            return
        found = fingerprint(self._seen(reading))
        self._changed, self._looked_at = False, moment
        if is_like_any(found, np.array(self._known)):
            return
        try:
            self._waiting.put_nowait((reading, why, found))
        except queue.Full:
            return
        self._known.append(found)
        self._kept_at.append(moment)

    def close(self) -> None:
        """Writes what waits."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def _may_keep(self, moment: float) -> bool:
        kept, bounds = self._kept_at, self._bounds
        if moment - self._looked_at < min(_LOOK_S, bounds.least_s):
            return False
        if kept and moment - kept[-1] < bounds.least_s:
            return False
        return len(kept) < bounds.most_an_hour or moment - kept[0] >= _HOUR_S

    def _seen(self, reading: Reading) -> npt.NDArray[np.uint8]:
        image = reading.frame.image
        return image if self._region is None else self._region.crop(image)

    def _run(self) -> None:
        while (given := self._waiting.get()) is not None:
            try:
                self._write(*given)
                self._trouble = False
            except Exception as error:  # a full disk, a folder that went: said once, and on
                if not self._trouble:
                    _LOG.warning(
                        "inbox %s: %s; frames aren't kept until that is mended", self.folder, first_line(error)
                    )
                self._trouble = True

    def _write(self, reading: Reading, why: Why, found: Fingerprint) -> None:
        jpeg = encode_to_learn_from(np.ascontiguousarray(self._seen(reading)))
        _make_room(self.folder, len(jpeg), self._bounds)
        facts = {**_facts(reading), "why": why, "model": self.model, "fingerprint": to_text(found)}
        save_picture(self.folder, jpeg, facts, timestamp=reading.frame.timestamp)
        self.kept += 1


def _doubt(reading: Reading) -> Why | None:
    scores = reading.scores
    if reading.unknown is not None and reading.unknown.is_unknown:
        return "unknown"
    if reading.independent or len(scores) < 2:
        best = float(scores.max())
        return "tie" if abs(best - 0.5) < _TIE / 2 else None
    second, best = np.partition(scores, -2)[-2:]
    return "tie" if best >= _DUST and best - second < _TIE else None


def _facts(reading: Reading) -> dict[str, Any]:
    return {
        "time": iso_time(reading.frame.timestamp),
        "announced": reading.announced,
        "unknown": None if reading.unknown is None else reading.unknown.to_dict(),
        "scores": [{"label": one.label, "score": round(one.score, 4)} for one in reading.best(_TOP)],
        "frame": reading.number,
        "file": reading.frame.name,
    }


def _known_in(folder: Path) -> list[Fingerprint]:
    found = (from_text(facts_of(picture).get("fingerprint")) for picture in pictures_in(folder))
    return [one for one in found if one is not None]


def _make_room(folder: Path, size: int, bounds: Bounds) -> None:
    """The oldest pictures go until one of `size` bytes fits."""
    pictures = []
    for path in pictures_in(folder):
        try:
            pictures.append((path, path.stat().st_size))
        except FileNotFoundError:  # taken away just now
            continue
    total = sum(bytes_ for _, bytes_ in pictures)
    for path, bytes_ in pictures:
        if len(pictures) < bounds.most_pictures and total + size <= bounds.most_bytes:
            return
        remove_picture(path)
        pictures = pictures[1:]
        total -= bytes_
