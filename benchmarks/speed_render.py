"""docs/performance.md, from the stored results alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edge_effnet.benchmarks.speed_peers import BASE, SUBJECTS
from edge_effnet.benchmarks.tables import table
from edge_effnet.benchmarks.throughput_render import many_photos

_HEAD = """# What a photo costs

Made by `python -m edge_effnet.benchmarks.speed --render` from benchmarks/results; don't edit it by hand.

Times come from one machine, which other programs use as well: compare the ratios, not the milliseconds. Whatever is
compared ran in the same run, in processes of their own that took turns, each kept to the same core and to one thread. A
ratio is the median over the turns of the one's fastest run in a turn through the other's.
"""

_BOARD = """## On your board

```sh
edge-effnet bench --format json > bench.json                              # the bundled model, one thread and all cores
edge-effnet bench mine-int8.tflite mine.tflite --threads 1,4 --plot bench.svg
```

One row per model, engine and thread count, each measured in a process of its own; the processes take turns. A row has
`decode_ms`, `preprocess_ms`, `inference_ms`, `postprocess_ms` and `total_ms`, each with `min`, `p50`, `p90` and `p99` over the runs;
`load_ms`, the time to open the file once the engine is imported and the file is in memory; `peak_rss_mb`, the most memory the process had;
and `machine`: processor, governor, clock, temperature, versions, and under `during` what these did while measuring.
`warnings` says what spoils the figures. Without `--image` a made-up JPEG of 640×480 is classified; `--warmup` runs come first and don't
count.

For figures that repeat: `sudo cpupower frequency-set -g performance`, a fan, a power supply that `vcgencmd get_throttled` doesn't
complain of (`0x0`), and nothing else running.

**No figure here comes from a real Raspberry Pi.** If you have one, please send `bench.json` in with an issue: it holds no
names and no paths but those of the model files.
"""

_COUNTS = """## Instructions on emulated boards

