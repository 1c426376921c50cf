"""From a state dict, or a module's, to a `Network`: the family's structure is read from the tensors."""

from __future__ import annotations

from dataclasses import replace

from edge_effnet.errors import UsageError
from edge_effnet.exporters.families.build import build_graph
from edge_effnet.exporters.families.head import HeadLayer, check_pooling, read_head
from edge_effnet.exporters.families.identify import Identified, identify
from edge_effnet.exporters.families.names import fallback_of, published_of
from edge_effnet.exporters.families.records import Published
from edge_effnet.exporters.families.table import family_of
from edge_effnet.exporters.inputs.checkpoint import Checkpoint
from edge_effnet.exporters.inputs.label_sources import settled_labels
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.settings import PreprocessingOptions, resolve_preprocessing
from edge_effnet.framing import Size
from edge_effnet.heads import HeadKind
from edge_effnet.network.records import Network, Origin
from edge_effnet.preprocessing import Preprocessing, resize_for_crop_pct
from edge_effnet.variants import VARIANTS


def network_of(checkpoint: Checkpoint, options: InputOptions) -> Network:
    """The network that the weights are of.

    Raises CheckpointError where they are none of a family, or where something isn't in them and must be said.
    """
    model = identify(checkpoint, source=options.source, variant=options.variant)
    check_pooling(checkpoint.beside, f"{checkpoint.origin}: what stands beside the weights")
    size = options.image_size or (model.native_size, model.native_size)
    if options.padding_size is not None and model.rules.padding != "same-baked":
        raise UsageError(
            f"--padding-size {options.padding_size} has no effect on weights of {model.dialect}; it is for "
            "efficientnet-pytorch's (lukemelas)"
        )
    layers = _head(checkpoint, model, options)
    built_for = options.padding_size or checkpoint.built_for or model.native_size
    graph = build_graph(model, checkpoint.tensors, image_size=size, built_for=built_for, head=layers)
    outputs = len(layers[-1].bias) if layers else model.body.head
    kind: HeadKind = "softmax" if layers else "features"
    head = options.resolve_head(kind, outputs=outputs)
    labels, remarks = settled_labels(options.labels, options.found_labels, head, outputs)
    return Network(
        graph,
        _preprocessing(model, options, size),
        head,
        _origin(checkpoint, model),
        model.architecture,
        labels,
        (
            *checkpoint.remarks,
            *model.remarks,
            *_remarks(model, size, built_for, options),
            *(() if layers or options.head else (f"no head found: gives the {outputs} pooled features",)),
            *remarks,
        ),
    )


def _head(checkpoint: Checkpoint, model: Identified, options: InputOptions) -> tuple[HeadLayer, ...]:
    if options.head == "features":
        return ()
    return read_head(checkpoint, model.head, features=model.body.head, activation=options.head_activation)


def _origin(checkpoint: Checkpoint, model: Identified) -> Origin:
    form = "module" if checkpoint.layers else "state dict"
    return Origin(form, model.dialect, checkpoint.sha256, model.rules.padding, model.rules.bn_eps)


def _remarks(model: Identified, size: Size, built_for: int, options: InputOptions) -> tuple[str, ...]:
    remarks = []
    if model.rules.padding == "same-baked" and size != (built_for, built_for) and options.padding_size is None:
        remarks.append(
            f"padding as built for {built_for} px, as efficientnet-pytorch does at another size; --padding-size if it "
            "was built for another"
        )
    if model.others and options.preprocessing.mean is None:
        remarks.append(
            f"published under this name, but prepared otherwise, are also {', '.join(model.others)}; if it is of one "
            "of these, say so in --source, or --mean and --std"
        )
    return tuple(remarks)


def _preprocessing(model: Identified, options: InputOptions, size: Size) -> Preprocessing:
    said = with_share(options.preprocessing, model.preparation)
    if model.body.in_channels == 1:
        said = replace(said, channels="grey")
    return resolve_preprocessing(published_preprocessing(model.preparation), said, image_size=size)


def with_share(said: PreprocessingOptions, published: Published) -> PreprocessingOptions:
    """The published share that the crop keeps, where nothing else is said: of the published size it would be rounded
    twice at another.
    """
    other = said.crop_pct is not None or said.resize is not None or said.mode not in (None, published.mode)
    return said if other or published.resize is not None else replace(said, crop_pct=published.crop_pct)


def default_preprocessing(dialect: str, variant: str, image_size: int | None = None) -> Preprocessing:
    """A published variant's default preparation in a dialect, at another size where one is said."""
    family = family_of(VARIANTS[variant])
    published = published_of(family, dialect, variant, None) or fallback_of(family, dialect)
    size = None if image_size is None else (image_size, image_size)
    said = with_share(PreprocessingOptions(), published)
    return resolve_preprocessing(published_preprocessing(published), said, image_size=size)


def published_preprocessing(published: Published) -> Preprocessing:
    """The record of a published preparation, at its own size."""
    mean, std = published.statistics
    return Preprocessing(
        resize=published.resize or resize_for_crop_pct(published.image_size, published.crop_pct),
        crop=published.image_size,
        interpolation=published.interpolation,
        mean=mean,
        std=std,
        mode=published.mode,
    )
