"""One door for whatever a trained network lies in: told by content, not by ending, and handed to its reader."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edge_effnet.errors import CheckpointError, EdgeEffnetError, first_line
from edge_effnet.exporters.inputs.label_sources import LABEL_FILES, labels_beside
from edge_effnet.exporters.inputs.no_network import check_is_a_network
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.stored import FileBytes, MalformedError
from edge_effnet.exporters.inputs.zip_directory import is_zip, members
from edge_effnet.formats.tflite_schema import IDENTIFIER
from edge_effnet.network.records import Network

#: "checkpoint": tensors without what computes with them, for `state_dict`; "saved model" is refused by name.
Form: TypeAlias = Literal["keras", "onnx", "tflite", "module", "folder", "hub", "saved model", "program", "checkpoint"]
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HUBS = ("hf-hub:", "torchvision:", "hf_hub:")
#: A hub folder's, and of weights in several files.
_CONFIGURATIONS = (
    *("config.json", "preprocessor_config.json"),
    *("model.safetensors.index.json", "pytorch_model.bin.index.json"),
)
_SAVED_MODEL = "saved_model.pb"
#: What numbers that contradict each other in a damaged file raise where no check of ours names them.
_DAMAGED = (
    TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError, struct.error,
)  # fmt: skip


def form_of(source: Any) -> Form:
    """What an input is. Raises CheckpointError for a path where nothing lies."""
    if _is_published(source):
        return "hub"
    if isinstance(source, str | os.PathLike):
        return _form_of_path(Path(source))
    return "module" if hasattr(source, "named_modules") and _computes(source) else "checkpoint"


def _is_published(source: Any) -> bool:
    return isinstance(source, str) and source.startswith(_HUBS)


def _as_module(source: Any) -> Any:
    """A program of torch.export as the module it was made of."""
    return source.module() if hasattr(source, "graph_signature") and hasattr(source, "module") else source


def open_network(source: Any, options: InputOptions) -> Network:
    """The network in a file, a folder, a repository on a hub, or an nn.Module.

    source: a path, "hf-hub:OWNER/NAME[@REVISION]", "torchvision:NAME", a module or a state dict. Raises
    EdgeEffnetError's leaves, each saying what to do.
    """
    source = _as_module(source)
    if not isinstance(source, str | os.PathLike):
        return _opened(source, options)
    try:
        return _opened(source, options)
    except EdgeEffnetError:
        raise
    except _DAMAGED as error:
        raise CheckpointError(
            f"{source}: can't be read ({type(error).__name__}: {first_line(error)}); the file is damaged, or holds "
            "what no network has"
        ) from error


def files_beside(source: Any) -> list[Path]:
    """Files beside an input, or in its folder, that may be read with it."""
    if not isinstance(source, str | os.PathLike) or form_of(source) == "hub":
        return []
    from edge_effnet.exporters.inputs.folder import whole_network_in
    from edge_effnet.exporters.inputs.onnx.reading import files_beside as weights_beside

    path = Path(source)
    folder = path if path.is_dir() else path.parent
    network = whole_network_in(path) if path.is_dir() else path
    found = [folder / name for name in (*_CONFIGURATIONS, *LABEL_FILES)]
    found += [network] if path.is_dir() and network is not None else []
    return found + (sorted(weights_beside(network)) if network is not None and form_of(network) == "onnx" else [])


def _opened(source: Any, options: InputOptions) -> Network:
    if isinstance(source, str | os.PathLike) and not _is_published(source):
        check_is_a_network(source)
    form = form_of(source)
    if isinstance(source, str | os.PathLike) and Path(source).is_file():
        options = replace(options, found_labels=(*options.found_labels, *labels_beside(Path(source))))
    if form == "onnx":
        from edge_effnet.exporters.inputs.onnx import network_of_onnx

        return network_of_onnx(Path(source), options)
    if form == "tflite":
        from edge_effnet.exporters.inputs.tflite import network_of_tflite

        return network_of_tflite(Path(source), options)
    if form == "keras":
        from edge_effnet.exporters.inputs.keras import network_of_keras

        return network_of_keras(Path(source), options)
    if form == "module":
        from edge_effnet.exporters.inputs.module import network_of_module

        return network_of_module(source, options)
    if form == "hub":
        return _published(source, options)
    if form == "folder":
        return _of_folder(Path(source), options)
    if form == "checkpoint":
        return _of_checkpoint(source, options)
    raise CheckpointError(_refusal(source, form))


def _of_checkpoint(source: Any, options: InputOptions) -> Network:
    from edge_effnet.exporters.inputs.beside import with_facts
    from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
    from edge_effnet.exporters.inputs.folder import with_configuration
    from edge_effnet.exporters.inputs.state_dict import network_of

    checkpoint = load_checkpoint(source, weights=options.weights)
    known, remarks = with_facts(options, checkpoint.beside)
    if isinstance(source, str | os.PathLike):
        found = with_configuration(Path(source), checkpoint, known)
        checkpoint, known = found.checkpoint, found.options
    network = network_of(checkpoint, known)
    return replace(network, remarks=(*network.remarks, *remarks))


def _of_folder(folder: Path, options: InputOptions) -> Network:
    from edge_effnet.exporters.inputs.folder import read_folder, whole_network_in
    from edge_effnet.exporters.inputs.state_dict import network_of

    if (whole := whole_network_in(folder)) is not None:
        return open_network(whole, options)
    found = read_folder(folder, options)
    return network_of(found.checkpoint, found.options)


def _published(name: str, options: InputOptions) -> Network:
    from edge_effnet.exporters.inputs import hub

    if not name.startswith("torchvision:"):
        return _of_folder(hub.repository_folder(name), options)
    path = hub.torchvision_file(name)
    return open_network(path, hub.with_torchvision_facts(options, name))


def _computes(module: Any) -> bool:
    """Whether a module has a forward of its own that torch.export takes: not the one that nn.Module refuses with, and
    not TorchScript's, whose tensors are read by their names.
    """
    if any(kind.__name__ == "ScriptModule" for kind in type(module).__mro__):
        return False
    forward = getattr(type(module), "forward", None)
    return forward is not None and getattr(forward, "__name__", "") != "_forward_unimplemented"


def _form_of_path(path: Path) -> Form:
    if path.is_dir():
        return "saved model" if (path / _SAVED_MODEL).is_file() else "folder"
    try:
        source = FileBytes.of(path)
        head = bytes(source.read(0, min(16, source.size)))
        names = members(source) if is_zip(source) else {}
    except (MalformedError, OSError):
        return "checkpoint"  # whose reader says what is wrong
    if head[:8] == _HDF5 or "config.json" in names:
        return "keras"
    if head[4:8] == IDENTIFIER:
        return "tflite"
    if any(name.rsplit("/", 1)[-1] in ("serialized_exported_program.json", "archive_format") for name in names):
        return "program"
    return "onnx" if _is_onnx(path, head) else "checkpoint"


#: Field 1, a varint: how every writer begins an ONNX model.
_IR_VERSION_FIRST = b"\x08"


def _is_onnx(path: Path, head: bytes) -> bool:
    from edge_effnet.formats.onnx import looks_like_onnx
    from edge_effnet.formats.source import MAX_FILE_BYTES, open_source

    if head[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04") or head[8:10] == b'{"' or not head:
        return False
    if path.stat().st_size > MAX_FILE_BYTES:  # read as what its first byte says, and refused there for its size
        return head[:1] == _IR_VERSION_FIRST
    return looks_like_onnx(open_source(path)[1])


def _refusal(source: Any, form: Form) -> str:
    """What a form that isn't read is, and the way out."""
    if form == "saved model":
        return (
            f"{source}: a TensorFlow SavedModel, whose graph is a program; make a Keras file of it where TensorFlow "
            "is: model = tf.keras.models.load_model(FOLDER); model.save('model.keras')"
        )
    if form == "program":
        return (
            f"{source}: a program of torch.export, which isn't opened since that may run code; if you trust it, give "
            "export the program itself, export(torch.export.load(FILE), …), or the module"
        )
    return f"{source}: holds tensors alone; expected a file that says what is computed"
