from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_effnet.errors import ModelFileError
from edge_effnet.formats.onnx import OnnxFile, looks_like_onnx, read_onnx, with_document
from edge_effnet.formats.onnx_graph import DATA_TYPES, OnnxInitializer
from edge_effnet.formats.protobuf import encoded_field
from edge_effnet.metadata import ONNX_CHECKSUM, ONNX_PROPERTY

from .conftest import CLASSES, SIZE, make_document, make_onnx_model
from .mutants import mutations, survives, truncations

pytestmark = pytest.mark.onnx
onnx = pytest.importorskip("onnx")


def _changed(change: Callable[[Any], Any]) -> bytes:
    model = make_onnx_model()
    change(model)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("quantized", [False, True])
def test_everything_matches_onnx(quantized: bool) -> None:
    model = make_onnx_model(quantized)
    found = read_onnx(model.SerializeToString(), name="x.onnx")
    graph = model.graph
    assert (found.format, found.name, found.ir_version, found.producer) == ("onnx", "x.onnx", 9, "test")
    assert found.opset == {item.domain: item.version for item in model.opset_import}
    assert [(node.op_type, node.domain, node.name, list(node.inputs), list(node.outputs)) for node in found.nodes] == [
        (node.op_type, node.domain, node.name, list(node.input), list(node.output)) for node in graph.node
    ]
    assert [dict(node.attributes) for node in found.nodes] == [
        {
            item.name: tuple(value) if isinstance(value := onnx.helper.get_attribute_value(item), list) else value
            for item in node.attribute
        }
        for node in graph.node
    ]
    for ours, theirs in zip(found.initializers, graph.initializer, strict=True):
        array = onnx.numpy_helper.to_array(theirs)
        assert (ours.name, ours.dims, ours.dtype, ours.byte_length) == (
            theirs.name,
            array.shape,
            array.dtype.name,
            array.nbytes,
        )
    assert found.weight_bytes == sum(onnx.numpy_helper.to_array(item).nbytes for item in graph.initializer)
    assert found.metadata_props == {item.key: item.value for item in model.metadata_props}
    assert (found.input.name, found.input.shape, found.input.dtype) == ("image", (None, 3, SIZE, SIZE), "float32")
    assert (found.output.name, found.output.shape, found.output.dtype) == ("logits", (None, CLASSES), "float32")
    assert found.value_types == {"pooled": "float32"}
    assert (found.document, found.labels) == (make_document(), make_document().labels)


def test_data_types_match_the_published_numbers() -> None:
    short = {"float": "float32", "double": "float64"}
    published = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
    ours = {number: name.replace("_", "") for number, (name, _) in DATA_TYPES.items()}
    assert {number: ours[number] for number in published if number in ours} == {
        number: short.get(name, name).replace("_", "") for number, name in published.items() if number in ours
    }
    for number, (name, bits) in DATA_TYPES.items():
        if number and hasattr(np, name) and bits:
            assert np.dtype(name).itemsize * 8 == bits


def test_a_path_is_read(tmp_path: Path, onnx_bytes: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx_bytes)
    assert read_onnx(path).name == str(path)
    assert read_onnx(str(path)).size_bytes == len(onnx_bytes)


def test_a_file_of_another_maker() -> None:
    found = read_onnx(_changed(lambda model: model.metadata_props.clear()))
    assert (found.document, found.labels, found.metadata_props) == (None, None, {})


def test_long_name_of_the_default_domain() -> None:
    def change(model: Any) -> None:
        model.opset_import[0].domain = model.graph.node[0].domain = "ai.onnx"

    assert read_onnx(_changed(change)).opset == {"": 17, "com.microsoft": 1}


def test_imported_domains_that_no_node_uses() -> None:
    """ONNX Runtime lists all domains it knows in the files it saves."""
    found = read_onnx(
        _changed(lambda model: model.opset_import.append(onnx.helper.make_opsetid("com.microsoft.nchwc", 1)))
    )
    assert "com.microsoft.nchwc" in found.opset


