from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.packed import LABELS_NAME, packed_files, read_packed
from edge_effnet.formats.tflite import TfliteFile, read_tflite, with_document
from edge_effnet.formats.tflite_schema import NUMPY_TYPES, OPERATORS, OPTIONS, TENSOR_TYPES

from .conftest import SIZE, make_document, make_tflite
from .mutants import mutations, survives, truncations

pytestmark = pytest.mark.litert
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
Repack = Callable[..., bytes]


def _generated(data: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))


def _numbers(values: Any) -> list[Any]:
    return [] if values is None else np.asarray(values).tolist()


def test_tensors_match_the_generated_reader(tflite_bytes: bytes) -> None:
    model, found = _generated(tflite_bytes), read_tflite(tflite_bytes)
    assert len(found.tensors) == len(model.subgraphs[0].tensors)
    for ours, theirs in zip(found.tensors, model.subgraphs[0].tensors, strict=True):
        assert (ours.name, list(ours.shape), ours.buffer) == (
            theirs.name.decode(),
            _numbers(theirs.shape),
            theirs.buffer,
        )
        assert TENSOR_TYPES[theirs.type][0] == ours.dtype
        quantization = theirs.quantization
        assert ours.scales.tolist() == _numbers(quantization and quantization.scale)
        assert ours.zero_points.tolist() == _numbers(quantization and quantization.zeroPoint)
        assert ours.quantized_dimension == (quantization.quantizedDimension if quantization else 0)
        data = model.buffers[theirs.buffer].data
        assert (None if ours.data is None else bytes(ours.data)) == (None if data is None else bytes(data))
        if ours.data is not None:
            assert ours.values().dtype == np.dtype(ours.dtype)
            assert ours.values().shape == ours.shape
            assert not ours.values().flags.writeable


def test_operators_match_the_generated_reader(tflite_bytes: bytes) -> None:
    model, found = _generated(tflite_bytes), read_tflite(tflite_bytes)
    graph = model.subgraphs[0]
    assert (list(found.inputs), list(found.outputs)) == (_numbers(graph.inputs), _numbers(graph.outputs))
    for ours, theirs in zip(found.operators, graph.operators, strict=True):
        code = model.operatorCodes[theirs.opcodeIndex]
        assert (getattr(schema.BuiltinOperator, ours.code), ours.version) == (code.builtinCode, code.version)
        assert (list(ours.inputs), list(ours.outputs)) == (_numbers(theirs.inputs), _numbers(theirs.outputs))
        for name, value in ours.options.items():
            head, *rest = name.split("_")
            expected = getattr(theirs.builtinOptions, head + "".join(word.capitalize() for word in rest))
            assert _named(value) == expected


def _named(value: Any) -> Any:
    for enumeration in (schema.Padding, schema.ActivationFunctionType, schema.FullyConnectedOptionsWeightsFormat):
        if isinstance(value, str) and hasattr(enumeration, value):
            return getattr(enumeration, value)
    return value


def test_the_tables_of_numbers_match_the_published_schema() -> None:
    types = {number: name for name, number in vars(schema.TensorType).items() if not name.startswith("_")}
    assert {number: name.upper() for number, (name, _) in TENSOR_TYPES.items()} == types
    assert {name: getattr(schema.BuiltinOperator, name) for name in OPERATORS.values()} == {
        name: number for number, name in OPERATORS.items()
    }
    assert set(OPTIONS) <= set(OPERATORS.values())
    assert all(np.dtype(name).itemsize == dtype.itemsize for name, dtype in NUMPY_TYPES.items())


