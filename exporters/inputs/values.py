"""What the unpickler makes itself: plain containers, numpy's arrays and scalars, torch's tensors.

Sources: CPython's `collections`, numpy's `core/src/multiarray/methods.c` (`array_reduce`, `array_setstate`,
`arraydescr_setstate`) and `_frombuffer`, torch's `_utils.py` (`_rebuild_*`), `storage.py` and `serialization.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_effnet.exporters.inputs.machine import Constructor, Finisher
from edge_effnet.exporters.inputs.parts import FilePart
from edge_effnet.exporters.inputs.records import Global, Record, key_of
from edge_effnet.exporters.inputs.stored import NUMPY_TYPES, MalformedError, Storage, StoredTensor, stored_tensor

#: torch's storage classes and dtypes → element types of `stored`.
STORAGE_KINDS = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "c8",
    "ComplexDoubleStorage": "c16",
    "UntypedStorage": "untyped",
}
_DTYPES = {"float32": "f4", "float64": "f8", "float16": "f2", "bfloat16": "bf16", "uint16": "u2", "uint32": "u4"} | {
    "uint64": "u8",
    "int64": "i8",
    "uint8": "u1",
    "bool": "bool",
}
#: Element types of arrays that are read; objects and records of fields stay records.
_PLAIN = re.compile(r"[<>|=]?([?bBiufc]|[iuf]\d|f16|c\d{1,2}|b1|[SU]\d{1,4})")


def _dict(*args: Any) -> Any:
    """`OrderedDict(pairs)`, `Counter(mapping)`; the argument of a `defaultdict` is its factory."""
    if not args or isinstance(args[0], Global) or args[0] is None:
        return {}
    pairs = args[0].items() if isinstance(args[0], dict) else args[0]
    return {key_of(key): value for key, value in pairs}


def _list(items: Any = ()) -> list[Any]:
    return list(_sequence(items))


def _tuple(items: Any = ()) -> tuple[Any, ...]:
    return tuple(_sequence(items))


def _set(items: Any = ()) -> set[Any]:
    return {key_of(item) for item in _sequence(items)}


def _frozenset(items: Any = ()) -> frozenset[Any]:
    return frozenset(_set(items))


def _sequence(items: Any) -> Any:
    if not isinstance(items, (list, tuple, set, frozenset)):
        raise TypeError
    return items


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """`_codecs.encode(text, "latin1")`: how protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8"):
        raise TypeError
    return text.encode(encoding)


def _reconstructed(cls: Any, _base: Any, state: Any) -> Record:
    """`copyreg._reconstructor`: how protocols 0 and 1 make an object; state: what a kind of list or dict holds."""
    items = list(state) if isinstance(state, (list, tuple)) else []
    return Record(cls.name, (), None, items, list(state.items()) if isinstance(state, dict) else [])


def _complex(real: Any, imaginary: Any) -> complex:
    return complex(float(real), float(imaginary))


# numpy ---------------------------------------------------------------------------------------------------------------


def _dtype(code: Any, *_: Any) -> Any:
    """A record until its state says the byte order."""
    return Record("numpy.dtype", (code,)) if isinstance(code, str) else NotImplemented


def _finished_dtype(record: Record, state: Any) -> Any:
    """numpy.dtype of (version, byte order, …); NotImplemented for one of objects or fields."""
    order, code = state[1], record.args[0]
    if state[2] is not None or state[3] is not None or not _PLAIN.fullmatch(code):
        return NotImplemented
    return np.dtype(code).newbyteorder(order if order in "<>" else "=")


def _plain_dtype(dtype: Any) -> np.dtype[Any]:
    if isinstance(dtype, Record) and dtype.kind == "numpy.dtype" and _PLAIN.fullmatch(dtype.args[0]):
        return np.dtype(dtype.args[0])
    if not isinstance(dtype, np.dtype):
        raise TypeError
    return dtype


def _unfinished_array(*_: Any) -> Record:
    return Record("numpy.ndarray")