def test_inputs_that_only_name_initializers() -> None:
    weight = onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [4, 3, 3, 3])
    assert [item.name for item in read_onnx(_changed(lambda model: model.graph.input.insert(0, weight))).inputs] == [
        "image"
    ]


def test_values_stored_as_numbers() -> None:
    def change(model: Any) -> None:
        del model.graph.initializer[:]
        model.graph.initializer.extend(
            [
                onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [4, 3, 3, 3], np.arange(108.0)),
                onnx.helper.make_tensor("b", onnx.TensorProto.INT64, [4], [1, 2, 3, -4]),
                onnx.helper.make_tensor("dense", onnx.TensorProto.INT4, [3], [1, 2, 3]),
                onnx.helper.make_tensor("words", onnx.TensorProto.STRING, [2], [b"ab", b"c"]),
                onnx.helper.make_tensor("none", onnx.TensorProto.FLOAT, [0], []),
            ]
        )

    assert [(item.dtype, item.byte_length) for item in read_onnx(_changed(change)).initializers] == [
        ("float32", 432),
        ("int64", 32),
        ("int4", 2),
        ("string", 3),
        ("float32", 0),
    ]


def test_values_that_are_no_tensors_or_have_no_shape() -> None:
    def change(model: Any) -> None:
        model.graph.output.append(onnx.helper.make_tensor_sequence_value_info("list", onnx.TensorProto.FLOAT, None))
        model.graph.output.append(onnx.helper.make_tensor_value_info("free", onnx.TensorProto.FLOAT, None))
        model.graph.output.append(onnx.ValueInfoProto(name="bare"))
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1

    found = read_onnx(_changed(change))
    assert [(item.shape, item.dtype) for item in found.outputs[1:]] == [
        (None, "sequence"),
        (None, "float32"),
        (None, "undefined"),
    ]
    assert found.input.shape == (None, 3, SIZE, SIZE)


def test_attributes() -> None:
    def change(model: Any) -> None:
        sparse = onnx.helper.make_sparse_tensor(
            onnx.numpy_helper.from_array(np.ones(1), "v"), onnx.numpy_helper.from_array(np.zeros(1, np.int64), "i"), [3]
        )
        values = {
            "alpha": 0.5,
            "mode": "edge",
            "axis": -2,
            "pads": [1, -1],
            "value": onnx.numpy_helper.from_array(np.zeros((2, 3), np.int8), "t"),
        }
        model.graph.node.append(onnx.helper.make_node("Odd", [], ["k"], sparse_value=sparse, ratios=[0.5], **values))

    attributes = dict(read_onnx(_changed(change)).nodes[-1].attributes)
    assert attributes == {
        "alpha": 0.5,
        "mode": "edge",
        "axis": -2,
        "pads": (1, -1),
        "value": OnnxInitializer("t", (2, 3), "int8", 6),
    }


def _external(tensor: Any) -> Any:
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def _outside_constant(model: Any) -> None:
    model.graph.node.append(
        onnx.helper.make_node(
            "Constant", [], ["k"], value=_external(onnx.numpy_helper.from_array(np.zeros(3), "hidden"))
        )
    )


def _outside_branch(model: Any) -> None:
    value = onnx.helper.make_tensor_value_info("o", 1, [3])
    branch = onnx.helper.make_graph(
        [], "branch", [], [value], [_external(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "hidden"))]
    )
    model.graph.node.append(onnx.helper.make_node("If", ["image"], ["k"], then_branch=branch, else_branch=branch))


def _outside_sparse(model: Any) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "fine"))
    sparse.indices.CopyFrom(_external(onnx.numpy_helper.from_array(np.zeros(3, np.int64), "hidden")))


