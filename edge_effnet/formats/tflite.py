"""Reads `.tflite` files into plain records: every offset, index, shape and length checked, weights left where they lie.

Source of the slot numbers: schema.fbs of TensorFlow Lite / LiteRT, version 3 (a field's position in its table).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.flatbuffer import UINT32, UINT64, FlatBuffer, Table
from edge_effnet.formats.integrity import weights_are_verified
from edge_effnet.formats.packed import packed_files, read_packed
from edge_effnet.formats.records import SHOWN, TensorFacts
from edge_effnet.formats.source import ModelSource, open_source
from edge_effnet.formats.tflite_operators import (
    MAX_OPERANDS,
    TfliteOperator,
    indices,
    outside,
    read_code,
    read_operators,
)
from edge_effnet.formats.tflite_rules import RULES
from edge_effnet.formats.tflite_schema import IDENTIFIER, SCHEMA_VERSION
from edge_effnet.formats.tflite_tensors import TfliteTensor, read_tensor
from edge_effnet.metadata import ModelDocument

_MAX_TENSORS = _MAX_BUFFERS = 1 << 17
_MAX_CODES = _MAX_METADATA = _MAX_SIGNATURES = _MAX_SUBGRAPHS = 1 << 12


@dataclass(frozen=True, eq=False)
class TfliteFile:
    """A `.tflite` file's first subgraph. `inputs` and `outputs` are tensor indices; `metadata`: name → bytes.

    labels: from the document, otherwise from the packed label file; None without either. covered: the bytes that
    `weights_sha256` of the document is about, all of those before the packed files. packed: name → content of those.
    """

    name: str
    size_bytes: int
    description: str
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int
    metadata: Mapping[str, memoryview]
    document: ModelDocument | None
    labels: tuple[str, ...] | None
    covered: tuple[memoryview, ...]
    packed: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def format(self) -> str:
        """The format's name."""
        return "tflite"

    @property
    def input(self) -> TensorFacts:
        """The first input."""
        return self.tensors[self.inputs[0]].facts()

    @property
    def output(self) -> TensorFacts:
        """The first output."""
        return self.tensors[self.outputs[0]].facts()

    @property
    def understood(self) -> bool:
        """Whether rules check every operator and tensor; otherwise an engine sees what this reader can't judge."""
        return (
            self.subgraphs == 1
            and all(step.code in RULES for step in self.operators)
            and not any(tensor.sparse for tensor in self.tensors)
        )

    @property
    def weight_bytes(self) -> int:
        """Bytes of all constants; a buffer that several tensors share counts once."""
        return sum({tensor.buffer: len(tensor.data) for tensor in self.tensors if tensor.data is not None}.values())

    def operators_by_precision(self) -> dict[str, dict[str, int]]:
        """dtype of an operator's first output → operator code → how many; sorted."""
        counts = Counter(
            (self.tensors[step.outputs[0]].dtype if step.outputs else "none", step.code) for step in self.operators
        )
        table: dict[str, dict[str, int]] = {}
        for precision, code in sorted(counts):
            table.setdefault(precision, {})[code] = counts[precision, code]
        return table


def read_tflite(source: ModelSource, *, name: str | None = None) -> TfliteFile:
    """The file's records; constants are views of its bytes.

    name: what messages call the file; by default its path.
    Raises ModelFileError for a file that is broken, cut off, of another schema version or not a .tflite at all.
    """
    return _read(*open_source(source, name=name))


def with_document(data: bytes, document: ModelDocument, *, name: str | None = None) -> bytes:
    """The same file with the packed document and labels replaced; the model's bytes and other packed files stay.

    A document without labels leaves the label file as it is, since the model's own metadata refer to it.
    Raises ModelFileError when `data` isn't a sound .tflite file, or not the one whose weights the document describes.
    """
    name, view = open_source(data, name=name)
    file = _read(name, view)
    weights_are_verified(document, file.covered, name=name)
    return bytes(file.covered[0]) + packed_files(document, file.packed)


