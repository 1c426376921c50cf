"""From an `nn.Module` to the `Network`: exported by torch, read operator by operator, compared with the module."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from edge_effnet.errors import CheckpointError, EdgeEffnetError, UsageError, first_line
from edge_effnet.exporters.families.identify import Identified, identify
from edge_effnet.exporters.inputs.assembly.assembler import Assembler
from edge_effnet.exporters.inputs.assembly.complete import Source, completed
from edge_effnet.exporters.inputs.assembly.image import Given
from edge_effnet.exporters.inputs.assembly.operands import Operand, Probabilities
from edge_effnet.exporters.inputs.assembly.value import Value, refuse
from edge_effnet.exporters.inputs.checkpoint import load_checkpoint
from edge_effnet.exporters.inputs.folder import facts_of_timm
from edge_effnet.exporters.inputs.module.comparison import compare
from edge_effnet.exporters.inputs.module.operators import OPERATORS, Call
from edge_effnet.exporters.inputs.options import InputOptions
from edge_effnet.exporters.inputs.state_dict import published_preprocessing
from edge_effnet.network.records import Network
from edge_effnet.preprocessing import BLACK

#: Operators that modules have for a use of their own, and what to do instead.
_INSTEAD = {
    "argmax": "scores of every class: leave it out of the module, whoever runs the file takes the largest",
    "topk": "scores of every class: leave it out of the module, whoever runs the file takes the largest",
    "flip": "one look at the image as it is: leave test-time augmentation out; of BGR say --channels bgr",
    "index": "one look at the image as it is: leave test-time augmentation out; of BGR say --channels bgr",
    "wrap_with_autocast": "float32 throughout: leave torch.autocast out of its forward",
    "upsample_bilinear2d": "images of one size: leave the resize out, which the file's preprocessing does",
    "upsample_bicubic2d": "images of one size: leave the resize out, which the file's preprocessing does",
}
_WRAPPED = ("model", "net", "network", "backbone", "module", "classifier", "student")
#: Direct children that are tried for what a module wraps.
_MOST_TRIED = 8


def network_of_module(module: Any, options: InputOptions) -> Network:
    """The network that a module computes in evaluation mode.

    Raises OperatorError for what isn't in the operator table, CheckpointError where torch can't export it or the graph
    gives something else, UsageError where its image size must be said.
    """
    module = _in_float32(module)
    config, known = _configuration(module), _identified(module)
    size = options.image_size or _size_of(module, config, known)
    channels = _channels(module)
    with evaluating(module):
        network_module, program = _exported(module, (1, channels, *size))
        assembler, image, output = _assembled(program, size, channels)
        given = _given(config, known, size, inside=_normalises(assembler))
        source = replace(_source(module, given), remarks=_remarks(module, network_module))
        network = completed(assembler, image, output, source=source, options=options)
        compare(network_module, network, assembler, (channels, *size))
    return network


def _in_float32(module: Any) -> Any:
    """The module, or where it is in another precision or on another device a copy of it in float32 on the processor.

    Raises CheckpointError where there can be none.
    """
    import torch

    held = [value for value in (*module.parameters(), *module.buffers()) if value.is_floating_point()]
    other = next((value for value in held if (value.dtype, value.device.type) != (torch.float32, "cpu")), None)
    if other is None:
        return module
    try:
        return copy.deepcopy(module).to(device="cpu", dtype=torch.float32)
    except Exception as error:  # whatever its attributes raise, and torch of the meta device
        raise CheckpointError(
            f"{type(module).__name__} is {other.dtype} on {other.device} and can't be copied ({first_line(error)}); "
            "expected a module with its weights: give export module.float().cpu()"
        ) from error


@contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """The module in evaluation mode, and afterwards as it was."""
    before = [(child, child.training) for child in module.modules()]
    with suppress(NotImplementedError):  # a program's module is as it was exported
        module.eval()
    try:
        yield
    finally:
        for child, training in before:
            child.training = training


def _configuration(module: Any) -> Mapping[str, Any]:
    """timm's `pretrained_cfg` of a module or of the one inside it; empty without one."""
    for child in (module, *(getattr(module, name, None) for name in _WRAPPED), *_whole_children(module)):
        config = getattr(child, "pretrained_cfg", None) or getattr(child, "default_cfg", None)
        config = config if isinstance(config, Mapping) else getattr(config, "__dict__", None)
        if config:
            return config
    return {}


