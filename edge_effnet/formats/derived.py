"""Files derived from a file: the same network with another last dense layer, its own document and packed files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edge_effnet.formats import ModelFile, TfliteFile
from edge_effnet.formats.dense import DenseHead, FeatureMap, FeatureTensor
from edge_effnet.formats.integrity import digest
from edge_effnet.formats.official import OFFICIAL, official_metadata
from edge_effnet.formats.packed import packed_files
from edge_effnet.metadata import ModelDocument


def feature_tensor(file: ModelFile) -> FeatureTensor:
    """The pooled features of a file; raises ModelFileError for one that has none."""
    if isinstance(file, TfliteFile):
        from edge_effnet.formats import tflite_head

        return tflite_head.features_of(file)
    from edge_effnet.formats import onnx_head

    return onnx_head.features_of(file)


def feature_map(file: ModelFile) -> FeatureMap:
    """The last feature map, which the pooled features are the mean of; raises ModelFileError without one."""
    if isinstance(file, TfliteFile):
        from edge_effnet.formats import tflite_head

        return tflite_head.map_of(file)
    from edge_effnet.formats import onnx_head

    return onnx_head.map_of(file)


def head_of(file: ModelFile) -> DenseHead | None:
    """The last dense layer in float32; None of a file that gives features."""
    if isinstance(file, TfliteFile):
        from edge_effnet.formats import tflite_head

        return tflite_head.dense_head(file)
    from edge_effnet.formats import onnx_head

    return onnx_head.dense_head(file)


def with_head(
    file: ModelFile, head: DenseHead, document: ModelDocument, *, packed: Mapping[str, bytes] | None = None
) -> bytes:
    """The file's network with another last dense layer. document: of the new file, sealed with its SHA-256 here.

    packed: name → content of further files that travel with it. The same arguments give the same bytes. Raises
    ModelFileError for a network that doesn't end in a dense layer on features.
    """
    if isinstance(file, TfliteFile):
        return _tflite(file, head, document, packed or {})
    from edge_effnet.formats.onnx import sealed
    from edge_effnet.formats.onnx_head import with_dense
    from edge_effnet.formats.onnx_properties import packed_properties

    changed = with_dense(file, head, document.head.output)
    return sealed([changed, packed_properties(packed or {})], document, name=file.name)


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
