"""Full-size Keras files rebuilt from their skeletons: the HDF5 tree that Keras wrote, its weights from a seed."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parents[1] / "golden" / "keras"
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "variance": (0.229, 0.224, 0.225)}


def rebuilt(name: str, ending: str, target: Path) -> tuple[Path, dict[str, Any]]:
    """(the file, what is known of it); ending: ".keras", ".h5" or ".weights.h5"."""
    import h5py

    case = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    skeleton = json.loads(gzip.decompress((FOLDER / f"{name}{ending}.skeleton.json.gz").read_bytes()))
    shapes, kinds = dict(map(tuple, case["weights"])), case.get("kinds", {})

    def value(node: Mapping[str, Any]) -> Any:
        if "weight" not in node:
            return np.full(node["shape"], node["fill"], node["dtype"])
        path = node["weight"]
        return _weight(path, shapes[path], case["seed"], case.get("gain", 1.7), kinds.get(path))

    path = target / f"{name}{ending}"
    if ending != ".keras":
        with h5py.File(path, "w") as file:
            _fill(file, skeleton["hdf5"], value)
        return path, case
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _fill(file, skeleton["hdf5"], value)
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in skeleton["members"]:
            archive.writestr(member, buffer.getvalue() if text is None else text)
    return path, case


def _fill(file: Any, nodes: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], Any]) -> None:
    for node in nodes:
        if node["path"] == "/":
            place = file
        elif "shape" in node:
            place = file.create_dataset(node["path"], data=value(node))
        else:
            place = file.require_group(node["path"])
        for key, attribute in node.get("attrs", {}).items():
            place.attrs[key] = _attribute(attribute)


def _attribute(attribute: Mapping[str, Any]) -> Any:
    given = attribute["value"]
    if attribute["kind"] == "S":
        return np.array([item.encode() for item in given]) if isinstance(given, list) else np.bytes_(given.encode())
    return given if attribute["kind"] == "str" else np.array(given, dtype=attribute["kind"])


def _weight(path: str, shape: Sequence[int], seed: int, gain: float, kind: str | None) -> npt.NDArray[Any]:
    """One weight, from its Keras path (`stem_conv/kernel`) and shape; kind: where the path doesn't tell."""
    random = np.random.default_rng([seed, zlib.crc32(path.encode())])
    layer, last = path.split("/")[-2:]
    shape = tuple(shape)
    if last == "count":
        return np.zeros(shape, np.int64)
    if last in _IMAGENET:
        return _statistic(last, shape, random, kind)
    if last == "moving_variance":
        values = random.uniform(0.5, 1.5, shape)
    elif last in ("moving_mean", "beta", "bias"):
        values = random.standard_normal(shape) * 0.1
    elif last == "gamma":
        values = random.uniform(0.8, 1.2, shape)
    else:
        fan_in = np.prod(shape[:2]) if "dwconv" in layer else np.prod(shape[:-1])
        values = random.standard_normal(shape) * (gain / fan_in) ** 0.5
    return values.astype(np.float32)


def _statistic(last: str, shape: tuple[int, ...], random: Any, kind: str | None) -> npt.NDArray[Any]:
    if kind == "imagenet":
        values = np.array(_IMAGENET[last])
    elif kind == "unit":
        values = np.full(shape, 0.0 if last == "mean" else 1.0)
    else:
        values = random.uniform(0.35, 0.55, shape) if last == "mean" else random.uniform(0.04, 0.3, shape)
    return np.asarray(values, np.float32).reshape(shape)