A Raspberry Pi 4 (Cortex-A72) and a Pi 5 (Cortex-A76) under emulation, one thread ([how](../benchmarks/arm/README.md)). A count
is exact and repeats, so half a percent shows. **It is no time:** it knows no caches, no memory bandwidth and not how many
instructions a core finishes in a cycle. It compares two programs on one board, not two boards.
"""


def render(
    speed: Mapping[str, Any],
    arm: Mapping[str, Any],
    photo_path: Mapping[str, Any] | None,
    *,
    throughput: Mapping[str, Any] | None = None,
) -> str:
    """The Markdown page. speed, arm, photo_path, throughput: benchmarks/results/….json; None where there is none."""
    parts = [_HEAD]
    for name, network in speed.get("networks", {}).items():
        parts += _inference(name, network)
    parts += _whole(speed.get("networks", {}))
    parts += _photo_path(photo_path)
    parts += _counts(arm)
    bundled = {board: found.get("bundled Lite0 int8", {}) for board, found in arm["counts"].items()}
    parts += many_photos(throughput, bundled)
    parts += [_BOARD, *_how(speed)]
    return "\n".join(parts).rstrip() + "\n"


def _inference(name: str, network: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {name}: inference alone\n"
    yield f"EfficientNet `{network['variant']}` at {network['image_size']} px, calibrated on {network['calibration_images']} photos;"
    yield f"{network['runs']} runs of each. *ratio*: our int8 `.tflite` file's time through this row's, so below 1 we are faster.\n"
    rows, failed = [], []
    for key, subject in SUBJECTS.items():
        found = network["inference"].get(key)
        if found is None:
            continue
        if "not_measured" in found:
            failed.append(f"- {subject.title}: {found['not_measured']}")
            continue
        ms = found["ms"]
        ratio = "1" if key == BASE else f"{found['base_ratio']:.2f}"
        rows.append([subject.title, f"{ms['min']:.2f}", f"{ms['p50']:.2f}", f"{ms['p90']:.2f}", ratio])
    yield table(["file and engine", "min ms", "median ms", "p90 ms", "ratio"], rows)
    if failed:
        yield "Not measured:\n\n" + "\n".join(failed) + "\n"


def _whole(networks: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for name, network in networks.items():
        for found in (network.get("end_to_end", {}).get(size) for size in ("small", "large")):
            if found:
                times = [f"{found[who]['ms']['p50']:.1f} ms" for who in ("ours", "mediapipe")]
                rows.append(
                    [
                        f"{name} int8, JPEG of {found['photo']}, file to labels",
                        *times,
                        f"{found['mediapipe']['base_ratio']:.2f}",
                    ]
                )
        start = network.get("start")
        if start:
            rows.append(
                [
                    f"{name} int8, process start to labels",
                    f"{start['ours_s']:.2f} s",
                    f"{start['mediapipe_s']:.2f} s",
                    f"{start['ratio']:.2f}",
                ]
            )
    if rows:
        yield "## From photo to labels, against MediaPipe\n"
        yield "The same `.tflite` file and the same photo in MediaPipe Tasks' `ImageClassifier`, one core.\n"
        yield table(["what", "edge-effnet", "MediaPipe", "ratio"], rows)


def _photo_path(results: Mapping[str, Any] | None) -> Iterator[str]:
    if not results:
        return
    yield "## From photo to tensor\n"
    yield "*plain*: the photo opened, resized as a whole and normalised in floats with Pillow and numpy, in front of the same engine.\n"
    rows = [
        [row["name"], f"{row['ours_ms']:.2f}", f"{row['plain_ms']:.2f}", f"{row['ratio']:.2f}"]
        for row in results["rows"]
    ]
    yield table(["what", "ours, ms", "plain, ms", "ratio"], rows)


def _counts(arm: Mapping[str, Any]) -> Iterator[str]:
    if not arm.get("counts"):
        return
    yield _COUNTS
    boards = list(arm["counts"])
    models = arm.get("models", {})
    if models:
        yield "Millions of instructions per inference, warm:\n"
        rows = [
            [name, f"{row['size_bytes'] / 1e6:.1f} MB", *(_millions(row.get(board)) for board in boards), row["engine"]]
            for name, row in models.items()
        ]
        yield table(["file", "size", *boards, "engine"], rows)
    yield "Held to ±0.5 % by `.ci/run` (regions: [benchmarks/arm](../benchmarks/arm/README.md)):\n"
    regions = [(program, region) for program, found in arm["counts"][boards[0]].items() for region in found]
    cells = [
        [program, region, *(_millions(arm["counts"][board].get(program, {}).get(region)) for board in boards)]
        for program, region in regions
    ]
    yield table(["program", "region", *(f"{board}, M" for board in boards)], cells)


def _millions(value: int | None) -> str:
    return "–" if value is None else f"{value / 1e6:,.1f}"


def _how(speed: Mapping[str, Any]) -> Iterator[str]:
    machine = speed.get("machine")
    if machine:
        yield "## Machine and versions\n"
        yield f"{machine['cpu']}, {machine['cores']} cores ({machine['architecture']}; {', '.join(machine['features'])}), Python {machine['python']}.\n"
        found = [
            row["versions"]
            for network in speed["networks"].values()
            for row in network["inference"].values()
            if "versions" in row
        ]
        found += [
            network["end_to_end"]["versions"] for network in speed["networks"].values() if network.get("end_to_end")
        ]
        yield "\n".join(f"- {text}" for text in dict.fromkeys(found)) + "\n"
    yield """## Measuring it again

```sh
pip install 'edge-effnet[all]'
python -m edge_effnet.benchmarks.speed --name B0 --checkpoint b0.pth --source timm --calibration PHOTOS --photo examples/photos/astronaut.jpg
python -m edge_effnet.benchmarks.arm count b0-int8.tflite --record 'B0 int8'
python -m edge_effnet.benchmarks.speed --render
```

The peers' environments are made with pip on first use, in `--peers DIR`.
"""
