"""Imports point one way, never in a circle, and the runtime needs the standard library and numpy alone."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import edge_effnet
from edge_effnet import exporters, formats

ROOT = Path(__file__).parents[1]
#: Installed name → folder in the repository.
PACKAGES = {
    "edge_effnet": "edge_effnet",
    **{f"edge_effnet.{name}": name for name in ("exporters", "quantization", "benchmarks")},
}
#: Layer → the layers it may import. The command line alone reaches up, inside functions.
ALLOWED = {
    "runtime": {"runtime"},
    "cli": {"runtime", "cli"},
    "quantization": {"runtime", "quantization"},
    "exporters": {"runtime", "quantization", "exporters"},
    "benchmarks": {"runtime", "quantization", "exporters", "benchmarks"},
}


@functools.cache
def modules() -> dict[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


def layer(module: str) -> str:
    parts = module.replace("__main__", "cli").split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ALLOWED else "runtime"


def imports(path: Path, module: str, *, functions: bool) -> Iterator[str]:
    """Names of imported modules at module level, and with `functions` those inside functions; not those for type
    checks.
    """

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if not typing_only and (functions or not inside):
                yield child
                yield from walk(child)

    for node in walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                yield f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in modules() else str(node.module)


def test_the_short_names_are_never_used() -> None:
    for module, path in modules().items():
        used = {name.split(".")[0] for name in imports(path, module, functions=True)}
        assert not used & {"exporters", "quantization", "benchmarks", "tests"}, module


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_one_way(module: str) -> None:
    path = modules()[module]
    own = layer(module)
    for name in imports(path, module, functions=own != "cli"):
        if name.split(".")[0] == "edge_effnet":
            assert layer(name) in ALLOWED[own], f"{module} imports {name}"


def test_there_is_no_cycle() -> None:
    graph = {
        module: {name for name in imports(path, module, functions=False) if name in modules() and name != module}
        for module, path in modules().items()
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join([*trail, module])
        if module not in done:
            for name in sorted(graph[module]):
                visit(name, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("module", sorted(name for name in modules() if layer(name) in ("runtime", "cli")))
def test_the_runtime_imports_the_standard_library_and_numpy(module: str) -> None:
    outside = (
        {name.split(".")[0] for name in imports(modules()[module], module, functions=False)}
        - {"edge_effnet", "numpy"}
        - set(sys.stdlib_module_names)
    )
    assert not outside


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that `python -X importtime` reports for the statement, beyond those of an empty start."""
    started, found = (
        {
            line.rsplit("|", 1)[1].strip().split(".")[0]
            for line in subprocess.run(
                [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True, timeout=60
            ).stderr.splitlines()
            if "|" in line
        }
        for code in ("pass", statement)
    )
    return found - started


@pytest.mark.parametrize(
    "statement", ["import edge_effnet", "import edge_effnet.cli", "import edge_effnet.formats, edge_effnet.engines"]
)
def test_importing_brings_numpy_and_the_standard_library(statement: str) -> None:
    found = loaded_by(statement)
    assert "numpy" in found
    # pickle tries Jython's org.python; numpy 1 tries two backports.
    allowed = {"edge_effnet", "numpy", *sys.stdlib_module_names, "org", "imported package", "pickle5", "backports_abc"}
    assert {name for name in found - allowed if not name.startswith("_")} == set()


def test_predicting_brings_neither_torch_nor_onnx() -> None:
    found = loaded_by(
        "from edge_effnet import Classifier; "
        f"Classifier().predict({str(ROOT / 'examples' / 'photos' / 'coffee.jpg')!r})"
    )
    assert "PIL" in found
    assert not found & {"torch", "onnx", "onnxruntime", "scipy", "matplotlib", "safetensors"}


def test_the_export_lists() -> None:
    assert sorted(edge_effnet.__all__) == [
        "Classifier",
        "EdgeEffnetError",
        "Prediction",
        "Preprocessing",
        "VARIANTS",
        "Variant",
        "__version__",
    ]
    for package in (edge_effnet, exporters, formats):
        assert all(hasattr(package, name) for name in package.__all__)
        assert len(set(package.__all__)) == len(package.__all__)
    assert {"export", "ExportReport"} <= set(exporters.__all__)


def test_every_package_is_found_under_its_installed_name() -> None:
    assert all(find_spec(name) is not None for name in PACKAGES)
