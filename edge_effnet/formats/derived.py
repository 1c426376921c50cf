"""Files derived from a file: the same network with another last dense layer, its own document and packed files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edge_effnet.errors import ModelFileError
from edge_effnet.formats import ModelFile, TfliteFile
from edge_effnet.formats.dense import DenseHead, FeatureTensor
from edge_effnet.formats.integrity import digest
from edge_effnet.formats.official import OFFICIAL, official_metadata
from edge_effnet.formats.packed import packed_files
from edge_effnet.metadata import ModelDocument


def feature_tensor(file: ModelFile) -> FeatureTensor:
    """The pooled features of a file; raises ModelFileError for one that has none."""
    if isinstance(file, TfliteFile):
        from edge_effnet.formats.tflite_head import features_of

        return features_of(file)
    from edge_effnet.formats.onnx_head import features_of as onnx_features_of

    return onnx_features_of(file)


def map_tensor(file: ModelFile) -> str:
    """Name of the last feature map, which the pooled features are the mean of; raises ModelFileError without one."""
    if isinstance(file, TfliteFile):
        from edge_effnet.formats.tflite_head import map_of

        return map_of(file)
    raise ModelFileError(f"{file.name}: the feature maps of .onnx files aren't read; expected a .tflite file")


def head_of(file: ModelFile) -> DenseHead | None:
    """The last dense layer in float32; None of a file that gives features."""
    if isinstance(file, TfliteFile):
        from edge_effnet.formats.tflite_head import dense_head

        return dense_head(file)
    raise ModelFileError(f"{file.name}: the last layer of .onnx files isn't read; expected a .tflite file")


def with_head(
    file: ModelFile, head: DenseHead, document: ModelDocument, *, packed: Mapping[str, bytes] | None = None
) -> bytes:
    """The file's network with another last dense layer. document: of the new file, sealed with its SHA-256 here.

    packed: name → content of further files that travel with it. The same arguments give the same bytes. Raises
    ModelFileError for a network that doesn't end in a dense layer on features.
    """
    if isinstance(file, TfliteFile):
        return _tflite(file, head, document, packed or {})
    raise ModelFileError(f"{file.name}: .onnx files get no other last layer; expected a .tflite file")


def _tflite(file: TfliteFile, head: DenseHead, document: ModelDocument, packed: Mapping[str, bytes]) -> bytes:
    from edge_effnet.formats.tflite_head import with_dense
    from edge_effnet.formats.tflite_writer import written_tflite

    changed = replace(
        with_dense(file, head, document.head.output),
        description=f"EfficientNet-{document.variant} {document.precision}",
        metadata={OFFICIAL: memoryview(official_metadata(document))},
    )
    flatbuffer = written_tflite(changed)
    return flatbuffer + packed_files(replace(document, weights_sha256=digest([flatbuffer])), packed)
