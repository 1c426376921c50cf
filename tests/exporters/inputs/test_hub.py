"""Published weights by name, from a server of our own that speaks what the real ones speak."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edge_effnet.errors import CheckpointError, UsageError
from edge_effnet.exporters.inputs import hub

COMMIT = "0" * 39 + "1"


@dataclass
class Server:
    """files: path → content. asked: (method, path, Range) of each request. cut: bytes after which answers end."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    cut: int | None = None


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def log_message(self, *_: object) -> None:
            pass

        def _head(self) -> bytes | None:
            path = self.path.split("?")[0]
            state.asked.append((self.command, path, self.headers.get("Range")))
            content = state.files.get(path)
            if content is None:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("X-Repo-Commit", COMMIT)
                self.end_headers()
                return None
            start = int((self.headers.get("Range") or "bytes=0-").split("=")[1].split("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            return content[start:]

        def do_HEAD(self) -> None:
            self._head()

        def do_GET(self) -> None:
            content = self._head()
            self.wfile.write((content or b"")[: state.cut])

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield state
    running.shutdown()
    running.server_close()


@pytest.fixture
def published(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """torchvision's b0 as the server has it, under a name with its own digest."""
    content = bytes(range(256)) * 5000
    name = f"b0-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setitem(hub.TORCHVISION, "efficientnet_b0", name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    server.files[f"/models/{name}"] = content
    return content


def test_torchvision_s_file_is_fetched_once(server: Server, published: bytes, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    for _ in range(2):
        path = hub.torchvision_file(
            "torchvision:efficientnet_b0",
            base_url=f"{server.url}/models/",
            progress=lambda done, total: seen.append((done, total)),
        )
    assert path.read_bytes() == published
    assert path.parent == tmp_path / "torch" / "hub" / "checkpoints"
    assert seen[-1] == (len(published), len(published))
    assert len(server.asked) == 1


def test_a_download_that_broke_off_goes_on(server: Server, published: bytes) -> None:
    server.cut = 1000
    with pytest.raises(CheckpointError, match=r"ended at 1,000 of|can't be fetched"):
        hub.torchvision_file("torchvision:efficientnet_b0", base_url=f"{server.url}/models/")
    server.cut = None
    path = hub.torchvision_file("torchvision:efficientnet_b0", base_url=f"{server.url}/models/")
    assert path.read_bytes() == published
    assert server.asked[-1][2] == "bytes=1000-"


def test_a_file_that_isn_t_what_its_name_says_is_removed(server: Server, published: bytes) -> None:
    name = hub.TORCHVISION["efficientnet_b0"]
    server.files[f"/models/{name}"] = published[:-1] + b"x"
    with pytest.raises(CheckpointError, match="SHA-256 begins with"):
        hub.torchvision_file("torchvision:efficientnet_b0", base_url=f"{server.url}/models/")
    server.files[f"/models/{name}"] = published
    assert hub.torchvision_file("torchvision:efficientnet_b0", base_url=f"{server.url}/models/").is_file()


def test_offline_means_what_is_kept(server: Server, published: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE"):
        hub.torchvision_file("torchvision:efficientnet_b0", base_url=f"{server.url}/models/")
    assert published
    assert not server.asked


def test_names_that_are_none() -> None:
    with pytest.raises(UsageError, match="efficientnet_b0, efficientnet_b1"):
        hub.torchvision_file("torchvision:resnet50")
    with pytest.raises(UsageError, match="OWNER/NAME"):
        hub.repository_folder("hf-hub:../../etc")


def test_a_repository_s_configuration_and_weights_lie_side_by_side(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    base = "/someone/flowers/resolve/v1"
    server.files = {
        f"{base}/config.json": json.dumps({"architecture": "efficientnet_b0"}).encode(),
        f"{base}/pytorch_model.bin": b"weights",
    }
    folder = hub.repository_folder("hf-hub:someone/flowers@v1")
    assert (folder / "pytorch_model.bin").read_bytes() == b"weights"
    assert json.loads((folder / "config.json").read_text())["architecture"] == "efficientnet_b0"
    with pytest.raises(CheckpointError, match="hf-hub:someone/nothing"):
        hub.repository_folder("hf-hub:someone/nothing")


def test_a_hub_out_of_reach_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each further file would be tried six times over again; what is kept is looked at without the network."""
    library = pytest.importorskip("huggingface_hub")
    asked: list[bool] = []

    def unreachable(*_: object, local_files_only: bool, **__: object) -> str:
        asked.append(local_files_only)
        raise library.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(library, "hf_hub_download", unreachable)
    with pytest.raises(CheckpointError, match=r"hf-hub:someone/flowers: can't be reached, and isn't kept"):
        hub.repository_folder("hf-hub:someone/flowers")
    assert asked[0] is False
    assert all(asked[1:])


def test_a_kept_repository_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("huggingface_hub")

    def kept(_: str, file: str, **__: object) -> str:
        if file != "model.safetensors":
            raise library.errors.LocalEntryNotFoundError("no connection")
        return str(tmp_path / file)

    monkeypatch.setattr(library, "hf_hub_download", kept)
    assert hub.repository_folder("hf-hub:someone/flowers") == tmp_path
