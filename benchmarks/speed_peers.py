"""What is compared: our files and the peers', and how each is made and run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from edge_effnet.benching import serving
from edge_effnet.benching.workers import Worker
from edge_effnet.benchmarks.accuracy_peers import PEERS
from edge_effnet.benchmarks.clients import CLIENTS
from edge_effnet.benchmarks.environments import Environment, prepare, run, versions

#: Environment → what is installed in it; torch is there for pnnx alone, its exact pin gives the CPU build.
ENVIRONMENTS: Mapping[str, Environment] = MappingProxyType(
    {
        **PEERS,
        "ncnn": Environment(
            "ncnn, pnnx", "run_ncnn.py", ("ncnn==1.0.20261020", "pnnx==20261020", "torch==2.13.0", "numpy")
        ),
        "mediapipe": CLIENTS["mediapipe"],
    }
)
_OURS = "edge-effnet, ai-edge-litert"
_LITERT = "litert-torch, ai-edge-quantizer, ai-edge-litert"
_OWN_SUBJECT = Path(__file__).with_name("speed_subject.py")


@dataclass(frozen=True)
class Subject:
    """A row. title: for people; environment: whose Python runs it, None for ours; settings: for its `open_subject`.

    packages: comma-separated, what made the file and runs it.
    """

    title: str
    environment: str | None
    settings: Mapping[str, str]
    packages: str


#: Name in the results → subject; the first one is what the others are compared with.
SUBJECTS: Mapping[str, Subject] = MappingProxyType(
    {
        "ours-int8": Subject("**edge-effnet int8 `.tflite`**, LiteRT", None, {"model": "ours-int8.tflite"}, _OURS),
        "ours-fp32": Subject("edge-effnet fp32 `.tflite`, LiteRT", None, {"model": "ours-fp32.tflite"}, _OURS),
        "ours-int8-onnx": Subject(
            "edge-effnet int8 `.onnx`, ONNX Runtime", None, {"model": "ours-int8.onnx"}, "edge-effnet, onnxruntime"
        ),
        "litert-int8": Subject(
            "litert-torch + ai-edge-quantizer int8, LiteRT", "litert", {"precision": "int8"}, _LITERT
        ),
        "litert-fp32": Subject(
            "litert-torch fp32, LiteRT", "litert", {"precision": "fp32"}, "litert-torch, ai-edge-litert"
        ),
        "onnxruntime-int8": Subject(
            "`quantize_static` int8, ONNX Runtime", "onnxruntime", {"precision": "int8"}, "onnxruntime"
        ),
        "onnxruntime-fp32": Subject(
            "edge-effnet fp32 `.onnx`, ONNX Runtime", "onnxruntime", {"precision": "fp32"}, "onnxruntime"
        ),
        "openvino-int8": Subject("nncf int8, OpenVINO", "openvino", {"precision": "int8"}, "nncf, openvino"),
        "openvino-fp32": Subject("fp32, OpenVINO", "openvino", {"precision": "fp32"}, "openvino"),
        "ncnn-fp32": Subject("pnnx fp32, ncnn", "ncnn", {}, "ncnn, pnnx"),
        "torch-eager": Subject("torch, eager, fp32", "litert", {"precision": "eager"}, "torch"),
    }
)
BASE = next(iter(SUBJECTS))


def make_peer_files(name: str, folder: Path, venvs: Path) -> None:
    """A peer's files in the folder, unless they have been made. Raises PeerError."""
    done = folder / f"{name}.made"
    if not done.exists():
        python = prepare(name, ENVIRONMENTS[name], venvs)
        run(
            [str(python), "-I", str(ENVIRONMENTS[name].program), "make", str(folder)],
            ENVIRONMENTS[name].title,
            folder=folder,
        )
        done.touch()


def worker_of(name: str, venvs: Path) -> Worker:
    """The process of a subject. Raises PeerError when its environment can't be made."""
    subject = SUBJECTS[name]
    if subject.environment is None:
        return serving_worker(name, Path(sys.executable), _OWN_SUBJECT)
    environment = ENVIRONMENTS[subject.environment]
    return serving_worker(name, prepare(subject.environment, environment, venvs), environment.program)


def serving_worker(name: str, python: Path, program: Path) -> Worker:
    """A process that serves a program's `open_subject` on one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return Worker([str(python), "-I", serving.__file__, str(program)], name, environment=threads)


def versions_of(name: str, venvs: Path) -> str:
    """The versions of a subject's packages, as one text."""
    subject = SUBJECTS[name]
    if subject.environment is None:
        return ", ".join(f"{package} {metadata.version(package)}" for package in subject.packages.split(", "))
    environment = replace(ENVIRONMENTS[subject.environment], title=subject.packages)
    return versions(environment, prepare(subject.environment, environment, venvs))