def test_every_option_is_found_in_its_slot() -> None:
    """Each options table, filled with numbers of its own, is read field by field."""
    kinds = {number: name for name, number in vars(schema.BuiltinOptions).items() if not name.startswith("_")}
    for code, expected in OPTIONS.items():
        if not expected.options:
            continue
        options = getattr(schema, f"{kinds[expected.kind]}T")()
        values = {
            option.name: [3, -1] if option.kind is None else bool(index % 2) if option.default is False else 1
            for index, option in enumerate(expected.options)
        }
        for name, value in values.items():
            head, *rest = name.split("_")
            setattr(options, head + "".join(word.capitalize() for word in rest), value)

        def change(model: Any, code: str = code, options: Any = options, kind: int = expected.kind) -> None:
            number = getattr(schema.BuiltinOperator, code)
            model.operatorCodes[0] = schema.OperatorCodeT(
                deprecatedBuiltinCode=min(number, 127), builtinCode=number, version=1
            )
            model.subgraphs[0].operators[0].opcodeIndex = 0
            model.subgraphs[0].operators[0].builtinOptionsType = kind
            model.subgraphs[0].operators[0].builtinOptions = options

        model = _generated(make_tflite("float32"))
        change(model)
        model.subgraphs[0].operators = model.subgraphs[0].operators[:1]
        found = read_tflite(_packed(model)).operators[0]
        assert found.code == code
        assert {
            name: _named(value) if isinstance(value, str) else list(value) if isinstance(value, tuple) else value
            for name, value in found.options.items()
        } == values


