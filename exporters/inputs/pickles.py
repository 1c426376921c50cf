"""Reading what torch.save and pickle.dump wrote (`.pth`, `.pt`, `.ckpt`, `.bin`, `.pkl`): no torch, no code run.

`read_pickle` gives plain values, `StoredTensor`s that are read when they are asked for, numpy arrays, and a `Record`
for whatever would have been an object. Both of torch's formats are read: the zip archive (since 1.6) and the legacy one
before it, and a bare pickle. Source: torch's `serialization.py` (`_save`, `_legacy_save`).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from edge_effnet.errors import CheckpointError
from edge_effnet.exporters.inputs.machine import Machine
from edge_effnet.exporters.inputs.opcodes import run
from edge_effnet.exporters.inputs.parts import FilePart, PartStream
from edge_effnet.exporters.inputs.pickle_stream import Budget
from edge_effnet.exporters.inputs.records import Global, Key, Record
from edge_effnet.exporters.inputs.stored import Bytes, FileBytes, MalformedError, MemoryBytes, Storage, StoredTensor
from edge_effnet.exporters.inputs.values import CONSTRUCTORS, FINISHERS, STORAGE_KINDS
from edge_effnet.exporters.inputs.zip_directory import Member, is_zip, members

__all__ = ["Global", "Key", "Record", "StoredTensor", "read_pickle"]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
#: Checked one by one, since a file of a few bytes may name any number.
_MAX_STORAGE = 1 << 40
_BYTE_ORDERS = {b"little": "<", b"big": ">"}


def read_pickle(path: str | Path) -> Any:
    """The value in a file. Raises CheckpointError saying what is wrong with it."""
    path = Path(path)
    try:
        source = FileBytes.of(path)
        if is_zip(source):
            return _from_archive(source)
        with open(path, "rb") as file:
            return _from_stream(file, source, Budget())
    except MalformedError as error:
        raise CheckpointError(f"{path}: not a readable PyTorch checkpoint ({error})") from error
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read ({error.strerror or error})") from error


def _machine(
    stream: BinaryIO,
    budget: Budget,
    persistent: Callable[[Any], Any],
    *,
    source: Bytes | None = None,
    nested: bool = False,
) -> Machine:
    inner = {} if nested else {"torch.storage._load_from_bytes": partial(_storage_in_bytes, budget=budget)}
    return Machine(
        stream,
        budget=budget,
        constructors={**CONSTRUCTORS, **inner},
        finishers=FINISHERS,
        persistent=persistent,
        source=source if isinstance(source, (FileBytes, FilePart)) else None,
    )


# The zip archive -----------------------------------------------------------------------------------------------------


def _from_archive(source: FileBytes) -> Any:
    found = members(source)
    name = next((name for name in found if name.count("/") <= 1 and name.endswith("data.pkl")), None)
    if name is None:
        raise MalformedError("a zip archive without data.pkl; torch.save writes one")
    packed = next((member.name for member in found.values() if not member.stored and _is_read(member.name)), None)
    if packed is not None:
        raise MalformedError(
            f"its part {packed[:80]!r} is compressed, which torch.save never does; save the weights again"
        )
    folder = name.removesuffix("data.pkl")
    order = _byte_order(source, found.get(f"{folder}byteorder"))
    budget = Budget()
    budget.spend(found[name].size)
    stream = io.BytesIO(source.read(found[name].offset, found[name].size))
    storages: dict[str, Storage] = {}

    def persistent(reference: Any) -> Storage:
        key, kind, count = _reference(reference)
        if key not in storages:
            storages[key] = _archived(source, found.get(f"{folder}data/{key}"), kind, count, order)
        return storages[key] if storages[key].kind == kind else Storage(kind, count, storages[key].place, order)

    return run(_machine(stream, budget, persistent))


def _is_read(name: str) -> bool:
    """Whether a member is one of torch.save's; a scripted archive holds its code, compressed, besides."""
    return name.endswith(("data.pkl", "byteorder")) or "/data/" in name


def _byte_order(source: FileBytes, member: Member | None) -> str:
    if member is None:
        return "<"
    order = bytes(source.read(member.offset, min(member.size, 16))).strip()
    if order not in _BYTE_ORDERS:
        raise MalformedError(f"byte order {order!r}; expected little or big")
    return _BYTE_ORDERS[order]


