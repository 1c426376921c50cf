"""Files derived from a file: the same network with another last dense layer, its own document and packed files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def dense_maps(file: ModelFile) -> tuple[FeatureMap, ...]:
    """The maps whose means the last dense layer reads, in order; raises ModelFileError where it reads something else.

    The first one's mean are the pooled features.
    """
    if isinstance(file, TfliteFile):
        from edge_effnet.formats import tflite_head

        return tflite_head.dense_maps(file)
    from edge_effnet.formats import onnx_head

    return onnx_head.dense_maps(file)


def inner_maps(file: ModelFile) -> tuple[FeatureMap, ...]:
    """Further maps whose means a last dense layer may read beside the pooled features, coarsest first; maybe none."""
    if isinstance(file, TfliteFile):
        from edge_effnet.formats import tflite_head

        return tflite_head.inner_maps(file)
    from edge_effnet.formats import onnx_head

    return onnx_head.inner_maps(file)


def head_of(file: ModelFile) -> DenseHead | None:
    """The last dense layer in float32; None of a file that gives features."""
    if isinstance(file, TfliteFile):
        from edge_effnet.formats import tflite_head

        return tflite_head.dense_head(file)
    from edge_effnet.formats import onnx_head

    return onnx_head.dense_head(file)


def with_head(
    file: ModelFile,
    head: DenseHead,
    document: ModelDocument,
    *,
    maps: Sequence[FeatureMap] = (),
    packed: Mapping[str, bytes] | None = None,
) -> bytes:
    """The file's network with another last dense layer. document: of the new file, sealed with its SHA-256 here.

    maps: those of `inner_maps` whose means the layer reads behind the pooled features. packed: name → content of
    further files that travel with it. The same arguments give the same bytes. Raises ModelFileError for a network that
    doesn't end in a dense layer on features.
    """
    if isinstance(file, TfliteFile):
        return _tflite(file, head, maps, document, packed or {})
    from edge_effnet.formats.onnx import sealed
    from edge_effnet.formats.onnx_head import with_dense
    from edge_effnet.formats.onnx_properties import packed_properties

    changed = with_dense(file, head, maps, document.head.output)
    return sealed([changed, packed_properties(packed or {})], document, name=file.name)


def _tflite(
    file: TfliteFile,
    head: DenseHead,
    maps: Sequence[FeatureMap],
    document: ModelDocument,
    packed: Mapping[str, bytes],
) -> bytes:
    from edge_effnet.formats.tflite_head import with_dense
    from edge_effnet.formats.tflite_writer import written_tflite

    changed = replace(
        with_dense(file, head, maps, document.head.output),
        description=f"EfficientNet-{document.variant} {document.precision}",
        metadata={OFFICIAL: memoryview(official_metadata(document))},
    )
    flatbuffer = written_tflite(changed)
    return flatbuffer + packed_files(replace(document, weights_sha256=digest([flatbuffer])), packed)
