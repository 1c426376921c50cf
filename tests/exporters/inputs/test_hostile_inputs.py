"""Small files that ask for much: constants that multiply, cycles, absurd sides, weights in another file many times."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.keras_like import write_keras
from support.networks import narrow_state

from edge_effnet.benchmarks.fuzz.inputs import read, sound
from edge_effnet.benchmarks.fuzz.keras_files import classifier, keras_archive
from edge_effnet.benchmarks.fuzz.seeds import SIZE
from edge_effnet.errors import CheckpointError, EdgeEffnetError, OperatorError
from edge_effnet.exporters.inputs.assembly.allowance import Allowance
from edge_effnet.exporters.inputs.keras.network import read_network
from edge_effnet.exporters.inputs.open import open_network
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.tflite.constants import folded

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

pytestmark = [pytest.mark.onnx, pytest.mark.litert]
WEIGHTS = {"w": np.ones((5, 3), np.float32), "k": np.ones((3, 3, 1, 1), np.float32)}
MOST_BYTES = 100 << 20
Nodes = Sequence[tuple[str, list[str], str, dict[str, Any]]]
CLASSIFIER: Nodes = [
    ("Conv", ["image", "k"], "c", {}),
    ("GlobalAveragePool", ["c"], "p", {}),
    ("Flatten", ["p"], "f", {}),
    ("Gemm", ["f", "w"], "g", {"transB": 1}),
]
TOTAL: Nodes = [("ReduceSum", ["much"], "s", {"keepdims": 0}), ("Add", ["g", "s"], "out", {})]
DOUBLED: Nodes = [("Concat", [f"d{step}"] * 2, f"d{step + 1}", {"axis": 0}) for step in range(30)]
FLAT: Nodes = [
    ("Reshape", ["image", "shape"], "flat", {}),
    ("Mul", ["flat", "two"], "m", {}),
    ("Add", ["m", "two"], "out", {}),
]
SIDE = (1, 3, 64, 64)
#: Name → (nodes, constants, the image's sides, what is said).
BOMBS: dict[str, tuple[Nodes, dict[str, Any], Sequence[int], str]] = {
    "doubled": (
        [*CLASSIFIER, *DOUBLED, ("Identity", ["d30"], "much", {}), *TOTAL],
        {"d0": np.ones(1024, np.float32)},
        SIDE,
        r"Concat .*which makes [\d,]+ values of constants",
    ),
    "every pair": (
        [*CLASSIFIER, ("Add", ["row", "column"], "much", {}), *TOTAL],
        {"row": np.ones((1, 1 << 14), np.float32), "column": np.ones((1 << 14, 1), np.float32)},
        SIDE,
        "Add .*which makes 268,435,456 values",
    ),
    "filled": (
        [*CLASSIFIER, ("ConstantOfShape", ["count"], "much", {}), *TOTAL],
        {"count": np.array([1 << 31], np.int64)},
        SIDE,
        "ConstantOfShape .*which makes 2,147,483,648 values",
    ),
    "expanded": (
        [*CLASSIFIER, ("Expand", ["row", "count"], "much", {}), *TOTAL],
        {"row": np.ones((1, 8), np.float32), "count": np.array([1 << 24, 8], np.int64)},
        SIDE,
        "Expand .*which makes 134,217,728 values",
    ),
    "ranged": (
        [*CLASSIFIER, ("Range", ["from", "to", "by"], "much", {}), *TOTAL],
        {"from": np.float32(0), "to": np.float32(1e9), "by": np.float32(1)},
        SIDE,
        "Range .*which makes 1,000,000,000 values",
    ),
    "gathered": (
        [*CLASSIFIER, ("Gather", ["rows", "index"], "much", {"axis": 0}), *TOTAL],
        {"rows": np.ones((1, 1 << 14), np.float32), "index": np.zeros(1 << 13, np.int64)},
        SIDE,
        "Gather .*which makes 134,217,728 values",
    ),
    "laid out anew": (
        [
            *CLASSIFIER,
            *(
                node
                for step in range(40)
                for node in (
                    ("Transpose", [f"t{step}"], f"u{step}", {"perm": [1, 0]}),
                    ("Reshape", [f"u{step}", "shape"], f"t{step + 1}", {}),
                )
            ),
            ("Identity", ["t40"], "much", {}),
            *TOTAL,
        ],
        {"t0": np.ones((512, 1024), np.float32), "shape": np.array([512, 1024], np.int64)},
        SIDE,
        "Reshape .*which makes 524,288 values",
    ),
    "a flattened image": (
        FLAT,
        {"shape": np.array([1, -1], np.int64), "two": np.full(1, 2, np.float32)},
        (1, 3, 4096, 4096),
        "a flattened image of 50,331,648 values",
    ),
    "a cycle": (
        [("Add", ["image", "y"], "x", {}), ("Relu", ["x"], "y", {}), ("GlobalAveragePool", ["y"], "out", {})],
        {},
        SIDE,
        "reads 'y', which nothing before it makes",
    ),
    "sides": ([*CLASSIFIER, ("Relu", ["g"], "out", {})], {}, (1, 3, 1 << 31, 1 << 31), "expected sides of 1 to 4096"),
}


def write_onnx(path: Path, nodes: Nodes, constants: dict[str, Any], sides: Sequence[int]) -> Any:
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **attributes) for kind, inputs, output, attributes in nodes],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, list(sides))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in {**WEIGHTS, **constants}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return model


def refused(path: Path, message: str) -> None:
    """In an error of ours that says so, before memory is taken."""
    tracemalloc.start()
    try:
        with pytest.raises(EdgeEffnetError, match=message):
            open_network(path, InputOptions())
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", BOMBS)
def test_onnx_that_asks_for_much(name: str, tmp_path: Path) -> None:
    nodes, constants, sides, message = BOMBS[name]
    write_onnx(tmp_path / "m.onnx", nodes, constants, sides)
    refused(tmp_path / "m.onnx", message)


def test_half_weights_become_float32_within_what_is_allowed(tmp_path: Path) -> None:
    """A Cast of each, as converters to fp16 write them; twice the constants that were, of four times."""
    nodes: Nodes = [("Cast", ["half"], "k2", {"to": 1}), ("Conv", ["image", "k2"], "c", {}), *CLASSIFIER[1:3]]
    nodes = [*nodes, ("Cast", ["wide"], "w2", {"to": 1}), ("Gemm", ["f", "w2"], "out", {"transB": 1})]
    constants = {"half": np.ones((3 << 20, 3, 1, 1), np.float16), "wide": np.ones((2, 3 << 20), np.float16)}
    write_onnx(tmp_path / "m.onnx", nodes, constants, (1, 3, 32, 32))
    assert open_network(tmp_path / "m.onnx", InputOptions()).output_size == 2


def test_weights_in_another_file_that_are_read_again_and_again(tmp_path: Path) -> None:
    """Each of 200 constants is the whole of a file of 1 MB."""
    model = write_onnx(tmp_path / "m.onnx", [*CLASSIFIER, ("Relu", ["g"], "out", {})], {}, SIDE)
    (tmp_path / "d.bin").write_bytes(bytes(1 << 20))
    for index in range(200):
        tensor = model.graph.initializer.add(name=f"x{index}", dims=[1 << 18], data_type=TensorProto.FLOAT)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "d.bin"), ("offset", "0"), ("length", str(1 << 20))):
            tensor.external_data.add(key=key, value=value)
    onnx.save(model, tmp_path / "m.onnx")
    refused(tmp_path / "m.onnx", r"makes [\d,]+ bytes of weights of d\.bin, which has 1,048,576; expected each once")


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("CONCATENATION", [np.ones(1 << 23, np.float32)] * 2),
        ("PACK", [np.ones(1 << 20, np.float32)] * 16),
        ("ADD", [np.ones((1, 1 << 14), np.float32), np.ones((1 << 14, 1), np.float32)]),
        ("GATHER", [np.ones(1, np.float32), np.zeros(1 << 24, np.int32)]),
    ],
)
def test_tflite_that_asks_for_much(code: str, arguments: list[Any]) -> None:
    with pytest.raises(OperatorError, match=f"{code}, which makes [\\d,]+ values of constants"):
        folded(code, arguments, {"axis": 0}, Allowance.of(0))


def edited(path: Path, kind: str, **config: Any) -> Path:
    """The Keras file with other settings of the first layer of a kind."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    model = json.loads(members["config.json"])
    layer = next(layer for layer in model["config"]["layers"] if layer["class_name"] == kind)
    nodes = config.pop("inbound_nodes", layer["inbound_nodes"])
    layer["inbound_nodes"] = nodes
    layer["config"].update(config)
    members["config.json"] = json.dumps(model).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_keras_layers_in_a_cycle_and_absurd_sides(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    last = [{"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ["dense", 0, 0]}}], "kwargs": {}}]
    cycle = edited(write_keras(narrow_state("b0"), tmp_path / "m.keras"), "Rescaling", inbound_nodes=last)
    with pytest.raises(EdgeEffnetError, match="read each other or what no layer gives"):
        read_network(cycle, InputOptions())
    wide = edited(
        write_keras(narrow_state("b0"), tmp_path / "w.keras"), "InputLayer", batch_shape=[None, 1 << 40, 1 << 40, 3]
    )
    with pytest.raises(EdgeEffnetError, match="expected sides up to 4096"):
        read_network(wide, InputOptions())


@pytest.mark.parametrize("sides", [1, 0])
def test_a_strided_kernel_too_small_for_its_padding(sides: int, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "m.weights.h5"
    path.write_bytes(sound("input-weights-h5")[0].data)
    with h5py.File(path, "r+") as file:
        place = "layers/depthwise_conv2d_1/vars/0"
        kernel = file[place][...]
        del file[place]
        file.create_dataset(place, data=kernel[:sides, :sides])
    with pytest.raises(CheckpointError, match="kernel of"):
        read_network(path, InputOptions(image_size=(SIZE, SIZE)))


def test_a_kernel_without_sides(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "m.weights.h5"
    path.write_bytes(sound("input-weights-h5")[0].data)
    with h5py.File(path, "r+") as file:
        del file["layers/conv2d_4/vars/0"]
        file.create_dataset("layers/conv2d_4/vars/0", data=np.float32(1))
    with pytest.raises(CheckpointError, match="of no EfficientNet that Keras has"):
        read_network(path, InputOptions(image_size=(SIZE, SIZE)))


def test_a_batch_norm_of_parts_of_different_lengths() -> None:
    pytest.importorskip("h5py")
    model = classifier(SIZE, 5)
    model.variables["batch_normalization"]["moving_mean"] = np.zeros(7, np.float32)
    with pytest.raises(OperatorError, match=r"batch norm 'batch_normalization' with .*\[7\].*expected one number a ch"):
        read("input-keras", keras_archive(model))
