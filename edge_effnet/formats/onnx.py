"""Reads `.onnx` files into plain records; weights are counted and checked, not copied.

Source of the field numbers: onnx.proto (https://github.com/onnx/onnx, ModelProto, GraphProto, StringStringEntryProto).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.integrity import digest, weights_are_verified
from edge_effnet.formats.onnx_graph import (
    OnnxInitializer,
    OnnxNode,
    read_initializers,
    read_nodes,
    read_value_types,
    read_values,
)
from edge_effnet.formats.onnx_precision import node_precisions
from edge_effnet.formats.onnx_properties import PROPERTIES, encoded_property, packed_in
from edge_effnet.formats.packed import MAX_MEMBER_BYTES, parse_document
from edge_effnet.formats.protobuf import VARINT, Message, spans, tag
from edge_effnet.formats.records import SHOWN, TensorFacts
from edge_effnet.formats.source import ModelSource, open_source
from edge_effnet.metadata import ONNX_CHECKSUM, ONNX_PROPERTY, ModelDocument

_IR_VERSION, _GRAPH, _OPSETS = 1, 7, 8
#: Parts that bring code or weights of their own, which no classifier needs and this reader doesn't check.
_REFUSED = {20: "training information", 25: "functions of its own"}
#: protobuf's limit for one message.
_MAX_FILE_BYTES = (1 << 31) - 1
_MAX_PROPERTIES = 1 << 10
_MAX_OPSETS = 1 << 6
#: Far above the newest (27 in 2026); what a damaged number looks like.
_LARGEST_OPSET = 1000
#: What may open a ModelProto, whatever the order of its fields: see `looks_like_onnx`.
_MODEL_TAGS = frozenset(
    {tag(1, VARINT), tag(5, VARINT), *(tag(number) for number in (2, 3, 4, 6, 7, 8, 14, 20, 25, 26))}
)


#: Operators that this project's exporter writes.
UNDERSTOOD = frozenset(
    [
        "Add",
        "Cast",
        "Clip",
        "Conv",
        "DequantizeLinear",
        "Flatten",
        "Gemm",
        "GlobalAveragePool",
        "Identity",
        "Max",
        "Mul",
        "Pad",
        "QuantizeLinear",
        "Relu",
        "Sigmoid",
        "Softmax",
    ]
)


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """An `.onnx` file. opset: operator-set domain → version ("" is ONNX's own); metadata_props: key → value.

    inputs: without those that are only another name for an initializer; value_types: tensor name → dtype, for the
    tensors inside the graph that the file describes. covered: the bytes that `weights_sha256` of the document is about,
    every field of the file but the document and its checksum.
    """

    name: str
    size_bytes: int
    ir_version: int
    producer: str
    opset: Mapping[str, int]
    nodes: tuple[OnnxNode, ...]
    initializers: tuple[OnnxInitializer, ...]
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    value_types: Mapping[str, str]
    metadata_props: Mapping[str, str]
    document: ModelDocument | None
    covered: tuple[memoryview, ...]

    @property
    def format(self) -> str:
        """The format's name."""
        return "onnx"

    @property
    def input(self) -> TensorFacts:
        """The first input."""
        return self.inputs[0]

    @property
    def output(self) -> TensorFacts:
        """The first output."""
        return self.outputs[0]

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The document's labels; None without."""
        return None if self.document is None else self.document.labels

    @cached_property
    def packed(self) -> Mapping[str, bytes]:
        """Name → content of the files that travel with it; raises ModelFileError where one can't be read."""
        return packed_in(self.metadata_props, self.name)

    @property
    def understood(self) -> bool:
        """Whether every operator is one that ONNX Runtime was seen to stand damaged files of (see benchmarks/fuzz)."""
        return all(node.op_type in UNDERSTOOD and node.domain in ("", "ai.onnx") for node in self.nodes)

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of all initializers."""
        return sum(item.byte_length for item in self.initializers)

    def operators_by_precision(self) -> dict[str, dict[str, int]]:
        """Precision (see `onnx_precision`) → operator type → how many; sorted."""
        types = {**self.value_types, **{item.name: item.dtype for item in self.initializers}}
        types.update((item.name, item.dtype) for item in (*self.inputs, *self.outputs))
        counts = Counter(zip(node_precisions(self.nodes, types), (node.op_type for node in self.nodes), strict=True))
        table: dict[str, dict[str, int]] = {}
        for precision, op_type in sorted(counts):
            table.setdefault(precision, {})[op_type] = counts[precision, op_type]
        return table


def read_onnx(source: ModelSource, *, name: str | None = None) -> OnnxFile:
    """The file's records, read in place.

    name: what messages call the file; by default its path.
    Raises ModelFileError for a file that is broken, cut off, not self-contained, or uses operators of unknown domains.
    """
    name, data = open_source(source, name=name)
    model = _model(data, name)
    graph = model.message(_GRAPH)
    if graph is None:
        raise ModelFileError(f"{name}: holds no graph; the file is damaged, cut off or no ONNX model")
    initializers = read_initializers(graph)
    constants = {item.name for item in initializers}
    inputs = tuple(item for item in read_values(graph, 11) if item.name not in constants)
    outputs = read_values(graph, 12)
    if not inputs or not outputs:
        raise ModelFileError(f"{name}: {len(inputs)} inputs and {len(outputs)} outputs; expected at least one of each")
    nodes, opset = read_nodes(graph), _opsets(model)
    _check_opset(nodes, opset, name)
    properties = _properties(model, name)
    return OnnxFile(
        name=name,
        size_bytes=len(data),
        ir_version=model.integer(_IR_VERSION),
        producer=f"{model.text(2)} {model.text(3)}".strip(),
        opset=opset,
        nodes=nodes,
        initializers=initializers,
        inputs=inputs,
        outputs=outputs,
        value_types=read_value_types(graph),
        metadata_props=properties,
        document=_document(properties, name),
        covered=tuple(_without_document(data, name)),
    )


def with_document(data: bytes, document: ModelDocument, *, name: str | None = None) -> bytes:
    """The same file with the document replaced: all other fields copied byte for byte, document and checksum at the
    end.

    Raises ModelFileError when `data` isn't a sound .onnx file, isn't the one whose weights the document describes, or
    the result is more than protobuf allows.
    """
    name, view = open_source(data, name=name)
    weights_are_verified(document, read_onnx(view, name=name).covered, name=name)
    return _with_document(_without_document(view, name), document, name)


def sealed(parts: Sequence[memoryview | bytes], document: ModelDocument, *, name: str) -> bytes:
    """The file whose fields lie in `parts`, one behind the other, with a document that has their SHA-256.

    Raises ModelFileError when the result is more than protobuf allows.
    """
    return _with_document(parts, replace(document, weights_sha256=digest(parts)), name)


def _with_document(parts: Sequence[memoryview | bytes], document: ModelDocument, name: str) -> bytes:
    text = document.to_json().encode("utf-8")
    own = [encoded_property(ONNX_PROPERTY, text), encoded_property(ONNX_CHECKSUM, digest([text]).encode())]
    changed = b"".join([*parts, *own])
    if len(changed) > _MAX_FILE_BYTES:
        raise ModelFileError(
            f"{name}: {len(changed)} bytes with the document; an .onnx file holds at most {_MAX_FILE_BYTES}"
        )
    return changed


def looks_like_onnx(data: memoryview) -> bool:
    """Whether the first field is one of a ModelProto; says nothing about the rest."""
    try:
        opening, _, _, _ = next(spans(data, 0, len(data), name=""))
    except (ModelFileError, StopIteration):
        return False
    return opening in _MODEL_TAGS


def _model(data: memoryview, name: str) -> Message:
    if len(data) > _MAX_FILE_BYTES:
        raise ModelFileError(f"{name}: {len(data)} bytes; an .onnx file holds at most {_MAX_FILE_BYTES}")
    model = Message(data, 0, len(data), name=name)
    if model.integer(_IR_VERSION) < 1:
        raise ModelFileError(f"{name}: has no IR version; the file is damaged or no ONNX model")
    for number, what in _REFUSED.items():
        if model.has(number):
            raise ModelFileError(
                f"{name}: holds {what}; expected a plain inference graph, save it again without (onnx.inliner inlines "
                "functions)"
            )
    return model


def _opsets(model: Message) -> dict[str, int]:
    """Domain → version; "ai.onnx" is the long name of ""."""
    found = ((item.text(1), item.integer(2)) for item in model.messages(_OPSETS, limit=_MAX_OPSETS))
    return {"" if domain == "ai.onnx" else domain: version for domain, version in found}


def _check_opset(nodes: Sequence[OnnxNode], opset: Mapping[str, int], name: str) -> None:
    """Each domain that is used must be declared with a version that can be meant."""
    for domain in {"" if node.domain == "ai.onnx" else node.domain for node in nodes}:
        if not 1 <= opset.get(domain, 0) <= _LARGEST_OPSET:
            found = f"version {opset[domain]}" if domain in opset else "nothing"
            raise ModelFileError(
                f"{name}: declares {found} for the operators of the domain {domain or 'ai.onnx'!r}; expected an "
                f"operator set from 1 to {_LARGEST_OPSET}"
            )


def _properties(model: Message, name: str) -> dict[str, str]:
    properties: dict[str, str] = {}
    for item in model.messages(PROPERTIES, limit=_MAX_PROPERTIES):
        value = item.raw(2)
        if len(value) > MAX_MEMBER_BYTES:
            raise ModelFileError(
                f"{name}: metadata {item.text(1)!r:.{SHOWN}} has {len(value)} bytes; at most {MAX_MEMBER_BYTES} are "
                "read"
            )
        properties[item.text(1)] = item.text(2)
    return properties


def _document(properties: Mapping[str, str], name: str) -> ModelDocument | None:
    """The document, once its checksum, if there is one, is seen to fit."""
    text, checksum = properties.get(ONNX_PROPERTY), properties.get(ONNX_CHECKSUM)
    if checksum is not None and (text is None or digest([text.encode("utf-8")]) != checksum):
        raise ModelFileError(
            f"{name}: its document {ONNX_PROPERTY!r} is {'missing' if text is None else 'damaged'}, as "
            f"{ONNX_CHECKSUM!r} shows; get it again"
        )
    return None if text is None else parse_document(text.encode("utf-8"), name=name)


def _without_document(data: memoryview, name: str) -> list[memoryview]:
    """The file's fields but for document and checksum; neighbours in one piece."""
    kept, begin = [], 0
    for opening, start, content, end in spans(data, 0, len(data), name=name):
        if opening == tag(PROPERTIES) and Message(data, content, end, name=name).text(1) in (
            ONNX_PROPERTY,
            ONNX_CHECKSUM,
        ):
            kept.append(data[begin:start])
            begin = end
    return [*kept, data[begin:]]