def _identified(module: Any) -> Identified | None:
    """A published network's family and variant, by the names and shapes of its tensors."""
    try:
        return identify(load_checkpoint(module))
    except EdgeEffnetError:
        return None


def _size_of(module: Any, config: Mapping[str, Any], known: Identified | None) -> tuple[int, int]:
    found = config.get("input_size")
    if isinstance(found, tuple | list) and len(found) == 3:
        return int(found[1]), int(found[2])
    settings = getattr(module, "_global_params", None)
    size = getattr(settings, "image_size", None) or getattr(getattr(module, "config", None), "image_size", None)
    if isinstance(size, int):
        return size, size
    if known is None:
        raise UsageError(f"{type(module).__name__} doesn't say the size of its images; say which: image_size=224")
    return known.native_size, known.native_size


def _channels(module: Any) -> int:
    """What its first convolution takes, which is mostly the first that was made; 3 where that can't be an image's."""
    import torch

    first = next((child for child in module.modules() if isinstance(child, torch.nn.Conv2d)), None)
    return 1 if first is not None and first.in_channels == 1 else 3


def _given(config: Mapping[str, Any], known: Identified | None, size: tuple[int, int], *, inside: bool) -> Given:
    """How photos are prepared: as the module's configuration says, or as published of it.

    inside: whether the module normalises its image itself; neither's mean and std are of that image then.
    """
    facts = facts_of_timm(config)
    if facts.mean is not None and facts.std is not None:
        return Given(
            statistics=None if inside else (facts.mean, facts.std),
            crop_pct=facts.crop_pct,
            interpolation=facts.interpolation,
            mode=facts.mode or "shorter",
            fill=facts.fill or BLACK,
        )
    if known is None or known.published is None:
        return Given()
    found, resize = published_preprocessing(known.published), known.published.resize
    return Given(
        statistics=None if inside else (found.mean, found.std),
        resize=size[0] * resize // found.size[0] if resize is not None and size[0] == size[1] else None,
        crop_pct=known.published.crop_pct if resize is None else None,
        interpolation=found.interpolation,
        mode=found.mode,
        remarks=(f"prepared as published of {known.architecture} in {known.dialect}'s form",),
    )


def _normalises(assembler: Assembler) -> bool:
    """Whether the module does anything to its pixels before its first layer."""
    scale, shift = assembler.normalisation or (np.ones(1), np.zeros(1))
    return bool((scale != 1).any() or (shift != 0).any())


def _remarks(module: Any, taken: Any) -> tuple[str, ...]:
    if taken is module:
        return ()
    return (f"took the {type(taken).__name__} inside {type(module).__name__}, which torch.export can't take apart",)


