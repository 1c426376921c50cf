"""Any camera, stream or video that OpenCV opens, classified in the background while your program does its own work.

pip install 'edge-effnet[camera]'; python opencv_webcam.py 0        (or /dev/video0, rtsp://…, a video file)
"""

import sys

from edge_effnet import Classifier
from edge_effnet.live import DecisionRule, LiveClassifier, Region, source_opener

source = source_opener(sys.argv[1] if len(sys.argv) > 1 else "0", size=(640, 480))
rule = DecisionRule(enter=0.25, leave=0.1, agree=3, window=5)  # announced when 3 of 5 frames agree
middle = Region(0.1, 0.0, 0.8, 1.0)  # left, top, width, height as fractions of the picture

with Classifier() as classifier, LiveClassifier(classifier, source, rule=rule, region=middle) as live:
    for event in live.events():  # or live.latest() whenever you like, from any thread
        reading = live.latest()
        print(
            f"{event.label or 'nothing'}  (was {event.previous or 'nothing'}), {live.reader.state.dropped} frames "
            "dropped",
            flush=True,
        )
        if reading is not None:
            print("   " + ", ".join(f"{found.label} {found.score:.2f}" for found in reading.top(3)), flush=True)
