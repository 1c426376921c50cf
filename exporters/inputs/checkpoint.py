"""Reading trained weights into plain numpy: files, modules and state dicts, unwrapped from what trainers put around
them.

torch is used to read `.pth` and `.pt`, always with weights_only=True, and for nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_effnet.errors import CheckpointError, MissingDependencyError, first_line

Tensors: TypeAlias = dict[str, npt.NDArray[Any]]

#: Keys under which trainers put the weights, best first (an exponential moving average evaluates better).
WRAPPERS = (
    "state_dict_ema",
    "ema",
    "model_ema",
    "ema_state_dict",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "module",
    "weights",
)
#: The first convolution's key in each dialect; what stands before it is a prefix some wrapper added.
ANCHORS = ("conv_stem.weight", "_conv_stem.weight", "features.0.0.weight")
_MINIMUM_TORCH = (2, 6)
#: The largest network read here has 13 million parameters; optimizer state and averages beside it make a few times
#: that.
_MAX_FILE_BYTES = 8 << 30
#: Elements of one tensor; a file of 2 kB can declare 2^40 that all are the same one.
_MAX_ELEMENTS = 1 << 28
#: Endings of tensors that must be floating-point.
_FLOATING = ("weight", "bias", "running_mean", "running_var")
#: Type names of the safetensors format → numpy's.
_SAFETENSORS_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "?",
}


@dataclass(frozen=True)
class Checkpoint:
    """Weights as numpy arrays with the names the trainer gave them.

    sha256: of the file, or of the tensors' names and bytes. architecture: a model name found beside the weights
    (timm's `arch`, a hub's config.json, a module's `default_cfg`). padding, bn_eps, built_for: read off a module.
    """

    tensors: Tensors
    sha256: str
    origin: str
    architecture: str | None = None
    padding: str | None = None
    bn_eps: float | None = None
    built_for: int | None = None
    remarks: tuple[str, ...] = field(default=())


def load_checkpoint(source: Any) -> Checkpoint:
    """Reads a `.safetensors`, `.pth`, `.pt` path, an nn.Module or a state dict.

    Raises CheckpointError when it can't be read, MissingDependencyError when torch or safetensors is needed and
    missing.
    """
    if isinstance(source, (str, Path)):
        return _from_file(Path(source))
    if isinstance(source, Mapping):
        return _from_content(dict(source), origin="state dict")
    if hasattr(source, "state_dict") and hasattr(source, "named_modules"):
        return _from_module(source)
    raise CheckpointError(
        f"can't read weights from {type(source).__name__}; expected a path, an nn.Module or a state dict"
    )


def _from_file(path: Path) -> Checkpoint:
    from edge_effnet.files import sha256_of

    if not path.is_file():
        raise CheckpointError(f"{path}: {_missing(path)}; expected a .safetensors, .pth or .pt checkpoint")
    if (size := path.stat().st_size) > _MAX_FILE_BYTES:
        raise CheckpointError(f"{path}: {size:,} bytes; a checkpoint of at most {_MAX_FILE_BYTES:,} is read")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    return _from_content(content, origin=str(path), sha256=sha256_of(path), beside=path.with_name("config.json"))


def _missing(path: Path) -> str:
    return "a folder" if path.is_dir() else "not a regular file" if path.exists() else "no such file"


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError, deserialize
    except ImportError as error:
        raise MissingDependencyError("reading .safetensors needs: pip install 'edge-effnet[export]'") from error
    try:
        return {name: _from_bytes(**view) for name, view in deserialize(path.read_bytes())}  # type: ignore[no-untyped-call]
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error


def _from_bytes(dtype: str, shape: Sequence[int], data: bytes) -> npt.NDArray[Any]:
    """One tensor of a safetensors file; bfloat16, which numpy lacks, is the upper half of a float32."""
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if dtype not in _SAFETENSORS_TYPES:
        raise ValueError(f"tensors of type {dtype}; expected {', '.join(_SAFETENSORS_TYPES)} or BF16")
    return np.frombuffer(data, _SAFETENSORS_TYPES[dtype]).reshape(shape)


def _read_torch(path: Path) -> Any:
    torch = _torch()
    _refuse_packed_zip(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # timm stores its options beside the weights
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error))) from error
    except (
        Exception
    ) as error:  # a broken stream makes torch's unpickler raise whatever comes: struct.error, IndexError, …
        raise CheckpointError(f"{path}: not a readable PyTorch checkpoint ({first_line(error)})") from error


def _refuse_packed_zip(path: Path) -> None:
    """torch.save stores tensors as they are; packed ones could unpack to a thousand times the file."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            packed = next((member for member in archive.infolist() if member.compress_type != zipfile.ZIP_STORED), None)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # the older format, or broken: torch will say
    if packed is not None:
        raise CheckpointError(
            f"{path}: its part {packed.filename!r:.80} is compressed, which torch.save never does; save the weights "
            "again"
        )


def _torch() -> Any:
    if importlib.util.find_spec("torch") is None:
        raise MissingDependencyError(
            "reading .pth and .pt needs torch: pip install 'edge-effnet[export]', or save as .safetensors"
        )
    import torch

    if tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) < _MINIMUM_TORCH:
        raise MissingDependencyError(
            f"torch {torch.__version__} loads pickles unsafely (CVE-2025-32434); install torch>=2.6"
        )
    return torch


