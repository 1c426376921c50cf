"""Inputs of `export`, damaged: checkpoints in each container, Keras files, float ONNX and TFLite.

Of small networks, so that a mutant costs milliseconds; a mutant goes the whole way to a `Network`.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.benchmarks.fuzz.mutants import Seed, mutant
from edge_effnet.benchmarks.fuzz.seeds import SIZE, float_file, trained_like
from edge_effnet.exporters.inputs.keras.network import read_network
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import InputOptions

Weights = Mapping[str, npt.NDArray[Any]]
#: Kinds that `export` reads in a process of its own first: HDF5's library crashes and loops on some.
REHEARSED = ("input-keras", "input-h5", "input-weights-h5")
#: Arrays of more bytes are no structure.
_SMALL_BYTES = 64
_OPTIONS = InputOptions(source="timm-tf", image_size=(SIZE, SIZE))


def _archive(weights: Weights) -> bytes:
    return _torch_saved(weights, zipped=True)


def _legacy(weights: Weights) -> bytes:
    return _torch_saved(weights, zipped=False)


def _torch_saved(weights: Weights, *, zipped: bool) -> bytes:
    """As a trainer keeps it: half precision beside options."""
    import torch

    tensors = {key: torch.from_numpy(np.asarray(value)) for key, value in weights.items()}
    content = {"epoch": 3, "args": argparse.Namespace(model="x", mean=[0.5] * 3), "model": tensors}
    written = io.BytesIO()
    torch.save(content, written, _use_new_zipfile_serialization=zipped)
    return written.getvalue()


def _pickled(weights: Weights) -> bytes:
    return pickle.dumps({"model": dict(weights), "class_to_idx": {"a": 0}}, 4)


def _safetensors(weights: Weights) -> bytes:
    header: dict[str, Any] = {}
    data = b""
    for key, value in weights.items():
        header[key] = {"dtype": "F32", "shape": value.shape, "data_offsets": [len(data), len(data) + value.nbytes]}
        data += value.tobytes()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


#: Keras' layers of a small classifier: (class, settings, weights).
_LAYERS: tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...] = (
    ("InputLayer", {"batch_shape": [None, SIZE, SIZE, 3]}, ()),
    ("Rescaling", {"scale": 1 / 255, "offset": 0.0}, ()),
    ("Conv2D", {"filters": 8, "kernel_size": [3, 3], "strides": [2, 2], "padding": "same"}, ("kernel", "bias")),
    ("BatchNormalization", {"axis": -1, "epsilon": 1e-3}, ("gamma", "beta", "moving_mean", "moving_variance")),
    ("Activation", {"activation": "swish"}, ()),
    ("DepthwiseConv2D", {"kernel_size": [3, 3], "strides": [1, 1], "padding": "same"}, ("depthwise_kernel", "bias")),
    ("GlobalAveragePooling2D", {}, ()),
    ("Dense", {"units": 5, "activation": "softmax"}, ("kernel", "bias")),
)
_SHAPES = {"Conv2D": (3, 3, 3, 8), "DepthwiseConv2D": (3, 3, 8, 1), "Dense": (8, 5)}
_GROUPS = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization", "DepthwiseConv2D": "depthwise_conv2d"}


def _model_config() -> dict[str, Any]:
    layers = [
        {"module": "keras.layers", "class_name": kind, "config": {"name": f"layer_{index}", **settings}}
        for index, (kind, settings, _) in enumerate(_LAYERS)
    ]
    return {"class_name": "Sequential", "module": "keras", "config": {"name": "small", "layers": layers}}


def _layer_weights() -> list[tuple[str, str, dict[str, npt.NDArray[np.float32]]]]:
    """(the layer's name, its class, its weights)."""
    random = np.random.default_rng(7)
    found = []
    for index, (kind, _, names) in enumerate(_LAYERS):
        sides = {name: _SHAPES.get(kind, ()) if "kernel" in name else (5 if kind == "Dense" else 8,) for name in names}
        made = {name: random.uniform(0.5, 1, shape).astype(np.float32) for name, shape in sides.items()}
        found.append((f"layer_{index}", kind, made))
    return found


def _inner_h5() -> bytes:
    import h5py

    written = io.BytesIO()
    with h5py.File(written, "w") as file:
        for _, kind, weights in _layer_weights():
            for place, value in enumerate(weights.values()):
                file.create_dataset(f"layers/{_GROUPS.get(kind, kind.lower())}/vars/{place}", data=value)
    return written.getvalue()


def _keras() -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", json.dumps(_model_config()))
        archive.writestr("model.weights.h5", _inner_h5())
    return written.getvalue()


def _whole_h5() -> bytes:
    import h5py

    written = io.BytesIO()
    with h5py.File(written, "w") as file:
        file.attrs.update({"model_config": json.dumps(_model_config()), "keras_version": "3.15.1"})
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name for name, _, _ in _layer_weights()]
        for name, _, weights in _layer_weights():
            own = group.create_group(name)
            own.attrs["weight_names"] = [f"{name}/{key}" for key in weights]
            for key, value in weights.items():
                own.create_dataset(f"{name}/{key}", data=value)
    return written.getvalue()


def _seed(name: str, data: bytes, weights: Weights) -> Seed:
    """What isn't a large weight's bytes is structure."""
    structure = np.ones(len(data), bool)
    for value in weights.values():
        raw = np.ascontiguousarray(value).tobytes()
        at = data.find(raw) if len(raw) > _SMALL_BYTES else -1
        if at >= 0:
            structure[at : at + len(raw)] = False
    return Seed(name, data, np.flatnonzero(structure), np.empty(0, np.int64))


#: Kind → the ending of its file, and how the sound file is made.
_FORMS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "input-archive": (".pth", lambda: _archive(trained_like("b0"))),
    "input-legacy": (".pth", lambda: _legacy(trained_like("b0"))),
    "input-pickle": (".pkl", lambda: _pickled(trained_like("b0"))),
    "input-safetensors": (".safetensors", lambda: _safetensors(trained_like("b0"))),
    "input-keras": (".keras", _keras),
    "input-h5": (".h5", _whole_h5),
    "input-weights-h5": (".weights.h5", _inner_h5),
    "input-onnx": (".onnx", lambda: float_file("onnx")),
    "input-tflite": (".tflite", lambda: float_file("tflite")),
}


@functools.cache
def _sound(kind: str) -> tuple[Seed, ...]:
    data = _FORMS[kind][1]()
    if kind in ("input-onnx", "input-tflite"):
        return (Seed.from_file(kind, data),)
    return (_seed(kind, data, trained_like("b0")),)


def sound(kind: str) -> bytes:
    """The file that is damaged."""
    return _sound(kind)[0].data


def damaged(kind: str, random: np.random.Generator) -> bytes:
    """A mutant of the kind's sound file."""
    return mutant(_sound(kind), int(random.integers(1 << 62)))[2]


def read(kind: str, data: bytes) -> None:
    """Reads a file as `export` does; raises EdgeEffnetError's leaves."""
    path = Path(tempfile.gettempdir()) / f"fuzz-{os.getpid()}{_FORMS[kind][0]}"
    path.write_bytes(data)
    try:
        if kind in REHEARSED:
            read_network(path, _OPTIONS)
        else:
            open_network(path, _OPTIONS)
    finally:
        path.unlink()


#: Kind → (generator, what is done with a file).
INPUTS: dict[str, tuple[Callable[[np.random.Generator], bytes], Callable[[bytes], None]]] = {
    kind: (partial(damaged, kind), partial(read, kind)) for kind in _FORMS
}