def _branches(model: Any) -> None:
    graph = onnx.helper.make_graph([], "inner", [], [])
    for _ in range(12):
        graph = onnx.helper.make_graph([onnx.helper.make_node("If", ["c"], ["k"], then_branch=graph)], "around", [], [])
    model.graph.node.extend(graph.node)


def _foreign(model: Any) -> None:
    model.graph.node[0].domain = "evil.ops"


def _wide(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 << 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.ClearField("graph"), "holds no graph"),
        (lambda model: model.ClearField("ir_version"), "has no IR version"),
        (lambda model: model.graph.ClearField("input"), "0 inputs and 1 outputs; expected at least one of each"),
        (lambda model: model.graph.ClearField("output"), "1 inputs and 0 outputs"),
        (
            lambda model: model.functions.add(name="f", domain="d"),
            "holds functions of its own; expected a plain inference graph",
        ),
        (lambda model: model.training_info.add(), "holds training information"),
        (
            lambda model: _external(model.graph.initializer[0]),
            r"initializer 'w' has its values in another file; expected a self-contained file.*or edge-effnet export .* -o",
        ),
        (_outside_constant, "initializer 'hidden' has its values in another file"),
        (_outside_branch, "initializer 'hidden' has its values in another file"),
        (_outside_sparse, "initializer 'hidden' has its values in another file"),
        (_branches, "more than 32 deep inside each other"),
        (
            _foreign,
            r"node 'Conv' is Conv of the domain 'evil.ops'; expected one of '', 'ai.onnx', 'com.microsoft', "
            r"'ai.onnx.ml'",
        ),
        (lambda model: model.graph.node[0].ClearField("op_type"), "node 'Conv' names no operator"),
        (
            lambda model: setattr(model.graph.initializer[0], "data_type", 77),
            "initializer 'w' has the unknown type 77; expected 0 to 28",
        ),
        (
            lambda model: setattr(model.graph.initializer[0], "raw_data", b"abc"),
            r"'w' is float32\[4, 3, 3, 3\] and needs 432 bytes, but the file holds 3",
        ),
        (
            lambda model: model.graph.initializer[0].ClearField("raw_data"),
            r"'w' is float32\[4, 3, 3, 3\] and needs 432 bytes, but the file holds 0",
        ),
        (
            lambda model: model.graph.initializer[0].dims.append(-1),
            r"'w' has the shape \[4, 3, 3, 3, -1\]; expected sides of at least 0",
        ),
        (lambda model: model.graph.initializer[0].dims.append(1 << 40), "at most 2147483648 elements"),
        (lambda model: model.graph.initializer[0].dims.extend([1] * 40), "field 1 holds more than 32 numbers"),
        (_wide, "tensor 'image' has a side of length 1099511627776"),
        (
            lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", 99),
            "tensor 'image' has the unknown type 99",
        ),
        (
            lambda model: setattr(model.graph.value_info[0].type.tensor_type, "elem_type", 99),
            "tensor 'pooled' has the unknown type 99",
        ),
        (
            lambda model: setattr(model.metadata_props[0], "value", "x" * ((4 << 20) + 1)),
            "metadata 'other' has 4194305 bytes; at most 4194304 are read",
        ),
        (lambda model: setattr(model.metadata_props[1], "value", "{"), "its edge_effnet.json is not valid JSON"),
    ],
)
def test_broken_structures(change: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        read_onnx(_changed(change))


def test_two_graphs(onnx_bytes: bytes) -> None:
    with pytest.raises(ModelFileError, match="field 7 stands 2 times; at most 1 are read"):
        read_onnx(onnx_bytes + encoded_field(7, b""))


def test_files_beyond_protobufs_limit(monkeypatch: pytest.MonkeyPatch, onnx_bytes: bytes) -> None:
    monkeypatch.setattr("edge_effnet.formats.onnx._MAX_FILE_BYTES", len(onnx_bytes))
    with pytest.raises(ModelFileError, match=f"bytes with the document; an .onnx file holds at most {len(onnx_bytes)}"):
        with_document(onnx_bytes, replace(make_document(), created_by="x" * 1000))
    with pytest.raises(ModelFileError, match=f"an .onnx file holds at most {len(onnx_bytes)}"):
        read_onnx(onnx_bytes + encoded_field(6, b"x"))


def test_with_document_copies_all_else(onnx_bytes: bytes) -> None:
    document = replace(make_document(), accuracy={"top1": 0.5})
    data = with_document(onnx_bytes, document)
    before, after = onnx.load_from_string(onnx_bytes), onnx.load_from_string(data)
    checksum = hashlib.sha256(document.to_json().encode()).hexdigest()
    assert {item.key: item.value for item in after.metadata_props} == {
        "other": "kept",
        ONNX_PROPERTY: document.to_json(),
        ONNX_CHECKSUM: checksum,
    }
    for model in (before, after):
        model.ClearField("metadata_props")
    assert before == after
    assert read_onnx(data).document == document
    assert with_document(data, make_document()) == with_document(onnx_bytes, make_document())
    onnx.checker.check_model(onnx.load_from_string(data))


def test_with_document_on_a_file_without_one() -> None:
    data = _changed(lambda model: model.metadata_props.clear())
    assert with_document(data, make_document()).startswith(data)


def test_with_document_keeps_fields_it_does_not_know(onnx_bytes: bytes) -> None:
    assert encoded_field(999, b"future") in with_document(onnx_bytes + encoded_field(999, b"future"), make_document())


def test_with_document_refuses_a_broken_file(onnx_bytes: bytes) -> None:
    with pytest.raises(ModelFileError, match=r"x\.onnx: "):
        with_document(onnx_bytes[:-100], make_document(), name="x.onnx")


def test_looks_like_onnx(onnx_bytes: bytes) -> None:
    assert looks_like_onnx(memoryview(onnx_bytes))
    for data in (b"\x00", b"\x0b", b"hello world", b"\x89PNG\r\n\x1a\n"):
        assert not looks_like_onnx(memoryview(data))


def _everything(data: bytes) -> OnnxFile:
    found = read_onnx(data)
    found.operators_by_precision()
    return found


def test_cut_off_files(onnx_bytes: bytes) -> None:
    """A cut between two fields behind the graph leaves a sound file with less in it; any other is found."""
    survivors = [len(data) for data in truncations(onnx_bytes, 200) if survives(_everything, data)]
    assert len(survivors) <= 4


def test_mutants_read_or_are_refused() -> None:
    """The weights' bytes say nothing, so the damage goes where the structure is."""
    model = make_onnx_model(quantized=True)
    data = bytes(model.SerializeToString())
    structure = np.ones(len(data), bool)
    for item in model.graph.initializer:
        at = data.find(item.raw_data) if len(item.raw_data) > 8 else -1
        structure[at : at + len(item.raw_data)] = at < 0
    refused = [
        not survives(_everything, damaged)
        for damaged in mutations(data, 600, seed=5, places=np.flatnonzero(structure).tolist())
    ]
    assert 100 < sum(refused) < 600


@pytest.mark.parametrize(
    ("opsets", "message"),
    [
        (
            [("com.microsoft", 1)],
            "declares nothing for the operators of the domain 'ai.onnx'; expected an operator set from 1 to 1000",
        ),
        ([("", 0)], "declares version 0 for the operators of the domain 'ai.onnx'"),
        ([("", 1 << 40)], "declares version 1099511627776"),
        ([("ai.onnx", 17)], None),
    ],
)
def test_the_operator_set_must_be_declared(opsets: list[tuple[str, int]], message: str | None) -> None:
    model = make_onnx_model()
    del model.opset_import[:]
    for domain, version in opsets:
        model.opset_import.add(domain=domain, version=version)
    if message is None:
        assert read_onnx(model.SerializeToString()).opset == {"": 17}
        return
    with pytest.raises(ModelFileError, match=message):
        read_onnx(model.SerializeToString())
