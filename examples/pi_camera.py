"""A Raspberry Pi's camera in your own program: picamera2 gives frames, edge-effnet names what is in view.

sudo apt install python3-picamera2; python3 -m venv --system-site-packages venv; venv/bin/pip install .     (in a clone)
"""

import sys

try:
    from picamera2 import Picamera2
except ImportError:
    sys.exit("picamera2 is not installed: sudo apt install python3-picamera2, and a venv with --system-site-packages")

from edge_effnet import Classifier

frames = int(sys.argv[1]) if len(sys.argv) > 1 else 100

with Picamera2() as camera, Classifier() as classifier:
    # "BGR888" is red, green, blue in numpy; picamera2's "RGB888" would be blue first.
    camera.configure(
        camera.create_video_configuration(main={"size": (640, 480), "format": "BGR888"}, buffer_count=3, queue=False)
    )
    camera.start()
    for _ in range(frames):
        best = classifier.predict(camera.capture_array("main"), top_k=1)[0]
        print(f"{best.label}  {100 * best.score:.0f} %  ({classifier.timing_ms['inference']:.0f} ms)", flush=True)
    camera.stop()
