"""From an assembled file to the `Network`: head, preprocessing, labels, and a name for its architecture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from edge_effnet.exporters.families.layout import body_of
from edge_effnet.exporters.families.table import family_of
from edge_effnet.exporters.inputs.assembly.assembler import Assembler
from edge_effnet.exporters.inputs.assembly.finish import finished
from edge_effnet.exporters.inputs.assembly.image import Given, preprocessing_for
from edge_effnet.exporters.inputs.assembly.operands import Operand, head_of
from edge_effnet.exporters.inputs.assembly.value import Value
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.order import order_channels
from edge_effnet.metadata import ModelDocument
from edge_effnet.network.graph import Dense, Graph
from edge_effnet.network.records import Head, HeadKind, Network, Origin
from edge_effnet.network.structure import find_blocks
from edge_effnet.variants import VARIANTS


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


def completed(assembler: Assembler, image: Value, output: Operand, *, source: Source, options: InputOptions) -> Network:
    """The network from the image to `output`; raises EdgeEffnetError's leaves for what can't be one."""
    logits, kind = head_of(assembler, output)
    graph = order_channels(finished(assembler, image, logits))
    own = None if source.document is None else ModelDocument.from_json(source.document, name=source.form)
    given = source.given if own is None else _as_documented(source.given, own)
    preprocessing, remarks = preprocessing_for(
        assembler.normalisation, (image.height, image.width), options.preprocessing, given
    )
    if image.channels == 1:
        remarks = (*remarks, "the network takes grey images: its first convolution reads the grey of RGB photos")
    labels = source.labels if own is None or own.labels is None else own.labels
    network = Network(
        graph,
        preprocessing,
        Head(kind or _kind(graph)),
        Origin(source.form, source.dialect, source.sha256, details=source.details),
        architecture=source.architecture or (own.variant if own else None) or architecture_of(graph),
        labels=labels,
        remarks=(*source.remarks, *remarks),
    )
    return _with_fitting_labels(network)


def _kind(graph: Graph) -> HeadKind:
    """What an output without softmax or sigmoid is: logits of a dense layer, or pooled features."""
    node = graph.by_name()[graph.output_name]
    if not isinstance(node, Dense):
        return "features"
    return "softmax" if len(node.bias) > 1 else "sigmoid"


def _as_documented(given: Given, own: ModelDocument) -> Given:
    shown = own.preprocessing
    return replace(
        given, statistics=(shown.mean, shown.std), resize=shown.resize, interpolation=shown.interpolation, remarks=()
    )


def _with_fitting_labels(network: Network) -> Network:
    labels = network.labels
    if labels is None or len(labels) == network.output_size or not network.head.has_classes:
        return network
    remark = f"left out {len(labels)} labels that the input brings: the network has {network.output_size} classes"
    return replace(network, labels=None, remarks=(*network.remarks, remark))


def architecture_of(graph: Graph) -> str | None:
    """ "b0" … where the blocks are those of a variant, in number and width; None otherwise. A label, nothing more."""
    found = [
        (block.channels, len(block.project.bias), block.depthwise.kernel[0] if block.depthwise else 0)
        for block in find_blocks(graph)
    ]
    for name, variant in VARIANTS.items():
        blocks = body_of(family_of(variant), width=variant.width, depth=variant.depth).blocks
        expected = [
            (block.inner, block.out_channels, 0 if block.kind == "fused" else block.kernel)
            for block in blocks
            if block.kind != "plain"
        ]
        gated = any(block.se_channels for block in blocks)
        if found == expected and gated == any(block.gates for block in find_blocks(graph)):
            return name
    return None
