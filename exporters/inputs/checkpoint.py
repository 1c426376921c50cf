"""Reading trained weights into plain numpy: files, modules and state dicts, unwrapped from what trainers put around
them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import CheckpointError, first_line
from edge_effnet.exporters.inputs.architecture import architecture_beside, architecture_in, architecture_of
from edge_effnet.exporters.inputs.holders import holders_of, statistics_in
from edge_effnet.exporters.inputs.label_sources import vocabulary_in
from edge_effnet.exporters.inputs.modules import (
    LayerFacts,
    eps_of,
    facts_of_module,
    facts_of_record,
    fields_of,
    padding_of,
)
from edge_effnet.exporters.inputs.networks import Found, check_whole, find_network, is_tensor
from edge_effnet.exporters.inputs.pickles import read_pickle
from edge_effnet.exporters.inputs.records import Record
from edge_effnet.exporters.inputs.safetensors import read_safetensors
from edge_effnet.exporters.inputs.stored import MalformedError, StoredTensor, Tensor

__all__ = ["Checkpoint", "Tensors", "load_checkpoint"]

Tensors: TypeAlias = dict[str, Tensor]

#: A B7's weights with optimizer state and averages take a fourth of it.
_MAX_FILE_BYTES = 4 << 30
#: Elements of all tensors together, as float32 half a gigabyte, since a file of 2 kB can declare 2^40 that are one; and
#: where there is a byte in the file for each: L2 has 480 million, V2-XL 208 million.
_MAX_ELEMENTS, _MAX_STORED = 1 << 27, 1 << 29
#: Elements of a head beside the network.
_MAX_HEAD = 1 << 25
#: Characters of a tensor's name.
_MAX_NAME = 500
#: Endings of tensors that must be there as tensors, and floating-point.
_FLOATING = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Checkpoint:
    """Weights with the names the trainer gave them: numpy arrays, or what lies in a file still and `np.asarray` reads.

    sha256: of the file, or of the tensors' names and bytes. architecture: a model name found beside the weights
    (timm's `arch` or `args.model`, a hub's config.json, a module's `default_cfg`). padding, bn_eps, built_for: read off
    a module. layers: what a module's layers say, by name; empty for a state dict. left_out: names of tensors in the
    same mapping that don't begin with `prefix`, which the network's own tensors did; outside: those of them that a head
    beside a backbone may consist of. beside: the
    mappings around the weights, and the options kept in them, the nearest first.
    """

    tensors: Tensors
    sha256: str
    origin: str
    architecture: str | None = None
    padding: str | None = None
    bn_eps: float | None = None
    built_for: int | None = None
    remarks: tuple[str, ...] = field(default=())
    layers: Mapping[str, LayerFacts] = field(default_factory=dict)
    prefix: str = ""
    left_out: tuple[str, ...] = ()
    outside: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict, repr=False)
    beside: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


def load_checkpoint(source: Any, *, weights: str | None = None) -> Checkpoint:
    """Reads a `.safetensors`, `.pth`, `.pt`, `.ckpt`, `.bin` or `.pkl` path, an nn.Module or a state dict.

    weights: the key of the network to take where a file holds several. Raises CheckpointError when it can't be read or
    holds several and none is said, UsageError for a key that is none. No code of the file's is run, ever.
    """
    if isinstance(source, (str, Path)):
        return _from_file(Path(source), weights)
    if isinstance(source, Mapping):
        return _from_content(dict(source), weights, origin="state dict")
    if hasattr(source, "state_dict") and hasattr(source, "named_modules") and not isinstance(source, type):
        return _from_module(source, weights)
    what = f"the class {source.__name__}" if isinstance(source, type) else type(source).__name__
    raise CheckpointError(f"can't read weights from {what}; expected a path, an nn.Module or a state dict")


def _from_file(path: Path, weights: str | None) -> Checkpoint:
    from edge_effnet.files import sha256_of

    if not path.is_file():
        raise CheckpointError(f"{path}: {_missing(path)}; expected a .safetensors, .pth or .pt checkpoint")
    if (size := path.stat().st_size) > _MAX_FILE_BYTES:
        raise CheckpointError(f"{path}: {size:,} bytes; a checkpoint of at most {_MAX_FILE_BYTES:,} is read")
    content = read_safetensors(path) if path.suffix == ".safetensors" else read_pickle(path)
    found = _from_content(
        content, weights, origin=str(path), beside=path.with_name("config.json"), sha256="-", held=size
    )
    return replace(found, sha256=sha256_of(path))


def _missing(path: Path) -> str:
    return "a folder" if path.is_dir() else "not a regular file" if path.exists() else "no such file"


def _from_content(
    content: Any,
    weights: str | None,
    *,
    origin: str,
    beside: Path | None = None,
    sha256: str | None = None,
    held: int | None = None,
) -> Checkpoint:
    """held: bytes of the file; None for what lies in memory already."""
    network, remarks = find_network(content, weights=weights, origin=origin)
    tensors = _arrays(network, origin, held)
    layers = facts_of_record(network.module) if network.module is not None else {}
    settings = fields_of(network.module) or {}
    holders = (*statistics_in(network.outside), *holders_of(network.around), *vocabulary_in(network.around))
    return Checkpoint(
        tensors,
        sha256 or _digest(tensors),
        origin,
        architecture=architecture_of(settings) or architecture_in(holders) or architecture_beside(beside),
        padding=padding_of(layers),
        bn_eps=eps_of(layers),
        built_for=_built_for(settings.get("_global_params")),
        remarks=(*remarks, *_remark_on_left_out(network)),
        layers=layers,
        prefix=network.prefix,
        left_out=network.left_out,
        outside=_outside(network, origin),
        beside=holders,
    )


def _remark_on_left_out(network: Found) -> tuple[str, ...]:
    if not network.left_out:
        return ()
    return (f"left out {len(network.left_out)} tensors that don't begin with {network.prefix!r}",)


def _arrays(network: Found, origin: str, held: int | None) -> Tensors:
    """The network's tensors, checked; read as float32 for any floating type and int64 for counters."""
    check_whole(network, origin)
    _check_present(network, origin)
    tensors = {str(key): value for key, value in network.tensors.items() if is_tensor(value)}
    check_total(list(tensors.values()), held=held, origin=origin)
    return {key: _checked(key, value, origin) for key, value in tensors.items()}


def _checked(key: str, value: Any, origin: str) -> Tensor:
    """One tensor, its values looked through; what lies in a file stays there."""
    values = _to_numpy(key, value, origin)
    _check_values(key, values, origin)
    return value if isinstance(value, StoredTensor) and value.is_floating else values


def check_total(tensors: Sequence[Any], *, held: int | None, origin: str) -> None:
    """Raises CheckpointError for more values than are read. held: bytes of the file; None for what lies in memory."""
    total = sum(math.prod(value.shape) for value in tensors)
    if total <= _MAX_ELEMENTS:
        return
    held = sum(_bytes_held(tensors).values()) if held is None else held
    if total > (most := max(_MAX_ELEMENTS, min(held, _MAX_STORED))):
        raise CheckpointError(
            f"{origin}: its tensors hold {total:,} values in {held:,} bytes; expected at most {most:,}"
        )


def _bytes_held(values: Sequence[Any]) -> dict[int, int]:
    """Place in memory → bytes that lie there, each once however many tensors look at it."""
    found: dict[int, int] = {}
    for value in values:
        if isinstance(value, np.ndarray):
            base = value.base if isinstance(value.base, np.ndarray) else value
            found[id(base)] = base.nbytes if base.flags.c_contiguous else 0
        elif hasattr(value, "untyped_storage"):
            storage = value.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return found


def _outside(network: Found, origin: str) -> dict[str, npt.NDArray[Any]]:
    """Vectors, matrices and running statistics beside the network, float32; no optimizer's state, which is larger."""
    small = {key: value for key, value in network.outside.items() if len(value.shape) <= 2 and _is_head(key)}
    if sum(math.prod(value.shape) for value in small.values()) > _MAX_HEAD:
        return {}
    return {key: _to_numpy(key, value, origin) for key, value in small.items()}


def _is_head(key: str) -> bool:
    return key.rpartition(".")[2] in _FLOATING


def _check_present(network: Found, origin: str) -> None:
    """What the network needs must be a tensor: nothing is left out silently."""
    for key, value in network.tensors.items():
        name = str(key)
        if len(name) > _MAX_NAME or not name.isprintable():
            raise CheckpointError(
                f"{origin}: a tensor's name of {len(name):,} characters, {name[:40]!r} …; expected at most "
                f"{_MAX_NAME}, all printable"
            )
        if not is_tensor(value) and name.rsplit(".", 1)[-1] in _FLOATING:
            kind = value.kind if isinstance(value, Record) else type(value).__name__
            raise CheckpointError(f"{origin}: tensor {name} is a {kind[:80]}; expected plain floating-point weights")


def _check_values(key: str, values: npt.NDArray[Any], origin: str) -> None:
    if values.dtype.kind != "f":
        if key.rsplit(".", 1)[-1] in _FLOATING:
            raise CheckpointError(
                f"{origin}: tensor {key} holds integers; expected floating-point weights, not those of a quantized "
                "network: bring the float network it was made from"
            )
        return
    wrong = values.size - int(np.count_nonzero(np.isfinite(values)))
    if wrong:
        raise CheckpointError(
            f"{origin}: tensor {key} holds {wrong} NaN or infinite values of {values.size}; expected numbers: training "
            "diverged, bring an earlier checkpoint"
        )


def _to_numpy(key: str, value: Any, origin: str) -> npt.NDArray[Any]:
    """float32 for any floating type, int64 for counters; half precision stays half."""
    try:
        value = _read(value)
    except (MalformedError, TypeError, RuntimeError, OSError) as error:  # also quantized, sparse and meta tensors
        raise CheckpointError(
            f"{origin}: tensor {key} can't be read ({first_line(error)}); expected plain floating-point weights"
        ) from error
    if value.dtype.kind == "f":
        return value if value.dtype == np.float16 else np.asarray(value, np.float32)
    if value.dtype.kind in "iub":
        return np.asarray(value, np.int64)
    raise CheckpointError(f"{origin}: tensor {key} is {value.dtype}; expected floating-point weights")


def _read(value: Any) -> npt.NDArray[Any]:
    if isinstance(value, StoredTensor):
        return np.asarray(value)
    if isinstance(value, np.ndarray):
        return value.astype(np.float32) if value.dtype.name == "bfloat16" else value
    value = value.detach().cpu()
    found: npt.NDArray[Any] = (value.float() if value.is_floating_point() else value).numpy()
    return found


def _digest(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        values = np.asarray(tensors[key])
        values = values.astype(np.float32) if values.dtype == np.float16 else values
        digest.update(f"{key}{values.dtype}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _from_module(module: Any, weights: str | None) -> Checkpoint:
    origin = type(module).__name__
    found = _from_content(dict(module.state_dict()), weights, origin=origin)
    layers = facts_of_module(module)
    configs = {key: _mapping(getattr(module, key, None)) for key in ("pretrained_cfg", "default_cfg")}
    return replace(
        found,
        architecture=architecture_of(configs),
        padding=padding_of(layers),
        bn_eps=eps_of(layers),
        built_for=_int_or_none(getattr(getattr(module, "_global_params", None), "image_size", None)),
        layers=layers,
        beside=(),
    )


def _mapping(config: Any) -> Any:
    return config if isinstance(config, Mapping) else getattr(config, "__dict__", None)


def _built_for(settings: Any) -> int | None:
    """The image size in efficientnet-pytorch's GlobalParams, its third field (`utils.py`, 0.7.1)."""
    if isinstance(settings, Record) and settings.kind.endswith("GlobalParams") and len(settings.args) > 2:
        return _int_or_none(settings.args[2])
    return None


def _int_or_none(value: Any) -> int | None:
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    return int(value) if isinstance(value, int) else None
