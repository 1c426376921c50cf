"""`edge-effnet info`: what a model file is, without running it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_effnet.cli.console import say, write
from edge_effnet.cli.parsing import goes_with
from edge_effnet.cli.preparation import values_text
from edge_effnet.engines import ENGINES, engine_statuses
from edge_effnet.errors import UsageError
from edge_effnet.foreign import preparation_of
from edge_effnet.formats import ModelFile, read_model_bytes, read_model_file, weights_are_verified
from edge_effnet.metadata import ModelDocument
from edge_effnet.text import json_text, printable
from edge_effnet.trial import try_in_child

_LABELS_SHOWN, _ITEMS_SHOWN = 3, 12
_LONGEST_ROW = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("model", metavar="MODEL", help="a .tflite or .onnx file")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the output (default text)")
    labels = parser.add_argument(
        "--labels", action="store_true", help="list the labels alone: index, a tab and the label, one a line"
    )
    goes_with("with --format json, which lists them anyway", labels, holds=lambda given: given.format != "json")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="check the weights against their SHA-256, and try the file in a process of its own",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the file's facts."""
    content = read_model_bytes(arguments.model)
    contents = read_model_file(content, name=arguments.model)
    if arguments.labels:
        return _list_labels(contents)
    facts = _facts(contents, Path(arguments.model))
    if arguments.verify:
        facts["verified"] = _verify(contents, content, Path(arguments.model))
    if arguments.format == "json":
        write(json_text(facts, indent=2) + "\n")
    else:
        for line in _lines(facts, contents):
            say(line)
    return 0


def _list_labels(contents: ModelFile) -> int:
    if contents.labels is None:
        raise UsageError("the file has no labels; edge-effnet edit --labels FILE puts some in")
    for index, label in enumerate(contents.labels):
        write(f"{index}\t{printable(label)}\n")
    return 0


def _verify(contents: ModelFile, content: bytes, path: Path) -> dict[str, Any]:
    """What vouches for the file; raises ModelFileError for weights that don't fit their SHA-256, EngineError for a
    crash.
    """
    fits = weights_are_verified(contents.document, contents.covered, name=str(path))
    engine = _engine_for(contents.format)
    if engine is not None:
        try_in_child(path, content=content, file_format=contents.format, engine="auto", threads=1)
    return {
        "weights_sha256": "fits" if fits else "not in the file",
        "trial_run": "no engine installed" if engine is None else "no crash",
    }


def _facts(contents: ModelFile, path: Path) -> dict[str, Any]:
    document = contents.document
    return {
        "model": str(path),
        "format": contents.format,
        "size_bytes": path.stat().st_size,
        "weight_bytes": contents.weight_bytes,
        "engine": _engine_for(contents.format),
        "input": _tensor(contents.input),
        "output": _tensor(contents.output),
        "operators": contents.operators_by_precision(),
        "labels": None if contents.labels is None else list(contents.labels),
        "document": None if document is None else document.to_dict(),
    }


def _tensor(info: Any) -> dict[str, Any]:
    return {"name": info.name, "shape": list(info.shape), "dtype": info.dtype}


def _engine_for(file_format: str) -> str | None:
    """The installed engine that `auto` would take."""
    usable = {status.engine: status for status in engine_statuses() if status.version}
    fitting = next((name for name, (kind, _) in ENGINES.items() if kind == file_format and name in usable), None)
    return f"{fitting} ({usable[fitting].package} {usable[fitting].version})" if fitting else None


def _preparation(contents: ModelFile) -> str:
    found = preparation_of(contents)
    if found is None:
        return "it doesn't say how they are prepared: --input-range, or --mean and --std"
    (height, width), means, deviations = found.size, *(values_text(part) for part in (found.mean, found.std))
    return f"squashed to {width}×{height}, mean {means}, std {deviations}, by its metadata or its input's scale"


def _lines(facts: dict[str, Any], contents: ModelFile) -> list[str]:
    document = contents.document
    rows = [
        (
            "file",
            f"{printable(facts['model'])}  ({facts['size_bytes'] / 1e6:.2f} MB, "
            f"{facts['weight_bytes'] / 1e6:.2f} MB of them weights)",
        )
    ]
    rows += (
        _document_rows(document)
        if document
        else [("document", "none: made by another tool"), ("photos", _preparation(contents))]
    )
    rows += [
        (name, f"{printable(facts[name]['name'])}  {facts[name]['dtype']}{facts[name]['shape']}")
        for name in ("input", "output")
    ]
    rows.append(("labels", _some_labels(facts["labels"])))
    rows.append(("engine", facts["engine"] or "none installed: see edge-effnet doctor"))
    for precision, counts in facts["operators"].items():
        rows.append((f"{precision} ops", ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))))
    rows += (
        [("verified", f"SHA-256 of the weights: {found['weights_sha256']}; {found['trial_run']} in a trial run")]
        if (found := facts.get("verified"))
        else []
    )
    return [f"{name:<14} {printable(text, most=_LONGEST_ROW)}" for name, text in rows]


