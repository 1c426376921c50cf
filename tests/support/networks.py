"""Quarter-wide EfficientNets, whose quantization takes a second, and graphs of a few nodes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.exporters import ExportReport, export
from edge_effnet.exporters.families.layout import body_of
from edge_effnet.exporters.families.records import Body
from edge_effnet.exporters.families.table import FAMILIES
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.state_dict import default_preprocessing, network_of
from edge_effnet.network.execute import execute
from edge_effnet.network.graph import Conv2D, Graph, Node
from edge_effnet.network.operators import run_node
from edge_effnet.preprocessing import Preprocessing, decode
from edge_effnet.quantization.measure.passes import Measurement, Wanted, measure
from edge_effnet.quantization.pixels import network_input
from support.golden import State, rebuild
from support.photos import synthetic_photo

Array = npt.NDArray[Any]
SIZE = 64
CLASSES = 5
#: A quarter as wide and half as deep as the variants they are called after.
NARROW: dict[str, Body] = {
    name: body_of(FAMILIES[family], width=0.25, depth=0.5) for name, family in (("b0", "b"), ("lite0", "lite"))
}
SOURCES = {"b0": "timm", "lite0": "timm-tf"}
EPS = {"b0": 1e-5, "lite0": 1e-3}
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def narrow_preprocessing(variant: str) -> Preprocessing:
    return default_preprocessing(SOURCES[variant], variant, SIZE)


def narrow_state(variant: str, *, seed: int = 1) -> State:
    """In timm's names; channels differ in range by factors, and batch norm knows the photos, as in a trained
    network.
    """
    return {name: values.copy() for name, values in _trained(variant, seed).items()}


@functools.cache
def _trained(variant: str, seed: int) -> State:
    state = _random_state(variant, seed)
    norms = {layer.name: layer.norm for layer in NARROW[variant].layers if layer.norm}
    eps = EPS[variant]

    def run(node: Node, inputs: list[Array]) -> Array:
        if node.name not in norms:
            return run_node(node, inputs)
        gamma, beta, mean, variance = (state[f"{norms[node.name]}.{item}"] for item in BATCH_NORM)
        folded = run_node(replace(node, activation="none"), inputs)  # type: ignore[call-arg]
        values = (folded - beta) * np.sqrt(variance + eps) / gamma + mean
        mean, variance = values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))
        variance = np.maximum(variance, np.median(variance) / 2)  # few photos must not make a quiet channel loud
        state.update({f"{norms[node.name]}.running_mean": mean, f"{norms[node.name]}.running_var": variance})
        result = (values - mean) / np.sqrt(variance + eps) * gamma + beta
        return np.clip(result, 0, 6) if getattr(node, "activation", "none") == "relu6" else result

    preprocessing = narrow_preprocessing(variant)
    images = np.stack(
        [preprocessing.normalise(preprocessing.pixels(decode(photo))) for photo in photos(24, first=1000)]
    )
    execute(float_graph(state, variant), images, run=run)
    return {name: values.astype(np.float32) for name, values in state.items()}


def _random_state(variant: str, seed: int) -> State:
    keys: dict[str, tuple[int, ...]] = {}
    for layer in NARROW[variant].layers:
        keys[f"{layer.conv}.weight"] = layer.shape
        owner, items = (layer.norm, BATCH_NORM) if layer.norm else (layer.conv, ("bias",))
        keys |= {f"{owner}.{item}": layer.shape[:1] for item in items}
    keys |= {"classifier.weight": (CLASSES, NARROW[variant].head), "classifier.bias": (CLASSES,)}
    state = rebuild(keys, seed)
    random = np.random.default_rng(seed)
    for name, values in state.items():
        if ".bn" in f".{name}" and name.endswith(".weight"):
            state[name] = (values * np.exp(random.normal(0, 0.5, values.shape))).astype(np.float32)
    return state


def float_graph(state: State, variant: str, *, size: int = SIZE) -> Graph:
    options = InputOptions(source=SOURCES[variant], image_size=(size, size))
    return network_of(load_checkpoint(state), options).graph


def export_narrow(state: State, variant: str, path: Path, **options: Any) -> ExportReport:
    return export(state, path, **{"source": SOURCES[variant], "image_size": SIZE, "refine": 0.0, **options})


def photos(count: int, *, first: int = 0) -> list[Array]:
    """uint8[80, 96, 3] each."""
    return [np.asarray(synthetic_photo(seed, 96, 80)) for seed in range(first, first + count)]


def inputs_of(graph: Graph, count: int, *, seed: int = 0, spread: float = 1.0) -> list[Array]:
    """float32[1, H, W, C] each: smooth in both directions, like normalised photos."""
    random = np.random.default_rng(seed)
    _, height, width, channels = graph.input_shape
    found = []
    for _ in range(count):
        rows, columns = random.standard_normal((2, max(height, width), channels))
        smooth = np.cumsum(rows, axis=0)[:height, None] * 0.2 + np.cumsum(columns, axis=0)[None, :width] * 0.2
        found.append(
            ((smooth + random.standard_normal((height, width, channels)) * 0.3) * spread).astype(np.float32)[None]
        )
    return found


def pixel_inputs(pixels: Sequence[Array], params: Any) -> list[Array]:
    return [network_input(image, params) for image in pixels]


def graph_of(nodes: Sequence[Node], *, channels: int, height: int = 6, width: int = 5) -> Graph:
    """From the tensor "image" to the last node."""
    return Graph("image", (1, height, width, channels), tuple(nodes), (nodes[-1].name,))


def pointwise(name: str, source: str, random: np.random.Generator, inputs: int, outputs: int, **options: Any) -> Conv2D:
    weight = random.standard_normal((outputs, 1, 1, inputs)) * inputs**-0.5
    return Conv2D(
        name,
        (source,),
        weight.astype(np.float32),
        (random.standard_normal(outputs) * 0.2).astype(np.float32),
        **options,
    )


def sqnr_db(exact: Array, found: Array) -> float:
    """Of logits [N, C], each class's mean over the images taken off the signal."""
    signal = exact - exact.mean(axis=0, keepdims=True)
    return float(10 * np.log10(np.square(signal).sum() / max(float(np.square(found - exact).sum()), 1e-30)))


def relative_difference(exact: Array, found: Array) -> float:
    return float(np.abs(np.asarray(found, np.float64) - exact).max() / np.abs(exact).max())


def both(graph: Graph, images: Sequence[Array]) -> Measurement:
    """Statistics and sensitivity from all images."""
    return measure(graph, images, Wanted(statistics=len(images), sensitivity=len(images)))