def _source(module: Any, given: Given) -> Source:
    import hashlib

    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        array = value.detach().cpu().numpy() if hasattr(value, "detach") else np.zeros(0)
        digest.update(f"{key}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    names = {"module": f"{type(module).__module__}.{type(module).__qualname__}"}
    return Source("module", "pytorch", digest.hexdigest(), given=given, details=names)


def _exported(module: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """(the module that was exported, torch's program): the whole, or where that fails what it wraps."""
    import torch

    reason: BaseException | None = None
    for candidate in (module, *_whole_children(module)):
        try:
            with torch.no_grad():
                return candidate, torch.export.export(candidate, (torch.zeros(shape),), strict=False)
        except Exception as error:  # torch.export raises whatever the module's own code does
            reason = reason or error
    raise CheckpointError(
        f"torch.export can't take {type(module).__name__} apart ({first_line(reason or Exception())}); expected a "
        "module of one image of 3 channels (RGB) or 1 (grey), without decisions that depend on its pixels; of a "
        "trainer's, give the network inside"
    ) from reason


def _whole_children(module: Any) -> list[Any]:
    """Children that hold all of a module's parameters: a trainer's network, and no backbone without its head.

    Those of a usual name, or with the tensors of a network that is known: a layer in a module of decisions is neither.
    """
    count = sum(value.numel() for value in module.parameters())
    children = list(module.named_children())[:_MOST_TRIED]
    whole = [(name, child) for name, child in children if sum(value.numel() for value in child.parameters()) == count]
    return [child for name, child in whole if count and (name in _WRAPPED or _identified(child) is not None)]


def _assembled(program: Any, size: tuple[int, int], channels: int) -> tuple[Assembler, Value, Operand]:
    assembler = Assembler()
    image = assembler.image("NCHW", *size, channels)
    signature = program.graph_signature
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    held |= signature.inputs_to_lifted_tensor_constants
    tensors: dict[str, Any] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            key = held.get(node.name)
            tensors[node.name] = image if key is None else _constant(program, key)
        elif node.op == "call_function":
            tensors[node.name] = _run(assembler, node, tensors)
        elif node.op == "output":
            return assembler, image, _output(node.args, tensors)
    raise CheckpointError("torch's program has no output; expected a classifier")


def _constant(program: Any, key: str) -> Any:
    found = program.state_dict.get(key)
    return program.constants[key] if found is None else found


def _output(arguments: Any, tensors: Mapping[str, Any]) -> Operand:
    """The output that depends on the image; raises OperatorError for none, CheckpointError for several."""
    waiting, outputs = list(arguments), dict[int, Value | Probabilities]()
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, tuple | list):
            waiting = [*item, *waiting]
        elif isinstance(found := tensors.get(getattr(item, "name", "")), Value | Probabilities):
            outputs[id(found)] = found
    if len(outputs) > 1:
        shapes = [list(found.shape if isinstance(found, Value) else found.logits.shape) for found in outputs.values()]
        raise CheckpointError(
            f"the module gives {len(outputs)} tensors of its image, {', '.join(map(str, shapes[:_MOST_TRIED]))}; "
            "expected one: give export a module around it whose forward returns the scores alone"
        )
    if outputs:
        return next(iter(outputs.values()))
    refuse("no output that depends on its image", "a classifier")


def _run(assembler: Assembler, node: Any, tensors: Mapping[str, Any]) -> Any:
    """One node: on the network's tensors by the table, on constants alone by torch itself."""
    import torch

    given = torch.fx.node.map_arg((node.args, dict(node.kwargs)), lambda item: tensors.get(item.name))
    arguments, named = given
    if getattr(node.target, "__name__", "") == "getitem" and isinstance(arguments[0], Value | Probabilities):
        return arguments[0]
    if not _reads_image((arguments, named)):
        return None if any(item is None for item in node.args[:1]) else node.target(*arguments, **named)
    op = str(getattr(node.target, "_opname", getattr(node.target, "__name__", node.target)))
    name = op.rstrip("_") if op.rstrip("_") in OPERATORS else op
    if name.startswith("_assert") or name in ("sym_size", "sym_constrain_range_for_size"):
        return None
    if name not in OPERATORS:
        refuse(f"{op} ({node.name!r})", _INSTEAD.get(op) or f"one of {', '.join(sorted(OPERATORS))}")
    schema = [item.name for item in node.target._schema.arguments]
    bound = {**dict(zip(schema, arguments, strict=False)), **named}
    return OPERATORS[name](Call(assembler, name, node.name, {key: _numpy(item) for key, item in bound.items()}))


def _reads_image(arguments: Any) -> bool:
    if isinstance(arguments, Value | Probabilities):
        return True
    items = arguments.values() if isinstance(arguments, Mapping) else arguments
    return isinstance(arguments, tuple | list | Mapping) and any(_reads_image(item) for item in items)


def _numpy(item: Any) -> Any:
    return item.detach().cpu().float().numpy() if hasattr(item, "detach") else item
