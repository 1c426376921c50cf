"""A thin layer over the TFLite schema: tensors, buffers and operators in, the bytes of a flatbuffer out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_effnet.network.graph import FloatArray, Shape

try:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
except ImportError as _error:
    from edge_effnet.errors import MissingDependencyError

    raise MissingDependencyError(
        "writing .tflite needs ai-edge-litert and flatbuffers: pip install 'edge-effnet[export]'"
    ) from _error

#: Flatbuffer version and identifier of every TFLite file.
_SCHEMA_VERSION = 3
_IDENTIFIER = b"TFL3"
#: XNNPACK and the kernels read weights in place; the schema demands this alignment of Buffer.data.
_ALIGNMENT = 16
_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
}


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer whose bytes are copied once, at the alignment the schema asks for (the generated code ignores it)."""

    def Pack(self, builder: Any) -> int:  # noqa: N802 (the generated name)
        data = None
        if self.data is not None:
            raw = np.ascontiguousarray(self.data).view(np.uint8).reshape(-1)
            builder.StartVector(1, len(raw), _ALIGNMENT)
            builder.head -= len(raw)
            builder.Bytes[builder.head : builder.head + len(raw)] = memoryview(raw)  # type: ignore[arg-type]
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


class TfliteWriter:
    """Collects one subgraph; tensors are referred to by index."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [_AlignedBuffer()]
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, int], int] = {}
        self._constants: dict[bytes, int] = {}

    def tensor(self, name: str, shape: Shape, dtype: str, *, scale: float | None = None, zero_point: int = 0) -> int:
        """A tensor made at run time; `scale` marks it as quantized."""
        quantization = None if scale is None else _quantization(np.array([scale], np.float32), zero_point, 0)
        return self._add_tensor(name, shape, dtype, 0, quantization)

    def constant(
        self,
        name: str,
        values: npt.NDArray[Any],
        *,
        scales: FloatArray | None = None,
        axis: int = 0,
        zero_point: int = 0,
    ) -> int:
        """A tensor whose values lie in the file; `scales` along `axis` (or one) mark it as quantized."""
        self._buffers.append(_AlignedBuffer(data=values))
        quantization = None if scales is None else _quantization(scales, zero_point, axis)
        return self._add_tensor(name, values.shape, values.dtype.name, len(self._buffers) - 1, quantization)

    def shared_constant(self, name: str, values: npt.NDArray[np.int32]) -> int:
        """A small constant (axes, pads) that stands once however often it's used."""
        key = values.tobytes() + repr(values.shape).encode()
        if key not in self._constants:
            self._constants[key] = self.constant(name, values)
        return self._constants[key]

    def operator(self, code: str, inputs: Sequence[int], output: int, *, version: int = 1, options: Any = None) -> int:
        """Appends an operator and gives back its output's index."""
        kind = getattr(schema.BuiltinOperator, code)
        index = self._codes.setdefault((kind, version), len(self._codes))
        made = schema.OperatorT(opcodeIndex=index, inputs=list(inputs), outputs=[output])
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self._operators.append(made)
        return output

    def finish(
        self, *, inputs: dict[str, int], outputs: dict[str, int], description: str, metadata: dict[str, bytes]
    ) -> bytes:
        """The finished file."""
        subgraph = schema.SubGraphT(
            name="main",
            tensors=self._tensors,
            inputs=list(inputs.values()),
            outputs=list(outputs.values()),
            operators=self._operators,
        )
        model = schema.ModelT(
            version=_SCHEMA_VERSION,
            description=description,
            operatorCodes=[_operator_code(kind, version) for kind, version in self._codes],
            subgraphs=[subgraph],
            metadata=[schema.MetadataT(name=name, buffer=self._raw_buffer(data)) for name, data in metadata.items()],
            signatureDefs=[_signature(inputs, outputs)],
            buffers=self._buffers,
        )
        size = sum(0 if buffer.data is None else buffer.data.nbytes + 64 for buffer in self._buffers)
        builder = flatbuffers.Builder(size + (1 << 20))
        builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
        return bytes(builder.Output())

    def _raw_buffer(self, data: bytes) -> int:
        self._buffers.append(_AlignedBuffer(data=np.frombuffer(data, np.uint8)))
        return len(self._buffers) - 1

    def _add_tensor(self, name: str, shape: Shape, dtype: str, buffer: int, quantization: Any) -> int:
        made = schema.TensorT(
            name=name, shape=list(shape), type=_TYPES[dtype], buffer=buffer, quantization=quantization
        )
        self._tensors.append(made)
        return len(self._tensors) - 1


def _quantization(scales: FloatArray, zero_point: int, axis: int) -> Any:
    zero_points = np.full(len(scales), zero_point, np.int64)
    return schema.QuantizationParametersT(
        scale=np.asarray(scales, np.float32), zeroPoint=zero_points, quantizedDimension=axis
    )


def _operator_code(kind: int, version: int) -> Any:
    return schema.OperatorCodeT(deprecatedBuiltinCode=min(kind, 127), builtinCode=kind, version=version)


def _signature(inputs: dict[str, int], outputs: dict[str, int]) -> Any:
    def maps(tensors: dict[str, int]) -> list[Any]:
        return [schema.TensorMapT(name=name, tensorIndex=index) for name, index in tensors.items()]

    return schema.SignatureDefT(
        inputs=maps(inputs), outputs=maps(outputs), signatureKey="serving_default", subgraphIndex=0
    )
