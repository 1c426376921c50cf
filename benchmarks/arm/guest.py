"""What runs on the emulated board, with the project's wheel: marks places for counter.c, and writes what it found.

`guest.py model MODEL RUNS` runs a model file on noise: marks before opening, after it, and around each inference.
`guest.py photos MODEL PHOTO…` classifies photos as a user's program does: marks at every reading of the clock.
`guest.py logits MODEL RESULT.npz PHOTO…` keeps each photo's logits.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: counter.c's MARK_BASE.
_MARK_BASE = 0x5EED0000
#: The second time a photo is classified counts: caches are filled then.
_WARM_RUNS = 2


def mark(number: int) -> None:
    """Closes what can't be open; the plugin writes the number beside the instructions so far."""
    with contextlib.suppress(OSError):
        os.close(_MARK_BASE + number)


class Clock:
    """Stands in for `time.perf_counter`: reading number n marks n, and gives 2**(n - start) seconds.

    So the milliseconds of a stage, 1000 · Σ (2**end - 2**begin), say between which marks it lay: bit k of Σ is set
    where the instructions between marks k and k + 1 are the stage's. Exact, as long as a stage spans less than 40
    readings.
    """

    def __init__(self) -> None:
        self.readings = 0
        self.start = 0

    def __call__(self) -> float:
        """One reading."""
        mark(self.readings)
        self.readings += 1
        return 2.0 ** (self.readings - 1 - self.start)

    def spans(self, timing_ms: dict[str, float]) -> dict[str, list[int]]:
        """Stage → the marks that begin its spans of one."""
        found = {}
        for stage, value in timing_ms.items():
            bits = round(value / 1000)
            found[stage] = [self.start + place for place in range(bits.bit_length()) if bits >> place & 1]
        return found


def run_model(model: str, runs: str) -> None:
    """Marks 0 and 1 enclose opening, 2n and 2n + 1 the n-th inference (n from 1)."""
    import numpy as np

    from edge_effnet.engines import open_session

    mark(0)
    path = Path(model)
    session = open_session(path, file_format=path.suffix.lstrip("."), threads=1)
    mark(1)
    noise = np.random.default_rng(0).integers(0, 256, session.input.shape)
    tensor: Any = {"uint8": noise, "int8": noise - 128}.get(session.input.dtype, (noise - 127.5) / 63.75).astype(
        session.input.dtype
    )
    for number in range(1, int(runs) + 1):
        mark(2 * number)
        session.run(tensor)
        mark(2 * number + 1)
    print(json.dumps({"engine": session.version, "input": session.input.dtype}))


def run_photos(model: str, *photos: str) -> None:
    """`python -m edge_effnet predict` on the first photo, cold; then each photo by a Classifier, warm."""
    clock = time.perf_counter = Clock()
    sys.argv = ["edge-effnet", "predict", photos[0], "--model", model, "--threads", "1", "--format", "json"]
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        runpy.run_module("edge_effnet", run_name="__main__")
    (cold,) = json.loads(printed.getvalue())
    spans = {"cold": clock.spans(cold["timing_ms"])}

    from edge_effnet import Classifier

    with Classifier(model, threads=1, probe="never") as classifier:
        for photo in photos:
            for _ in range(_WARM_RUNS):
                clock.start = clock.readings
                classifier.predict(photo)
            spans[Path(photo).name] = clock.spans(dict(classifier.timing_ms))
        print(json.dumps({"engine": classifier.engine_version, "spans": spans}))


def keep_logits(model: str, result: str, *photos: str) -> None:
    """float32[C] under each photo's name."""
    import numpy as np

    from edge_effnet import Classifier

    with Classifier(model, threads=1, probe="never") as classifier:
        logits = {Path(photo).name: classifier.logits(photo) for photo in photos}
        engine = classifier.engine_version
    np.savez(result, **logits)  # type: ignore[arg-type, unused-ignore]
    print(json.dumps({"engine": engine}))


_COMMANDS: dict[str, Callable[..., None]] = {"model": run_model, "photos": run_photos, "logits": keep_logits}

if __name__ == "__main__":
    _COMMANDS[sys.argv[1]](*sys.argv[2:])
