"""What the page teaches with: names for photos, a network that learns them, and the exchange of networks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_effnet.classifier import Classifier
from edge_effnet.errors import UsageError
from edge_effnet.live.classifier import LiveClassifier
from edge_effnet.live.events import iso_time
from edge_effnet.live.frames import Frame
from edge_effnet.live.inbox import Inbox
from edge_effnet.live.jpeg import encode_to_learn_from
from edge_effnet.live.keeping import facts_of
from edge_effnet.live.teaching.judged import judge_before
from edge_effnet.live.teaching.lesson import Lesson, Progress
from edge_effnet.live.teaching.networks import Networks
from edge_effnet.live.teaching.shelf import ClassFolder, Shelf

if TYPE_CHECKING:
    from edge_effnet.learning.judging import Doubt

#: Pictures of the inbox that the page lists, and that one request may name.
MOST_LISTED = 120
#: What ten more photos of a class have to promise, of accuracy, to be asked for; photos that are said to be misfiled.
_GAIN, _DOUBTS = 0.005, 5
#: Opens a model file as the camera does; None for the base. threads: None for as many as the camera takes.
OpenNetwork = Callable[[Path | None, int | None], Classifier]


class Teacher:
    """Holds the photos of `folder`, learns from them and gives `live` the network that was learned. For any thread.

    inbox: where `live` keeps frames. open_network: opens files as the camera wants them. base: the file that is learned
    from, None for the bundled one. in_use: the name of the learned file that `live` began with, None for the base.
    Raises OutputError for a folder that can't be used.
    """

    def __init__(
        self,
        folder: Path,
        live: LiveClassifier,
        *,
        inbox: Inbox,
        open_network: OpenNetwork,
        base: Path | None = None,
        in_use: str | None = None,
    ) -> None:
        self.shelf = Shelf(folder, inbox=inbox.folder)
        self.networks = Networks(folder / "networks")
        self.lesson = Lesson()
        self._cache = folder / "features"
        self._live, self._inbox, self._open, self._base = live, inbox, open_network, base
        self._in_use, self._before = in_use, in_use
        self._opened: Classifier | None = None
        self._using = threading.Lock()
        self._last: tuple[str, Frame | None] = ("", None)
        #: What each button does, and says then; each raises EdgeEffnetError for what can't be done.
        self.actions: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
            "class": self._add_class,
            "assign": self._assign,
            "dismiss": self._dismiss,
            "collect": self._collect,
            "undo": lambda _: f"undone: {self.shelf.undo()}",
            "learn": self._learn,
            "stop": self._stop,
            "keep": self._keep,
            "use": self._use,
        }

    def close(self) -> None:
        """Stops learning, and closes the network that took the first one's place; after `live` has stopped."""
        self.lesson.close()
        with self._using:
            opened, self._opened = self._opened, None
            if opened is not None:
                opened.close()

    def document(self) -> dict[str, Any]:
        """What the page shows, as plain JSON values."""
        waiting, lesson = self.shelf.waiting(), self.lesson.state
        return {
            "inbox": [_picture(path) for path in waiting[:MOST_LISTED]],
            "waiting": len(waiting),
            "classes": [_class(one) for one in self.shelf.classes()],
            "undo": self.shelf.last_step,
            "lesson": {
                "phase": lesson.phase,
                "stage": lesson.stage,
                "share": round(lesson.share, 3),
                "problem": lesson.problem,
                "result": lesson.result,
            },
            "in_use": self._network(self._in_use),
            "before": None if self._before == self._in_use else self._network(self._before),
        }

    def _network(self, name: str | None) -> dict[str, Any]:
        facts = self.networks.facts(name)
        return {"file": name, "accuracy": facts.get("accuracy"), "labels": facts.get("labels")}

    def _add_class(self, said: Mapping[str, Any]) -> str:
        return f"class {self.shelf.add_class(said.get('name')).name}"

    def _assign(self, said: Mapping[str, Any]) -> str:
        return _counted(self.shelf.assign(_pictures(said), said.get("class")), "named")

    def _dismiss(self, said: Mapping[str, Any]) -> str:
        return _counted(self.shelf.dismiss(_pictures(said)), "dismissed")

    def _collect(self, said: Mapping[str, Any]) -> str:
        """The live picture; one frame gives one photo of a burst."""
        frame, burst = self._live.reader.newest(), str(said.get("burst", ""))[:40]
        if frame is None:
            raise UsageError("there was no frame yet; wait for the camera")
        found = self.shelf.class_of(said.get("class"))
        if self._last == (burst, frame):
            return f"{found.name}: {len(found.photos)}"
        self._last = (burst, frame)
        region = self._live.region
        image = frame.image if region is None else np.ascontiguousarray(region.crop(frame.image))
        jpeg = encode_to_learn_from(image)
        facts = {"time": iso_time(frame.timestamp), "why": "collected"}
        found = self.shelf.collect(jpeg, facts, found.id, timestamp=frame.timestamp, burst=burst)
        return f"{found.name}: {len(found.photos)}"

    def _learn(self, _said: Mapping[str, Any]) -> str:
        self.lesson.start(self._lesson)
        return "learning"

    def _stop(self, _said: Mapping[str, Any]) -> str:
        self.lesson.stop()
        return "stopping"

    def _keep(self, _said: Mapping[str, Any]) -> str:
        self.lesson.forget()
        return "the old one stays"

    def _lesson(self, tell: Progress) -> dict[str, Any]:
        """Learns and compares; what the page shows of it."""
        from edge_effnet.learning import learn

        began = time.monotonic()
        path = self.networks.next_path(".tflite" if self._base is None else self._base.suffix)
        learned = learn(self.shelf.photos, path, base=self._base, cache=self._cache, progress=tell, threads=1)
        used = None if self._in_use is None else self.networks.path(self._in_use)
        with self._open(used, 1) as classifier:
            before = judge_before(classifier, self.shelf.classes(), lambda share: tell("comparing", share))
        facts = {
            "file": path.name,
            "labels": list(learned.labels),
            "photos": dict(learned.photos),
            "accuracy": learned.accuracy,
            "interval": learned.interval,
            "before": before.right,
            "before_photos": before.photos,
            "left_out": list(learned.left_out)[:20],
            "wants": next((label for label, gain in learned.wants.items() if gain >= _GAIN), None),
            "doubtful": [_doubt(one) for one in learned.doubtful[:_DOUBTS]],
            "seconds": round(time.monotonic() - began, 1),
        }
        self.networks.record(path, facts)
        return facts

    def _use(self, said: Mapping[str, Any]) -> str:
        """Exchanges the network: the file is opened and tried first, then the running thread takes it between two
        frames; what counts after a restart is written last.
        """
        name = said.get("network")
        path = None if name is None else self.networks.path(name)
        with self._using:
            opened = self._open(path, None)
            try:
                before = self._live.swap(opened)
            except BaseException:
                opened.close()
                raise
            if before is self._opened:  # the first one is closed by who opened it
                before.close()
            self._opened = opened
            if name != self._in_use:
                self._before, self._in_use = self._in_use, name
            self._inbox.model = opened.model_path.name
            self.networks.use(name)
        self.lesson.forget()
        return "in use"


def _doubt(found: Doubt) -> dict[str, Any]:
    return {"label": found.label, "looks_like": found.looks_like, "photo": found.path.name}


def _pictures(said: Mapping[str, Any]) -> list[Any]:
    found = said.get("pictures")
    if not isinstance(found, list) or not 0 < len(found) <= MOST_LISTED:
        raise UsageError(f"no pictures are named; expected 1 to {MOST_LISTED}")
    return found


def _picture(path: Path) -> dict[str, Any]:
    facts = facts_of(path)
    scores = facts.get("scores")
    best = scores[0] if isinstance(scores, list) and scores and isinstance(scores[0], dict) else {}
    return {
        "id": path.stem,
        "why": facts.get("why"),
        "time": facts.get("time"),
        "label": best.get("label"),
        "score": best.get("score"),
    }


def _class(found: ClassFolder) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "photos": len(found.photos),
        "newest": found.photos[-1].name if found.photos else None,
    }


def _counted(count: int, what: str) -> str:
    return f"{count} picture{'s' if count != 1 else ''} {what}"