def _refusal(path: Path, reason: str) -> str:
    if "Unsupported global" not in reason and "Unsupported class" not in reason and "weights_only" not in reason:
        return f"{path}: not a readable PyTorch checkpoint ({reason.splitlines()[0] if reason else 'empty'})"
    return (
        f"{path}: holds pickled Python objects (a whole module?), which could run code and are not loaded; "
        "where you trust it, save the weights alone: torch.save(model.state_dict(), 'weights.pth')"
    )


def _from_content(content: Any, *, origin: str, sha256: str = "", beside: Path | None = None) -> Checkpoint:
    architecture = _architecture(content) or _architecture_beside(beside)
    tensors, remarks = _unwrap(content, origin)
    return Checkpoint(tensors, sha256 or _digest(tensors), origin, architecture, remarks=remarks)


def _architecture(content: Any) -> str | None:
    name = content.get("arch") if isinstance(content, Mapping) else None
    return name if isinstance(name, str) else None


def _architecture_beside(path: Path | None) -> str | None:
    """The `architecture` of a hub folder's config.json, with the tag of its pretrained configuration."""
    import json

    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}
    except (OSError, ValueError):
        return None
    name = config.get("architecture") if isinstance(config, dict) else None
    if not isinstance(name, str):
        return None
    pretrained = config.get("pretrained_cfg")
    tag = pretrained.get("tag") if isinstance(pretrained, dict) else None
    return f"{name}.{tag}" if tag and "." not in name else name


