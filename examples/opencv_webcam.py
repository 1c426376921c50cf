"""Any camera, stream or video that OpenCV opens, classified in the background while your program does its own work.

In a clone: pip install '.[camera]'; python examples/opencv_webcam.py 0     (or /dev/video0, rtsp://…, a video file)
"""

import sys

from edge_effnet import Classifier, EdgeEffnetError
from edge_effnet.live import DecisionRule, LiveClassifier, Region, source_opener

if "--help" in sys.argv or "-h" in sys.argv:
    sys.exit(__doc__)


def watch(name: str) -> None:
    """Prints each change until the source ends."""
    source = source_opener(name, size=(640, 480))
    rule = DecisionRule(enter=0.25, leave=0.1, agree=3, window=5)  # announced when 3 of 5 frames agree
    middle = Region(0.1, 0.0, 0.8, 1.0)  # left, top, width, height as fractions of the picture
    with Classifier() as classifier, LiveClassifier(classifier, source, rule=rule, region=middle) as live:
        for event in live.events():  # or live.latest() whenever you like, from any thread
            dropped = live.reader.state.dropped
            print(
                f"{event.label or 'nothing'}  (was {event.previous or 'nothing'}), {dropped} frames dropped", flush=True
            )
            if (reading := live.latest()) is not None:
                print("   " + ", ".join(f"{found.label} {found.score:.2f}" for found in reading.top(3)), flush=True)


try:
    watch(sys.argv[1] if len(sys.argv) > 1 else "0")
except EdgeEffnetError as error:
    sys.exit(f"{error}")
