"""The results file of the accuracy benchmark: its layout, reading it and adding to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edge_effnet.errors import UsageError

if TYPE_CHECKING:
    from edge_effnet.benchmarks.accuracy_measure import Network

SCHEMA_VERSION = 1
#: Way of quantizing → its row on the page, in the page's order.
WAYS: Mapping[str, str] = MappingProxyType(
    {
        "plain": "plain int8: mean of per-image min/max, nearest rounding",
        "ranges": "+ ranges of least mean squared error",
        "channel-weights": "+ channels weighed by their effect on the logits",
        "equalisation": "+ bottlenecks, gates and swishes equalised",
        "lanes": "+ two lanes where they pay",
        "rounding": "+ rounding for the layer's output",
        "bias-weights": "+ bias correction of the weights' error",
        "bias-activations": "+ bias correction of the activations' error",
        "floats": "+ the stem's sum in float where it pays, the last swish always",
        "coherent": "+ ranges that count errors that add up",
        "default": "+ the output's mean error off the last bias = **edge-effnet's `--quick`**",
        "refined": "+ learned refinement, 5 minutes = **edge-effnet's default**",
        "litert": "litert-torch + ai-edge-quantizer, static int8",
        "onnxruntime": "onnxruntime `quantize_static`, QDQ, its defaults (weights per tensor)",
        "openvino": "nncf + openvino",
        "max-drop": "edge-effnet's `--max-drop 0.3`",
        "rescaled-default": "edge-effnet's `--quick`, of the rescaled network",
        "rescaled-plain": "plain int8, of the rescaled network",
    }
)


def read_results(path: Path) -> dict[str, Any]:
    """The file's content, or an empty layout where there is no file. Raises UsageError for another layout."""
    if not path.exists():
        return {"schema_version": SCHEMA_VERSION, "machine": {}, "networks": {}, "runs": []}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not valid JSON ({error}); expected what this benchmark wrote") from error
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(
            f"{path} has another layout; expected schema_version {SCHEMA_VERSION}: move the file away and measure anew"
        )
    return content


def add_network(
    results: Mapping[str, Any], network: Network, *, weights_origin: str, data_origin: str
) -> dict[str, Any]:
    """The results with the network's facts; an origin that isn't said stays as it was."""
    before: Mapping[str, str] = results["networks"].get(network.name, {})
    facts = {
        "variant": network.document.variant,
        "image_size": network.document.image_size,
        "sha256": network.document.source["sha256"],
        "weights_origin": weights_origin or before.get("weights_origin", ""),
        "data_origin": data_origin or before.get("data_origin", ""),
    }
    return {**results, "networks": {**results["networks"], network.name: facts}}


def add_figures(
    results: Mapping[str, Any], fold: Mapping[str, Any], way: str, figures: Mapping[str, Any]
) -> dict[str, Any]:
    """The results with a way's figures; `fold` are the run's facts, of which model and fold's name are the key."""
    key = (fold["model"], fold["fold"])
    before: Mapping[str, Any] = next((run["ways"] for run in results["runs"] if (run["model"], run["fold"]) == key), {})
    others = [run for run in results["runs"] if (run["model"], run["fold"]) != key]
    runs = [*others, {**fold, "ways": {**before, way: dict(figures)}}]
    return {**results, "runs": sorted(runs, key=lambda run: (run["model"], run["fold"]))}