def _finished_array(_: Record, state: Any) -> Any:
    """An array of (version, shape, dtype, Fortran order, bytes); a list for a row of objects."""
    _version, shape, dtype, fortran, data = state[-5:] if len(state) >= 5 else (1, *state)
    if isinstance(data, list) and isinstance(shape, tuple) and len(shape) == 1:
        return data
    return _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: Any, dtype: Any, shape: Any, order: Any = "C") -> Any:
    if not isinstance(data, (bytes, str, FilePart)):
        return NotImplemented  # a list of objects
    raw = data.encode("latin-1") if isinstance(data, str) else data
    kind, size = _plain_dtype(dtype), raw.size if isinstance(raw, FilePart) else len(raw)
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise MalformedError("an array's shape is no tuple of whole numbers from 0")
    if math.prod(shape) * kind.itemsize != size or kind.itemsize == 0:
        raise MalformedError(f"an array of {math.prod(shape):,} values in {size:,} bytes")
    if isinstance(raw, FilePart) and kind.str[1:] in NUMPY_TYPES:
        return _array_in_file(raw, kind, shape, order)
    values = np.frombuffer(raw.read(0, size) if isinstance(raw, FilePart) else raw, kind)
    return values.reshape(shape, order="F" if order == "F" else "C")


def _array_in_file(part: FilePart, kind: np.dtype[Any], shape: tuple[int, ...], order: Any) -> StoredTensor:
    """One whose numbers stay where they lie."""
    storage = Storage(kind.str[1:], math.prod(shape), (part, 0), ">" if kind.str[0] == ">" else "<")
    strides = tuple(math.prod(shape[:axis]) for axis in range(len(shape))) if order == "F" else None
    return stored_tensor(storage, offset=0, shape=shape, strides=strides)


def _scalar(dtype: Any, data: Any = b"") -> Any:
    """A numpy scalar as Python's number or text."""
    return _array(data, dtype, ()).item()


# torch ---------------------------------------------------------------------------------------------------------------


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise TypeError
    return stored_tensor(storage, offset=offset, shape=shape, strides=strides)


def _typed_tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> StoredTensor:
    """`_rebuild_tensor_v3`: an untyped storage, and the element type beside it."""
    if not isinstance(storage, Storage) or not isinstance(dtype, Global):
        raise TypeError
    name = dtype.name.removeprefix("torch.")
    return stored_tensor(storage, offset=offset, shape=shape, strides=strides, kind=_DTYPES.get(name, name))


def _first(value: Any, *_: Any) -> Any:
    """A Parameter is its tensor, a tensor made of an array is the array, a typed storage its untyped one."""
    return value if isinstance(value, (StoredTensor, np.ndarray, Storage)) else NotImplemented


def _subclass_tensor(function: Any, _kind: Any, args: Any, *_: Any) -> Any:
    """`_rebuild_from_type_v2`: what the named rebuilding function makes."""
    known = CONSTRUCTORS.get(function.name) if isinstance(function, Global) else None
    return NotImplemented if known in (None, _subclass_tensor) or known is None else known(*args)


CONSTRUCTORS: Mapping[str, Constructor] = {
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _dict,
    "collections.Counter": _dict,
    "builtins.dict": _dict,
    "builtins.list": _list,
    "builtins.tuple": _tuple,
    "builtins.set": _set,
    "builtins.frozenset": _frozenset,
    "builtins.complex": _complex,
    "copyreg._reconstructor": _reconstructed,
    "torch.Size": _tuple,
    "_codecs.encode": _encoded,
    "numpy.dtype": _dtype,
    **{
        f"numpy.{core}.{name}": function
        for core in ("core", "_core")
        for name, function in (
            ("multiarray._reconstruct", _unfinished_array),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _array),
        )
    },
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._utils._rebuild_device_tensor_from_numpy": _first,
    "torch._tensor._rebuild_from_type_v2": _subclass_tensor,
    "torch.nn.parameter.Parameter": _first,
    "torch.storage.TypedStorage": _first,
}
FINISHERS: Mapping[str, Finisher] = {"numpy.dtype": _finished_dtype, "numpy.ndarray": _finished_array}