def _archived(source: FileBytes, member: Member | None, kind: str, count: int, order: str) -> Storage:
    if member is None or member.offset + member.size > source.size:
        raise MalformedError("the bytes of a tensor are missing; the file is cut off")
    if count * _width(kind) > member.size:
        raise MalformedError(f"a tensor's {count:,} values in {member.size:,} bytes")
    return Storage(kind, count, (source, member.offset), order)


def _reference(reference: Any) -> tuple[str, str, int]:
    """Key, element type and count of ("storage", class, key, device, count, …)."""
    if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
        raise MalformedError("a reference in a pickle that isn't to a tensor's bytes")
    _, cls, key, _, count = reference[:5]
    if not isinstance(cls, Global) or not isinstance(key, str) or type(count) is not int:
        raise MalformedError("a reference to a tensor's bytes that makes no sense")
    if not 0 <= count <= _MAX_STORAGE:
        raise MalformedError(f"a tensor of {count:,} values")
    name = cls.name.rsplit(".", 1)[-1]
    return key, STORAGE_KINDS.get(name, name), count


def _width(kind: str) -> int:
    """Bytes of an element; of a kind that is never read, at least one."""
    widths = {"f8": 8, "f4": 4, "f2": 2, "bf16": 2, "i8": 8, "i4": 4, "i2": 2, "c8": 8, "c16": 16}
    return widths.get(kind, 1)


# The legacy format, and bare pickles ---------------------------------------------------------------------------------


def _from_stream(stream: BinaryIO, source: Bytes, budget: Budget, *, nested: bool = False) -> Any:
    """A stream that begins with the magic number holds four more pickles and then the storages' bytes."""
    storages: dict[str, Storage] = {}

    def persistent(reference: Any) -> Any:
        if isinstance(reference, tuple) and len(reference) > 1 and reference[0] == "module":
            return reference[1]  # the class, with its source code, which nobody runs
        key, kind, count = _reference(reference)
        view = reference[5] if len(reference) > 5 else None
        if view is not None:
            raise MalformedError("a view of a storage, as torch 0.3 wrote; save the weights again with a later one")
        return storages.setdefault(key, Storage(kind, count))

    first = run(_machine(stream, budget, _no_reference, source=source, nested=nested))
    if type(first) is not int or first != _LEGACY_MAGIC:
        return first
    version = run(_machine(stream, budget, _no_reference, nested=nested))
    information = run(_machine(stream, budget, _no_reference, nested=nested))
    if version != 1001 or not isinstance(information, dict):
        raise MalformedError("a legacy checkpoint of an unknown version")
    order = "<" if information.get("little_endian", True) is True else ">"
    value = run(_machine(stream, budget, persistent, nested=nested))
    keys = run(_machine(stream, budget, _no_reference, nested=nested))
    _place(keys, storages, stream.tell(), source, order)
    return value


def _place(keys: Any, storages: dict[str, Storage], at: int, source: Bytes, order: str) -> None:
    """Says where each storage lies: one behind the other, each with its count of elements before it."""
    if not isinstance(keys, list) or len(keys) > len(storages):
        raise MalformedError("a legacy checkpoint with a wrong list of tensors")
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise MalformedError("a legacy checkpoint with bytes of an unknown tensor")
        count = int.from_bytes(source.read(at, 8), "little" if order == "<" else "big")
        if count != storage.count:
            raise MalformedError(f"a tensor of {storage.count:,} values, of which {count:,} are stored")
        storage.place, storage.byte_order = (source, at + 8), order
        at += 8 + count * _width(storage.kind)


def _no_reference(_: Any) -> Any:
    raise MalformedError("a reference in a pickle to something outside of it")


def _storage_in_bytes(data: Any, *, budget: Budget) -> Any:
    """How pickle.dump writes a tensor's storage: as a legacy file inside the pickle."""
    if isinstance(data, FilePart):
        value = _from_stream(io.BufferedReader(PartStream(data)), data, budget, nested=True)
    elif isinstance(data, bytes):
        value = _from_stream(io.BytesIO(data), MemoryBytes(data), budget, nested=True)
    else:
        return NotImplemented
    return value if isinstance(value, Storage) else NotImplemented
