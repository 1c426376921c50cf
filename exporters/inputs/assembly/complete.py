"""From an assembled file to the `Network`: head, preprocessing, labels, and a name for its architecture."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_effnet.exporters.families.layout import body_of
from edge_effnet.exporters.families.table import family_of
from edge_effnet.exporters.inputs.assembly.assembler import Assembler
from edge_effnet.exporters.inputs.assembly.finish import finished, without_head
from edge_effnet.exporters.inputs.assembly.image import Given, preprocessing_for
from edge_effnet.exporters.inputs.assembly.operands import Operand, head_of
from edge_effnet.exporters.inputs.assembly.value import Value
from edge_effnet.exporters.inputs.label_sources import settled_labels
from edge_effnet.exporters.inputs.options import FoundLabels, InputOptions
from edge_effnet.heads import Head, HeadKind
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.graph import Dense, Graph
from edge_effnet.network.operators import tensor_shapes
from edge_effnet.network.records import Network, Origin
from edge_effnet.network.structure import find_blocks
from edge_effnet.variants import VARIANTS

#: Names of outputs in a remark, and characters of each.
_MOST_NAMED, _MOST_NAME = 4, 60


@dataclass(frozen=True)
class Source:
    """What an input says beside its operators. document: this project's own, as JSON, where a file of ours comes
    back.
    """

    form: str
    dialect: str
    sha256: str
    labels: tuple[str, ...] | None = None
    given: Given = field(default_factory=Given)
    document: str | None = None
    architecture: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def remarks_on_outputs(names: Sequence[str]) -> tuple[str, ...]:
    """That the first output was taken, where a file has several."""
    if len(names) < 2:
        return ()
    first, *others = (repr(name[:_MOST_NAME]) for name in names[:_MOST_NAMED])
    return (f"took the first of {len(names)} outputs, {first}, and left out {', '.join(others)}",)


def completed(assembler: Assembler, image: Value, output: Operand, *, source: Source, options: InputOptions) -> Network:
    """The network from the image to `output`; raises EdgeEffnetError's leaves for what can't be one."""
    logits, kind = head_of(assembler, output)
    graph = finished(assembler, image, logits)
    if options.head == "features":
        graph, kind = without_head(graph), None
    own = None if source.document is None else ModelDocument.from_json(source.document, name=source.form)
    given = source.given if own is None else Given(documented=own.preprocessing)
    preprocessing, remarks = preprocessing_for(
        assembler.normalisation, (image.height, image.width), image.channels, options.preprocessing, given
    )
    brought = source.labels if own is None or own.labels is None else own.labels
    outputs = int(tensor_shapes(graph)[graph.output_name][-1])
    head = options.resolve_head(kind or _kind(graph), outputs=outputs)
    labels, told = _labels(brought, options, head, outputs)
    return Network(
        graph,
        preprocessing,
        head,
        Origin(source.form, source.dialect, source.sha256, details=source.details),
        architecture=source.architecture or (own.variant if own else None) or architecture_of(graph),
        labels=labels,
        remarks=(*source.remarks, *remarks, *told),
    )


def _kind(graph: Graph) -> HeadKind:
    """What an output without softmax or sigmoid is: logits of a dense layer, or pooled features."""
    node = graph.by_name()[graph.output_name]
    if not isinstance(node, Dense):
        return "features"
    return "softmax"


def _labels(
    brought: Sequence[str] | None, options: InputOptions, head: Head, outputs: int
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """(the labels that count, remarks): the input's own need no remark, but where they don't fit."""
    own = () if brought is None else (FoundLabels("the input itself", tuple(brought)),)
    labels, remarks = settled_labels(options.labels, (*own, *options.found_labels), head, outputs)
    if brought is None or not head.has_classes or options.labels is not None:
        return labels, remarks
    if labels == tuple(brought):
        return labels, ()
    left = f"left out {len(brought)} labels that the input brings: the network has {outputs} classes"
    return labels, (left, *remarks)


def architecture_of(graph: Graph) -> str | None:
    """ "b0" … where the blocks are those of a variant, in number and width; None otherwise. A label, nothing more."""
    blocks = find_blocks(graph)
    channels = tuple((block.channels, len(block.project.bias)) for block in blocks)
    return _architectures().get((channels, any(block.gates for block in blocks)))


@functools.cache
def _architectures() -> Mapping[tuple[tuple[tuple[int, int], ...], bool], str]:
    """(Inner and outgoing channels of each block, whether any is gated) → the first variant that is so."""
    found: dict[tuple[tuple[tuple[int, int], ...], bool], str] = {}
    for name, variant in VARIANTS.items():
        blocks = body_of(family_of(variant), width=variant.width, depth=variant.depth).blocks
        channels = tuple((block.inner, block.out_channels) for block in blocks if block.kind != "plain")
        found.setdefault((channels, any(block.se_channels for block in blocks)), name)
    return found
