"""The chapter of docs/performance.md on many photos, from benchmarks/results/throughput.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TEXT = """## One photo, many photos

*Latency*: one photo is soonest done by one worker with as many engine threads as there are cores; that is what happens to a single
photo, and `--workers 1` makes it so for each of many. *Throughput*: decode and resize know one core alone, so many photos are
sooner done one a core, with one engine thread each; that is the default for more than one (`--workers`, `predict_many(…, workers=…)`).
Output, order and errors are the same. A worker costs the engine's memory once more, some 27 MB for the bundled model.
"""
_BOUNDS = """Where the bound lies: an example photo (about 550×400) takes {each} million instructions on the emulated Pi 4, of which the
network has {network} %, the resize {preprocess} %, the decode {decode} %; {each5} million on the Pi 5, of which these have {network5} %,
{preprocess5} % and {decode5} %. The larger the photo, the more the decode has.

`edge-effnet bench --workers 1,2,4` shows both for your board: `photos_per_s` beside the latencies, which grow as workers share
memory and caches.
"""
_BEST = """
{album}: decode, resize and the rest take {beside_ms:.1f} ms of a photo, the network {network_ms:.1f} ms on one thread and
{network_two_threads_ms:.1f} on two. So the default can be at most {most:.2f} times as fast as one worker with two threads, once all is
loaded: that one has both cores busy while the network runs."""
#: The counts are sums over so many.
_PHOTOS = 4


def many_photos(found: Mapping[str, Any] | None, counted: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """The chapter. found: the results, None where there are none. counted: board → region → instructions."""
    yield _TEXT
    if found is not None:
        yield from _measured(found)
    shares: dict[str, int] = {}
    for board, suffix in (("pi4", ""), ("pi5", "5")):
        regions = counted.get(board)
        if not regions:
            return
        whole = sum(regions[name] for name in ("decode", "preprocess", "inference", "postprocess"))
        shares[f"each{suffix}"] = round(whole / _PHOTOS / 1e6)
        named = {"network": "inference", "preprocess": "preprocess", "decode": "decode"}
        shares |= {f"{name}{suffix}": round(100 * regions[region] / whole) for name, region in named.items()}
    yield _BOUNDS.format(**shares)


def _measured(found: Mapping[str, Any]) -> Iterator[str]:
    load = found["load_after"]
    yield f"Whole commands (`predict ALBUM`), by turns, {found['rounds']} rounds, medians; {found['machine']['cores']} cores, load {load} at the end:\n"
    yield "| album | way | photos/s | after the first | processor ms a photo | default is faster by | after the first |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for album, ways in found["albums"].items():
        for way, figures in ways.items():
            rates = f"{figures['photos_per_s']:.1f} | {figures['photos_per_s_after_the_first']:.1f}"
            faster = f"{figures['default_is_faster_by']:.2f} | {figures['default_is_faster_by_after_the_first']:.2f}"
            yield f"| {album} | {way} | {rates} | {figures['cpu_ms_per_photo']:.1f} | {faster} |"
    for album, bound in found["bounds"].items():
        yield _BEST.format(album=album, **bound)
    yield ""
