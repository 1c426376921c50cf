"""Live classification: frames from a camera, steady decisions from flickering scores, events, a page to watch it.

`LiveClassifier` is the class that `edge-effnet camera` itself uses; see docs/camera.md.
"""

from edge_effnet.live.classifier import LiveClassifier
from edge_effnet.live.decisions import DecisionRule, default_rule
from edge_effnet.live.events import Event, EventSink
from edge_effnet.live.frames import Delivery, Frame, FrameSource, Region, Turn
from edge_effnet.live.motion import MotionGate
from edge_effnet.live.readings import Reading
from edge_effnet.live.sources import IterableSource, Replay, SourceOpener, source_opener

__all__ = [
    "DecisionRule",
    "Delivery",
    "Event",
    "EventSink",
    "Frame",
    "FrameSource",
    "IterableSource",
    "LiveClassifier",
    "MotionGate",
    "Reading",
    "Region",
    "Replay",
    "SourceOpener",
    "Turn",
    "default_rule",
    "source_opener",
]