_RESIZED = {"shorter": "shorter side", "squash": "squashed", "longer": "longer side", "pad": "fitted and filled"}


def _some_labels(labels: Sequence[str] | None) -> str:
    """How many, and the first of them."""
    if labels is None:
        return "none"
    shown = [printable(label) for label in labels[:_LABELS_SHOWN]]
    return f"{len(labels)}: {', '.join(shown + ['…'] * (len(labels) > _LABELS_SHOWN))}"


def _family(document: ModelDocument) -> str:
    """The variant's name; a network that is none of the table's has no name."""
    return "a network" if document.variant == "network" else document.title


def _origin(source: Mapping[str, Any]) -> list[str]:
    """What is known of the checkpoint; an input that says each convolution's padding has no rule for it."""
    found = [str(source.get("dialect"))]
    if source.get("padding") is not None:
        found.append(f"{source['padding']} padding")
    if source.get("bn_eps") is not None:
        found.append(f"BN eps {source['bn_eps']}")
    return [*found, f"sha256 {str(source.get('sha256'))[:12]}…"]


def _document_rows(document: ModelDocument) -> list[tuple[str, str]]:
    pre, source = document.preprocessing, document.source
    rows = [
        (
            "network",
            f"{_family(document)}, {document.num_classes} classes, {document.size_text}, {document.precision}",
        ),
        (
            "photos",
            f"{_RESIZED[pre.mode]} to {pre.resize}, centre {pre.crop}, {pre.interpolation}; mean {_triple(pre.mean)}, "
            f"std {_triple(pre.std)}, {pre.channels}",
        ),
        (
            "checkpoint",
            ", ".join(_origin(source)),
        ),
    ]
    rows += _quantization_rows(document.quantization or {})
    rows += _learned_rows(document)
    rows.append(("accuracy", _accuracy(document.accuracy)))
    rows.append(("made by", document.created_by))
    rows.append(
        ("weights", f"sha256 {document.weights_sha256[:12]}…" if document.weights_sha256 else "no SHA-256 in the file")
    )
    return rows


def _learned_rows(document: ModelDocument) -> list[tuple[str, str]]:
    """Of a file that `learn` made: from how many photos, how good on those held out, and whether it tells unknown."""
    learned, rows = document.extra.get("learned"), []
    if isinstance(learned, Mapping) and isinstance(learned.get("photos"), Mapping):
        counts = [count for count in learned["photos"].values() if isinstance(count, int)]
        text = f"{sum(counts):,} photos of {len(counts)} classes"
        if isinstance(share := learned.get("accuracy"), float):
            text += f"; {100 * share:.1f} % of photos held out recognised"
        rows.append(("learned from", text))
    if (rule := document.unknown) is not None:
        rows.append(
            ("unknown", f"below a similarity of {rule.threshold:.3f} to {rule.references} references, {rule.share:.0%}")
        )
    return rows


def _accuracy(accuracy: Any) -> str:
    if not accuracy or any(accuracy.get(key) is None for key in ("top1", "top5", "images", "data")):
        return "not measured: edge-effnet eval does"
    shares = f"top-1 {100 * accuracy['top1']:.2f} %, top-5 {100 * accuracy['top5']:.2f} %"
    return f"{shares} of {accuracy['images']} photos in {accuracy['data']}"


def _triple(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else ",".join(f"{value:g}" for value in values)


def _quantization_rows(quantization: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A row for the photos, one for each choice of the recipe and each list of exceptions; whole with --format json."""
    rest = dict(quantization)
    images, seed, digest = (rest.pop(name, None) for name in ("calibration_images", "seed", "calibration_digest"))
    rows = []
    if images is not None:
        rows.append(("calibrated on", f"{images} photos, seed {seed}, digest {str(digest)[:12]}…"))
    for name, value in rest.items():
        words = name.replace("_", " ")
        if isinstance(value, Mapping):
            rows += [(words, _few(f"{key} {_plain(one)}" for key, one in value.items()))] if value else []
        elif isinstance(value, (list, tuple)):
            rows += [(words, _few(map(_plain, value)))] if value else []
        else:
            rows.append((words, str(value)))
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "+".join(map(str, value))
    return "yes" if value is True else "no" if value is False else str(value)


def _few(items: Iterable[str]) -> str:
    """The first items, and how many there are more."""
    found = list(items)
    more = f", and {len(found) - _ITEMS_SHOWN} more" if len(found) > _ITEMS_SHOWN else ""
    return ", ".join(found[:_ITEMS_SHOWN]) + more
