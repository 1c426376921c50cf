"""An `.onnx` file's nodes and constants with their values, weights in other files included.

Source of the field numbers: onnx.proto (https://github.com/onnx/onnx, NodeProto, AttributeProto, TensorProto); of the
rules for external data: its docs/ExternalData.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import ModelFileError
from edge_effnet.exporters.inputs.assembly.value import MAX_ELEMENTS
from edge_effnet.formats.onnx_graph import MAX_ITEMS, read_values
from edge_effnet.formats.protobuf import Message
from edge_effnet.formats.records import SHOWN, TensorFacts
from edge_effnet.formats.source import open_source

Array: TypeAlias = npt.NDArray[Any]
_GRAPH, _OPSETS, _PROPERTIES, _FUNCTIONS = 7, 8, 14, 25
_MAX_OPERANDS = 1 << 12
_EXTERNAL = 1
#: Bytes that constants may share with others: tied weights.
_SHARED = 64 << 20
_BFLOAT16 = 16
#: TensorProto.DataType → numpy's type in the raw bytes.
_TYPES = {
    1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8", 12: "<u4",
    13: "<u8"
}  # fmt: skip
#: TensorProto.DataType → (field of its numbers where they aren't raw, numpy's type of a packed float field or None).
_NUMBERS = {1: (4, "<f4"), 11: (10, "<f8"), 7: (7, None), 6: (5, None), 3: (5, None), 2: (5, None), 9: (5, None)}


@dataclass(frozen=True, eq=False)
class Step:
    """One node. `attributes`: int, float, str, arrays and tuples of int, by name."""

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class OnnxContent:
    """A file's graph. opset: of ONNX's own operators; inputs: without those that only name a constant."""

    steps: tuple[Step, ...]
    constants: Mapping[str, Array]
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[str, ...]
    opset: int
    producer: str
    properties: Mapping[str, str]

    @property
    def constant_bytes(self) -> int:
        """Of all weights, those in nodes among them."""
        within = [value for step in self.steps for value in step.attributes.values() if isinstance(value, np.ndarray)]
        return sum(values.nbytes for values in (*self.constants.values(), *within))


def read_content(path: Path) -> OnnxContent:
    """The graph with its values; raises ModelFileError for what is broken or lies outside the file's folder."""
    name, data = open_source(path)
    return content_of(data, name=name, folder=path.parent)


def files_beside(path: Path) -> set[Path]:
    """Where weights lie in other files; what can't be read is left out, for the reading to say."""
    try:
        name, data = open_source(path)
        graph = Message(data, 0, len(data), name=name).message(_GRAPH)
        return set() if graph is None else {path.parent / place for place in _locations(graph)}
    except (ModelFileError, ValueError):
        return set()


def _locations(graph: Message) -> Iterator[str]:
    for tensor in graph.messages(5, limit=MAX_ITEMS):
        yield from _location(tensor)
    for node in graph.messages(1, limit=MAX_ITEMS):
        for attribute in node.messages(5, limit=_MAX_OPERANDS):
            if (within := attribute.message(5)) is not None:
                yield from _location(within)


def _location(tensor: Message) -> Iterator[str]:
    entries = {item.text(1): item.text(2) for item in tensor.messages(13, limit=16)}
    place = entries.get("location", "")
    if place and "\0" not in place:
        yield place


def content_of(data: memoryview, *, name: str, folder: Path | None) -> OnnxContent:
    """As `read_content`, from a file's bytes; folder: where weights in other files may lie."""
    model = Message(data, 0, len(data), name=name)
    graph = model.message(_GRAPH)
    if graph is None:
        raise ModelFileError(f"{name}: holds no graph; expected an ONNX model")
    if model.has(_FUNCTIONS):
        raise ModelFileError(f"{name}: has functions of its own; export it again with them inlined (optimize=True)")
    beside = None if folder is None else _Beside(folder)
    constants = dict(_tensor(message, beside) for message in graph.messages(5, limit=MAX_ITEMS))
    inputs = tuple(facts for facts in read_values(graph, 11) if facts.name not in constants)
    properties = {entry.text(1): entry.text(2) for entry in model.messages(_PROPERTIES, limit=1 << 10)}
    opsets = {entry.text(1): entry.integer(2) for entry in model.messages(_OPSETS, limit=1 << 6)}
    return OnnxContent(
        tuple(_step(message, beside) for message in graph.messages(1, limit=MAX_ITEMS)),
        constants,
        inputs,
        tuple(facts.name for facts in read_values(graph, 12)),
        opsets.get("", opsets.get("ai.onnx", 1)),
        f"{model.text(2)} {model.text(3)}".strip(),
        properties,
    )


@dataclass
class _Beside:
    """The model's folder, and bytes that may yet be read from files in it: L2 in float32 takes 1.9 GB.

    read: bytes by file; what several constants share is counted again, since each is held.
    """

    folder: Path
    left: int = 2 << 30
    read: dict[Path, int] = field(default_factory=dict)

    def spend(self, path: Path, size: int, where: str) -> None:
        """Raises ModelFileError for more than the file has, or than is read."""
        self.left -= size
        self.read[path] = self.read.get(path, 0) + size
        if self.left < 0 or self.read[path] > path.stat().st_size + _SHARED:
            raise ModelFileError(
                f"{where} makes {self.read[path]:,} bytes of weights of {path.name}, which has "
                f"{path.stat().st_size:,}; expected each once, and 2 GiB at most"
            )