def _read(name: str, data: memoryview) -> TfliteFile:
    buffer = FlatBuffer(data, name=name)
    model = _model(buffer)
    views = _buffers(model, buffer)
    subgraphs = model.tables(2, limit=_MAX_SUBGRAPHS)
    if not subgraphs:
        raise ModelFileError(f"{name}: holds no subgraph; expected a model with at least one")
    codes = [read_code(table) for table in model.tables(1, limit=_MAX_CODES)]
    if len(subgraphs) > 1:
        raise ModelFileError(
            f"{name}: holds {len(subgraphs)} subgraphs; expected one: control flow isn't run, no such network needs it"
        )
    tensors, operators, inputs, outputs = _subgraph(subgraphs[0], codes, views, buffer)
    if not inputs or not outputs:
        raise ModelFileError(f"{name}: {len(inputs)} inputs and {len(outputs)} outputs; expected at least one of each")
    _check_signatures(model, len(tensors), len(subgraphs), name)
    metadata = _metadata(model, views, name)
    description = model.string(3)
    packed = read_packed(data, name=name, flatbuffer_end=buffer.end)
    document = packed.document(name)
    labels = document.labels if document is not None and document.labels is not None else packed.labels()
    return TfliteFile(
        name,
        len(data),
        description,
        tensors,
        operators,
        inputs,
        outputs,
        len(subgraphs),
        metadata,
        document,
        labels,
        (data[: packed.start],),
        packed.files,
    )


_Subgraph: TypeAlias = "tuple[tuple[TfliteTensor, ...], tuple[TfliteOperator, ...], tuple[int, ...], tuple[int, ...]]"


def _subgraph(
    graph: Table, codes: Sequence[tuple[str, int]], views: Sequence[memoryview | None], buffer: FlatBuffer
) -> _Subgraph:
    """Tensors, operators, inputs and outputs."""
    tensors = tuple(
        read_tensor(table, index, views, buffer.name) for index, table in enumerate(graph.tables(0, limit=_MAX_TENSORS))
    )
    inputs, outputs = (
        indices(graph, slot, len(tensors), f"{buffer.name}: the model's {what}")
        for slot, what in ((1, "inputs"), (2, "outputs"))
    )
    operators = read_operators(codes, graph, len(tensors), buffer)
    return tensors, operators, inputs, outputs


def _model(buffer: FlatBuffer) -> Table:
    name, found = buffer.name, bytes(buffer.data[4:8])
    if found != IDENTIFIER:
        raise ModelFileError(f"{name}: bytes 4 to 8 are {found!r}; expected {IDENTIFIER!r}, the mark of a .tflite file")
    model = buffer.root()
    version = model.scalar(0, UINT32)
    if version != SCHEMA_VERSION:
        raise ModelFileError(
            f"{name}: made for TFLite schema version {version}; this program reads version {SCHEMA_VERSION}"
        )
    if model.tables(8, limit=_MAX_BUFFERS) or model.tables(9, limit=_MAX_BUFFERS):
        raise ModelFileError(
            f"{name}: refers to weights in other files; expected a self-contained file, convert it again with the "
            "weights inside"
        )
    return model


def _buffers(model: Table, buffer: FlatBuffer) -> list[memoryview | None]:
    """Each buffer's bytes; None for an empty one. Buffers of large files may lie behind the flatbuffer."""
    views: list[memoryview | None] = []
    for table in model.tables(4, limit=_MAX_BUFFERS):
        view = (
            table.raw(0)
            if table.has(0)
            else outside(table.scalar(1, UINT64), table.scalar(2, UINT64), buffer, f"data of buffer {len(views)}")
        )
        views.append(view if len(view) else None)
    return views


def _check_signatures(model: Table, tensors: int, subgraphs: int, name: str) -> None:
    for signature in model.tables(7, limit=_MAX_SIGNATURES):
        graph = signature.scalar(4, UINT32)
        if graph >= subgraphs:
            raise ModelFileError(f"{name}: a signature refers to subgraph {graph}; the file has {subgraphs}")
        for entry in [*signature.tables(0, limit=MAX_OPERANDS), *signature.tables(1, limit=MAX_OPERANDS)]:
            index = entry.scalar(1, UINT32)
            if graph == 0 and index >= tensors:
                raise ModelFileError(f"{name}: a signature refers to tensor {index}; the model has {tensors} tensors")


def _metadata(model: Table, views: list[memoryview | None], name: str) -> dict[str, memoryview]:
    found: dict[str, memoryview] = {}
    for entry in model.tables(6, limit=_MAX_METADATA):
        index = entry.scalar(1, UINT32)
        if index >= len(views):
            raise ModelFileError(
                f"{name}: metadata {entry.string(0)!r:.{SHOWN}} is in buffer {index}; the file has {len(views)} buffers"
            )
        found[entry.string(0)] = views[index] or memoryview(b"")
    return found
