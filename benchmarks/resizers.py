"""What each way of resizing takes against Pillow's bilinear: `python -m edge_effnet.benchmarks.resizers`.

A frame, an array as a camera gives it, is resized to --result, the whole of it, on one core, by turns; a figure is that
of the quickest run, which a busy machine spoils least.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edge_effnet.machine import machine_facts
from edge_effnet.resizers import Pixels, resize_pixels
from edge_effnet.taps import AXES

#: What the others are compared with.
PILLOW = "pillow bilinear"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table, and writes the results as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frame", type=_size, default=(640, 480), help="width x height of the photo")
    parser.add_argument("--result", type=_size, default=(298, 224), help="width x height of the result")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args(argv)
    found = measure(arguments.frame, arguments.result, runs=arguments.runs)
    print(render(found))
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def _size(text: str) -> tuple[int, int]:
    width, height = text.lower().split("x")
    return int(width), int(height)


def measure(frame: tuple[int, int], result: tuple[int, int], *, runs: int) -> dict[str, Any]:
    """{"frame", "result", "runs", "ms": way → milliseconds, "machine"}. frame, result: (width, height)."""
    pixels, ways = np.asarray(smooth_photo(frame)), ways_of(result)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, resize in ways.items():
            frame_hwc = pixels.copy()
            started = time.perf_counter()
            resize(frame_hwc)
            times[name].append(1e3 * (time.perf_counter() - started))
    ms = {name: min(values) for name, values in times.items()}
    return {"frame": list(frame), "result": list(result), "runs": runs, "ms": ms, "machine": machine_facts()}


def smooth_photo(frame: tuple[int, int]) -> Image.Image:
    """An RGB photo of (width, height) with soft colours; always the same."""
    colours = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(frame, Image.Resampling.BICUBIC)


def ways_of(result: tuple[int, int]) -> Mapping[str, Callable[[Pixels], object]]:
    """Resizer and interpolation → what resizes uint8[H, W, 3] to (width, height) so."""

    def way(resizer: str, interpolation: str) -> Callable[[Pixels], object]:
        return lambda pixels: resize_pixels(pixels, result, resizer=resizer, interpolation=interpolation)

    ours = {f"{resizer} {kind}": way(resizer, kind) for resizer, kinds in AXES.items() for kind in kinds}
    return {PILLOW: lambda pixels: Image.fromarray(pixels).resize(result, Image.Resampling.BILINEAR), **ours}


def render(found: Mapping[str, Any]) -> str:
    """The table, for people."""
    (wide, high), (width, height) = found["frame"], found["result"]
    lines = [f"{wide}x{high} to {width}x{height}, {found['runs']} runs            ms   times Pillow's bilinear"]
    lines += [f"{name:<38} {ms:6.2f}   {ms / found['ms'][PILLOW]:.2f}" for name, ms in found["ms"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