def _packed(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_what_the_file_says_of_itself(int8_tflite: bytes) -> None:
    found = read_tflite(int8_tflite, name="x.tflite")
    assert (found.format, found.name, found.size_bytes, found.description) == (
        "tflite",
        "x.tflite",
        len(int8_tflite),
        "EfficientNet-lite0 int8",
    )
    assert (found.input.name, found.input.shape, found.input.dtype) == ("image", (1, SIZE, SIZE, 3), "uint8")
    assert (found.output.name, found.output.shape, found.output.dtype) == ("logits", (1, 5), "float32")
    assert found.document == replace(make_document("int8"), weights_sha256=hashlib.sha256(found.covered[0]).hexdigest())
    assert found.labels == make_document().labels
    assert bytes(found.metadata["TFLITE_METADATA"][4:8]) == b"M001"
    assert found.subgraphs == 1
    table = found.operators_by_precision()
    assert table["int8"]["CONV_2D"] == 3
    assert table["float32"]["FULLY_CONNECTED"] == 1
    assert sum(sum(row.values()) for row in table.values()) == len(found.operators)
    assert 0 < found.weight_bytes < len(int8_tflite)


def test_a_path_is_read_once(tmp_path: Path, tflite_bytes: bytes) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(tflite_bytes)
    found = read_tflite(path)
    path.unlink()
    weight = next(tensor for tensor in found.tensors if tensor.data is not None)
    assert weight.data.obj is found.covered[0].obj  # type: ignore[union-attr]
    assert weight.values().shape == weight.shape
    assert found.name == str(path)


def _nothing(model: Any) -> None:
    del model


def test_a_file_of_another_maker(repack: Repack) -> None:
    found = read_tflite(repack(_nothing))
    assert (found.document, found.labels) == (None, None)


def test_labels_come_from_the_document_first(int8_tflite: bytes) -> None:
    bare = int8_tflite[: read_packed(memoryview(int8_tflite), name="m", flatbuffer_end=0).start]
    assert read_tflite(bare + packed_files(make_document(labels=None), {"x.txt": b"a\nb"})).labels == ("a", "b")
    assert read_tflite(bare + packed_files(make_document(), {"x.txt": b"a\nb"})).labels == make_document().labels


def test_with_document_changes_the_packed_files_alone(tflite_bytes: bytes) -> None:
    before = read_tflite(tflite_bytes)
    assert before.document is not None
    changed = replace(before.document, accuracy={"top1": 0.9}, labels=("1", "2", "3", "4", "5"))
    data = with_document(tflite_bytes, changed)
    start = read_packed(memoryview(tflite_bytes), name="m", flatbuffer_end=0).start
    assert data == tflite_bytes[:start] + packed_files(changed)
    assert read_tflite(data).document == changed
    assert with_document(data, before.document) == tflite_bytes


def test_with_document_keeps_what_others_packed(repack: Repack) -> None:
    bare = repack(_nothing)
    data = with_document(bare, make_document(labels=None))
    assert data[: len(bare)] == bare
    foreign = bare + packed_files(make_document(labels=None), {LABELS_NAME: b"a\nb\nc\nd\ne\n", "other.bin": b"x"})
    kept = read_packed(
        memoryview(with_document(foreign, make_document(labels=None))), name="m", flatbuffer_end=len(bare)
    )
    assert kept.labels() == ("a", "b", "c", "d", "e")
    assert kept.files["other.bin"] == b"x"


def test_with_document_refuses_a_broken_file(tflite_bytes: bytes) -> None:
    with pytest.raises(ModelFileError, match=r"x\.tflite: root offset|x\.tflite: bytes 4 to 8"):
        with_document(tflite_bytes[:6], make_document(), name="x.tflite")


def test_custom_and_unknown_operators(repack: Repack) -> None:
    def change(model: Any) -> None:
        model.operatorCodes[0] = schema.OperatorCodeT(
            deprecatedBuiltinCode=32, builtinCode=32, customCode="Mine", version=4
        )
        model.operatorCodes[1] = schema.OperatorCodeT(deprecatedBuiltinCode=127, builtinCode=9999)

    codes = {operator.code: operator for operator in read_tflite(repack(change)).operators}
    assert codes["Mine"].version == 4
    assert "BUILTIN_9999" in codes
    assert codes["BUILTIN_9999"].options == {}


def test_missing_options_are_the_schemas_defaults(repack: Repack) -> None:
    def change(model: Any) -> None:
        for operator in model.subgraphs[0].operators:
            if operator.builtinOptionsType == schema.BuiltinOptions.MulOptions:
                operator.builtinOptionsType, operator.builtinOptions = 0, None

    options = next(operator.options for operator in read_tflite(repack(change)).operators if operator.code == "MUL")
    assert options == {"fused_activation_function": "NONE"}


def test_left_out_inputs(repack: Repack) -> None:
    found = read_tflite(repack(lambda model: setattr(model.subgraphs[0].operators[1], "inputs", [0, 1, -1])))
    assert found.operators[1].inputs == (0, 1, -1)


def test_buffers_behind_the_flatbuffer(repack: Repack) -> None:
    """Weights of large files lie behind the flatbuffer, at an offset from the file's beginning."""
    index: list[int] = []

    def change(model: Any, offset: int = 1 << 20) -> None:
        tensor = next(
            tensor
            for tensor in model.subgraphs[0].tensors
            if tensor.name == b"logits/weight/int8" or tensor.name == b"stem/bias"
        )
        index[:] = [tensor.buffer]
        buffer = model.buffers[tensor.buffer]
        buffer.size, buffer.offset, buffer.data = len(buffer.data), offset, None

    front = repack(change)
    content = bytes(range(40))
    needed = next(tensor for tensor in _generated(front).subgraphs[0].tensors if tensor.buffer == index[0])
    data = repack(lambda model: change(model, len(front))) + content
    assert len(data) == len(front) + len(content)
    found = next(tensor for tensor in read_tflite(data).tensors if tensor.buffer == index[0])
    assert found.data is not None
    assert bytes(found.data) == content[: len(found.data)]
    assert found.name.encode() == needed.name
    with pytest.raises(ModelFileError, match=f"data of buffer {index[0]} at byte {len(front)} would end at byte"):
        read_tflite(data[: len(front) + 3])
    with pytest.raises(ModelFileError, match="would end at byte 184467440737095"):
        read_tflite(repack(lambda model: change(model, (1 << 64) - 8)))


def _set(path: str, value: Any) -> Callable[[Any], None]:
    """A change such as _set("subgraphs.0.operators.1.opcodeIndex", 9)."""

    def change(model: Any) -> None:
        *parents, last = path.split(".")
        target = model
        for step in parents:
            target = target[int(step)] if step.isdigit() else getattr(target, step)
        if last.isdigit():
            target[int(last)] = value
        else:
            setattr(target, last, value)

    return change


def _custom_options(model: Any) -> None:
    model.subgraphs[0].operators[0].largeCustomOptionsOffset = 1 << 40
    model.subgraphs[0].operators[0].largeCustomOptionsSize = 8


def _wrong_union(model: Any) -> None:
    operator = next(
        item for item in model.subgraphs[0].operators if item.builtinOptionsType == schema.BuiltinOptions.Conv2DOptions
    )
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.MulOptions, schema.MulOptionsT()


def _in_conv(name: str, value: int) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        setattr(
            next(
                item
                for item in model.subgraphs[0].operators
                if item.builtinOptionsType == schema.BuiltinOptions.Conv2DOptions
            ).builtinOptions,
            name,
            value,
        )

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("version", 4), "made for TFLite schema version 4; this program reads version 3"),
        (_set("subgraphs", []), "holds no subgraph"),
        (_set("subgraphs.0.inputs", []), "0 inputs and 1 outputs; expected at least one of each"),
        (_set("subgraphs.0.outputs", []), "1 inputs and 0 outputs"),
        (
            _set("subgraphs.0.inputs", [9999]),
            r"the model's inputs refer to tensors \[9999\]; the model has \d+ tensors",
        ),
        (_set("subgraphs.0.outputs", [-1]), r"the model's outputs refer to tensors \[-1\]"),
        (_set("subgraphs.0.operators.1.opcodeIndex", 99), r"operator 1 has the operator code 99; the file lists \d+"),
        (_set("subgraphs.0.operators.1.inputs", [0, -2]), r"operator 1 \(\w+\): its inputs refer to tensors \[0, -2\]"),
        (_set("subgraphs.0.operators.1.outputs", [-1]), r"operator 1 \(\w+\): its outputs refer to tensors \[-1\]"),
        (_set("signatureDefs.0.subgraphIndex", 3), "a signature refers to subgraph 3; the file has 1"),
        (_set("signatureDefs.0.inputs.0.tensorIndex", 9999), r"a signature refers to tensor 9999; the model has \d+"),
        (_set("metadata.0.buffer", 9999), r"metadata 'TFLITE_METADATA' is in buffer 9999; the file has \d+ buffers"),
        (_wrong_union, r"operator \d+ \(CONV_2D\) has options of kind 21; expected 1"),
        (_in_conv("strideW", 0), r"\(CONV_2D\) has stride_w = 0; expected at least 1"),
        (_in_conv("padding", 7), r"\(CONV_2D\) has padding = 7; expected 0 to 1 \(SAME, VALID\)"),
        (_custom_options, "options of operator 0 at byte 1099511627776 would end at byte"),
    ],
)
def test_broken_structures(repack: Repack, change: Callable[[Any], None], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        read_tflite(repack(change))


def test_weights_in_other_files(repack: Repack) -> None:
    def change(model: Any) -> None:
        model.externalBufferGroups = [schema.ExternalBufferGroupT(name="../weights.bin")]

    if not hasattr(schema, "ExternalBufferGroupT"):
        pytest.skip("this ai-edge-litert's schema has no external buffers")
    with pytest.raises(ModelFileError, match="refers to weights in other files"):
        read_tflite(repack(change))


def test_another_identifier(int8_tflite: bytes) -> None:
    with pytest.raises(ModelFileError, match="bytes 4 to 8 are b'TFL2'; expected b'TFL3'"):
        read_tflite(int8_tflite[:4] + b"TFL2" + int8_tflite[8:])


def _everything(data: bytes) -> TfliteFile:
    """Reads all there is to read."""
    found = read_tflite(data)
    found.operators_by_precision()
    for tensor in found.tensors:
        if tensor.data is not None and tensor.dtype in NUMPY_TYPES and not tensor.sparse:
            tensor.values()
    return found


def test_cut_off_files(tflite_bytes: bytes) -> None:
    """Only a cut exactly between the model and the packed files leaves a sound file: one without a document."""
    start = read_packed(memoryview(tflite_bytes), name="m", flatbuffer_end=0).start
    survivors = [data for data in truncations(tflite_bytes, 150) if survives(_everything, data)]
    assert all(start - 64 <= len(data) <= start + 3 for data in survivors)
    assert _everything(tflite_bytes[:start]).document is None


def test_mutants_read_or_are_refused(tflite_bytes: bytes) -> None:
    """The weights' bytes say nothing, so the damage goes where the structure is."""
    found = read_tflite(tflite_bytes)
    weights = np.zeros(len(tflite_bytes), bool)
    for tensor in found.tensors:
        if tensor.data is not None and len(tensor.data) > 16:
            at = tflite_bytes.find(tensor.data)
            weights[at : at + len(tensor.data)] = True
    places = np.flatnonzero(~weights).tolist()
    refused = [not survives(_everything, data) for data in mutations(tflite_bytes, 300, seed=11, places=places)]
    assert 30 < sum(refused) < 300