def _step(message: Message, beside: _Beside | None) -> Step:
    inputs, outputs = (message.texts(number, limit=_MAX_OPERANDS) for number in (1, 2))
    attributes = {item.text(1): _attribute(item, beside) for item in message.messages(5, limit=_MAX_OPERANDS)}
    return Step(message.text(4), message.text(7), message.text(3), inputs, outputs, attributes)


def _attribute(message: Message, beside: _Beside | None) -> Any:
    """The value; None for kinds that no operator read here has (graphs, sparse tensors)."""
    match message.integer(20):
        case 1:
            return message.real(2)
        case 2:
            return message.integer(3)
        case 3:
            return message.text(4)
        case 4 if (tensor := message.message(5)) is not None:
            return _tensor(tensor, beside)[1]
        case 6:
            return np.frombuffer(_whole(message.raw(7), 4), "<f4")
        case 7:
            return message.integers(8, limit=MAX_ITEMS)
        case _:
            return None


def _tensor(message: Message, beside: _Beside | None) -> tuple[str, Array]:
    name, dims, kind = message.text(8), message.integers(1, limit=32), message.integer(2)
    where = f"{message.name}: constant {name!r:.{SHOWN}}"
    if min(dims, default=0) < 0 or math.prod(dims) > MAX_ELEMENTS:
        raise ModelFileError(f"{where} has the shape {list(dims)}; expected at most {MAX_ELEMENTS} elements")
    if kind not in _TYPES and kind != _BFLOAT16:
        raise ModelFileError(f"{where} is of the type {kind}; expected numbers of a type that numpy has")
    if message.integer(14) == _EXTERNAL or message.has(13):
        values = _external(message, where, beside, math.prod(dims), kind)
    else:
        values = _inside(message, kind, math.prod(dims))
    if values.size != math.prod(dims):
        raise ModelFileError(f"{where} needs {math.prod(dims)} values, but the file holds {values.size}")
    return name, values.reshape(dims)


def _inside(message: Message, kind: int, count: int) -> Array:
    raw = message.raw(9)
    if len(raw):
        return _from_bytes(raw, kind)
    number, packed = _NUMBERS.get(kind, (5, None))
    if packed is not None:
        return np.frombuffer(_whole(message.raw(number), np.dtype(packed).itemsize), packed)
    found = message.integers(number, limit=max(count, 1))
    if kind == 10:
        return np.asarray(found, np.int64).astype(np.uint16).view(np.float16)
    return np.asarray(found, np.int64).astype(_TYPES.get(kind, "<i8"))


def _from_bytes(raw: memoryview | bytes, kind: int) -> Array:
    if kind == _BFLOAT16:
        return (np.frombuffer(_whole(raw, 2), "<u2").astype(np.uint32) << 16).view(np.float32)
    dtype = np.dtype(_TYPES[kind])
    return np.frombuffer(_whole(raw, dtype.itemsize), dtype)


def _whole(raw: memoryview | bytes, size: int) -> memoryview | bytes:
    return raw[: len(raw) // size * size]


def _external(message: Message, where: str, beside: _Beside | None, count: int, kind: int) -> Array:
    entries = {item.text(1): item.text(2) for item in message.messages(13, limit=16)}
    if beside is None:
        raise ModelFileError(f"{where} lies in another file; expected a path, so that it can be found beside the model")
    size = count * (2 if kind == _BFLOAT16 else np.dtype(_TYPES[kind]).itemsize)
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(size)))
    except ValueError as error:
        raise ModelFileError(f"{where} lies at {entries}; expected numbers") from error
    path = _beside(beside.folder, entries.get("location", ""), where)
    if length != size or offset < 0 or offset + size > path.stat().st_size:
        raise ModelFileError(f"{where} needs {size} bytes at {offset} of {path.name}, which has {path.stat().st_size}")
    beside.spend(path, size, where)
    with open(path, "rb") as file:
        file.seek(offset)
        return _from_bytes(file.read(size), kind)


def _beside(folder: Path, location: str, where: str) -> Path:
    """A file of the model's own folder; raises ModelFileError for one elsewhere, or reached through a link."""
    place = Path(location)
    unsafe = not location or place.is_absolute() or ".." in place.parts or "\0" in location or "\\" in location
    if unsafe:
        raise ModelFileError(f"{where} lies in {location!r:.{SHOWN}}; expected a file in the model's own folder")
    path = folder
    for part in place.parts:
        path = path / part
        if path.is_symlink():
            raise ModelFileError(f"{where}: {path.name!r:.{SHOWN}} is a link; expected the file itself, copied here")
    if not path.is_file():
        raise ModelFileError(f"{where} lies in {location!r:.{SHOWN}}, which isn't beside the model; copy both together")
    return path
