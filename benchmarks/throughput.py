"""Photos a second of `predict` with default workers against one worker: `python -m edge_effnet.benchmarks.throughput`.

Makes its photos, and runs the command in the ways of `WAYS` by turns; benchmarks/results/throughput.json keeps medians.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edge_effnet.classifier import Classifier
from edge_effnet.files import write_atomically
from edge_effnet.machine import machine_facts
from edge_effnet.system import available_cores, load_average

#: Album → (photos, how many of them differ, width, height).
ALBUMS = {"500×375": (400, 40, 500, 375), "12 MP": (60, 6, 4000, 3000)}
WAYS: Mapping[str, tuple[str, ...]] = {
    "default": (),
    "one worker, two threads": ("--workers", "1", "--threads", "2"),
    "one worker, one thread": ("--workers", "1", "--threads", "1"),
}
RESULTS = Path(__file__).parent / "results" / "throughput.json"
#: A way's figure → how it is called as a ratio of the default's to it.
_RATIOS = {
    "photos_per_s": "default_is_faster_by",
    "photos_per_s_after_the_first": "default_is_faster_by_after_the_first",
}
#: Photos whose parts are timed.
_TIMED = 40
_OCTAVES = {4: 60.0, 16: 30.0, 64: 14.0}


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", help="a model file (default: the bundled one)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the photos, for a quick look")
    arguments = parser.parse_args(argv)
    options = ("--model", arguments.model) if arguments.model else ()
    with tempfile.TemporaryDirectory() as folder:
        albums = {
            name: _album(Path(folder) / str(place), *size, arguments.scale)
            for place, (name, size) in enumerate(ALBUMS.items())
        }
        starts = {name: _album(Path(folder) / f"start{name}", 1, 1, *ALBUMS[name][2:], 1.0) for name in ALBUMS}
        rounds = [
            {
                album: {way: _run(path, starts[album], (*words, *options)) for way, words in WAYS.items()}
                for album, path in albums.items()
            }
            for _ in range(arguments.rounds)
        ]
        bounds = {name: _bound(path, arguments.model) for name, path in albums.items()}
    found = {name: _summary([one[name] for one in rounds]) for name in ALBUMS}
    result = {
        "albums": found,
        "bounds": bounds,
        "rounds": arguments.rounds,
        "load_after": load_average(),
        "machine": {"cores": machine_facts()["cores"]},
    }
    write_atomically(arguments.results, (json.dumps(result, ensure_ascii=False, indent=1) + "\n").encode())
    print(json.dumps(found, ensure_ascii=False, indent=1))


def _album(folder: Path, photos: int, different: int, width: int, height: int, scale: float) -> Path:
    folder.mkdir()
    made = [_photo(width, height, seed) for seed in range(different)]
    for number in range(max(different, round(scale * photos))):
        (folder / f"{number:03}.jpg").write_bytes(made[number % different])
    return folder


def _photo(width: int, height: int, seed: int) -> bytes:
    """A JPEG of noise of several sizes."""
    from PIL import Image

    random = np.random.default_rng(seed)
    levels = np.full((height, width, 3), 128.0, np.float32)
    for parts, strength in _OCTAVES.items():
        for channel in range(3):
            coarse = Image.fromarray(random.standard_normal((parts * 3 // 4, parts)).astype(np.float32))
            levels[:, :, channel] += strength * np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    out = io.BytesIO()
    Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def _run(album: Path, start: Path, options: Sequence[str]) -> dict[str, float]:
    """Photos a second of the whole command, and of it without what an album of one photo takes; processor seconds a
    photo.
    """
    first, _ = _command(start, options)
    seconds, cpu = _command(album, options)
    photos = len(list(album.iterdir()))
    return {
        "photos_per_s": photos / seconds,
        "photos_per_s_after_the_first": (photos - 1) / max(seconds - first, 1e-3),
        "cpu_ms_per_photo": 1000 * cpu / photos,
    }


def _command(album: Path, options: Sequence[str]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "edge_effnet", "predict", str(album), *options], stdout=subprocess.DEVNULL, check=True
    )
    seconds, after = time.perf_counter() - started, os.times()
    return seconds, after.children_user + after.children_system - before.children_user - before.children_system


def _bound(album: Path, model: str | None) -> dict[str, float]:
    """Milliseconds of a photo's parts, medians, and how much faster the default could be at best: all of a photo on one
    core, a photo each, against one photo at a time with the network alone on two.
    """
    parts = {threads: _parts(album, model, threads) for threads in (1, 2)}
    beside, network = parts[1]
    _, faster = parts[2]
    most = (beside + faster) * available_cores() / (beside + network)
    return {
        "beside_ms": round(beside, 2),
        "network_ms": round(network, 2),
        "network_two_threads_ms": round(faster, 2),
        "most": round(most, 2),
    }


def _parts(album: Path, model: str | None, threads: int) -> tuple[float, float]:
    """Milliseconds beside the network, and in it."""
    found = []
    with Classifier(model, threads=threads) as classifier:
        for path in sorted(album.iterdir())[:_TIMED]:
            classifier.predict(path)
            timing = classifier.timing_ms
            found.append((sum(timing.values()) - timing["inference"], timing["inference"]))
    beside, network = (median(column) for column in zip(*found, strict=True))
    return beside, network


def _summary(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """Medians of each way, and of the ratios within a round to the default's photos a second."""
    ways = {
        way: {
            figure: round(median(one[way][figure] for one in rounds), 2)
            for figure in ("photos_per_s", "photos_per_s_after_the_first", "cpu_ms_per_photo")
        }
        for way in WAYS
    }
    for way in WAYS:
        for figure, name in _RATIOS.items():
            ways[way][name] = round(median(one["default"][figure] / one[way][figure] for one in rounds), 2)
    return ways


if __name__ == "__main__":
    main()