def _unwrap(content: Any, origin: str) -> tuple[Tensors, tuple[str, ...]]:
    """The innermost mapping of tensors, without the prefixes that wrappers add."""
    remarks: list[str] = []
    while isinstance(content, Mapping) and not _holds_network(content):
        key = next((name for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if key is None and any(_is_tensor(value) for value in content.values()):
            break  # no EfficientNet's names: whoever identifies it says so
        if key is None:
            raise CheckpointError(
                f"{origin}: no weights found under {sorted(map(str, content))[:8]}; expected tensors, or one of "
                f"{', '.join(WRAPPERS)}"
            )
        remarks.append(f"took the weights under {key!r}")
        content = content[key]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{origin}: holds a {type(content).__name__}; expected a state dict (model.state_dict())")
    tensors = {str(key): _to_numpy(str(key), value, origin) for key, value in content.items() if _is_tensor(value)}
    own, left_out = _strip_prefix(tensors)
    for key, values in own.items():
        _check_values(key, values, origin)
    return own, (*remarks, *left_out)


def _check_values(key: str, values: npt.NDArray[Any], origin: str) -> None:
    if values.dtype.kind != "f":
        if key.rsplit(".", 1)[-1] in _FLOATING:
            raise CheckpointError(
                f"{origin}: tensor {key} holds integers; expected floating-point weights, not those of a quantized "
                "network"
            )
        return
    wrong = values.size - int(np.count_nonzero(np.isfinite(values)))
    if wrong:
        raise CheckpointError(
            f"{origin}: tensor {key} holds {wrong} NaN or infinite values of {values.size}; training diverged?"
        )


def _holds_network(content: Mapping[Any, Any]) -> bool:
    """Whether a first convolution is among the tensors; a stray tensor (an accuracy) beside a wrapper is none."""
    return any(str(key).endswith(ANCHORS) and _is_tensor(value) for key, value in content.items())


def _is_tensor(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (hasattr(value, "detach") and hasattr(value, "numpy"))


def _to_numpy(key: str, value: Any, origin: str) -> npt.NDArray[Any]:
    """float32 for any floating type, int64 for counters."""
    if math.prod(value.shape) > _MAX_ELEMENTS:
        raise CheckpointError(
            f"{origin}: tensor {key} declares {math.prod(value.shape):,} values; expected at most {_MAX_ELEMENTS:,}"
        )
    if not isinstance(value, np.ndarray):
        try:
            value = value.detach().cpu()
            value = (value.float() if value.is_floating_point() else value).numpy()
        except (TypeError, RuntimeError) as error:  # quantized, sparse and meta tensors
            raise CheckpointError(
                f"{origin}: tensor {key} can't be read ({first_line(error)}); expected plain floating-point weights"
            ) from error
    if value.dtype.kind == "f" or value.dtype.name == "bfloat16":
        return np.asarray(value, np.float32)
    if value.dtype.kind in "iub":
        return np.asarray(value, np.int64)
    raise CheckpointError(f"{origin}: tensor {key} is {value.dtype}; expected floating-point weights")


def _strip_prefix(tensors: Tensors) -> tuple[Tensors, tuple[str, ...]]:
    """The network's own tensors: what `module.`, `_orig_mod.`, `model.` … stand before, and nothing beside them."""
    prefixes = [key.removesuffix(anchor) for key in tensors for anchor in ANCHORS if key.endswith(anchor)]
    prefix = min((p for p in prefixes if p == "" or p.endswith(".")), key=len, default="")
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    beside = len(tensors) - len(own)
    return own, (f"left out {beside} tensors that don't begin with {prefix!r}",) if beside else ()


def _digest(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(f"{key}{tensors[key].dtype}{tensors[key].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[key]).data)
    return digest.hexdigest()


def _from_module(module: Any) -> Checkpoint:
    tensors, remarks = _unwrap(module.state_dict(), type(module).__name__)
    modules = [child for _, child in module.named_modules()]
    norm = next((child for child in modules if hasattr(child, "running_mean") and hasattr(child, "eps")), None)
    config = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    config = config if isinstance(config, Mapping) else getattr(config, "__dict__", {})
    name, tag = config.get("architecture"), config.get("tag")
    settings = getattr(module, "_global_params", None)
    return Checkpoint(
        tensors,
        _digest(tensors),
        type(module).__name__,
        architecture=f"{name}.{tag}" if name and tag else name,
        padding=_module_padding(modules),
        bn_eps=float(norm.eps) if norm is not None else None,
        built_for=_int_or_none(getattr(settings, "image_size", None)),
        remarks=remarks,
    )


def _module_padding(modules: list[Any]) -> str | None:
    """Symmetric or SAME, off the first strided convolution; None when its class doesn't say."""
    strided = next(
        (m for m in modules if hasattr(m, "kernel_size") and getattr(m, "stride", (1,)) in ((2, 2), 2, [2, 2])), None
    )
    if strided is None:
        return None
    kind = type(strided).__name__
    if "StaticSame" in kind:
        return "same-baked"
    if "Same" in kind or strided.padding == "same":
        return "same"
    return "symmetric" if tuple(strided.padding) == tuple(k // 2 for k in strided.kernel_size) else None


def _int_or_none(value: Any) -> int | None:
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    return int(value) if isinstance(value, int) else None
