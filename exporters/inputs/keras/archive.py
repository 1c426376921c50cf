"""Opening Keras files: `.keras` archives and HDF5 files, bounded, nothing outside of the file followed.

Source: Keras' `saving_lib.py` (the archive) and `legacy_h5_format.py` (whole models in HDF5).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import CheckpointError, MissingDependencyError, first_line
from edge_effnet.exporters.inputs.assembly.value import MAX_ELEMENTS
from edge_effnet.exporters.inputs.parts import FilePart, PartStream
from edge_effnet.exporters.inputs.stored import FileBytes, MalformedError
from edge_effnet.exporters.inputs.zip_directory import Member, is_zip, members

Array: TypeAlias = npt.NDArray[Any]
HDF5_MARK = b"\x89HDF\r\n\x1a\n"
_WEIGHTS, _CONFIG, _METADATA = "model.weights.h5", "config.json", "metadata.json"
_MAX_TEXT = 64 << 20
#: Bytes that datasets may hold, as a multiple of the file's: compression in HDF5 can make gigabytes of a few bytes.
_MOST_UNPACKED = 8
_SMALL = 1 << 20
_MAX_DEPTH, _MAX_CHILDREN = 32, 100_000
#: What h5py raises for damaged files.
_DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)


@dataclass(eq=False)
class Hdf5:
    """An open file. `left`: bytes that may still be read from it."""

    root: Any
    name: str
    left: int

    def attribute(self, group: Any, key: str) -> Any:
        """A group's attribute, bytes as text; None where it is absent. Raises CheckpointError."""
        with translated(self.name):
            if key not in group.attrs:
                return None
            value = group.attrs[key]
            return value.decode("utf-8", "replace") if isinstance(value, bytes | np.bytes_) else value

    def texts(self, group: Any, key: str) -> list[str]:
        """A list of names, also where it was too long for one attribute and stands in `key0`, `key1`, …"""
        found = self.attribute(group, key)
        parts = [found] if found is not None else []
        while not parts or len(parts) < _MAX_DEPTH:
            more = self.attribute(group, f"{key}{len(parts)}") if found is None else None
            if more is None:
                break
            parts.append(more)
        items = [item for part in parts for item in np.asarray(part).reshape(-1).tolist()]
        return [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in items]

    def child(self, group: Any, path: str) -> Any:
        """A group or dataset below `group`, by hard links alone; None where there is none."""
        import h5py

        with translated(self.name):
            for part in [item for item in path.split("/") if item][:_MAX_DEPTH]:
                link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
                if link is None:
                    return None
                if not isinstance(link, h5py.HardLink):
                    raise CheckpointError(f"{self.name}: {part!r:.60} is a link to elsewhere; expected the weights")
                group = group[part]
            return group

    def children(self, group: Any) -> list[str]:
        """The names in a group, those that are text."""
        with translated(self.name):
            return [name for name in islice(group.keys(), _MAX_CHILDREN) if isinstance(name, str)]

    def is_dataset(self, item: Any) -> bool:
        """Whether it holds numbers."""
        import h5py

        return isinstance(item, h5py.Dataset)

    def values(self, dataset: Any) -> Array:
        """A dataset's numbers; raises CheckpointError for what is damaged, lies elsewhere or is too large."""
        with translated(self.name):
            if dataset.external or dataset.is_virtual:
                raise CheckpointError(f"{self.name}: {dataset.name!r:.80} has its numbers in another file")
            self.left -= dataset.nbytes
            if dataset.size > MAX_ELEMENTS or self.left < 0:
                raise CheckpointError(
                    f"{self.name}: {dataset.name!r:.80} unpacks to {dataset.nbytes:,} bytes, far more than the file has"
                )
            values = np.asarray(dataset[()])
        if values.dtype.kind not in "fiu" or (values.dtype.kind == "f" and not np.isfinite(values).all()):
            raise CheckpointError(f"{self.name}: {dataset.name!r:.80} is {values.dtype} or holds NaN; expected weights")
        return values


@dataclass(frozen=True, eq=False)
class KerasFile:
    """config: the model's, None in a file of weights alone. version: of Keras ("3.15.1"). layout: how weights are
    found: by the layers' order ("ordered") or names ("named").
    """

    weights: Hdf5
    config: Mapping[str, Any] | None
    version: str
    layout: str


@contextmanager
def translated(name: str) -> Iterator[None]:
    """h5py's errors as CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except _DAMAGED as error:
        raise CheckpointError(f"{name}: not a readable HDF5 file ({first_line(error)})") from error


@contextmanager
def opened(path: Path) -> Iterator[KerasFile]:
    """The file, told by its content; raises CheckpointError for what isn't Keras', MissingDependencyError."""
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("reading Keras files needs h5py: pip install 'edge-effnet[export]'") from error
    try:
        source = FileBytes.of(path)
        found = members(source) if is_zip(source) else None
        if found is not None:
            with _archive(path, source, found) as file:
                yield file
        else:
            with _hdf5(path, str(path), source.size) as weights:
                yield _plain(weights)
    except MalformedError as error:
        raise CheckpointError(f"{path}: not a readable Keras file ({error})") from error


@contextmanager
def _archive(path: Path, source: FileBytes, found: Mapping[str, Member]) -> Iterator[KerasFile]:
    for name in (_CONFIG, _WEIGHTS):
        if name not in found:
            raise CheckpointError(f"{path}: a zip archive without {name}; expected a .keras file")
        if not found[name].stored:
            raise CheckpointError(f"{path}: its {name} is compressed, which Keras never does; save it again")
    config = parsed(_text(source, found[_CONFIG], path), path)
    metadata = parsed(_text(source, found[_METADATA], path), path) if _METADATA in found else {}
    inner = FilePart(source, found[_WEIGHTS].offset, found[_WEIGHTS].size)
    with _hdf5(PartStream(inner), str(path), inner.size) as weights:
        yield KerasFile(weights, config, str(metadata.get("keras_version", "")), "ordered")


def _text(source: FileBytes, member: Member, path: Path) -> str:
    if member.size > _MAX_TEXT:
        raise CheckpointError(f"{path}: its {member.name} has {member.size:,} bytes; expected at most {_MAX_TEXT:,}")
    return bytes(source.read(member.offset, member.size)).decode("utf-8", "replace")


def parsed(text: Any, name: Any) -> dict[str, Any]:
    """JSON that must be an object."""
    try:
        content = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{name}: its configuration isn't JSON ({first_line(error)})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{name}: its configuration is a {type(content).__name__}; expected an object")
    return content


@contextmanager
def _hdf5(place: Any, name: str, size: int) -> Iterator[Hdf5]:
    import h5py

    with translated(name):
        file = h5py.File(place, "r")
    try:
        yield Hdf5(file, name, _MOST_UNPACKED * size + _SMALL)
    finally:
        file.close()


def _plain(weights: Hdf5) -> KerasFile:
    """A whole model in HDF5, or a file of weights alone."""
    text = weights.attribute(weights.root, "model_config")
    version = str(weights.attribute(weights.root, "keras_version") or "")
    if text is not None:
        group = weights.child(weights.root, "model_weights")
        if group is None:
            raise CheckpointError(f"{weights.name}: holds a configuration but no weights; expected model.save()'s file")
        weights.root = group
        return KerasFile(weights, parsed(text, weights.name), version, "named")
    layout = "named" if weights.texts(weights.root, "layer_names") else "ordered"
    return KerasFile(weights, None, version, layout)
