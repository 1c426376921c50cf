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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.benchmarks.fuzz.keras_files import (
    KerasModel,
    classifier,
    efficientnet,
    keras_archive,
    named_weights,
    weights_alone,
    whole_h5,
)
from edge_effnet.benchmarks.fuzz.mutants import Seed, mutant
from edge_effnet.benchmarks.fuzz.seeds import SIZE, WIDTH, float_file, trained_like, trained_weights
from edge_effnet.exporters.families.layout import body_of
from edge_effnet.exporters.families.table import FAMILIES
from edge_effnet.exporters.inputs.keras.network import read_network
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import InputOptions

Weights = Mapping[str, npt.NDArray[Any]]
#: Kinds that `export` reads in a process of its own first: HDF5's library crashes and loops on some.
REHEARSED = ("input-keras", "input-h5", "input-weights-h5")
#: The small files come first, since the others take five times as long.
_LATER = 10
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


@functools.cache
def _narrow() -> KerasModel:
    """A whole EfficientNet of seven blocks, the fewest that weights alone may have."""
    body = body_of(FAMILIES["b"], width=WIDTH, depth=0.1)
    return efficientnet(body, trained_weights(body), SIZE, bn_eps=1e-3)


def _seed(name: str, data: bytes, weights: Iterable[npt.NDArray[Any]]) -> Seed:
    """What isn't a large weight's bytes is structure."""
    structure = np.ones(len(data), bool)
    for value in weights:
        raw = np.ascontiguousarray(value).tobytes()
        at = data.find(raw) if len(raw) > _SMALL_BYTES else -1
        if at >= 0:
            structure[at : at + len(raw)] = False
    return Seed(name, data, np.flatnonzero(structure), np.empty(0, np.int64))


#: Kind → the ending of its file, and how its sound files are made.
_FORMS: dict[str, tuple[str, Callable[[], Sequence[bytes]]]] = {
    "input-archive": (".pth", lambda: [_archive(trained_like("b0"))]),
    "input-legacy": (".pth", lambda: [_legacy(trained_like("b0"))]),
    "input-pickle": (".pkl", lambda: [_pickled(trained_like("b0"))]),
    "input-safetensors": (".safetensors", lambda: [_safetensors(trained_like("b0"))]),
    "input-keras": (".keras", lambda: [keras_archive(model) for model in (classifier(SIZE, 5), _narrow())]),
    "input-h5": (".h5", lambda: [whole_h5(model) for model in (classifier(SIZE, 5), _narrow())]),
    "input-weights-h5": (".weights.h5", lambda: [weights_alone(_narrow()), named_weights(_narrow())]),
    "input-onnx": (".onnx", lambda: [float_file("onnx")]),
    "input-tflite": (".tflite", lambda: [float_file("tflite")]),
}


@functools.cache
def sound(kind: str) -> tuple[Seed, ...]:
    """The files that are damaged."""
    files = _FORMS[kind][1]()
    if kind in ("input-onnx", "input-tflite"):
        return tuple(Seed.from_file(kind, data) for data in files)
    weights = list(_keras_weights() if kind in REHEARSED else trained_like("b0").values())
    return tuple(_seed(kind, data, weights) for data in files)


def _keras_weights() -> Iterator[npt.NDArray[Any]]:
    for variables in _narrow().variables.values():
        yield from variables.values()


def damaged(kind: str, random: np.random.Generator) -> bytes:
    """A mutant of the first of the kind's sound files; where there are several, one in _LATER is of any of them."""
    files = sound(kind)
    if len(files) > 1 and random.integers(_LATER):
        files = files[:1]
    return mutant(files, int(random.integers(1 << 62)))[2]


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
